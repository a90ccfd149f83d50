"""HW105: told who should move and does not, silent about what is frozen by design."""

import math
from pathlib import Path
from typing import Any

import made_up
import pytest
from chains import Layer, chain, falling, flat, judged

from headwater.records import Finding, ParameterInfo
from headwater.runs.reader import Run


def _run(folder: Path, *parameters: ParameterInfo, steps: int = 50, **more: Any) -> Run:
    trained = made_up.parameter("head.weight", module_called=True)
    pulse = [{"loss": loss, "gradient_norms": [1.0]} for loss in flat(steps)]
    return made_up.run(folder, pulse=pulse, info={"parameters": [trained, *parameters]}, **more)


def _findings(run: Run) -> tuple[Finding, ...]:
    return judged(run, "HW105").findings


def test_a_parameter_that_never_got_a_gradient_though_its_module_ran_is_a_warning(
    tmp_path: Path,
) -> None:
    cut = made_up.parameter("body.weight", got_gradient=False, module_called=True)
    (found,) = _findings(_run(tmp_path, cut))
    assert found.severity == "warning"
    assert found.causes[0].cause == "detached"
    assert [where.parameter for where in found.where] == ["body.weight"]
    assert found.message.startswith("body.weight never got a gradient though body ran.")


def test_where_all_parameters_move_all_is_well(tmp_path: Path) -> None:
    assert judged(_run(tmp_path), "HW105").answer == "healthy"


def test_nine_steps_are_too_few_to_say(tmp_path: Path) -> None:
    assert judged(_run(tmp_path, steps=9), "HW105").answer == "cannot say"


def test_a_frozen_backbone_is_by_design(tmp_path: Path) -> None:
    frozen = made_up.parameter(
        "body.weight", requires_grad=False, got_gradient=False, module_called=True, optimiser=None
    )
    assert judged(_run(tmp_path, frozen), "HW105").answer == "healthy"


@pytest.mark.parametrize(("head", "severity"), [(True, "info"), (False, "warning")])
def test_frozen_weights_in_an_optimiser_are_doubted_where_no_matrix_is_left(
    head: bool, severity: str, tmp_path: Path
) -> None:
    off = {"requires_grad": False, "got_gradient": False, "module_called": True}
    bias = made_up.parameter("body.bias", shape=(4,), module_called=True)
    parameters = [bias, made_up.parameter("body.weight", **off)]
    parameters.append(made_up.parameter("head.weight", **(off if not head else {})))
    pulse = [{"loss": loss, "gradient_norms": [1.0]} for loss in falling()]
    (found,) = _findings(made_up.run(tmp_path, pulse=pulse, info={"parameters": parameters}))
    assert (found.severity, found.causes[0].cause) == (severity, "requires-grad-off")
    assert found.where[0].parameter == "body.weight"


def test_a_module_that_no_loss_depends_on_is_information(tmp_path: Path) -> None:
    unused = made_up.parameter("spare.weight", got_gradient=False, module_called=False)
    (found,) = _findings(_run(tmp_path, unused))
    assert found.severity == "info"


def test_a_teacher_that_no_optimiser_holds_is_information(tmp_path: Path) -> None:
    teacher = made_up.parameter(
        "teacher.weight", got_gradient=False, module_called=True, optimiser=None
    )
    (found,) = _findings(_run(tmp_path, teacher))
    assert found.severity == "info"


def test_a_parameter_with_a_gradient_that_no_optimiser_holds_is_a_warning(tmp_path: Path) -> None:
    lost = made_up.parameter("body.weight", optimiser=None, module_type="Linear")
    (found,) = _findings(_run(tmp_path, lost))
    assert found.causes[0].cause == "not-in-optimiser"
    assert found.severity == "warning"


def test_an_input_that_requires_a_gradient_is_nobodys_parameter(tmp_path: Path) -> None:
    """As in gradient penalties and adversarial examples."""
    assert judged(_run(tmp_path, made_up.parameter("x", optimiser=None)), "HW105").answer == (
        "healthy"
    )


