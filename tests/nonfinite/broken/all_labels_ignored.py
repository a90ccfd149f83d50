# A batch without a label: the mean over nothing.
# expect: nll_loss|cross_entropy|nll_loss_nd|div forward *
import torch
from torch import nn

torch.manual_seed(66)
model, criterion = nn.Linear(4, 3), nn.CrossEntropyLoss(ignore_index=-1)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
labels = torch.randint(3, (40,))
labels[24:32] = -1
for rows in torch.arange(40).split(8):
    logits = model(torch.randn(8, 4))
    loss = criterion(logits, labels[rows])  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
