"""HW104: told where hidden layers are flat and nothing is learnt, silent where units decide."""

from pathlib import Path
from typing import Any

import made_up
import pytest
from chains import Layer, chain, falling, finding, flat, judged

from headwater.runs.reader import Run

# The two-circles network with U[0, 1] weights, seed 3: from the layer nearest to the loss.
SICK = [0.85, 0.48, 0.36, 0.0, 0.0]
XAVIER = [0.0, 0.04, 0.06, 0.18, 0.23]


def _run(folder: Path, saturated: list[float], **more: Any) -> Run:
    first, norm = more.pop("first", None), more.pop("weight_norm", 3.0)
    statistics = more.pop("statistics", {})
    layers = [
        Layer(
            statistics={
                "saturated": share if first is None else (lambda s, d=share: first if s < 4 else d),
                **statistics,
            },
            weight_norm=norm,
        )
        for share in saturated
    ]
    return chain(folder, layers, operation=more.pop("operation", "Tanh"), **more)


def test_flat_hidden_layers_of_a_stalled_network_are_an_error(tmp_path: Path) -> None:
    found = finding(_run(tmp_path, SICK, losses=flat()), "HW104")
    assert found.severity == "error"
    assert [where.line for where in found.where] == [70, 69, 68]
    assert found.evidence["saturated at train.py:70 (hidden0)"] == pytest.approx(0.85)
    assert found.message.startswith(
        "tanh is flat for 85 % of its inputs at train.py:70 (hidden0) and 36 % or more in 2 other "
        "layers, from the start, while the loss stands still."
    )
    assert found.remedies[0] == "xavier-init"


def test_the_switches_of_a_network_that_learns_are_healthy(tmp_path: Path) -> None:
    assert judged(_run(tmp_path, XAVIER, losses=falling()), "HW104").answer == "healthy"
    assert judged(_run(tmp_path, SICK, losses=falling()), "HW104").answer == "healthy"
    assert judged(_run(tmp_path, XAVIER, losses=flat(200)), "HW104").answer == "healthy"


def test_weights_drawn_too_large_are_told_until_the_loss_has_left_its_start(
    tmp_path: Path,
) -> None:
    large = {"weight_norm": 40.0}
    slow = _run(tmp_path / "slow", SICK, losses=falling(end=0.5), **large)
    assert finding(slow, "HW104").severity == "warning"
    quick = _run(tmp_path / "quick", SICK, losses=falling(end=0.1), **large)
    assert judged(quick, "HW104").answer == "healthy"


def test_one_sample_is_too_few_to_say(tmp_path: Path) -> None:
    assert judged(_run(tmp_path, SICK, losses=flat(), samples=(0,)), "HW104").answer == "cannot say"


def test_saturation_that_was_not_measured_cannot_be_judged(tmp_path: Path) -> None:
    run = _run(tmp_path, SICK, losses=flat(), statistics={"saturated": None})
    assert judged(run, "HW104").answer == "cannot say"


def test_without_a_loss_to_tell_only_extreme_saturation_counts(tmp_path: Path) -> None:
    assert judged(_run(tmp_path, [0.6] * 4, losses=flat(20)), "HW104").answer == "healthy"
    found = finding(_run(tmp_path, [0.95] * 4, losses=flat(20)), "HW104")
    assert found.severity == "warning"


def test_relu_is_flat_by_design(tmp_path: Path) -> None:
    run = _run(tmp_path, [0.9] * 4, losses=flat(), operation="Relu")
    assert judged(run, "HW104").answer == "healthy"


def test_weights_of_one_sign_are_told_by_pre_activations_too_large_for_them(
    tmp_path: Path,
) -> None:
    """Weights of norm 3 over 32 units give a mean square of 0.28 from inputs of at most 1."""
    aligned = {"mean": 0.1, "variance": 6.0}
    found = finding(_run(tmp_path, SICK, losses=flat(), statistics=aligned), "HW104")
    assert found.causes[0].cause == "non-zero-mean-init"
    scaled = {"mean": 0.0, "variance": 0.3}
    found = finding(_run(tmp_path, SICK, losses=flat(), statistics=scaled), "HW104")
    assert found.causes[0].cause == "weight-scale-too-large"


def test_unscaled_inputs_are_blamed_where_the_first_layer_is_flat(tmp_path: Path) -> None:
    statistics = {"mean": 0.0, "variance": 1e4}
    run = _run(tmp_path, [0.0, 0.0, 0.98], losses=flat(), statistics=statistics)
    found = finding(run, "HW104")
    assert found.causes[0].cause == "unscaled-inputs"
    assert found.remedies[0] == "standardise-inputs"


