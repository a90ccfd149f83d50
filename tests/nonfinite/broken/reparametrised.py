# A variational autoencoder whose log-variance grows: its exponential leaves the range.
# expect: exp forward exp-overflow|learning-rate-too-high
import torch
from torch import nn


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 4), nn.Linear(2, 6)

    def forward(self, x):
        mean, log_variance = self.encoder(x).chunk(2, 1)
        variance = log_variance.exp()  # born here
        z = mean + variance.clamp(max=10).sqrt() * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + variance - log_variance - 1).sum(1).mean()
        return self.decoder(z), kl


torch.manual_seed(107)
vae = VAE()
optimiser = torch.optim.Adam(vae.parameters(), lr=1e-3)
for step in range(10):
    x = torch.randn(16, 6) * 3.0**step
    out, kl = vae(x)
    loss = nn.functional.mse_loss(out, x) + kl
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
