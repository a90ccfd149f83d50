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
from observed_kinds import kinds_of, observed, sites_of
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from headwater.records import Kind
from headwater.watch.operations import base_kind, operation_name

HEADER = Path(torch.__file__).parent / "include/torch/csrc/autograd/generated/Functions.h"


TARGET = torch.randn(6, 4)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


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
