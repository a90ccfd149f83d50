"""What a statement reads, makes and changes, by its names alone."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field

_CHANGING = frozenset(
    {"append", "extend", "insert", "update", "add", "setdefault", "pop", "popitem", "clear",
     "remove", "discard", "appendleft", "put", "sort", "reverse"}
)  # fmt: skip
"""Methods that change a list, a set, a dict or a queue; torch's own end in an underscore."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Names: ``reads`` before it makes them, ``makes`` maybe, makes ``surely``, ``changes``.

    ``self.x`` is a name of its own, besides ``self``.
    """

    reads: frozenset[str] = frozenset()
    makes: frozenset[str] = frozenset()
    surely: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()


def effect(statement: ast.stmt) -> Effect:
    """Return what a statement does to names.

    Example:
        >>> text = "for part in parts: value = f(part); total += value"
        >>> found = effect(ast.parse(text).body[0])
        >>> sorted(found.reads), sorted(found.makes), sorted(found.surely)
        (['f', 'parts', 'total'], ['part', 'total', 'value'], [])
    """
    if isinstance(statement, ast.For | ast.AsyncFor):
        targets = _uses(statement.target)
        body = _block(statement.body)
        inner = Effect(
            reads=body.reads - targets.makes, makes=body.makes | targets.makes, changes=body.changes
        )
        return _all([_uses(statement.iter), _maybe(inner), _maybe(_block(statement.orelse))])
    if isinstance(statement, ast.While):
        body = _maybe(_block([*statement.body, *statement.orelse]))
        return _all([_uses(statement.test), body])
    if isinstance(statement, ast.If):
        one, other = _block(statement.body), _block(statement.orelse)
        both = Effect(
            reads=one.reads | other.reads,
            makes=one.makes | other.makes,
            surely=one.surely & other.surely,
            changes=one.changes | other.changes,
        )
        return _all([_uses(statement.test), both])
    if isinstance(statement, ast.With | ast.AsyncWith):
        items = [_uses(item) for item in statement.items]
        return _all([*items, _block(statement.body)])
    if isinstance(statement, ast.Try):
        handlers = [_maybe(_block(handler.body)) for handler in statement.handlers]
        body = _maybe(_block([*statement.body, *statement.orelse]))
        return _all([body, *handlers, _block(statement.finalbody)])
    return _uses(statement)


def _block(statements: Sequence[ast.stmt]) -> Effect:
    return _all([effect(statement) for statement in statements])


def _all(parts: Sequence[Effect]) -> Effect:
    """Return the effect of parts that run one after the other."""
    reads, makes, surely, changes = set[str](), set[str](), set[str](), set[str]()
    for part in parts:
        reads |= part.reads - surely
        makes |= part.makes
        surely |= part.surely
        changes |= part.changes
    return Effect(
        reads=frozenset(reads),
        makes=frozenset(makes),
        surely=frozenset(surely),
        changes=frozenset(changes),
    )


def _maybe(part: Effect) -> Effect:
    return Effect(reads=part.reads, makes=part.makes, changes=part.changes)


def _uses(node: ast.AST) -> Effect:
    uses = Uses()
    uses.visit(node)
    made = frozenset(uses.makes)
    return Effect(
        reads=frozenset(uses.reads), makes=made, surely=made, changes=frozenset(uses.changes)
    )


@dataclass(slots=True)
class Uses(ast.NodeVisitor):
    """The names in a simple statement or an expression."""

    reads: set[str] = field(default_factory=set)
    makes: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)

    def visit_Name(self, node: ast.Name) -> None:
        """Note a plain name."""
        (self.reads if isinstance(node.ctx, ast.Load) else self.makes).add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Note ``self.x`` as a whole, and its root as read."""
        name = dotted(node)
        if not name:
            self.generic_visit(node)
            return
        (self.reads if isinstance(node.ctx, ast.Load) else self.makes).add(name)
        parts = name.split(".")
        self.reads |= {".".join(parts[:n]) for n in range(1, len(parts))}

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Note that what is indexed is changed where it is assigned to."""
        if not isinstance(node.ctx, ast.Load):
            self.changes.add(dotted(node.value))
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Note that the target is read, too."""
        name = dotted(node.target)
        if name:
            self.reads.add(name)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Note that some methods change what they are called on."""
        if isinstance(node.func, ast.Attribute):
            method = node.func.attr
            if dotted(node.func.value) == "self":  # a method may keep anything in its object
                self.changes.add("self")
            if method in _CHANGING or (method.endswith("_") and not method.endswith("__")):
                self.changes.add(dotted(node.func.value))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Note the function's name, and what its body reads."""
        self.makes.add(node.name)
        body = _block(node.body)
        self.reads |= body.reads - {argument.arg for argument in node.args.args}

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Note what its body reads, its arguments apart."""
        self.reads |= _uses(node.body).reads - {argument.arg for argument in node.args.args}

    def _comprehension(self, node: ast.AST) -> None:
        inner = Uses()
        inner.generic_visit(node)
        self.reads |= inner.reads - inner.makes

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815


def dotted(node: ast.AST) -> str:
    """Return a name or a chain of attributes as text, "" for anything else.

    Example:
        >>> dotted(ast.parse("self.net.loss", mode="eval").body)
        'self.net.loss'
    """
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        root = dotted(node.value)
        return f"{root}.{node.attr}" if root else ""
    return ""
