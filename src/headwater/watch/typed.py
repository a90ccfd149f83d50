"""What is typed on a line: the graph tells what was computed, not by whom.

A library's own loss leaves the same operations as one written out by hand, and a graph keeps no
constants: whether it was ``1 + x`` or ``1e-8 + x`` stands in the source alone.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import lru_cache

ONE_PLUS, ONE_MINUS, MINUS_ONE = "1 + x", "1 - x", "x - 1"

_OPERATORS: dict[type[ast.operator], str] = {ast.Div: "div", ast.Pow: "pow", ast.Mult: "mul"}


def typed_at(file: str, line: int) -> frozenset[str]:
    """Return what the statement on a line calls and does; nothing where there is no source.

    Functions and methods by name (``log_`` is ``log``), operators as ``div``, ``pow`` and ``mul``,
    and the sums and differences with 1 that a graph cannot tell.

    Example:
        >>> sorted(_typed(("y = torch.log(", "    1 + x.exp())"), 2))
        ['1 + x', 'exp', 'log']
    """
    return _typed(tuple(linecache.getlines(file)), line) if file and line else frozenset()


@lru_cache(maxsize=1024)
def _typed(lines: tuple[str, ...], line: int) -> frozenset[str]:
    statement = _innermost(_tree(lines), line)
    return frozenset(_words(statement)) if statement is not None else frozenset()


@lru_cache(maxsize=8)
def _tree(lines: tuple[str, ...]) -> ast.Module | None:
    try:
        return ast.parse("".join(line if line.endswith("\n") else line + "\n" for line in lines))
    except (SyntaxError, ValueError):  # a notebook's magic, a null byte
        return None


def _innermost(tree: ast.Module | None, line: int) -> ast.stmt | None:
    found: ast.stmt | None = None
    if tree is None:
        return None
    for node in ast.walk(tree):  # outer statements come before inner ones
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno):
            found = node
    return found


def _words(statement: ast.stmt) -> Iterator[str]:
    """Name what a statement does itself, not what the statements in its body do."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        waiting.extend(n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.stmt))
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            yield name.rstrip("_")
        elif isinstance(node, ast.BinOp | ast.AugAssign):
            if type(node.op) in _OPERATORS:
                yield _OPERATORS[type(node.op)]
            yield from _with_one(node)


def _with_one(node: ast.BinOp | ast.AugAssign) -> Iterator[str]:
    left = _is_one(node.left) if isinstance(node, ast.BinOp) else False
    right = _is_one(node.right if isinstance(node, ast.BinOp) else node.value)
    if isinstance(node.op, ast.Add) and (left or right):
        yield ONE_PLUS
    elif isinstance(node.op, ast.Sub) and (left or right):
        yield ONE_MINUS if left else MINUS_ONE


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not isinstance(node.value, bool) and node.value == 1
