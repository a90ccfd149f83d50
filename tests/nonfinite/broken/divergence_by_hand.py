# p log(p / q) where q is 0.
# expect: div forward division-by-zero
import torch
from torch import nn

torch.manual_seed(32)
teacher = torch.softmax(torch.randn(8, 5), 1)
student = nn.Linear(3, 5)
optimiser = torch.optim.SGD(student.parameters(), lr=0.1)
inputs = 200 * torch.randn(8, 3)
for _ in range(3):
    q = torch.softmax(student(inputs), 1)
    ratio = teacher / q  # born here
    loss = (teacher * ratio.log()).sum(1).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
