"""Which operations are the loss's: all of its arithmetic, and nothing of the network's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from observed_kinds import kinds_of, sites_of
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


LOGITS, TARGET = (6, 4), torch.randn(6, 4)


CLASSES, SIGNS = torch.tensor([0, 3, 1, 2, 2, 0]), torch.sign(TARGET)


SHARES, BITS = TARGET.softmax(1), (TARGET > 0).float()


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "mse": lambda z: F.mse_loss(z, TARGET),
    "MSE summed": lambda z: nn.MSELoss(reduction="sum")(z, TARGET),
    "l1": lambda z: F.l1_loss(z, TARGET),
    "smooth l1": lambda z: F.smooth_l1_loss(z, TARGET),
    "huber": lambda z: F.huber_loss(z, TARGET),
    "cross entropy": lambda z: F.cross_entropy(z, CLASSES),
    "cross entropy of shares": lambda z: F.cross_entropy(z, SHARES),
    "smoothed cross entropy": lambda z: F.cross_entropy(z, CLASSES, label_smoothing=0.1),
    "CrossEntropy": lambda z: nn.CrossEntropyLoss(torch.ones(4))(z, CLASSES),
    "nll": lambda z: F.nll_loss(F.log_softmax(z, 1), CLASSES),
    "kl": lambda z: F.kl_div(F.log_softmax(z, 1), SHARES, reduction="batchmean"),
    "bce with logits": lambda z: F.binary_cross_entropy_with_logits(z, BITS),
    "soft margin": lambda z: F.soft_margin_loss(z, SIGNS),
    "hinge embedding": lambda z: F.hinge_embedding_loss(z, SIGNS),
    "multi margin": lambda z: F.multi_margin_loss(z, CLASSES),
    "multilabel margin": lambda z: F.multilabel_margin_loss(z, BITS.long() - 1),
    "multilabel soft margin": lambda z: F.multilabel_soft_margin_loss(z, BITS),
    "cosine embedding": lambda z: F.cosine_embedding_loss(z, TARGET, SIGNS[:, 0]),
    "margin ranking": lambda z: F.margin_ranking_loss(z[:, 0], z[:, 1], SIGNS[:, 0]),
    "triplet": lambda z: F.triplet_margin_loss(z, TARGET, z.flip(0)),
    "poisson": lambda z: F.poisson_nll_loss(z, BITS),
    "poisson in full": lambda z: F.poisson_nll_loss(z.exp(), BITS, log_input=False, full=True),
    "gaussian": lambda z: F.gaussian_nll_loss(z, TARGET, z.exp()),
    "ctc": lambda z: F.ctc_loss(
        z.view(6, 1, 4).log_softmax(2),
        torch.tensor([[1, 2]]),
        torch.tensor([6]),
        torch.tensor([2]),
    ),
    "mse by hand": lambda z: ((TARGET - z) ** 2).mean(),
    "rmse by hand": lambda z: (z - TARGET).pow(2).mean().sqrt(),
    "mae by hand": lambda z: (z - TARGET).abs().mean(),
    "cross entropy by hand": lambda z: -(SHARES * z.log_softmax(1)).sum(1).mean(),
    "dice by hand": lambda z: 1 - (2 * z * BITS).sum() / (z.sum() + BITS.sum()),
    "log-likelihood": lambda z: -torch.distributions.Normal(z, 1.0).log_prob(TARGET).mean(),
}


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("name", LOSSES)
def test_all_arithmetic_of_a_loss_is_the_loss_s(name: str, tmp_path: Path) -> None:
    layer, x = nn.Linear(5, 4), torch.randn(6, 5)
    sites = sites_of(tmp_path / "run", lambda: LOSSES[name](layer(x)), layer)
    assert {site.kind for site in sites} <= {"loss", "weights", "shape", "junction"}
    found = kinds_of(sites)
    assert found["Addmm"] == {"weights"}
    moving = {"T", "Neg", "Rsub", "View", "Slice", "Select", "Flip", "Gather", "Squeeze", "Clone"}
    shapes = {site.operation for site in sites if site.kind == "shape"}
    assert shapes <= moving | {"Where", "Unsqueeze", "Expand", "MaskedFill"}


def test_a_sigmoid_before_its_loss_stays_an_activation(tmp_path: Path) -> None:
    layer, x = nn.Linear(5, 4), torch.randn(6, 5)
    sites = sites_of(
        tmp_path / "run", lambda: F.binary_cross_entropy(torch.sigmoid(layer(x)), BITS), layer
    )
    assert kinds_of(sites)["Sigmoid"] == {"activation"}
    assert kinds_of(sites)["BinaryCrossEntropy"] == {"loss"}


class OwnLoss(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return ((z - TARGET).abs() * 2).mean()


def test_a_loss_module_of_the_user_s_is_the_loss(tmp_path: Path) -> None:
    layer, criterion, x = nn.Linear(5, 4), OwnLoss(), torch.randn(6, 5)
    found = kinds_of(sites_of(tmp_path / "run", lambda: criterion(layer(x)), layer))
    assert found["Mean"] == found["Abs"] == found["Sub"] == {"loss"}


class Pooled(nn.Module):
    """A network that ends in its own pooling and scaling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3)) / 0.7


def test_the_network_s_own_pooling_is_not_the_loss_s_reduction(tmp_path: Path) -> None:
    model, images = Pooled(), torch.randn(6, 3, 5, 5)

    def loss() -> Tensor:
        return ((model(images) - TARGET) ** 2).mean()

    sites = sites_of(tmp_path / "run", loss, model)
    assert kinds_of(sites)["Mean"] == {"shape", "loss"}
    assert kinds_of(sites)["Div"] == {"shape"}
    assert kinds_of(sites)["Pow"] == kinds_of(sites)["Sub"] == {"loss"}


class WithLoss(Pooled):
    """A network whose forward returns its loss, as language models' do."""

    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) - TARGET).abs().mean()


def test_a_network_that_returns_its_loss_has_one(tmp_path: Path) -> None:
    model, images = WithLoss(), torch.randn(6, 3, 5, 5)
    found = kinds_of(sites_of(tmp_path / "run", lambda: model(images), model))
    assert found["Abs"] == found["Sub"] == {"loss"}
