"""Torch's anomaly mode with two owners: the script, and us while a step is sampled.

The mode is one switch of the process, and whoever enters ``detect_anomaly`` puts back what it
found there. If that were our setting, it would stay behind for good; so while ours is on, the
script sees and sets a switch of its own, and torch gets both.
"""

from __future__ import annotations

from typing import Any

import torch

from headwater.watch.aside import never_compile

_NAMES = ("is_anomaly_enabled", "is_anomaly_check_nan_enabled", "set_anomaly_enabled")


class Anomaly:
    """Holds the mode between ``hold`` and ``release``."""

    def __init__(self) -> None:
        self.on = False
        self._theirs = (False, True)
        self._torchs: tuple[Any, ...] = ()
        self._replaced: tuple[Any, ...] = ()

    @property
    def wished(self) -> bool:
        """Whether the script wants the mode, and what a failing backward pass then prints."""
        return self._theirs[0] if self._replaced else torch.is_anomaly_enabled()

    def hold(self) -> None:
        """Give the script a switch of its own, and switch ours on."""
        self._torchs = tuple(getattr(torch, name) for name in _NAMES)
        self._theirs = (self._torchs[0](), self._torchs[1]())
        self._replaced = (lambda: self._theirs[0], lambda: self._theirs[1], self._set_theirs())
        for name, function in zip(_NAMES, self._replaced, strict=True):
            never_compile(function)
            setattr(torch, name, function)
        self.put(on=True)

    def release(self) -> None:
        """Switch ours off; the script's own setting is torch's again."""
        self.put(on=False)
        for name, function, torchs in zip(_NAMES, self._replaced, self._torchs, strict=True):
            if getattr(torch, name) is function:
                setattr(torch, name, torchs)
        self._replaced = ()

    def put(self, *, on: bool) -> None:
        """Switch ours, which never checks for NaN; the script's goes before."""
        self.on = on
        self._apply()

    def _apply(self) -> None:
        both = (True, False) if self.on and not self._theirs[0] else self._theirs
        self._torchs[2](*both)

    def _set_theirs(self) -> Any:
        torchs = self._torchs[2]

        def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
            if self._replaced:
                self._theirs = (enabled, check_nan)
                self._apply()
            else:  # somebody kept this function
                torchs(enabled, check_nan)

        return set_anomaly_enabled


ANOMALY = Anomaly()
"""The one mode of the process."""
