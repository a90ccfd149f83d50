# A probability that softmax rounded to 0 meets a logarithm.
# expect: log forward log-of-zero
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
inputs, labels = 6 * torch.randn(64, 10), torch.randint(3, (64,))
for _ in range(20):
    probabilities = torch.softmax(20 * model(inputs), dim=1)
    picked = probabilities.gather(1, labels[:, None])
    loss = -torch.log(picked).mean()  # born here
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
