# The teacher's temperature falls to 0 without a graph; the student's loss shows it.
# expect: div forward division-by-zero|zero-over-zero|inf-minus-inf
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(104)
student, teacher = nn.Linear(6, 4), nn.Linear(6, 4)
optimiser = torch.optim.SGD(student.parameters(), lr=0.1)
for step in range(5):
    x = torch.randn(8, 6)
    with torch.no_grad():
        sharpened = teacher(x) / (0.4 - 0.1 * step if step < 4 else 0.0)  # born here
        targets = torch.softmax(sharpened, -1)
    log_p = F.log_softmax(student(x), -1)
    loss = -(targets * log_p).sum(-1).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
