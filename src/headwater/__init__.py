"""Headwater: the gradient-flow profiler for PyTorch.

Importing this package loads neither torch nor any optional library; each public name is
bound when it is first used.

Example:
    >>> import headwater as hw
    >>> hw.__all__
    ['Run', 'balance_', 'check', 'critical_', 'gain', 'watch']
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headwater.checks.checking import check
    from headwater.initialisers.balance import balance_
    from headwater.initialisers.critical import critical_
    from headwater.runs.reader import Run
    from headwater.session import watch
    from headwater.theory.initialisation import gain

__all__ = ["Run", "balance_", "check", "critical_", "gain", "watch"]
__version__ = "0.1.0"

_HOMES = {
    "Run": "headwater.runs.reader",
    "balance_": "headwater.initialisers.balance",
    "check": "headwater.checks.checking",
    "critical_": "headwater.initialisers.critical",
    "gain": "headwater.theory.initialisation",
    "watch": "headwater.session",
}


class _Package(ModuleType):
    """This package, whose public ``watch`` is not hidden by its own part of that name."""

    def __setattr__(self, name: str, value: object) -> None:
        # An import of headwater.watch.x binds the part here; `headwater run` makes one before
        # the script's own `import headwater`.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'headwater' has no attribute {name!r}; it has {__all__}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
