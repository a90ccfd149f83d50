"""A GAN with two optimizers learns a ring of points in the plane."""

import torch
from torch import nn

torch.manual_seed(0)


def ring(n):
    angle = 2 * torch.pi * torch.rand(n)
    radius = 1 + 0.05 * torch.randn(n)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


generator = nn.Sequential(
    nn.Linear(8, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2)
)
discriminator = nn.Sequential(
    nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
)
criterion = nn.BCEWithLogitsLoss()
optimizer_g = torch.optim.Adam(generator.parameters(), lr=5e-4, betas=(0.5, 0.999))
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=5e-4, betas=(0.5, 0.999))
real_labels, fake_labels = torch.ones(128, 1), torch.zeros(128, 1)

for step in range(1500):
    real, fake = ring(128), generator(torch.randn(128, 8))

    optimizer_d.zero_grad()
    loss_d = criterion(discriminator(real), real_labels)
    loss_d = loss_d + criterion(discriminator(fake.detach()), fake_labels)
    loss_d.backward()
    optimizer_d.step()

    optimizer_g.zero_grad()
    loss_g = criterion(discriminator(fake), real_labels)
    loss_g.backward()
    optimizer_g.step()

    if step % 250 == 249:
        radius = fake.norm(dim=1)
        print(
            f"step {step + 1:4d}  loss of D {loss_d.item():.3f}  of G {loss_g.item():.3f}  "
            f"radius {radius.mean().item():.2f} +- {radius.std().item():.2f}"
        )
