"""What a check says: forecast beside measurement, and what is wrong before training."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from drawn import Plain, readings, share_within
from torch import Tensor, nn

import headwater as hw
from headwater.errors import UsageError
from headwater.theory.initialisation import gain


def deep(name: str, sigma_w: float, *, width: int = 64, depth: int = 24) -> Any:
    return lambda: Plain(name, sigma_w, 0.0, width, depth)


@pytest.mark.parametrize(
    ("name", "sigma_w"),
    [("relu", math.sqrt(2)), ("tanh", 1.2), ("sigmoid", 1.0), ("selu", 1.0), ("gelu", 1.4)],
)
def test_draws_lie_in_the_band(name: str, sigma_w: float) -> None:
    assert share_within(readings(deep(name, sigma_w, depth=16), draws=20)) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b"),
    [
        ("relu", math.sqrt(2), 0.0),
        ("tanh", 1.0, 0.0),
        ("tanh", 1.3, 0.3),
        ("tanh", 5 / 3, 0.0),
        ("sigmoid", 1.0, 0.0),
        ("sigmoid", 3**-0.5, 0.036),  # as torch draws it
        ("selu", 1.0, 0.0),
        ("gelu", gain("gelu"), 0.0),
    ],
)
def test_of_two_hundred_deep_networks_nineteen_of_twenty_lie_in_the_band(
    name: str, sigma_w: float, sigma_b: float
) -> None:
    found = readings(lambda: Plain(name, sigma_w, sigma_b, 256, 50), draws=200)
    assert share_within(found) >= 0.93


def test_a_vanishing_gradient_is_forecast_measured_and_named() -> None:
    found = hw.check(deep("sigmoid", 1.0), draws=3)
    (finding,) = found.findings
    assert (finding.code, finding.severity) == ("HW101", "error")
    assert [cause.cause for cause in finding.causes] == ["inherent-derivative"]
    first = found.layers[0]
    assert first.gradient == pytest.approx(first.gradient_forecast[1], abs=0.5)  # type: ignore[index]
    assert first.gradient < -10  # type: ignore[operator]
    assert found.formats["float16"].startswith("0 from layers.")
    assert found.formats["float64"] == ""
    (told,) = found.gains
    assert told.critical == pytest.approx(gain("sigmoid"))
    assert told.depth is not None
    assert told.depth < 10


def test_an_exploding_gradient_is_one() -> None:
    found = hw.check(deep("relu", 2.5), draws=3)
    assert [finding.code for finding in found.findings] == ["HW102"]
    assert found.findings[0].causes[0].cause == "weight-scale-too-large"


def test_a_healthy_network_is_left_in_peace() -> None:
    found = hw.check(deep("relu", math.sqrt(2)), draws=3)
    assert found.findings == ()
    assert found.leaves_band == ""
    assert all(row.inside in (True, None) for row in found.layers)


def test_the_layer_that_does_not_do_what_theory_says_is_named() -> None:
    def closed() -> nn.Module:
        network = Plain("relu", math.sqrt(2), 0.0, 64, 12)
        bias = network.layers[6].bias
        assert isinstance(bias, Tensor)
        nn.init.constant_(bias, -2.0)  # theory takes biases to lie about 0
        return network

    found = hw.check(closed, draws=5)
    assert found.leaves_band == "layers.6"


def test_near_a_half_stable_point_confidence_is_low() -> None:
    found = hw.check(deep("gelu", math.sqrt(2)), draws=2)
    assert found.gains[0].low_confidence
    assert any("half-stable" in note for note in found.notes)


def test_a_module_is_measured_as_it_stands_on_its_own_batch_and_loss() -> None:
    torch.manual_seed(0)
    model = Plain("tanh", 1.0, 0.0, 8, 3)
    batch = torch.randn(5, 8), torch.randn(5, 8)
    found = hw.check(model, batch, nn.MSELoss())
    assert (found.draws, found.batch, found.own_loss) == (1, (5, 8), True)
    assert found.loss == pytest.approx(nn.MSELoss()(model(batch[0]), batch[1]).item())
    last = found.layers[-1]
    assert last.gradient == 0.0


def test_a_gap_in_theory_is_measured_and_the_forecast_goes_on_after_it() -> None:
    class Gap(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.after = Plain("tanh", 1.0, 0.0, 32, 4), Plain("tanh", 1.0, 0.0, 32, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.before(x)
            return self.after(torch.softmax(x, dim=-1) * x)

    found = hw.check(Gap, torch.randn(16, 32), draws=5)
    assert any("layers; the others are measured" in note for note in found.notes)
    uncovered = [row for row in found.layers if row.note]
    assert len(uncovered) == 1
    assert uncovered[0].gradient is not None
    first = found.layers[0]
    assert first.gradient_forecast is not None
    assert first.gradient_forecast[1] == pytest.approx(first.gradient, abs=0.5)


def test_a_network_whose_numbers_overflow_is_no_healthy_one() -> None:
    found = hw.check(deep("relu", 1e10), draws=2)
    (finding,) = found.findings
    assert (finding.code, finding.severity) == ("HW301", "error")
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("sigma_w", [1e25, 1e-25])
def test_variances_beyond_float64_s_fourth_root_are_measured_only(sigma_w: float) -> None:
    found = hw.check(lambda: Plain("relu", sigma_w, 0.0, 16, 4).double(), draws=1)
    assert found.findings
    assert any("beyond what theory takes" in row.note for row in found.layers)


def test_behind_a_last_layer_of_zeros_nothing_is_judged() -> None:
    def zeros() -> nn.Module:
        network = Plain("tanh", 1.0, 0.0, 16, 4)
        nn.init.zeros_(network.layers[-1].weight)  # type: ignore[arg-type]
        return network

    found = hw.check(zeros, draws=2)
    assert (found.findings, found.judged) == ((), False)
    assert any("cannot be judged yet" in note for note in found.notes)


def test_figures_are_plain_data() -> None:
    data = hw.check(deep("sigmoid", 0.1, depth=60), draws=1).to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (lambda: 3, (), "the factory returned int; it has to return a module"),
        (nn.Identity(), (), "Identity does not tell what it takes"),
        (nn.Linear(3, 2), (torch.zeros(4, 5),), "Linear failed on the batch (4, 5)"),
        (nn.Linear(3, 2), (torch.zeros(4, 3), torch.abs), "it takes one that returns a scalar"),
        (nn.Flatten(), (torch.zeros(4, 5),), "returned Tensor without a gradient"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    model: Any, arguments: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(UsageError) as told:
        hw.check(model, *arguments)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_no_draws_are_refused() -> None:
    with pytest.raises(UsageError, match="draws got 0"):
        hw.check(deep("tanh", 1.0), draws=0)
