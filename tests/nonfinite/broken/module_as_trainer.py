# A module that trains itself, with hooks around its step.
# expect: div forward zero-over-zero
import torch
from torch import nn


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)
        self.logged = []

    def log(self, name, value):
        self.logged.append((name, float(value)))

    def training_step(self, batch, index):
        x, mask = batch
        out = self.layer(x)
        loss = (out.square().sum(1) * mask).sum() / mask.sum()  # born here
        self.log("loss", loss)
        return {"loss": loss, "size": len(x)}


def fit(module, batches):
    optimiser = torch.optim.AdamW(module.parameters())
    for index, batch in enumerate(batches):
        result = module.training_step(batch, index)
        optimiser.zero_grad()
        result["loss"].backward()
        optimiser.step()


torch.manual_seed(102)
masks = [torch.ones(6), torch.tensor([1.0, 0, 1, 0, 1, 0]), torch.zeros(6), torch.ones(6)]
fit(Module(), [(torch.randn(6, 5), mask) for mask in masks])
