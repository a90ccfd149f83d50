# expect: div forward division-by-zero|zero-over-zero
import torch
from torch import nn

torch.manual_seed(77)
model = nn.Linear(4, 3)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
inputs, labels = torch.randn(16, 4), torch.randint(3, (16,))
for step in range(6):
    temperature = 1.0 - step / 5
    logits = model(inputs) / temperature  # born here
    loss = nn.functional.cross_entropy(logits, labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
