"""How a rule says places and numbers, so that all rules say them alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from headwater.records import Where

if TYPE_CHECKING:
    from headwater.records import ParameterInfo, Site


def where(site: Site, parameter: str = "") -> Where:
    """Return the user's line of a site, or the library's where the user has none."""
    file, line = (site.user_file, site.user_line) if site.user_file else (site.file, site.line)
    return Where(module=site.module, parameter=parameter, file=file, line=line)


def place(at: Where) -> str:
    """Name a place as a person would.

    Example:
        >>> place(Where(module="net.0", file="/home/me/train.py", line=31))
        'train.py:31 (net.0)'
        >>> place(Where(parameter="net.0.weight"))
        'net.0.weight'
    """
    line = f"{PurePath(at.file).name}:{at.line}" if at.file and at.line else ""
    name = at.parameter or at.module
    if line and name:
        return f"{line} ({name})"
    return line or name or "an unknown line"


def line(at: Where) -> str:
    """Name the line alone, the module where no line is known."""
    return place(Where(file=at.file, line=at.line)) if at.file and at.line else place(at)


def unique(places: Sequence[Where]) -> tuple[Where, ...]:
    """Drop repetitions, keeping the order."""
    return tuple(dict.fromkeys(places))


def percent(share: float) -> str:
    """Write a share.

    Example:
        >>> percent(0.934), percent(0.004), percent(1.0), percent(0.9996)
        ('93 %', '0.4 %', '100 %', '99.9 %')
    """
    if share < 1 and (share > 0.995):
        return f"{min(100 * share, 99.9):.1f} %"
    return f"{100 * share:.1f} %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def names(parameters: Sequence[ParameterInfo], most: int = 3) -> str:
    """List parameters' names, the first few in full.

    Example:
        >>> from headwater.records import ParameterInfo
        >>> layers = [ParameterInfo(name=f"{i}.weight", shape=(2, 2), dtype="float32",
        ...     requires_grad=True) for i in range(5)]
        >>> names(layers)
        '0.weight, 1.weight, 2.weight and 2 more'
    """
    shown = [parameter.name for parameter in parameters[:most]]
    rest = len(parameters) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def count(number: int, one: str, many: str = "") -> str:
    """Write a number of things.

    Example:
        >>> count(1, "layer"), count(3, "layer"), count(2, "matrix", "matrices")
        ('1 layer', '3 layers', '2 matrices')
    """
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"
