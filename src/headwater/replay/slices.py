"""Which statements of the user's step make its loss anew.

Pure: from the source of a function and the line it is at, the statements before that line, and a
judge of the values its names have now. What carries a graph must be made again; data, modules and
random numbers are taken as they are. A name whose value was made in the step and then rebound
(``x = model(x)``) cannot be had back, and is refused.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from headwater.errors import HeadwaterError
from headwater.replay.effects import Effect, effect

Judge = Callable[[str], bool]
"""Whether the value that a name has now must be made again."""

_SIMPLE = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return)
_BARRIERS = (ast.For, ast.AsyncFor, ast.While, ast.FunctionDef, ast.AsyncFunctionDef, ast.Module)


class NotReplayable(HeadwaterError):  # noqa: N818  # an answer, not a fault
    """The step's loss cannot be made again from what this frame still has."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Statements to run, in order, the last of which calls backward.

    ``taken`` are the names whose present values they start from, ``made`` those of them that the
    step itself had given a value before.
    """

    body: tuple[ast.stmt, ...]
    taken: frozenset[str]
    made: frozenset[str] = frozenset()

    def module(self) -> ast.Module:
        """Return them as what ``compile`` takes; lines are the source's."""
        return ast.Module(body=list(self.body), type_ignores=[])

    @property
    def lines(self) -> tuple[int, ...]:
        """The first line of each statement."""
        return tuple(statement.lineno for statement in self.body)


def slice_of(
    source: str, function: str, line: int, column: int = -1, *, again: Judge, known: Judge
) -> Slice:
    """Return the slice of ``function`` that ends with the statement at ``line`` and ``column``.

    Args:
        source: The whole file.
        function: Name of the function that runs there, ``<module>`` for the file itself.
        line: Where it is.
        column: Where in the line, in bytes; needed where it has several statements.
        again: Whether a name's value must be made again.
        known: Whether a name has a value now.

    Raises:
        NotReplayable: No statement stands there, or a value that is needed is lost.

    Example:
        >>> text = '''
        ... for x, y in batches:
        ...     out = model(x)
        ...     seen += len(x)
        ...     loss = criterion(out, y)
        ...     loss.backward()
        ... '''
        >>> cut = slice_of(text, "<module>", 6, again={"out", "loss"}.__contains__,
        ...     known=lambda name: True)
        >>> cut.lines, sorted(cut.taken)
        ((3, 5, 6), ['criterion', 'model', 'x', 'y'])
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        raise NotReplayable("the source cannot be read") from None
    scope = _scope(tree, function, (line, column))
    steps = _steps(scope.path)
    body, taken = _resolve(steps, again=again)
    missing = sorted(name for name in taken if not known(name) and not hasattr(builtins, name))
    if missing:
        raise NotReplayable(f"{missing[0]} is not there any more")
    fixed = [_Fit(scope.owner).visit(statement) for statement in body]
    return Slice(
        body=tuple(ast.fix_missing_locations(statement) for statement in fixed),
        taken=frozenset(taken),
        made=frozenset(name for name in taken if any(name in step.uses.makes for step in steps)),
    )


# ---------------------------------------------------------------- finding the place


@dataclass(frozen=True, slots=True)
class _Scope:
    """The blocks from a function's body to a statement, each with the index that leads on."""

    path: tuple[tuple[Sequence[ast.stmt], int, ast.AST], ...]
    owner: str


@dataclass(frozen=True, slots=True)
class _Step:
    """A statement of the step, and what it does to names."""

    statement: ast.stmt
    uses: Effect


def _scope(tree: ast.Module, function: str, at: tuple[int, int]) -> _Scope:
    line = at[0]
    best: tuple[ast.AST, str] | None = (tree, "") if function == "<module>" else None
    for one, owner in _functions(tree, ""):
        if one.name == function and one.lineno <= line <= (one.end_lineno or 0):
            best = (one, owner)  # the innermost comes last
    if best is None:
        raise NotReplayable(f"no function {function} stands at line {line}")
    path: list[tuple[Sequence[ast.stmt], int, ast.AST]] = []
    node: ast.AST = best[0]
    while (found := _into(node, at)) is not None:
        path.append((*found, node))
        node = found[0][found[1]]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            break
    if not path or not isinstance(node, _SIMPLE):
        raise NotReplayable(f"line {line} is in no statement that can be run by itself")
    return _Scope(tuple(path), best[1])


