"""Which source line and which module made an autograd node, asked at the moment it is made.

Anomaly mode calls ``torch.fx.traceback.format_stack`` once for every node of a forward pass and
keeps the answer in ``node.metadata``. While tracing, that one function is ours: instead of
formatting the whole stack as text (about 100 us a node) it looks at the live frames, which also
tells the module, since ``Module._call_impl`` has it as ``self``. The answer is a list of one
string, as autograd expects, that carries a :class:`Place`.
"""

from __future__ import annotations

import functools
import linecache
import re
import sys
import sysconfig
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Literal

import torch
import torch.fx.traceback as fx_traceback
from torch import nn
from torch.autograd.function import BackwardCFunction

from headwater.watch.anomaly import ANOMALY
from headwater.watch.aside import aside, never_compile
from headwater.watch.tracebacks import HIDDEN, hide_frame

_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parents[1])
_DEMO = str(Path(_OURS) / "demo")
_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platlib", "purelib")})
_NEVER_A_MODULE: Callable[[], None] = lambda: None  # noqa: E731

_Key = tuple[str, int, str, str, int, int, str, bool]
Layer = Literal["torch", "function", "call", "compiler", "checkpoint", "library", "user"]


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Where a node was made; one object for each distinct place, compared by identity.

    ``called`` is the function of torch that led there, of those that are written in Python, and
    ``checkpointed`` says that it was made under activation checkpointing.
    """

    file: str = ""
    line: int = 0
    function: str = ""
    user_file: str = ""
    user_line: int = 0
    module: Callable[[], nn.Module | None] = _NEVER_A_MODULE
    root: Callable[[], nn.Module | None] = _NEVER_A_MODULE
    called: str = ""
    checkpointed: bool = False


NOWHERE = Place()

_TORCH_LAYERS: dict[str, Layer] = {
    "/_dynamo/convert_frame.py": "compiler",
    "/utils/checkpoint.py": "checkpoint",
    "/nn/functional.py": "function",
    "/amp/grad_scaler.py": "function",
}


class Trace(list[str]):
    """The one-line traceback that autograd keeps, with the place it stands for."""

    __slots__ = ("place",)

    def __init__(self, place: Place, lines: list[str] | None = None) -> None:
        text = linecache.getline(place.file, place.line).strip()
        line = f'  File "{place.file}", line {place.line}, in {place.function}\n    {text}\n'
        super().__init__([line] if lines is None else lines)
        self.place = place


class Stacks:
    """Answers autograd's question for a stack trace while tracing is on.

    ``start`` and ``stop`` may be nested by several observations; what they replace is put back when
    the last one stops. Where the user wants anomaly mode, nodes keep the whole text as well.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.modules: set[int] = set()  # ids of those that made a node, in the graph or cut off
        self._layers: dict[int, tuple[CodeType, Layer]] = {}
        self._traces: dict[_Key, Trace] = {}
        self._faults: list[Callable[[Exception], None]] = []
        self._original: Any = None
        self._apply: Any = None
        self._call_code = nn.Module._call_impl.__code__

    def start(self, fault: Callable[[Exception], None]) -> None:
        """Begin answering, with anomaly mode on; ``fault`` is told of a fault of ours."""
        self._faults.append(fault)
        if len(self._faults) == 1:
            self._original = fx_traceback.format_stack
            fx_traceback.format_stack = self._answer
            self._apply = BackwardCFunction.apply
            BackwardCFunction.apply = _traced(self._apply)  # type: ignore[method-assign]
            ANOMALY.hold()

    def stop(self, fault: Callable[[Exception], None]) -> None:
        """End answering for one who started, for the last one leave all as the user wishes it."""
        self._faults.remove(fault)
        if not self._faults:
            ANOMALY.release()
            BackwardCFunction.apply = self._apply  # type: ignore[method-assign]
            fx_traceback.format_stack = self._original

    def place_of(self, node: Any) -> Place:
        """Return the place kept in a node, or NOWHERE."""
        kept = node.metadata.get("traceback_")
        if isinstance(kept, Trace):
            return kept.place
        return self._parsed(kept) if kept else NOWHERE

    def _layer(self, code: CodeType) -> Layer:
        known = self._layers.get(id(code))
        if known is not None:
            return known[1]
        layer = self._classify(code)
        self._layers[id(code)] = (code, layer)  # keeping the code keeps its id its own
        return layer

    def _classify(self, code: CodeType) -> Layer:
        name = code.co_filename
        if code is self._call_code:
            return "call"
        if name.startswith(_TORCH):
            return _TORCH_LAYERS.get(name.removeprefix(_TORCH), "torch")
        if name.startswith((_OURS, HIDDEN)) and not name.startswith(_DEMO):
            return "torch"
        if name.startswith(_LIBRARIES) or name.startswith("<frozen"):
            return "library"
        return "user"

    @aside
    def _answer(self) -> list[str]:
        began = time.perf_counter()
        try:
            return self._look()
        except Exception as error:
            for fault in tuple(self._faults):
                fault(error)
            return []
        finally:
            self.seconds += time.perf_counter() - began

    def _look(self) -> list[str]:
        if fx_traceback.should_preserve_node_meta:
            return list(self._original())
        frame: FrameType | None = sys._getframe(2)
        inner = user = None
        module = root = None
        called, checkpointed = "", False
        while frame is not None:
            layer = self._layer(frame.f_code)
            if layer in ("user", "library"):
                inner = inner or frame
                user = user or (frame if layer == "user" else None)
            elif layer == "call":
                root = frame.f_locals["self"]
                module = module if module is not None else root
            elif layer == "function":
                called = called if inner else frame.f_code.co_name
            elif layer == "checkpoint":
                checkpointed = True
            elif layer == "compiler":
                return list(self._original())
            frame = frame.f_back
        where = (inner, user, module, root)
        trace = self._trace(*where, called=called, checkpointed=checkpointed)
        return Trace(trace.place, _unobserved(self._original())) if ANOMALY.wished else trace

    def _trace(
        self,
        inner: FrameType | None,
        user: FrameType | None,
        module: nn.Module | None,
        root: nn.Module | None,
        *,
        called: str,
        checkpointed: bool,
    ) -> Trace:
        file, line = _position(inner)
        user_file, user_line = _position(user)
        function = inner.f_code.co_name if inner else ""
        key = (file, line, function, user_file, user_line, id(module), called, checkpointed)
        trace = self._traces.get(key)
        if trace is None or trace.place.module() is not module:
            place = Place(
                file=file,
                line=line,
                function=function,
                user_file=user_file,
                user_line=user_line,
                module=weakref.ref(module) if module is not None else _NEVER_A_MODULE,
                root=weakref.ref(root) if root is not None else _NEVER_A_MODULE,
                called=called,
                checkpointed=checkpointed,
            )
            trace = self._traces[key] = Trace(place)
            if module is not None:
                self.modules.add(id(module))
        return trace

    def _parsed(self, lines: list[str]) -> Place:
        """Read a traceback that torch formatted: the innermost line outside torch."""
        found = [m for text in lines for m in _FRAME.finditer(text)]
        inner = user = None
        for match in reversed(found):
            name = match["file"]
            if name.startswith((_TORCH, _OURS, HIDDEN)):
                continue
            inner = inner or match
            if not name.startswith((*_LIBRARIES, "<frozen")):
                user = match
                break
        if inner is None:
            return NOWHERE
        where = user or inner
        place = Place(
            file=inner["file"],
            line=int(inner["line"]),
            function=inner["function"],
            user_file=where["file"],
            user_line=int(where["line"]),
        )
        key = (
            place.file,
            place.line,
            place.function,
            place.user_file,
            place.user_line,
            0,
            "",
            False,
        )
        return self._traces.setdefault(key, Trace(place)).place


