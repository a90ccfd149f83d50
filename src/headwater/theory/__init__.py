"""What a network's signal and gradient should do, from its description alone.

Nothing here loads torch, reads a file or draws a picture, and each name is bound when first used:
``precision`` and ``spectrum``, which the rules read, come without scipy. Start with
``find_activation``, ``settle``, ``critical_point``, ``forecast`` and ``gain``.

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
    "Activation": "headwater.theory.activations",
    "moment": "headwater.theory.activations",
    "LayerForecast": "headwater.theory.calculus",
    "forecast": "headwater.theory.calculus",
    "CATALOGUE": "headwater.theory.catalogue",
    "find_activation": "headwater.theory.catalogue",
    "settle_correlation": "headwater.theory.correlation",
    "critical_line": "headwater.theory.criticality",
    "critical_point": "headwater.theory.criticality",
    "critical_points": "headwater.theory.criticality",
    "half_stable_points": "headwater.theory.criticality",
    "near_half_stable": "headwater.theory.criticality",
    "Band": "headwater.theory.fluctuation",
    "expect": "headwater.theory.gaussian",
    "gain": "headwater.theory.initialisation",
    "settle": "headwater.theory.meanfield",
    "trajectory": "headwater.theory.meanfield",
    "depth_limit": "headwater.theory.precision",
    "explain_limit": "headwater.theory.precision",
    "sampled_bands": "headwater.theory.sampling",
    "from_function": "headwater.theory.user",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(
            f"module 'headwater.theory' has no attribute {name!r}; it has {__all__}"
        )
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
