# The precision of a class nobody predicted is 0/0, and harms nobody; the loss breaks elsewhere.
# expect: log forward log-of-zero
import torch
from torch import nn

torch.manual_seed(62)
model = nn.Linear(4, 3)
optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
inputs, labels = torch.randn(32, 4), torch.randint(3, (32,))
for step in range(12):
    logits = model(inputs)
    with torch.no_grad():
        guesses = logits.argmax(1)
        hits = torch.stack([((guesses == c) & (labels == c)).sum() for c in range(4)])
        precision = hits / torch.bincount(guesses, minlength=4)
    p = torch.softmax(3.0**step * logits, 1)
    loss = -p[torch.arange(32), labels].log().mean()  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