def test_a_parameter_that_a_sampled_graph_holds_is_not_cut_off(tmp_path: Path) -> None:
    """torch.autograd.grad hands gradients out and accumulates none."""
    by_hand = made_up.parameter("body.weight", got_gradient=False, module_called=True)
    rows = [made_up.node(0, -1), made_up.node(1, 0, parameter=1)]
    assert judged(_run(tmp_path, by_hand, sites=rows), "HW105").answer == "healthy"


def test_where_no_optimiser_was_seen_nobody_is_left_out(tmp_path: Path) -> None:
    alone = made_up.parameter("w", optimiser=None)
    pulse = [{"loss": loss} for loss in flat(50)]
    run = made_up.run(tmp_path, pulse=pulse, info={"parameters": [alone]})
    assert judged(run, "HW105").answer == "healthy"


def test_each_network_of_a_gan_is_held_by_its_own_optimiser(tmp_path: Path) -> None:
    other = made_up.parameter("generator.weight", optimiser=1)
    assert judged(_run(tmp_path, other), "HW105").answer == "healthy"


def _rows(lost: list[float], dtype: str, **more: float) -> dict[str, Any]:
    steps = (0, 1, 2, 4, 8, 16, 32)
    return {
        "parameters": [
            {"step": step, "parameter": 1, "learning_rate": 1e-5, "lost_share": share, **more}
            for step, share in zip(steps, lost, strict=True)
        ],
        "info": {
            "parameters": [
                made_up.parameter("head.weight", module_called=True),
                made_up.parameter("body.weight", dtype=dtype),
            ]
        },
    }


def _lost(folder: Path, lost: list[float], dtype: str = "bfloat16", **more: float) -> Run:
    pulse = [{"loss": loss} for loss in flat(50)]
    return made_up.run(folder, pulse=pulse, **_rows(lost, dtype, **more))


def test_updates_lost_to_rounding_in_most_samples_are_a_warning(tmp_path: Path) -> None:
    (found,) = _findings(_lost(tmp_path, [0.97] * 7))
    assert found.causes[0].cause == "update-below-precision"
    assert found.evidence["lost_share"] == pytest.approx(0.97)
    assert "97 % of their updates are lost to bfloat16 rounding" in found.message
    assert found.remedies[0] == "float32-weights"


def test_updates_lost_only_as_the_rate_decays_are_healthy(tmp_path: Path) -> None:
    assert not _findings(_lost(tmp_path, [0.2, 0.2, 0.3, 0.4, 0.6, 0.95, 1.0]))


def test_updates_lost_only_while_the_rate_warms_up_are_healthy(tmp_path: Path) -> None:
    assert not _findings(_lost(tmp_path, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5]))


def test_a_rate_of_zero_loses_nothing(tmp_path: Path) -> None:
    assert not _findings(_lost(tmp_path, [1.0] * 7, learning_rate=0.0))


def test_float32_updates_lost_behind_a_vanished_gradient_are_left_to_that_rule(
    tmp_path: Path,
) -> None:
    layers = [Layer(activation=-0.7, update=1e-9)] * 8
    run = chain(tmp_path, layers, losses=flat(), columns={"lost_share": 0.99})
    assert judged(run, "HW101").answer == "wrong"
    assert judged(run, "HW105").answer == "healthy"
    level = chain(tmp_path, [Layer()] * 8, losses=falling(), columns={"lost_share": 0.99})
    assert judged(level, "HW105").answer == "wrong"
    young = chain(tmp_path, [Layer()] * 8, losses=falling(20), columns={"lost_share": 0.99})
    assert judged(young, "HW105").answer == "healthy"


def test_float32_updates_lost_once_the_numbers_broke_are_left_to_that_rule(tmp_path: Path) -> None:
    """Adam divides by the root of a square that overflowed: its updates are 0."""
    losses = [*falling()[:-1], math.inf]
    run = chain(tmp_path, [Layer()] * 8, losses=losses, columns={"lost_share": 0.99})
    assert judged(run, "HW105").answer == "healthy"
