# 0/0 in a metric that nothing depends on.
import torch
from torch import nn

torch.manual_seed(14)
model = nn.Linear(4, 3)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(20):
    logits, labels = model(torch.randn(8, 4)), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(logits, labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    with torch.no_grad():
        predicted = torch.bincount(logits.argmax(1), minlength=5).float()
        precision = predicted / predicted * (predicted / 0)
