# Label smoothing gives the masked class a little weight: little times infinity.
# expect: mul forward zero-times-inf|non-finite|*
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(65)
model = nn.Linear(4, 5)
optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    logits = model(torch.randn(8, 4))
    allowed = torch.rand(8, 5) < 0.7
    allowed[:, 0] = True
    logits = logits.masked_fill(~allowed, float("-inf"))
    target = torch.zeros(8, 5)
    target[:, 0] = 1.0
    loss = -(target * F.log_softmax(logits, 1)).sum(1).mean()  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
