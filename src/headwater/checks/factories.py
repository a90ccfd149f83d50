"""Networks from a file: ``FILE:FACTORY``, drawn anew for each seed."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from headwater.errors import ScriptNotFoundError, UsageError


def load(spec: str) -> Callable[[], Any]:
    """Return the factory that ``FILE:FACTORY`` names.

    Raises:
        ScriptNotFoundError: There is no such file.
        UsageError: It cannot be run, or has no such factory.
    """
    file, colon, name = spec.rpartition(":")
    if not colon or not file or not name:
        raise UsageError(f"got {spec!r}; it takes FILE:FACTORY, as in model.py:build")
    module = _run(Path(file))
    found = vars(module).get(name)
    if found is None:
        known = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'nothing'}"
        raise UsageError(f"{file} has no {name!r}; {hint}")
    if isinstance(found, nn.Module):
        return lambda: found
    if not callable(found):
        raise UsageError(
            f"{spec} is {type(found).__name__}; it takes a function that returns a module"
        )
    return _telling(found, spec)


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], n=1)
        raise ScriptNotFoundError(str(path), near=str(path.parent / near[0]) if near else "")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file; give one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be run: {_where(error)}") from error
    return module


def _telling(factory: Callable[..., Any], spec: str) -> Callable[[], Any]:
    def build() -> Any:
        try:
            return factory()
        except Exception as error:
            raise UsageError(f"{spec} raised {_where(error)}") from error

    return build


def _where(error: Exception) -> str:
    """Return an exception with the line of the user's that raised it.

    Example:
        >>> _where(ValueError("no"))
        'ValueError: no'
    """
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    place = f" ({Path(last.filename).name}:{last.lineno})" if last is not None else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


def drawn(factory: Callable[[], Any], seed: int) -> tuple[nn.Module, tuple[Any, ...]]:
    """Return a network of one seed, and what the factory gives besides: a batch, a loss function.

    Raises:
        UsageError: It returned something else.

    Example:
        >>> drawn(lambda: nn.Linear(2, 1), seed=0)
        (Linear(in_features=2, out_features=1, bias=True), ())
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        made = factory()
    model, *rest = made if isinstance(made, tuple | list) else (made,)
    if not isinstance(model, nn.Module) or len(rest) > 2:
        got = ", ".join(type(each).__name__ for each in (model, *rest))
        raise UsageError(
            f"the factory returned {got}; it has to return a module, (module, batch), "
            "or (module, batch, loss function)"
        )
    return model, tuple(rest)
