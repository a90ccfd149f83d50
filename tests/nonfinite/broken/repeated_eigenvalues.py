# Eigenvectors have no derivative where two eigenvalues are equal.
# expect: linalg_eigh|linalg_eig|eigh backward *
import torch

torch.manual_seed(71)
scale = torch.nn.Parameter(torch.ones(3))
optimiser = torch.optim.SGD([scale], lr=0.1)
for _ in range(2):
    covariance = torch.diag(scale.square())
    values, vectors = torch.linalg.eigh(covariance)  # born here
    loss = (vectors[:, 0] * torch.arange(3.0)).sum() + values.sum()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