def _functions(
    node: ast.AST, owner: str
) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    for child in ast.iter_child_nodes(node):
        inner = child.name if isinstance(child, ast.ClassDef) else owner
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, owner
        yield from _functions(child, inner)


def _into(node: ast.AST, at: tuple[int, int]) -> tuple[Sequence[ast.stmt], int] | None:
    """Return the block of a statement that holds a place, and the index within it."""
    line, column = at
    for block in _blocks(node):
        for index, statement in enumerate(block):
            first, last = statement.lineno, statement.end_lineno or statement.lineno
            if not first <= line <= last:
                continue
            before = line == first and 0 <= column < statement.col_offset
            after = line == last and column >= (statement.end_col_offset or 0)
            if not before and not after:
                return block, index
    return None


def _blocks(node: ast.AST) -> Iterator[Sequence[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            yield block
    for handler in getattr(node, "handlers", []):
        yield handler.body
    for case in getattr(node, "cases", []):
        yield case.body


def _steps(path: Sequence[tuple[Sequence[ast.stmt], int, ast.AST]]) -> list[_Step]:
    """Return the statements from the beginning of the step to the one that calls backward.

    The step begins where the innermost loop's body does, or the function's. A ``with`` block around
    that one is still open, and so is what it set: entering it once more would do twice what it does
    besides, such as emptying a file.
    """
    first = max(n for n, (_, _, node) in enumerate(path) if isinstance(node, _BARRIERS))
    statements = [each for block, index, _ in path[first:] for each in block[:index]]
    block, index, _ = path[-1]
    return [_Step(each, effect(each)) for each in [*statements, block[index]]]


# ---------------------------------------------------------------- what a statement does


def _resolve(steps: Sequence[_Step], *, again: Judge) -> tuple[list[ast.stmt], set[str]]:
    end = len(steps) - 1
    chosen, taken, met = {end}, set[str](), set[tuple[str, int]]()
    waiting = [(name, end) for name in sorted(steps[end].uses.reads)]
    while waiting:
        name, before = waiting.pop()
        if (name, before) in met:
            continue
        met.add((name, before))
        changed_later = any(name in step.uses.makes for step in steps[before:end])
        if not changed_later and not again(name):
            taken.add(name)
            continue
        makers = _makers(steps, name, before)
        if name == "self" and not changed_later:  # an object of the user's: its attributes count
            taken.add(name)
            chosen.update(makers)
            waiting += [(each, index) for index in makers for each in steps[index].uses.reads]
            continue
        if not makers and not changed_later:
            raise NotReplayable(f"{name} comes with its graph from outside")
        if not makers or name not in steps[makers[-1]].uses.surely:
            raise NotReplayable(f"{name} was given a new value in the step")
        chosen.update(makers)
        waiting += [(each, index) for index in makers for each in steps[index].uses.reads]
    body = [_standing_alone(steps[index].statement) for index in sorted(chosen)]
    return body, {name for name in taken if "." not in name}


def _makers(steps: Sequence[_Step], name: str, before: int) -> list[int]:
    """Return what makes or changes a name before a statement, back to what surely makes it."""
    found: list[int] = []
    for index in range(before - 1, -1, -1):
        uses = steps[index].uses
        if name in uses.makes or name in uses.changes:
            found.append(index)
        if name in uses.surely:
            break
    return found


def _standing_alone(statement: ast.stmt) -> ast.stmt:
    """Return a statement as one that may stand outside of its function."""
    if isinstance(statement, ast.Return) and statement.value is not None:
        return ast.copy_location(ast.Expr(statement.value), statement)
    return statement


class _Fit(ast.NodeTransformer):
    """Makes a method's statements run outside of it: zero-argument super, private names."""

    def __init__(self, owner: str) -> None:
        self._owner = owner.lstrip("_")

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Give ``super()`` the arguments that it finds by itself in a method."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            node.args = [ast.Name("__class__", ast.Load()), ast.Name("self", ast.Load())]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Mangle a private name as the compiler does in a class."""
        self.generic_visit(node)
        if self._owner and node.attr.startswith("__") and not node.attr.endswith("__"):
            node.attr = f"_{self._owner}{node.attr}"
        return node
