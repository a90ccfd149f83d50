"""All that a program leaves, prints and draws, to be compared to the last bit."""

from __future__ import annotations

import random
import warnings
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from programs import Program, bits, leaves


def outcome(
    program: Program,
    block: AbstractContextManager[object],
    capfd: pytest.CaptureFixture[str],
) -> dict[str, Any]:
    torch.manual_seed(11)
    random.seed(11)
    np.random.seed(11)
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with block:
            left = program()
    streams = {"torch": torch.get_rng_state(), "numpy": str(np.random.get_state())}
    found = {path: bits(leaf) for path, leaf in leaves(left)}
    found |= {path: bits(leaf) for path, leaf in leaves(streams)}
    printed = capfd.readouterr()
    return found | {
        "python": random.getstate(),
        "stdout": printed.out,
        "stderr": printed.err,
        "warnings": [(str(each.message), each.filename, each.lineno) for each in warned],
    }
