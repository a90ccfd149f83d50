"""Hooks on every node of one backward pass, taking the norms of what comes in and what goes out.

A gradient that nothing else joins is measured once: what its parent sent is what the child gets,
unless a hook of the user's changed it on the way, which its address or version then shows. No
gradient is kept: one more reference would change where autograd adds in place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from headwater.watch.aside import aside
from headwater.watch.graph import Plan, Walk
from headwater.watch.statistics import Scalar, combine, entries, norm

Children = tuple[tuple[int, int], ...]

ROOT = -1


@dataclass(slots=True)
class Measured:
    """The norms of one backward pass, by node number; None where a node did not run.

    ``dtypes`` are those of the arriving gradients; ``contributions`` lists, for each node,
    (parent, norm of what it sent here).
    """

    arriving: list[Scalar | None] = field(default_factory=list)
    dtypes: list[torch.dtype | None] = field(default_factory=list)
    elements: list[int] = field(default_factory=list)
    contributions: list[list[tuple[int, Scalar]]] = field(default_factory=list)


@dataclass(slots=True)
class _Leaf:
    """Where gradients end; a pass inside another may reach one that the other reaches too.

    If it was ``empty`` when the pass began, what it holds is the pass's own. Otherwise the
    ``parts`` that came are kept, of leaves known to be reached more than once.
    """

    number: int
    node: Any
    empty: bool
    parts: list[Tensor] = field(default_factory=list)


class Tap:
    """One sampled backward pass: attaches to its nodes, measures, and lets go.

    A backward pass that starts inside another (reentrant checkpointing, a custom function) is
    attached to the same tap, its roots hanging on the node that started it.

    Args:
        fault: Told of a fault of ours.
        shared: Ids of leaves that were reached more than once in one pass; added to.
    """

    def __init__(self, fault: Callable[[Exception], None], shared: set[int]) -> None:
        self.measured = Measured()
        self.seconds = 0.0
        self._shared = shared
        self._leaves: dict[Any, _Leaf] = {}
        self._ends: dict[int, _Leaf] = {}
        self._fault = fault
        self._handles: list[Any] = []
        self._children: list[Children] = []
        self._isometric: list[bool] = []
        self._single: list[bool] = []
        self._marks: dict[int, tuple[int, int]] = {}
        self._inside: list[int] = []

    @property
    def current(self) -> int | None:
        """The node whose Python backward is running now, or None."""
        return self._inside[-1] if self._inside else None

    def attach(self, walk: Walk, plan: Plan, *, virtual_root: bool = False) -> list[int]:
        """Hook all nodes of a walk and return their numbers.

        Numbers follow on each other, except that of a leaf which was attached before.
        """
        measured = self.measured
        base = len(measured.arriving) + virtual_root
        count = len(walk.nodes) + virtual_root
        measured.arriving.extend([None] * count)
        measured.dtypes.extend([None] * count)
        measured.elements.extend([0] * count)
        measured.contributions.extend([] for _ in range(count))
        if virtual_root:
            self._children.append(())
            self._isometric.append(False)
            self._single.append(False)
        numbers = [
            self._end(node, base + index) if operation == "AccumulateGrad" else base + index
            for index, (node, operation) in enumerate(zip(walk.nodes, plan.operations, strict=True))
        ]
        for index, node in enumerate(walk.nodes):
            number = numbers[index]
            children = walk.edges[index]
            if base:
                children = tuple((numbers[c] if c >= 0 else c, slot) for c, slot in children)
            self._children.append(children)
            self._isometric.append(plan.isometric[index])
            self._single.append(plan.contributions[index] == 1)
            if number != base + index:
                continue
            self._handles.append(node.register_hook(partial(self._after, number)))
            if isinstance(node, torch.autograd.function.BackwardCFunction):
                self._handles.append(node.register_prehook(partial(self._before, number)))
        return numbers

    def _end(self, node: Any, number: int) -> int:
        leaf = self._leaves.get(node)
        if leaf is None:
            leaf = _Leaf(number, node, empty=node.variable.grad is None)
            self._leaves[node] = self._ends[number] = leaf
        return leaf.number

    def detach(self) -> None:
        """Remove every hook; may be called twice."""
        self._leaves.clear()
        self._ends.clear()
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()

    def send(self, parent: int, child: int, size: Scalar) -> None:
        """Note a contribution that no hook sees: the gradient a root starts with."""
        self.measured.contributions[child].append((parent, size))

    def capture(self, node: int, gradient: Tensor) -> None:
        """Note a gradient handed back by ``torch.autograd.grad`` instead of arriving at a leaf."""
        if self.measured.arriving[node] is None:
            self.measured.arriving[node] = norm(gradient)
            self.measured.dtypes[node] = gradient.dtype
            self.measured.elements[node] = entries(gradient)

    @aside
    def _before(self, number: int, _grad_outputs: Sequence[Tensor | None]) -> None:
        self._inside.append(number)

    @aside
    def _after(
        self,
        number: int,
        grad_inputs: Sequence[Tensor | None],
        grad_outputs: Sequence[Tensor | None],
    ) -> None:
        began = time.perf_counter()
        try:
            if self._inside and self._inside[-1] == number:
                self._inside.pop()
            if torch.is_grad_enabled():
                with torch.no_grad():
                    self._measure(number, grad_inputs, grad_outputs)
            else:
                self._measure(number, grad_inputs, grad_outputs)
        except Exception as error:
            self._fault(error)
        finally:
            self.seconds += time.perf_counter() - began

    def _measure(
        self,
        number: int,
        grad_inputs: Sequence[Tensor | None],
        grad_outputs: Sequence[Tensor | None],
    ) -> None:
        arriving = self._arrive(number, grad_outputs)
        first = grad_outputs[0] if grad_outputs else None
        isometric = self._isometric[number]
        contributions = self.measured.contributions
        last: Tensor | None = None
        size: Scalar = 0.0
        for gradient, (child, _) in zip(grad_inputs, self._children[number], strict=False):
            if gradient is None or child < 0:
                continue
            if isometric or gradient is first:
                size = arriving
            elif gradient is not last:
                size = norm(gradient)
            last = gradient
            contributions[child].append((number, size))
            if self._single[child]:
                self._marks[child] = _mark(gradient)

    def _arrive(self, number: int, grad_outputs: Sequence[Tensor | None]) -> Scalar:
        present = [gradient for gradient in grad_outputs if gradient is not None]
        measured = self.measured
        measured.elements[number] = sum([entries(gradient) for gradient in present])
        measured.dtypes[number] = present[0].dtype if present else None
        mark = self._marks.pop(number, None)
        if len(present) == 1:
            sent = measured.contributions[number]
            unchanged = mark is not None and len(sent) == 1 and mark == _mark(present[0])
            arriving = sent[0][1] if unchanged else norm(present[0])
        else:
            arriving = combine([norm(gradient) for gradient in present])
        if number in self._ends:
            arriving = self._accumulated(self._ends[number], present, arriving)
        measured.arriving[number] = arriving
        return arriving

    def _accumulated(self, leaf: _Leaf, gradients: list[Tensor], arriving: Scalar) -> Scalar:
        """Return the norm of all that a leaf got in this pass, given that of what came last."""
        before, variable = self.measured.arriving[leaf.number], leaf.node.variable
        if not leaf.empty and id(variable) in self._shared:
            leaf.parts.extend(gradients)
        if before is None:
            return arriving
        self._shared.add(id(variable))
        if leaf.empty and variable.grad is not None:
            return norm(variable.grad)
        if len(leaf.parts) > 1:
            return norm(sum(leaf.parts[1:], leaf.parts[0]))
        return combine([before, arriving])  # the first time, and on top of an older gradient


def _mark(gradient: Tensor) -> tuple[int, int]:
    if type(gradient) is not Tensor or gradient.layout is not torch.strided or gradient.is_nested:
        return (id(gradient), -1)  # no address of its own: measured again
    return (gradient.data_ptr(), gradient._version)
