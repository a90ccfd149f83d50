"""Observing changes nothing: weights, losses, random streams, optimiser, hooks, to the last bit."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from language import LANGUAGE
from specimen import Specimen
from training import STEPS, Outcome, differences, train, unobserved
from vision import VISION

import headwater
from headwater.rules import judge

pytestmark = pytest.mark.skipif(
    not (find_spec("timm") and find_spec("transformers")),
    reason="pip install 'headwater[test-zoo]'",
)

ZOO = {specimen.name: specimen for specimen in (*VISION, *LANGUAGE)}
"""Forty from timm, thirty-three from transformers."""

QUICK = (
    "resnet18",  # convolution, residual, in-place ReLU
    "densenet121",  # concatenation
    "convnext_atto",
    "vit_tiny_patch16_224",
    "bert",  # tied embedding and head
    "albert",  # one layer called twice
    "gpt2",
    "mixtral",  # experts
    "mamba",  # a loop over time
    "t5",  # encoder and decoder with one embedding
)


def assert_no_effect(specimen: Specimen, folder: Path) -> None:
    plain = train(specimen, unobserved)
    assert differences(plain, train(specimen, unobserved)) == [], "not deterministic by itself"
    for name, settings in {"default": {}, "every step": {"every": 1}}.items():
        observed = _observed(specimen, folder / name, settings)
        assert differences(plain, observed) == [], name
        assert observed.hooks == plain.hooks, name
        run = headwater.Run.open(folder / name)
        assert run.info.observation["status"] == "complete", run.info.observation["reason"]
        assert run.pulse.num_rows == STEPS, name
        assert len(run.sampled_steps) == STEPS if settings else run.sampled_steps, name
        assert unexplained(run) == {}, name
        assert run.info.expressions == (), name
        wrong = {verdict.code for verdict in judge(run) if verdict.answer == "wrong"}
        assert not wrong & {"HW302", "HW303"}, name


def unexplained(run: headwater.Run) -> dict[str, float]:
    """Return, by parameter, the decades by which the newest ledger misses what was measured."""
    ledger = run.ledger()
    misses = {name: abs(ledger.decades(name) - ledger.measured(name)) for name in ledger.names}
    return {name: miss for name, miss in misses.items() if miss > 1e-5}


def _observed(specimen: Specimen, folder: Path, settings: dict[str, Any]) -> Outcome:
    return train(specimen, partial(headwater.watch, out=folder, **settings))


def test_the_zoo_has_forty_architectures_and_more() -> None:
    assert len(ZOO) >= 40
    assert set(QUICK) <= set(ZOO)


@pytest.mark.parametrize("name", QUICK)
def test_observing_changes_no_bit(name: str, tmp_path: Path) -> None:
    assert_no_effect(ZOO[name], tmp_path)


@pytest.mark.zoo
@pytest.mark.parametrize("name", ZOO)
def test_observing_changes_no_bit_in_the_whole_zoo(name: str, tmp_path: Path) -> None:
    assert_no_effect(ZOO[name], tmp_path)


def test_a_changed_bit_is_seen() -> None:
    specimen = ZOO["gpt2"]
    plain, other = train(specimen, unobserved), train(specimen, unobserved)
    name = next(name for name in other.left if name.startswith("weight"))
    other.left[name].view(-1)[0] = torch.nextafter(other.left[name].view(-1)[0], torch.tensor(9.0))

    assert name in differences(plain, other)
