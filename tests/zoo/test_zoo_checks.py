"""`hw.check` on every architecture as its library draws it: it answers, and does not cry wolf."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from language import LANGUAGE
from specimen import Specimen
from vision import VISION

import headwater as hw

pytestmark = [
    pytest.mark.zoo,
    pytest.mark.skipif(
        not (find_spec("timm") and find_spec("transformers")),
        reason="pip install 'headwater[test-zoo]'",
    ),
]

COMPLAINED_OF = {
    # Layer scales of 1e-5 let six decades less through than the last layer gets.
    "cait_xxs24_224": ["HW101"],
}
TAKES_MORE = ("whisper",)
"""Its inputs are not those that its loss is made of."""

ZOO = {specimen.name: specimen for specimen in (*VISION, *LANGUAGE)}


@pytest.mark.parametrize("name", [name for name in ZOO if name not in TAKES_MORE])
def test_a_library_s_own_initialisation_is_left_in_peace(name: str) -> None:
    specimen: Specimen = ZOO[name]
    torch.manual_seed(0)
    data = {key: value[:4] for key, value in specimen.data().items()}
    batch = next(iter(data.values())) if name in {one.name for one in VISION} else data
    found = hw.check(lambda: specimen.build().train(), batch, draws=1)
    assert found.layers
    assert [finding.code for finding in found.findings] == COMPLAINED_OF.get(name, [])
