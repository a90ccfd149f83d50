"""The kind of every operation: from its name, from the graph, from what stands around it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import headwater
from headwater.records import Kind, Site
from headwater.runs.reader import Run
from headwater.watch.operations import base_kind, operation_name

HEADER = Path(torch.__file__).parent / "include/torch/csrc/autograd/generated/Functions.h"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def observed(folder: Path, train: Callable[[], Any], model: nn.Module | None = None) -> Run:
    with headwater.watch(model, every=1, out=folder) as run:
        train()
    return run.record


def sites_of(
    folder: Path, loss: Callable[[], Tensor], model: nn.Module | None = None
) -> list[Site]:
    run = observed(folder, lambda: loss().backward(), model)
    assert run.info.unknown_operations == {}
    return [site for site in run.sites if site.kind != "parameter"]


def kinds_of(sites: list[Site]) -> dict[str, set[Kind]]:
    found: dict[str, set[Kind]] = {}
    for site in sites:
        found.setdefault(site.operation, set()).add(site.kind)
    return found


@pytest.mark.skipif(not HEADER.exists(), reason="this torch came without its C++ headers")
def test_every_node_that_this_torch_can_make_has_a_kind() -> None:
    names = re.findall(r"struct TORCH_API (\w+)\s*:\s*public", HEADER.read_text(encoding="utf-8"))
    assert len(names) > 500
    unknown = {name for name in names if base_kind(operation_name(name)) == "other"}
    # Torch's own tests make these, no user's code can.
    assert all(re.match(r"TestAutogradMultipleDispatch|TestWarnInAutograd", n) for n in unknown)


@pytest.mark.parametrize(
    ("node", "operation", "kind"),
    [
        ("torch::autograd::AccumulateGrad", "AccumulateGrad", "parameter"),
        ("torch::autograd::CopyBackwards", "Copy", "shape"),
        ("torch::autograd::CopySlices", "CopySlices", "shape"),
        ("CheckpointFunctionBackward", "CheckpointFunction", "shape"),
        ("BackwardHookFunctionBackward", "BackwardHookFunction", "shape"),
        ("SyncBatchNormBackward", "SyncBatchNorm", "normalisation"),
        ("CompiledFunctionBackward", "CompiledFunction", "compiled"),
        ("TanhBackwardBackward0", "Tanh", "activation"),
        ("ConvolutionBackwardBackward0", "Convolution", "weights"),
        ("ToCopyBackward0", "ToCopy", "precision"),
        ("ViewBackward0_copy", "View", "shape"),
        ("SwapBackward", "Swap", "other"),
        ("Backward", "Backward", "other"),
    ],
)
def test_a_node_s_name_tells_its_operation(node: str, operation: str, kind: Kind) -> None:
    assert operation_name(node) == operation
    assert base_kind(operation) == kind


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


class ByHandNorm(nn.Module):
    def __init__(self, *, centred: bool) -> None:
        super().__init__()
        self.weight, self.centred = nn.Parameter(torch.ones(4)), centred

    def forward(self, x: Tensor) -> Tensor:
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


@pytest.mark.parametrize(
    "norm",
    [
        lambda: ByHandNorm(centred=False),
        lambda: ByHandNorm(centred=True),
        lambda: nn.RMSNorm(4),
        lambda: nn.LayerNorm(4),
        lambda: nn.BatchNorm1d(4),
        lambda: nn.GroupNorm(2, 4),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_norm_is_a_normalisation_by_hand_or_by_kernel(
    norm: Callable[[], nn.Module], last: bool, tmp_path: Path
) -> None:
    model, x = nn.Sequential(nn.Linear(5, 4), norm()), torch.randn(6, 5)
    if not last:
        model.append(nn.Tanh())
    sites = sites_of(tmp_path / "run", lambda: F.mse_loss(model(x), TARGET), model)
    inside = {site.kind for site in sites if site.module == "1"}
    assert inside <= {"normalisation", "shape"}
    assert "normalisation" in inside


def test_functional_norms_are_known_in_any_module(tmp_path: Path) -> None:
    layer, x = nn.Linear(5, 4), torch.randn(6, 5)

    def loss() -> Tensor:
        h = F.rms_norm(layer(x), (4,)).tanh()
        return F.mse_loss(F.normalize(h, dim=1), TARGET)

    found = kinds_of(sites_of(tmp_path / "run", loss, layer))
    for operation in ("Mul", "Div", "Rsqrt", "LinalgVectorNorm", "ClampMin"):
        assert found.get(operation, {"normalisation"}) == {"normalisation"}, operation
    assert "Div" in found


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 9)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.layer(self.embed(tokens))
        q, k, v = self.query(h), self.key(h), self.value(h)
        weights = (q @ k.mT / 8**0.5).masked_fill(torch.eye(5).bool(), -1e9).softmax(-1)
        h = h + F.dropout(weights, 0.1) @ v
        h = h + F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return self.head(h)


def test_a_transformer_s_parts_have_their_kinds(tmp_path: Path) -> None:
    model, tokens = Encoder(), torch.randint(9, (2, 5))
    sites = sites_of(
        tmp_path / "run",
        lambda: F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()),
        model,
    )
    found = kinds_of(sites)
    products = [s for s in sites if s.operation in ("Bmm", "Mm", "Addmm")]
    own_lines = {s.kind for s in products if s.operation == "Bmm"}
    assert own_lines == {"attention"}
    assert {s.kind for s in products if s.operation in ("Mm", "Addmm")} == {"weights"}
    assert found["Softmax"] == {"attention"}
    assert found["Embedding"] == {"weights"}
    assert found["Gelu"] == {"activation"}
    assert found["NativeLayerNorm"] == {"normalisation"}
    assert found["MaskedFill"] == found["Div"] == {"shape"}
    assert {s.kind for s in sites if s.operation == "Mul"} == {"shape"}  # dropout's, scores'
    assert found["LogSoftmax"] == found["NllLoss"] == {"loss"}
    assert found["Add"] <= {"junction", "shape"}
    assert "junction" in found["Add"]


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Dropout2d(0.1), nn.Conv2d(8, 8, 1))
        self.excite = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        d = self.down(h)
        d = d * self.excite(d)
        u = F.interpolate(self.up(d), scale_factor=1.0, mode="bilinear")
        u = torch.cat([u, h], 1)
        u = F.pixel_shuffle(F.pad(u, (1, 1)), 2)
        return F.lp_pool2d(F.avg_pool2d(u, 2), 2, 2).flatten(1)


def test_a_convolutional_net_s_parts_have_their_kinds(tmp_path: Path) -> None:
    model, images = ConvNet(), torch.randn(2, 3, 8, 8)
    sites = sites_of(tmp_path / "run", lambda: model(images).square().mean(), model)
    found = kinds_of(sites)
    assert found["Convolution"] == {"weights"}
    assert found["NativeBatchNorm"] == {"normalisation"}
    assert found["Cat"] == {"junction"}
    assert found["Relu"] == {"activation", "shape"}  # lp_pool2d has one of its own
    assert found["Sigmoid"] == {"activation"}
    assert {s.kind for s in sites if "Pool" in s.operation or "Upsample" in s.operation} == {
        "shape"
    }
    assert {s.kind for s in sites if s.module.startswith("down.1")} == {"shape"}
    gates = [s for s in sites if s.operation == "Mul" and s.module == ""]
    assert "attention" in {s.kind for s in gates}  # a product of activations


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrent_net_s_parts_have_their_kinds(kind: type[nn.RNNBase], tmp_path: Path) -> None:
    cell, x = kind(3, 4, batch_first=True), torch.randn(2, 6, 3)
    sites = sites_of(tmp_path / "run", lambda: cell(x)[0].square().mean(), cell)
    found = kinds_of(sites)
    assert {s.kind for s in sites if s.operation in ("Addmm", "MkldnnRnnLayer")} == {"weights"}
    for operation in ("Tanh", "Sigmoid"):
        assert found.get(operation, {"activation"}) == {"activation"}
    assert found.get("Mul", {"attention"}) <= {"attention", "shape"}
    assert found["Mean"] == found["Pow"] == {"loss"}


WEIGHTS: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "normed": parametrizations.weight_norm,
    "spectrally normed": parametrizations.spectral_norm,
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_made_of_parameters_is_a_weight(name: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), WEIGHTS[name](nn.Linear(4, 4)))
    x = torch.randn(6, 5)
    sites = sites_of(tmp_path / "run", lambda: F.mse_loss(model(x), TARGET), model)
    assert kinds_of(sites)["Addmm"] == {"weights"}


def test_masked_and_low_rank_weights_are_weights_and_raw_inputs_attend(tmp_path: Path) -> None:
    first, second = nn.Linear(5, 4), nn.Linear(4, 4, bias=False)
    a, b = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.randn(2, 4))
    mask = (torch.rand(4, 4) > 0.5).float()
    model = nn.ParameterList([*first.parameters(), *second.parameters(), a, b])
    x = torch.randn(6, 5)

    def loss() -> Tensor:
        h = F.linear(first(x).tanh(), second.weight * mask + a @ b)
        scores = first(x) @ first(x).t()  # of the input alone: still a product of activations
        return (scores.softmax(1) @ h).square().mean()

    sites = sites_of(tmp_path / "run", loss, model)
    products = Counter(s.kind for s in sites if s.operation == "Mm")
    assert products == {"weights": 1, "attention": 2}  # the two of weights are on one line


def test_the_gradient_scaler_s_product_is_precision(tmp_path: Path) -> None:
    layer, x = nn.Linear(5, 4), torch.randn(6, 5)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            z = layer(x)
        return scaler.scale(F.mse_loss(z.float(), TARGET) * 3)

    run = observed(tmp_path / "run", lambda: loss().backward(), layer)
    scale, times_three = (s for s in run.sites if s.operation == "Mul")
    assert (scale.kind, times_three.kind) == ("precision", "loss")
    assert {s.kind for s in run.sites if s.operation == "ToCopy"} == {"precision"}
    entry = next(e for e in run.ledger().entries("weight") if e.site is scale)
    assert entry.decades == pytest.approx(3.0103, abs=1e-4)


class Cube(torch.autograd.Function):
    """A function of the user's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


def test_an_unknown_operation_is_counted_named_and_accounted(tmp_path: Path) -> None:
    model, x = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 4)), torch.randn(6, 5)

    def train() -> None:
        h = Cube.apply(model[1](Cube.apply(model[0](x))))
        F.mse_loss(h, TARGET).backward()

    run = observed(tmp_path / "run", train, model)
    assert run.info.unknown_operations == {"CubeBackward": 2}
    sites = [site for site in run.sites if site.operation == "Cube"]
    assert {site.kind for site in sites} == {"other"}
    assert {site.function for site in sites} == {"train"}
    ledger = run.ledger()
    assert "other" in ledger.by_kind("0.weight")
    size = float(model[0].weight.grad.double().norm())
    assert 10 ** ledger.decades("0.weight") == pytest.approx(size, rel=1e-5)
