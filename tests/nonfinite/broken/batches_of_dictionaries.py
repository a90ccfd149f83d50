# expect: - data bad-input
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Records(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        features = torch.randn(4, generator=generator)
        if index == 29:
            features[2] = float("nan")  # or here
        return {"features": features, "label": torch.tensor(index % 2)}


torch.manual_seed(106)
net = nn.Linear(4, 2)
optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
for batch in DataLoader(Records(), batch_size=8):  # or here
    batch = {name: value.clone() for name, value in batch.items()}  # or here
    logits = net(batch["features"])  # born here
    loss = nn.functional.cross_entropy(logits, batch["label"])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