_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')


def _unobserved(lines: list[str]) -> list[str]:
    """Return a formatted stack as it would be without us: no frames of ours, none before them."""
    files = [match["file"] if (match := _FRAME.search(line)) else "" for line in lines]
    begin = max((n for n, file in enumerate(files, 1) if file == _LAUNCHER), default=0)
    return [
        line
        for line, file in zip(lines[begin:], files[begin:], strict=True)
        if not file.startswith((_OURS, HIDDEN)) or file.startswith(_DEMO)
    ]


def _traced(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Return a custom function's backward that traces what it makes, as checkpointing does.

    The pass around it runs untraced, so that one that fails does not print what we kept; hence the
    mode is off again before an exception leaves.
    """

    @functools.wraps(apply)
    def traced(node: Any, *gradients: Any) -> Any:
        was_on = ANOMALY.on
        ANOMALY.put(on=True)
        try:
            return apply(node, *gradients)
        finally:
            ANOMALY.put(on=was_on)

    hide_frame(traced)
    never_compile(traced)
    return traced


def _position(frame: FrameType | None) -> tuple[str, int]:
    return (frame.f_code.co_filename, frame.f_lineno or 0) if frame is not None else ("", 0)


STACKS = Stacks()
"""The one tracer of the process; anomaly mode is a global switch, so its owner is global too."""
