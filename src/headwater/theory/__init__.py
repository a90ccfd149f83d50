"""What a network's signal and gradient should do, from its description alone.

Nothing here loads torch, reads a file or draws a picture; each name is bound when it is first used,
so that who needs one table of number formats does not load scipy. Start with ``find_activation``,
``settle``, ``critical_point``, ``forecast`` and ``gain``.

Example:
    >>> from headwater import theory
    >>> theory.settle("tanh", 25 / 9).phase  # calculate_gain("tanh") squared
    'chaotic'
    >>> theory.explain_limit(0.236, "float16")
    'in float16 this gradient is exactly 0 below layer 13 from the end (6e-08 is the smallest)'
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.theory.activations import Activation, moment
    from headwater.theory.calculus import LayerForecast, forecast
    from headwater.theory.catalogue import CATALOGUE, find_activation
    from headwater.theory.correlation import settle_correlation
    from headwater.theory.criticality import (
        critical_line,
        critical_point,
        critical_points,
        half_stable_points,
        near_half_stable,
    )
    from headwater.theory.fluctuation import Band
    from headwater.theory.gaussian import expect
    from headwater.theory.initialisation import gain
    from headwater.theory.meanfield import settle, trajectory
    from headwater.theory.precision import depth_limit, explain_limit
    from headwater.theory.sampling import sampled_bands
    from headwater.theory.user import from_function

__all__ = [
    "CATALOGUE",
    "Activation",
    "Band",
    "LayerForecast",
    "critical_line",
    "critical_point",
    "critical_points",
    "depth_limit",
    "expect",
    "explain_limit",
    "find_activation",
    "forecast",
    "from_function",
    "gain",
    "half_stable_points",
    "moment",
    "near_half_stable",
    "sampled_bands",
    "settle",
    "settle_correlation",
    "trajectory",
]

_HOMES = {
    "Activation": "activations",
    "Band": "fluctuation",
    "CATALOGUE": "catalogue",
    "LayerForecast": "calculus",
    "critical_line": "criticality",
    "critical_point": "criticality",
    "critical_points": "criticality",
    "depth_limit": "precision",
    "expect": "gaussian",
    "explain_limit": "precision",
    "find_activation": "catalogue",
    "forecast": "calculus",
    "from_function": "user",
    "gain": "initialisation",
    "half_stable_points": "criticality",
    "moment": "activations",
    "near_half_stable": "criticality",
    "sampled_bands": "sampling",
    "settle": "meanfield",
    "settle_correlation": "correlation",
    "trajectory": "meanfield",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'headwater.theory' has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
