# expect: exp forward exp-overflow|learning-rate-too-high
import torch
from torch import nn

torch.manual_seed(10)


def softmax(x):
    powers = torch.exp(x)  # born here
    return powers / powers.sum(1, keepdim=True)


model = nn.Linear(4, 3)
optimiser = torch.optim.SGD(model.parameters(), lr=50.0)
inputs, labels = torch.randn(32, 4), torch.randint(3, (32,))
for _ in range(40):
    p = softmax(5 * model(inputs))
    loss = -p.gather(1, labels[:, None]).clamp_min(1e-9).log().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
