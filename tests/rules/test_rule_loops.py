"""What is told of a loop through time: its pace, and whether weights or activation set it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chains import Layer, chain, finding, flat

from headwater.records import Finding
from headwater.rules.facts import Facts
from headwater.rules.loops import Pace, by_lag, pace
from headwater.rules.sizes import why_too_large


def forgetting(folder: Path, layer: Layer, **columns: float) -> Finding:
    run = chain(folder, [layer] * 20, losses=flat(), recurrent=True, columns=columns)
    return finding(run, "HW101")


def test_levels_by_lag_fall_by_what_a_call_takes(tmp_path: Path) -> None:
    loop = [Layer(activation=-0.2, weights=-0.1)] * 20
    run = chain(tmp_path, loop, losses=flat(), recurrent=True, columns={"spectral_radius": 0.8})
    facts = Facts(run)
    one = facts.flows[0].newest
    levels = by_lag(one)
    assert len(levels) == 20
    assert np.diff(levels) == pytest.approx(-0.3)
    found = pace(facts, one)
    assert found is not None
    assert found.factor == pytest.approx(10**-0.3)
    assert found.radius == 0.8


def test_weights_that_shrink_are_to_be_drawn_orthogonal(tmp_path: Path) -> None:
    found = forgetting(tmp_path, Layer(activation=-0.05, weights=-0.2), spectral_radius=0.6)
    assert found.evidence["spectral_radius"] == 0.6
    assert found.evidence["factor_a_call"] == pytest.approx(10**-0.25)
    assert "to 0.56 of itself at each" in found.message
    assert "spectral radius is 0.6, so draw them orthogonal" in found.message
    assert found.causes[0].evidence.endswith("times 0.56 a call, spectral radius 0.6")


def test_where_the_activation_takes_it_orthogonal_weights_are_not_advised(tmp_path: Path) -> None:
    found = forgetting(tmp_path, Layer(activation=-0.25), spectral_radius=1.0)
    assert "spectral radius is 1, so that the activation takes most of it" in found.message
    assert "orthogonal" not in found.message


def test_gated_cells_are_told_of_without_a_radius(tmp_path: Path) -> None:
    found = forgetting(tmp_path, Layer(activation=-0.25))
    assert "spectral_radius" not in found.evidence
    assert "radius" not in found.message
    assert found.message.endswith(
        "draw orthogonal recurrent weights, or use a gated cell that starts with its gates open."
    )


def test_growth_is_told_with_its_pace(tmp_path: Path) -> None:
    loop = [Layer(weights=0.3, update=2.0)] * 20
    columns = {"spectral_radius": 2.0}
    run = chain(tmp_path, loop, losses=flat(), recurrent=True, columns=columns)
    found = finding(run, "HW102")
    assert found.causes[0].cause == "recurrent-expansion"
    assert found.evidence["spectral_radius"] == 2.0
    assert ", times 2 a call, spectral radius 2. " in found.message


def test_layers_that_are_no_loop_have_no_pace(tmp_path: Path) -> None:
    facts = Facts(chain(tmp_path, [Layer()] * 20, losses=flat()))
    one = facts.flows[0].newest
    assert len(by_lag(one)) == 0
    assert pace(facts, one) is None


def test_the_weights_share_is_between_none_and_all() -> None:
    def share(factor: float, radius: float) -> float:
        return Pace(calls=20, factor=factor, radius=radius).weights_share

    assert share(0.5, 0.5) == share(0.5, 0.25) == 1
    assert share(0.25, 0.5) == pytest.approx(0.5)
    assert share(0.5, 1.5) == 0
    assert np.isnan(share(0.5, np.nan))
    assert np.isnan(share(1.0, 0.5))


def why_growing(folder: Path, decades: float, radius: float) -> list[str]:
    loop = [Layer(weights=decades / 19, weight_norm=2.0)] * 20
    columns = {"spectral_radius": radius}
    run = chain(folder, loop, losses=flat(), recurrent=True, columns=columns)
    return [cause.cause for cause in why_too_large(Facts(run))]


def test_weights_of_ordinary_size_are_too_large_for_a_long_loop(tmp_path: Path) -> None:
    assert why_growing(tmp_path / "grows", 2.0, 1.3) == ["recurrent-expansion"]
    assert "recurrent-expansion" not in why_growing(tmp_path / "little", 0.5, 1.3)
    assert "recurrent-expansion" not in why_growing(tmp_path / "losses", 2.0, 1.0)
    assert "recurrent-expansion" not in why_growing(tmp_path / "gated", 2.0, np.nan)
