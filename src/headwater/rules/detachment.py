"""Where in the user's source a path of the gradient is cut: the record has its text.

The graph does not show a cut, as what is behind it is not there. But the operation after it is, and
the statement that made its input stands in the same function.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from headwater.records import Where
from headwater.rules.wording import where

if TYPE_CHECKING:
    from headwater.rules.facts import Facts

_CALLS = frozenset({"detach", "detach_", "item", "numpy", "tolist"})
_BLOCKS = frozenset({"no_grad", "inference_mode"})

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module


@dataclass(frozen=True, kw_only=True)
class Detachment:
    """A line that cuts the gradient's path, and by what."""

    line: int
    by: str


def detachments(facts: Facts) -> tuple[Where, ...]:
    """Return the lines that cut off what an operation in the graph is made from, by file and line.

    Of a cut that only feeds a print or a list of losses nothing in the graph is made.
    """
    seen: dict[str, set[int]] = {}
    for site in facts.sites:
        if site.kind != "parameter":
            at = where(site)
            seen.setdefault(at.file, set()).add(at.line)
    found = []
    for file, source in sorted(facts.run.info.sources.items()):
        lines = frozenset(seen.get(file, ()))
        found += [Where(file=file, line=one.line) for one in cuts_before(source, lines)]
    return tuple(found)


@cache
def cuts_before(source: str, seen: frozenset[int]) -> tuple[Detachment, ...]:
    r"""Return the cuts in a source of which lines that were ``seen`` in a graph are made.

    Example:
        >>> source = "h = body(x).detach()\nlog(h.norm().item())\nloss = head(h).sum()\n"
        >>> cuts_before(source, frozenset({3}))
        (Detachment(line=1, by='detach'),)
        >>> cuts_before(source, frozenset({1}))
        ()
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()
    scopes = [node for node in ast.walk(tree) if isinstance(node, _Function)]
    found = {cut.line: cut for scope in scopes for cut in _cuts_in(scope, seen)}
    return tuple(found[line] for line in sorted(found))


def _cuts_in(scope: _Function, seen: frozenset[int]) -> Iterator[Detachment]:
    """Yield the cuts of one function, those of the functions within it left out."""
    nodes = list(_own(scope))
    used = _names_read(nodes, seen)
    for node in nodes:
        if isinstance(node, ast.With):
            name = next((n for item in node.items if (n := _block(item.context_expr))), "")
            if name and _assigned(node) & used:
                yield Detachment(line=node.lineno, by=name)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value:
            by = _outermost(node.value)
            if by and _assigned(node) & used:
                yield Detachment(line=node.lineno, by=by)
        elif isinstance(node, ast.Call) and _lines(node) & seen:
            for argument in node.args:
                if by := _outermost(argument):
                    yield Detachment(line=argument.lineno, by=by)


def _own(scope: _Function) -> Iterator[ast.AST]:
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _outermost(value: ast.expr) -> str:
    """Return what cuts a whole expression off; "" if a part of it stays in the graph."""
    while True:
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            if value.func.attr in _CALLS:
                return value.func.attr
            if value.args and not isinstance(value.args[0], ast.Constant):
                return ""  # a function of a module, or a method that takes another tensor
            value = value.func.value
        elif isinstance(value, ast.Attribute):
            if value.attr == "data":
                return "data"
            return ""
        elif isinstance(value, ast.Subscript):
            value = value.value
        else:
            return ""


def _block(context: ast.expr) -> str:
    call = context.func if isinstance(context, ast.Call) else context
    name = call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "")
    return name if name in _BLOCKS else ""


def _assigned(statement: ast.AST) -> set[str]:
    stored = (ast.Store,)
    return {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, stored)
    }


def _names_read(nodes: list[ast.AST], seen: frozenset[int]) -> set[str]:
    """Return the names that statements on seen lines read."""
    simple = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Return)
    return {
        name.id
        for node in nodes
        if isinstance(node, simple) and _lines(node) & seen
        for name in ast.walk(node)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)
    }


def _lines(node: ast.stmt | ast.expr) -> set[int]:
    return set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