def test_saturation_that_came_in_training_is_dated_and_blamed_on_the_rate(tmp_path: Path) -> None:
    samples = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 400, 500)
    run = _run(tmp_path, SICK, losses=flat(), first=0.05, samples=samples)
    found = finding(run, "HW104")
    assert found.causes[0].cause == "learning-rate-too-high"
    assert found.first_step == 4


def _with_sites(folder: Path, rows: Any, sites: list[Any], **info: Any) -> Run:
    return made_up.run(
        folder,
        pulse=[{"loss": loss} for loss in flat()],
        sites=[row for step in (0, 1, 2, 4) for row in rows(step)],
        info={"sites": sites, **info},
    )


def test_the_activation_next_to_the_loss_may_saturate(tmp_path: Path) -> None:
    """A sigmoid output before binary cross-entropy, converged."""

    def rows(step: int) -> list[dict[str, Any]]:
        return [
            made_up.node(0, -1, step=step),
            made_up.node(1, 0, step=step, saturated=0.99, units=1),
            made_up.node(2, 1, step=step),
            made_up.node(3, 2, step=step, parameter=0),
        ]

    sites = [
        made_up.site("BinaryCrossEntropy", "loss"),
        made_up.site("Sigmoid", "activation"),
        made_up.site("Addmm", "weights"),
        made_up.site("AccumulateGrad", "parameter"),
    ]
    assert judged(_with_sites(tmp_path, rows, sites), "HW104").answer == "healthy"


def test_a_generators_last_tanh_may_saturate_behind_the_discriminator(tmp_path: Path) -> None:
    def rows(step: int) -> list[dict[str, Any]]:
        return [
            made_up.node(0, -1, step=step),
            made_up.node(1, 0, step=step),
            made_up.node(2, 1, step=step, saturated=0.99, units=64),
            made_up.node(3, 2, step=step),
            made_up.node(4, 3, step=step, parameter=0),
        ]

    sites = [
        made_up.site("BinaryCrossEntropyWithLogits", "loss"),
        made_up.site("Addmm", "weights", module="discriminator.0"),
        made_up.site("Tanh", "activation", module="generator.1"),
        made_up.site("Addmm", "weights", module="generator.0"),
        made_up.site("AccumulateGrad", "parameter"),
    ]
    two = [
        {"path": path, "type": "Linear"}
        for path in ("generator", "generator.0", "discriminator", "discriminator.0")
    ]
    run = _with_sites(tmp_path, rows, sites, modules=two)
    assert judged(run, "HW104").answer == "healthy"
    one = _with_sites(tmp_path, rows, sites)
    assert judged(one, "HW104").answer == "wrong"


def test_gates_may_be_shut_or_open(tmp_path: Path) -> None:
    """A sigmoid that multiplies another signal, as in squeeze-and-excitation."""

    def rows(step: int) -> list[dict[str, Any]]:
        return [
            made_up.node(0, -1, step=step),
            made_up.node(1, 0, step=step),
            made_up.node(2, 1, step=step),
            made_up.node(3, 2, step=step, saturated=0.85, units=64),
            made_up.node(4, 3, step=step),
            made_up.node(5, 4, step=step, parameter=0),
        ]

    sites = [
        made_up.site("MseLoss", "loss"),
        made_up.site("Addmm", "weights"),
        made_up.site("Mul", "attention"),
        made_up.site("Sigmoid", "activation"),
        made_up.site("Addmm", "weights"),
        made_up.site("AccumulateGrad", "parameter"),
    ]
    assert judged(_with_sites(tmp_path, rows, sites), "HW104").answer == "healthy"
    plain = [*sites[:2], made_up.site("View", "shape"), *sites[3:]]
    assert judged(_with_sites(tmp_path, rows, plain), "HW104").answer == "wrong"


def test_a_loop_saturates_to_remember_unless_its_weights_were_drawn_too_large(
    tmp_path: Path,
) -> None:
    def unrolled(name: str, norm: float) -> Run:
        return _run(
            tmp_path / name,
            [0.6] * 12,
            losses=falling(end=0.5),
            recurrent=True,
            weight_norm=norm,
        )

    assert judged(unrolled("usual", 3.0), "HW104").answer == "healthy"
    found = finding(unrolled("large", 40.0), "HW104")
    assert found.causes[0].cause == "recurrent-expansion"
