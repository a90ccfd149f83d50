"""Figures as short text: decades, shares, norms."""

from __future__ import annotations

import math

from headwater.records import Kind

KIND_WORDS: dict[Kind, str] = {
    "weights": "weights",
    "activation": "activ.",
    "normalisation": "norm.",
    "attention": "attent.",
    "junction": "junct.",
    "loss": "loss",
    "precision": "precis.",
    "shape": "shape",
    "compiled": "compil.",
    "parameter": "param.",
    "other": "other",
}
"""Kinds in at most seven cells."""


def decades(value: float | None, places: int = 2) -> str:
    """Return a change in decades, signed; nothing where none was measured.

    Example:
        >>> decades(-0.6123), decades(0.001), decades(float("-inf")), decades(None)
        ('-0.61', '0.00', 'to 0', '')
    """
    if value is None:
        return ""
    if math.isnan(value) or value == math.inf:
        return "nan" if math.isnan(value) else "inf"
    if value == -math.inf:
        return "to 0"
    text = f"{value:+.{places}f}"
    return text[1:] if float(text) == 0 else text


def per_call(calls: int, gain: float | None) -> str:
    """Return calls and the gain of one; nothing for a single call.

    Example:
        >>> per_call(200, -0.0312), per_call(12, -0.61), per_call(1, -0.61), per_call(3, None)
        ('200×-0.031', '12×-0.61', '', '3×')
    """
    if calls == 1:
        return ""
    small = gain is not None and abs(gain) < 0.1
    return f"{calls}×{decades(gain, 3 if small else 2)}"


def share(value: float | None) -> str:
    """Return a share as a whole percentage; a small one does not round to none, nor most to all.

    Example:
        >>> share(0.976), share(0.002), share(0.999), share(0.0), share(None)
        ('98%', '<1%', '99%', '0%', '')
    """
    if value is None or math.isnan(value):
        return ""
    if 0 < value < 0.005:
        return "<1%"
    return "99%" if 0.99 < value < 1 else f"{value:.0%}"


def norm(value: float | None) -> str:
    """Return a norm or a relative update in at most eight cells.

    Example:
        >>> norm(0.0123), norm(0.0), norm(float("nan")), norm(None), norm(3.2e-11)
        ('1.2e-02', '0', 'nan', '', '3.2e-11')
    """
    if value is None:
        return ""
    return f"{value:.1e}" if math.isfinite(value) and value else f"{value:g}"
