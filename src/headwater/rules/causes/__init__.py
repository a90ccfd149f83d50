"""Every cause that a finding can carry, explained: one table for the terminal and the pages.

Example:
    >>> EXPLANATIONS["double-softmax"].do
    'Remove the first.'
"""

from __future__ import annotations

from collections.abc import Mapping

from headwater.rules.causes.explanation import Explanation
from headwater.rules.causes.numbers import NUMBERS
from headwater.rules.causes.signal import SIGNAL
from headwater.rules.causes.sizes import SIZES
from headwater.rules.causes.stalls import STALLS

__all__ = ["EXPLANATIONS", "Explanation"]

EXPLANATIONS: Mapping[str, Explanation] = {**SIGNAL, **SIZES, **STALLS, **NUMBERS}
"""By the cause's name, in the order in which they are listed."""
