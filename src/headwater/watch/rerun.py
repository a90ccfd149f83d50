"""The step run again in a copy of the process, operation by operation, from the user's own frames.

The frames that lead to the backward pass are alive below the hook point, and their names hold the
batch. In the copy, the innermost frame that can make the loss anew runs its statements again, from
there up to the backward pass, under the monitor; nothing of it reaches the training.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from headwater.replay.figures import figures, is_finite
from headwater.replay.monitor import Event, Monitor
from headwater.replay.slices import NotReplayable, Slice
from headwater.watch.cuts import cuts_of, tensors_in
from headwater.watch.door import Call
from headwater.watch.names import Names
from headwater.watch.stacks import NOWHERE, STACKS

_MOST_NODES = 200_000
_HOLDERS = (torch.autograd, torch.autograd.graph)
_CLOSE = 1e-3
"""Relative difference of two losses that may come from adding up in another order."""


@dataclass(frozen=True, slots=True)
class RandomState:
    """Torch's generator, and Python's where a step is long enough to ask for it (7 us).

    numpy's takes 30 us to copy, and is hardly ever used between the batch and the loss.
    """

    torchs: Tensor
    pythons: Any = None

    @classmethod
    def now(cls, *, also_pythons: bool) -> RandomState:
        """Return the states as they are."""
        return cls(torch.get_rng_state(), random.getstate() if also_pythons else None)

    def restore(self) -> None:
        """Make them that again."""
        torch.set_rng_state(self.torchs)
        if self.pythons is not None:
            random.setstate(self.pythons)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A step to run again: the pass that broke, and what is known of it.

    ``bad`` are the indices of the parameters whose gradients are not finite.
    """

    call: Call
    names: Names
    in_gradient: bool
    bad: frozenset[int] = frozenset()
    random_state: RandomState | None = None
    frames: tuple[FrameType, ...] = ()


class _Done(BaseException):
    """The backward pass that was looked for is over."""


def _unshare(tensor: Tensor) -> None:
    """Give data a memory of its own: what comes from a worker's process is in one that is shared.

    A forward pass that changes its input in place would change it for the training, too.
    """
    if tensor.is_leaf and tensor.layout is torch.strided and tensor.is_shared():  # type: ignore[no-untyped-call]
        tensor.data = tensor.data.clone()


def run_again(attempt: Attempt) -> dict[str, Any]:
    """Run the step again, here and now: only a copy of the process may do that.

    Returns:
        ``event``: of the monitor as plain data, or None; ``reproduced``: whether the graph, the
        loss and the bad gradients were as before; ``note``: what stood in the way.
    """
    notes: list[str] = []
    for frame in attempt.frames:
        try:
            cuts = cuts_of(frame)
        except NotReplayable as error:
            notes.append(str(error))
            continue
        for cut in cuts:
            found = _Rerun(attempt, frame, cut).run()
            if found.reproduced:
                break
        return found.as_data("; ".join(notes))
    return {"event": None, "reproduced": False, "note": "; ".join(notes) or "no source to run"}


@dataclass(slots=True)
class _Found:
    event: Event | None = None
    reproduced: bool = False
    exact: bool = False
    handed: str = ""
    note: str = ""

    def as_data(self, note: str) -> dict[str, Any]:
        return {
            "event": None if self.event is None else plain_event(self.event),
            "reproduced": self.reproduced,
            "exact": self.exact,
            "handed": self.handed,
            "note": self.note or note,
        }


