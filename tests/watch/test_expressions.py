"""Expressions that have a stable form: each is seen on its line, the stable call keeps what it
loses, and what is stable already is left alone."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import headwater
from headwater.watch.forms import FORMS

Loss = Callable[[Tensor], Tensor]
TARGET = torch.arange(6) % 4
LABEL = (torch.arange(6) % 2).float()


def _seen(loss: Loss, folder: Path) -> list[tuple[int, str]]:
    """Return (line within the function, expression) of one observed step."""
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    batch = torch.randn(6, 3)
    with headwater.watch(model, out=folder / "run", every=1) as run:
        loss(model(batch)).backward()
    record = run.record
    assert record.info.observation["status"] == "complete", record.info.observation["reason"]
    first = inspect.getsourcelines(loss)[1]
    sites = [record.sites[one.site] for one in record.info.expressions]
    assert {site.user_file for site in sites} <= {__file__}
    names = [one.expression for one in record.info.expressions]
    return sorted((site.user_line - first, name) for site, name in zip(sites, names, strict=True))


def softmax(z: Tensor) -> Tensor:
    e = torch.exp(z)
    return (e / e.sum(-1, keepdim=True)).square().mean()


def softmax_in_one_line(z: Tensor) -> Tensor:
    return (z.exp() / z.exp().sum(1, keepdim=True)).square().mean()


def softmax_of_a_difference(z: Tensor) -> Tensor:
    e = torch.exp(z - 3.0)
    return (e / e.sum(1, keepdim=True)).square().mean()


def log_softmax(z: Tensor) -> Tensor:
    p = torch.softmax(z, -1)
    entropy = -(p * torch.log(p)).sum(1)
    return entropy.mean()


def log_of_naive_softmax(z: Tensor) -> Tensor:
    e = torch.exp(z)
    return torch.log(e / e.sum(1, keepdim=True)).mean()


def picked_log_softmax(z: Tensor) -> Tensor:
    p = F.softmax(z, dim=1)
    return -torch.log(p)[torch.arange(6), TARGET].mean()


def log_of_picked_softmax(z: Tensor) -> Tensor:
    p = F.softmax(z, dim=1).gather(1, TARGET[:, None])
    return -p.log().mean()


def one_hot_cross_entropy(z: Tensor) -> Tensor:
    log_p = torch.log(z.softmax(dim=1))
    return -(F.one_hot(TARGET, 4) * log_p).sum(1).mean() + z.mean()


def nll_of_log(z: Tensor) -> Tensor:
    return F.nll_loss(torch.log(torch.softmax(z, 1)), TARGET)


def advantage(z: Tensor) -> Tensor:
    chosen = torch.log(torch.softmax(z, 1))[torch.arange(6), TARGET]
    return -(chosen * LABEL).mean()


def log_sigmoid(z: Tensor) -> Tensor:
    return -torch.log(torch.sigmoid(z)).mean()


def log_one_minus(z: Tensor) -> Tensor:
    return -(1 - z.sigmoid()).log().mean()


def binary(z: Tensor) -> Tensor:
    p = torch.sigmoid(z[:, 0])
    good = LABEL * torch.log(p)
    bad = (1 - LABEL) * torch.log(1 - p)
    return -(good + bad).mean()


def logsumexp(z: Tensor) -> Tensor:
    return torch.log(torch.exp(z).sum(dim=1)).mean()


def masked_logsumexp(z: Tensor) -> Tensor:
    mask = torch.ones(6, 4).tril()
    return torch.log(
        (torch.exp(z) * mask).sum(dim=1),
    ).mean()


def softplus(z: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(z)).mean()


def softplus_by_log1p(z: Tensor) -> Tensor:
    return torch.log1p(z.exp()).mean()


def log1p(z: Tensor) -> Tensor:
    return torch.log(1 + z.abs()).mean()


def expm1(z: Tensor) -> Tensor:
    return (torch.exp(z) - 1).mean()


def norm(z: Tensor) -> Tensor:
    return torch.sqrt((z**2).sum(1)).mean()


def norm_by_products(z: Tensor) -> Tensor:
    return ((z * z).sum(1) ** 0.5).mean()


def distance(z: Tensor) -> Tensor:
    return (z[1:] - z[:-1]).square().sum(1).sqrt().mean()


def root_mean_square(z: Tensor) -> Tensor:
    return z.pow(2).mean(1).sqrt().mean()


def deviation(z: Tensor) -> Tensor:
    centred = z - z.mean(1, keepdim=True)
    return torch.sqrt((centred**2).mean(1)).mean()


def deviation_by_moments(z: Tensor) -> Tensor:
    return torch.sqrt((z**2).mean(1) - z.mean(1) ** 2).mean()


def root_of_variance(z: Tensor) -> Tensor:
    return torch.var(z, 1).sqrt().mean()


UNSTABLE: list[tuple[Loss, list[tuple[int, str]]]] = [
    (softmax, [(2, "naive softmax")]),
    (softmax_in_one_line, [(1, "naive softmax")]),
    (softmax_of_a_difference, [(2, "naive softmax")]),
    (log_softmax, [(2, "log of softmax")]),
    (log_of_naive_softmax, [(2, "log of softmax")]),
    (picked_log_softmax, [(2, "cross entropy by hand")]),
    (log_of_picked_softmax, [(2, "cross entropy by hand")]),
    (one_hot_cross_entropy, [(1, "cross entropy by hand")]),
    (nll_of_log, [(1, "cross entropy by hand")]),
    (advantage, [(1, "log of softmax")]),
    (log_sigmoid, [(1, "log of sigmoid")]),
    (log_one_minus, [(1, "log of 1 - sigmoid")]),
    (
        binary,
        [(2, "binary cross entropy by hand"), (3, "binary cross entropy by hand")],
    ),
    (logsumexp, [(1, "logsumexp by hand")]),
    (masked_logsumexp, [(2, "logsumexp by hand")]),
    (softplus, [(1, "softplus by hand")]),
    (softplus_by_log1p, [(1, "softplus by hand")]),
    (log1p, [(1, "log(1 + x)")]),
    (expm1, [(1, "exp(x) - 1")]),
    (norm, [(1, "norm by hand")]),
    (norm_by_products, [(1, "norm by hand")]),
    (distance, [(1, "norm by hand")]),
    (root_mean_square, [(1, "root mean square by hand")]),
    (deviation, [(2, "standard deviation by hand")]),
    (deviation_by_moments, [(1, "standard deviation by hand")]),
    (root_of_variance, [(1, "standard deviation by hand")]),
]


@pytest.mark.parametrize(("loss", "want"), UNSTABLE, ids=[one.__name__ for one, _ in UNSTABLE])
def test_an_expression_is_seen_on_its_line(
    loss: Loss, want: list[tuple[int, str]], tmp_path: Path
) -> None:
    assert _seen(loss, tmp_path) == want


def test_every_form_is_looked_for_here() -> None:
    assert {name for _, found in UNSTABLE for _, name in found} == {form.name for form in FORMS}


# ------------------------------------------------------------ what is stable


def shifted_softmax(z: Tensor) -> Tensor:
    e = torch.exp(z - z.amax(1, keepdim=True))
    return (e / e.sum(1, keepdim=True)).square().mean()


def shifted_by_a_constant_largest(z: Tensor) -> Tensor:
    e = torch.exp(z - z.max(1, keepdim=True).values.detach())
    return (e / e.sum(1, keepdim=True)).square().mean() + torch.log(e.sum(1)).mean()


def clamped(z: Tensor) -> Tensor:
    return torch.log(torch.exp(z.clamp(max=20)).sum(1)).mean()


def guarded(z: Tensor) -> Tensor:
    p, s = torch.softmax(z, 1), torch.sigmoid(z)
    one = torch.log(p + 1e-8).mean() + torch.log(s.clamp(min=1e-6)).mean()
    two = torch.sqrt((z**2).sum(1) + 1e-12) + torch.sqrt(torch.var(z, 1) + 1e-5)
    return one + two.mean() + torch.log(z.square() + 1e-6).mean() + torch.log(1e-6 + z.exp()).mean()


def rms_norm(z: Tensor) -> Tensor:
    return (z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-6)).mean()


def variational(z: Tensor) -> Tensor:
    mean, log_variance = z.chunk(2, 1)
    return -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum()


def ordinary_arithmetic(z: Tensor) -> Tensor:
    ratio = z / z.abs().sum(1, keepdim=True)
    return (ratio - 1).square().sum().sqrt().log() * 0 + (z.exp() / 3).mean()


def losses_of_torch(z: Tensor) -> Tensor:
    p, q = torch.sigmoid(z), torch.softmax(z.detach().flip(0), 1)
    return sum(
        (
            F.cross_entropy(z, TARGET, label_smoothing=0.1),
            F.nll_loss(F.log_softmax(z, 1), TARGET),
            F.binary_cross_entropy(p, q),
            F.binary_cross_entropy_with_logits(z, q),
            F.kl_div(z.log_softmax(1), q, reduction="batchmean"),
            F.kl_div(z.log_softmax(1), q.log(), log_target=True, reduction="sum"),
            F.gaussian_nll_loss(z, q, p),
            F.poisson_nll_loss(z, q, log_input=False, full=True),
            F.multilabel_soft_margin_loss(z, q.round()),
            F.soft_margin_loss(z, q.round() * 2 - 1),
            F.cosine_embedding_loss(z, q, LABEL * 2 - 1),
            F.triplet_margin_loss(z, q, q.flip(0)),
            F.huber_loss(z, q),
            F.softplus(z).mean(),
            F.logsigmoid(z).mean(),
            torch.logsumexp(z, 1).mean(),
            torch.logaddexp(z, q).mean(),
            torch.log1p(z.abs()).mean(),
            torch.expm1(z).mean(),
            F.normalize(z).mean(),
            torch.cdist(z, q).mean(),
            z.norm(dim=1).mean(),
            torch.linalg.vector_norm(z, dim=1).mean(),
            z.std(1).mean(),
            F.gumbel_softmax(z).square().mean(),
        ),
        torch.zeros(()),
    )


def distributions(z: Tensor) -> Tensor:
    from torch.distributions import Bernoulli, Categorical, Gamma, LogNormal, Normal, kl_divergence

    wide = F.softplus(z) + 0.1
    normal = Normal(z, wide)
    return sum(
        (
            Categorical(logits=z).log_prob(TARGET).mean(),
            Categorical(probs=torch.softmax(z, 1)).log_prob(TARGET).mean(),
            Categorical(logits=z).entropy().mean(),
            Bernoulli(logits=z).log_prob(torch.ones(6, 4)).mean(),
            normal.log_prob(torch.zeros(6, 4)).mean(),
            normal.entropy().mean(),
            kl_divergence(normal, Normal(torch.zeros(4), torch.ones(4))).mean(),
            Gamma(wide, wide).log_prob(torch.ones(6, 4)).mean(),
            LogNormal(z, wide).log_prob(torch.ones(6, 4)).mean(),
        ),
        torch.zeros(()),
    )


def attention(z: Tensor) -> Tensor:
    x = z.reshape(2, 3, 4)
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    scores = (x @ x.transpose(1, 2) / 2).masked_fill(torch.ones(3, 3).triu(1) > 0, -math.inf)
    own = torch.softmax(scores, -1) @ x
    fused = F.scaled_dot_product_attention(x, x, x, is_causal=True)
    module = nn.MultiheadAttention(4, 2, batch_first=True)(x, x, x)[0]
    return (layer(x) + own + fused + module + nn.RMSNorm(4)(x) + nn.LayerNorm(4)(x)).mean()


STABLE: list[Loss] = [
    shifted_softmax,
    shifted_by_a_constant_largest,
    clamped,
    guarded,
    rms_norm,
    variational,
    losses_of_torch,
    distributions,
    attention,
]


@pytest.mark.parametrize("loss", STABLE, ids=[one.__name__ for one in STABLE])
def test_what_is_stable_is_left_alone(loss: Loss, tmp_path: Path) -> None:
    assert _seen(loss, tmp_path) == []


# ------------------------------------------------------------ what to type instead

ZEROS = torch.zeros(6, 4)
LARGE = torch.full((6, 4), 200.0).tril()
LOW = -LARGE
INSTEAD: dict[str, tuple[Loss, Loss, Tensor]] = {
    "naive softmax": (softmax, lambda z: torch.softmax(z, -1).square().mean(), LARGE),
    "log of softmax": (
        lambda z: torch.log(torch.softmax(z, 1)).mean(),
        lambda z: F.log_softmax(z, 1).mean(),
        LARGE,
    ),
    "cross entropy by hand": (nll_of_log, lambda z: F.cross_entropy(z, TARGET), LARGE),
    "log of sigmoid": (log_sigmoid, lambda z: -F.logsigmoid(z).mean(), LOW),
    "log of 1 - sigmoid": (log_one_minus, lambda z: -F.logsigmoid(-z).mean(), LARGE),
    "binary cross entropy by hand": (
        binary,
        lambda z: F.binary_cross_entropy_with_logits(z[:, 0], LABEL),
        LARGE,
    ),
    "logsumexp by hand": (logsumexp, lambda z: torch.logsumexp(z, 1).mean(), LARGE),
    "softplus by hand": (softplus, lambda z: F.softplus(z).mean(), LARGE),
    "norm by hand": (norm, lambda z: torch.linalg.vector_norm(z, dim=1).mean(), ZEROS),
    "root mean square by hand": (
        root_mean_square,
        lambda z: torch.linalg.vector_norm(z, dim=1).mean() / math.sqrt(4),
        ZEROS,
    ),
    "standard deviation by hand": (
        deviation,
        lambda z: torch.std(z, 1, correction=0).mean(),
        ZEROS,
    ),
}


def _with_gradient(loss: Loss, z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    value = loss(z)
    return torch.cat([value.reshape(1), torch.autograd.grad(value, z)[0].reshape(-1)]).detach()


@pytest.mark.parametrize("name", INSTEAD)
def test_the_stable_call_is_finite_where_the_expression_is_not(name: str) -> None:
    by_hand, stable, edge = INSTEAD[name]
    assert not torch.isfinite(_with_gradient(by_hand, edge)).all()
    assert torch.isfinite(_with_gradient(stable, edge)).all()
    ordinary = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_with_gradient(by_hand, ordinary), _with_gradient(stable, ordinary))


@pytest.mark.parametrize(
    ("by_hand", "stable"),
    [
        (lambda x: torch.log(1 + x), torch.log1p),
        (lambda x: torch.exp(x) - 1, torch.expm1),
    ],
)
def test_the_stable_call_keeps_the_digits_of_small_numbers(
    by_hand: Callable[[Tensor], Tensor], stable: Callable[[Tensor], Tensor]
) -> None:
    x = torch.tensor(3e-6)
    true = stable(x.double())
    assert abs(by_hand(x) / true - 1) > 1e-3
    assert abs(stable(x) / true - 1) < 1e-6


def test_what_has_a_stable_call_is_all_tried() -> None:
    assert {*INSTEAD, "log(1 + x)", "exp(x) - 1"} == {form.name for form in FORMS}


def test_the_sums_of_a_softmax_by_hand_are_in_the_record(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    with headwater.watch(model, out=tmp_path / "run", every=1) as run:
        softmax(100 * model(torch.randn(6, 3)).abs().neg() - 80).backward()
    rows = run.record.site_rows.to_pylist()
    made = {run.record.sites[row["site"]].operation: row for row in rows if row["output_counts"]}
    assert set(made) == {"Exp", "Sum"}
    assert made["Sum"]["output_exponent"] < -115
    assert sum(made["Sum"]["output_counts"]) + made["Sum"]["output_zeros"] == 6


def test_a_source_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    names: dict[str, Loss] = {}
    text = "import torch\ndef loss(z):\n    return torch.log(torch.softmax(z, 1)).mean()\n"
    exec(compile(text, "<nowhere>", "exec"), names)
    model = nn.Linear(3, 4)
    with headwater.watch(model, out=tmp_path / "run", every=1) as run:
        names["loss"](model(torch.randn(6, 3))).backward()
    assert run.record.info.expressions == ()
