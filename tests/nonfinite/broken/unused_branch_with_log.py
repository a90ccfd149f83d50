# expect: log * log-of-zero
import torch

torch.manual_seed(7)
logits = torch.nn.Parameter(torch.randn(20))
optimiser = torch.optim.SGD([logits], lr=0.1)
keep = (torch.arange(20) % 3 > 0).float()
for _ in range(4):
    size = logits.square() * keep
    loss = torch.where(size > 0, size.log(), size).sum()  # born here
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
