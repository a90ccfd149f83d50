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
import os
import re
import sys
import sysconfig
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Literal

import torch
import torch.fx.traceback as fx_traceback
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from headwater.watch.anomaly import ANOMALY
from headwater.watch.aside import aside, never_compile
from headwater.watch.tracebacks import HIDDEN, hide_frame

_TORCH = str(Path(torch.__file__).parent) + os.sep  # which torchvision's does not begin with
_OURS = str(Path(__file__).parents[1]) + os.sep
_DEMO = str(Path(_OURS) / "demo") + os.sep
_LAUNCHER = str(Path(__file__).with_name("launcher.py"))
_LIBRARIES = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platlib", "purelib")})
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
    "_dynamo/convert_frame.py": "compiler",
    "utils/checkpoint.py": "checkpoint",
    "nn/functional.py": "function",
    "amp/grad_scaler.py": "function",
}


class Trace(list[str]):
    """The one-line traceback that autograd keeps, with the place it stands for."""

    __slots__ = ("ours_alone", "place")

    def __init__(self, place: Place, lines: list[str] | None = None) -> None:
        text = linecache.getline(place.file, place.line).strip()
        line = f'  File "{place.file}", line {place.line}, in {place.function}\n    {text}\n'
        super().__init__([line] if lines is None else lines)
        self.place = place
        self.ours_alone = lines is None


class Stacks:
    """Answers autograd's question for a stack trace, to the user without frames of ours.

    ``open`` and ``close``, ``start`` and ``stop`` may be nested by several observations; what they
    replace is put back when the last one is done. Where the user wants anomaly mode, nodes keep the
    whole text as well.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.modules: set[int] = set()  # ids of those that made a node, in the graph or cut off
        self._layers: dict[int, tuple[CodeType, Layer]] = {}
        self._traces: dict[_Key, Trace] = {}
        self._faults: list[Callable[[Exception], None]] = []
        self._tracing = 0
        self._original: Any = None
        self._ours: Any = None
        self._apply: Any = None
        self._traced: Any = None
        self._call_code = nn.Module._call_impl.__code__

    def open(self, fault: Callable[[Exception], None]) -> None:
        """Begin answering; ``fault`` is told of a fault of ours."""
        self._faults.append(fault)
        if len(self._faults) == 1:
            self._original = fx_traceback.format_stack
            self._ours = self._answer
            fx_traceback.format_stack = self._ours

    def close(self, fault: Callable[[Exception], None]) -> None:
        """End answering for one who opened."""
        if fault in self._faults:
            self._faults.remove(fault)
            if not self._faults and fx_traceback.format_stack is self._ours:
                fx_traceback.format_stack = self._original

    def start(self) -> None:
        """Begin tracing, with anomaly mode on."""
        self._tracing += 1
        if self._tracing == 1:
            self._apply = BackwardCFunction.apply
            self._traced = _traced(self._apply)
            BackwardCFunction.apply = self._traced  # type: ignore[method-assign]
            ANOMALY.hold()

    def stop(self) -> None:
        """End tracing for one who started, for the last one leave all as the user wishes it."""
        self._tracing -= 1
        if not self._tracing:
            ANOMALY.release()
            if BackwardCFunction.apply is self._traced:
                BackwardCFunction.apply = self._apply  # type: ignore[method-assign]

    def here(self) -> list[str]:
        """Return the trace of what would be made where we are called from."""
        return self._look()

    def place_here(self) -> Place:
        """Return the place of what would be made where we are called from."""
        trace = self._look()
        return trace.place if isinstance(trace, Trace) else NOWHERE

    def is_users(self, code: CodeType) -> bool:
        """Whether code is the user's or a library's: neither torch's nor ours."""
        return self._layer(code) in ("user", "library")

    @staticmethod
    def label(tensors: Sequence[Tensor | None], trace: list[str]) -> None:
        """Keep a trace in all nodes of the tensors' graphs down to those that have one."""
        waiting: list[Any] = [t.grad_fn for t in tensors if t is not None]
        while waiting:
            node = waiting.pop()
            if node is not None and "traceback_" not in node.metadata:
                node.metadata["traceback_"] = trace
                waiting.extend(child for child, _ in node.next_functions)

    @staticmethod
    def forget(roots: Sequence[Tensor]) -> None:
        """Take from a graph what we kept, where the user wants to be told what torch keeps.

        Anomaly mode that is switched on for the backward pass alone says that it knows nothing.
        """
        if not ANOMALY.wished:
            return
        waiting: list[Any] = [root.grad_fn for root in roots]
        seen: set[Any] = set()
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            waiting.extend(child for child, _ in node.next_functions)
            kept = node.metadata.get("traceback_")
            if isinstance(kept, Trace) and kept.ours_alone:
                del node.metadata["traceback_"]

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
            return _TORCH_LAYERS.get(name.removeprefix(_TORCH).replace(os.sep, "/"), "torch")
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
        if not self._tracing:
            return _unobserved(self._original())
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
                return _unobserved(self._original())
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
