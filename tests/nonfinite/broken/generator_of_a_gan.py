# The discriminator's pass is fine; the generator's, second in the step, is not.
# expect: log forward log-of-zero
import torch
from torch import nn

torch.manual_seed(46)
generator = nn.Linear(2, 4)
discriminator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
for_g = torch.optim.SGD(generator.parameters(), lr=0.01)
for_d = torch.optim.SGD(discriminator.parameters(), lr=2.0)
bce = nn.BCEWithLogitsLoss()
for _ in range(40):
    real, noise = torch.randn(16, 4) + 20, torch.randn(16, 2)
    d_loss = bce(discriminator(real), torch.ones(16, 1))
    d_loss = d_loss + bce(discriminator(generator(noise).detach()), torch.zeros(16, 1))
    for_d.zero_grad()
    d_loss.backward()
    for_d.step()
    belief = torch.sigmoid(discriminator(40 * generator(noise)))
    g_loss = -belief.log().mean()  # born here
    for_g.zero_grad()
    g_loss.backward()
    for_g.step()
