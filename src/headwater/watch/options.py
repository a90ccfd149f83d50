"""What a user may choose about an observation, and how it is written on a command line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from headwater.errors import BadStepsError, MissingExtraError


@dataclass(frozen=True, kw_only=True)
class Options:
    """How much to observe, and when.

    ``overhead`` is the share of the run's time the observer may take (0.01 is 1 %); ``every``
    samples every Nth step, and steps 1, 2, 4, … before the first N; ``steps`` the steps from the
    first up to, not including, the second, whatever that costs. ``eager_samples`` runs compiled
    regions uncompiled on sampled steps, which opens them but changes those steps' arithmetic.
    ``stop_on`` ends the training where numbers stop being finite, and ``keep_state`` keeps the
    state of that step.
    """

    overhead: float = 0.01
    every: int | None = None
    steps: tuple[int, int] | None = None
    eager_samples: bool = False
    stop_on: Literal["non-finite"] | None = None
    keep_state: bool = False


def need_safetensors(what: str) -> None:
    """Make sure that a state can be kept, without importing what keeps it.

    Raises:
        MissingExtraError: safetensors is not installed; ``what`` asked for it.
    """
    if find_spec("safetensors") is None:
        raise MissingExtraError("safetensors", "state", what)


def parse_overhead(text: str) -> float:
    """Return the share that ``--overhead`` names.

    Raises:
        BadStepsError: It is not between 0 and 1, or 0% and 100%.

    Example:
        >>> parse_overhead("1%"), parse_overhead("0.01"), parse_overhead("0")
        (0.01, 0.01, 0.0)
    """
    number = text.strip()
    scale = 1.0
    if number.endswith("%"):
        number, scale = number[:-1], 100.0
    try:
        share = float(number) / scale
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise BadStepsError("--overhead", text, "a share from 0 to 1 or 0% to 100%, as in 1%")
    return share


def parse_every(text: str) -> int:
    """Return the interval in steps that ``--every`` names.

    Raises:
        BadStepsError: It is not a whole number of at least 1.

    Example:
        >>> parse_every("10")
        10
    """
    if not _is_whole(text) or int(text) < 1:
        raise BadStepsError("--every", text, "a whole number of steps of at least 1, as in 10")
    return int(text)


def parse_steps(text: str) -> tuple[int, int]:
    """Return the first step that ``--steps`` names, and the step after its last.

    Raises:
        BadStepsError: It is not A:B with 0 <= A < B.

    Example:
        >>> parse_steps("0:100")
        (0, 100)
    """
    first, _, end = text.partition(":")
    if not (_is_whole(first) and _is_whole(end) and int(first) < int(end)):
        raise BadStepsError("--steps", text, "A:B with 0 <= A < B, as in 0:100")
    return int(first), int(end)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit()