@dataclass(slots=True)
class _Rerun:
    """One frame's statements, run under the monitor up to the pass that broke."""

    attempt: Attempt
    frame: FrameType
    cut: Slice
    space: dict[str, Any] = field(default_factory=dict)
    found: _Found = field(default_factory=_Found)
    monitor: Monitor = field(init=False)
    wanted: list[str] = field(default_factory=list)

    def run(self) -> _Found:
        self.space = {**self.frame.f_globals, **self.frame.f_locals}
        self.wanted = signature(self.attempt.call.roots)
        self.monitor = Monitor(partial(located, self.attempt.names))
        code = compile(self.cut.module(), self.frame.f_code.co_filename, "exec", dont_inherit=True)
        code = code.replace(co_name=self.frame.f_code.co_name)
        originals = [(owner, vars(owner)["_engine_run_backward"]) for owner in _HOLDERS]
        for owner, original in originals:
            vars(owner)["_engine_run_backward"] = self._catch(original)
        self._prepare()
        try:
            with self.monitor:
                exec(code, self.space)
        except _Done:
            pass
        except Exception as error:
            self.found.note = f"running the step again raised {type(error).__name__}"
        else:
            self.found.note = "running the step again did not come to its backward pass"
        finally:  # another way may be tried after this one
            STACKS.stop()
            STACKS.close(_ignore)
            for owner, original in originals:
                vars(owner)["_engine_run_backward"] = original
        return self.found

    def _prepare(self) -> None:
        """Make the copy what the process was as the step began, but for what it shares."""
        if "torch._dynamo" in sys.modules:
            torch.compiler.set_stance("force_eager")
        if self.attempt.random_state is not None:
            self.attempt.random_state.restore()
        torch.clear_autocast_cache()  # weights that were cast once are cast where one can see it
        for name in self.cut.taken:
            for tensor in tensors_in(self.space.get(name), depth=3):
                _unshare(tensor)
        STACKS.open(_ignore)
        STACKS.start()

    def _catch(self, original: Any) -> Any:
        def run_backward(roots: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
            if not self._is_it(roots, args, kwargs):
                return original(roots, *args, **kwargs)
            self._judge(roots, lambda: original(roots, *args, **kwargs))
            raise _Done

        CATCHING.add(run_backward.__code__)
        return run_backward

    def _is_it(self, roots: Sequence[Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        call = self.attempt.call
        if bool(args[2]) != call.creates_graph or kwargs.get("accumulate_grad", False) == call.is_grad:  # noqa: E501  # fmt: skip
            return False
        made = signature(roots)
        return made == self.wanted or any("Compiled" in name for name in self.wanted)

    def _judge(self, roots: Sequence[Tensor], backward: Callable[[], Any]) -> None:
        attempt, found = self.attempt, self.found
        if _share_a_part(attempt.call.roots, roots):
            found.note = "a part of the loss was made before the statements that can be run again"
            return
        before, after = total(attempt.call.roots), total(roots)
        found.exact = before == after or (math.isnan(before) and math.isnan(after))
        close = found.exact or abs(before - after) <= _CLOSE * max(abs(before), abs(after))
        if not attempt.in_gradient:
            found.reproduced = not math.isfinite(after)
            self._tell([root.detach() for root in roots])
            return
        leaves = [known.tensor() for known in attempt.names.parameters]
        for leaf in leaves:
            if leaf is not None and leaf.is_leaf:
                leaf.grad = None
        results = backward()
        made = {i: leaf.grad for i, leaf in enumerate(leaves)
                if leaf is not None and leaf.is_leaf and leaf.grad is not None}  # fmt: skip
        bad = {index for index, gradient in made.items() if not is_finite(gradient)}
        gone_wrong = [made[index] for index in bad]
        if attempt.call.is_grad:
            gone_wrong += [
                each for each in results or () if each is not None and not is_finite(each)
            ]
        same = bad == attempt.bad or attempt.call.is_grad
        found.reproduced = bool(gone_wrong) and (close or same)  # dropout draws other masks
        found.exact = found.exact and same
        self._tell(gone_wrong)

    def _tell(self, gone_wrong: Sequence[Tensor]) -> None:
        event = self.found.event = self.monitor.producer(gone_wrong)
        if event is not None and event.outside and event.tensor is not None:
            self.found.handed = self._name_of(event.tensor)

    def _name_of(self, tensor: Tensor) -> str:
        """Return what a tensor from outside is: "parameter NAME", "buffer NAME", "data NAME"."""
        infos = self.attempt.names.parameter_infos()
        for info, known in zip(infos, self.attempt.names.parameters, strict=True):
            if same_storage(known.tensor(), tensor):
                return f"parameter {info.name}"
        for name in sorted(self.cut.taken):
            value = self.space.get(name)
            if isinstance(value, nn.Module):
                for path, buffer in value.named_buffers():
                    if same_storage(buffer, tensor):
                        return f"buffer {path}"
        for name in sorted(self.cut.taken):
            if any(
                same_storage(each, tensor) for each in tensors_in(self.space.get(name), depth=3)
            ):
                return f"{'made' if name in self.cut.made else 'data'} {name}"
        return "leaf" if tensor.requires_grad else "data"


def located(names: Names, node: Any) -> dict[str, Any]:
    """Return where an operation stands, as plain data.

    In a backward pass that is where its forward stood; but a backward that the user wrote in
    Python has lines of its own (``by_hand``), and so has what checkpointing runs again.

    Args:
        names: Of the modules.
        node: The autograd node that runs, None in a forward pass.
    """
    place, by_hand = STACKS.place_here(), node is not None and _within_users_code()
    if node is not None and not by_hand:
        place = STACKS.place_of(node)
    root, path = names.path_of(place.module(), place.root()) if place is not NOWHERE else (-1, "")
    return {
        "file": place.user_file or place.file,
        "line": place.user_line if place.user_file else place.line,
        "function": place.function,
        "module": names.full_path(root, path) if root >= 0 else "",
        "by_hand": by_hand,
    }


CATCHING: set[CodeType] = set()
"""What stands between the script's call of backward and what runs within the pass."""


def _within_users_code() -> bool:
    """Whether a frame of the user's, or a library's, runs within the backward pass."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code not in CATCHING:
        if STACKS.is_users(frame.f_code):
            return True
        frame = frame.f_back
    return False


_ALIASES = {"ReshapeAliasBackward0": "ViewBackward0"}
"""What ``reshape`` leaves in a graph, and what it leaves there under a dispatch mode."""


def signature(roots: Sequence[Tensor]) -> list[str]:
    """Return the names of a graph's nodes, in an order that depends on the graph alone."""
    names = [
        node.name() if not isinstance(node, BackwardCFunction) else type(node).__name__
        for node in _nodes(roots)
    ]
    return [_ALIASES.get(name, name) for name in names]


def _share_a_part(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether two graphs have a node in common that is more than a parameter's."""
    common = set(_nodes(one)).intersection(_nodes(other))
    return any(not hasattr(node, "variable") for node in common)


def _nodes(roots: Sequence[Tensor]) -> list[Any]:
    """Return a graph's nodes, each once, in the order in which they are met from the roots on."""
    waiting: list[Any] = [root.grad_fn for root in roots if root.grad_fn is not None]
    met, nodes = set(waiting), list[Any]()
    while waiting and len(nodes) < _MOST_NODES:
        node = waiting.pop()
        nodes.append(node)
        for child, _ in node.next_functions:
            if child is not None and child not in met:
                met.add(child)
                waiting.append(child)
    return nodes


def same_storage(one: Tensor | None, other: Tensor) -> bool:
    """Whether two tensors have their entries in the same place."""
    try:
        return one is not None and one.untyped_storage()._cdata == other.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return one is other


def total(roots: Sequence[Tensor]) -> float:
    """Return the sum of a graph's roots."""
    with torch.no_grad():
        return float(sum(float(root.detach().double().sum().item()) for root in roots))


def plain_event(event: Event) -> dict[str, Any]:
    """Return an event as JSON has it."""
    return {
        "operation": event.operation,
        "node": event.node,
        "place": event.place,
        "inputs": [asdict(each) for each in event.inputs],
        "scalars": list(event.scalars),
        "deliberate": event.deliberate,
        "makes_nan": event.makes_nan,
        "outside": event.outside,
        "tensor": None if event.tensor is None else asdict(figures(event.tensor)),
    }


def _ignore(_error: Exception) -> None:
    """A fault of ours in the copy ends there."""
