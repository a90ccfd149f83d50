"""Sixteen members in one value: a vector type for numba, and the operations on it.

LLVM turns a scalar loop over members into vector code only if it can prove much about it, and
calls of exp and tanh stop it altogether. Here the vector is a type of the compiled language, so
nothing has to be proved: ``+ - * /`` on ``Lanes`` are vector instructions, and the functions of
this module become vector code too. A machine whose registers are narrower takes two or four for
one value.

No operation mixes lanes, so what one member computes cannot depend on another. Products and sums
may be fused; nothing else of fast-math is allowed, as NaN and infinity mean something here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from headwater.lab.memory import LANES

FLAGS = ("contract",)

INT32, INT64 = ir.IntType(32), ir.IntType(64)


class LanesType(types.Type):
    """The type of sixteen numbers of one float type."""

    def __init__(self, element: Any) -> None:
        self.element = element
        super().__init__(name=f"Lanes({element})")


@register_model(LanesType)
class LanesModel(models.PrimitiveModel):
    """Lanes as an LLVM vector, in registers and in memory alike."""

    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, vector_of(fe_type.element))


def vector_of(element: Any) -> ir.VectorType:
    """Return LLVM's vector type of a numba float type."""
    return ir.VectorType(ir.FloatType() if element == types.float32 else ir.DoubleType(), LANES)


def full(vector: ir.VectorType, value: float) -> ir.Constant:
    """Return a constant vector of equal lanes."""
    return ir.Constant(vector, [value] * LANES)


def spread(builder: ir.IRBuilder, vector: ir.VectorType, value: Any) -> Any:
    """Return a vector with a scalar of its element type in each lane."""
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, INT32(0))
    mask = ir.Constant(ir.VectorType(INT32, LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)


def _operand(context: Any, builder: Any, value: Any, given: Any, wanted: LanesType) -> Any:
    if isinstance(given, LanesType):
        return value
    scalar = context.cast(builder, value, given, wanted.element)
    return spread(builder, vector_of(wanted.element), scalar)


def _arithmetic(symbol: Callable[[Any, Any], Any], instruction: str) -> None:
    @type_callable(symbol)
    def typed(_context: Any) -> Any:
        def typer(left: Any, right: Any) -> Any:
            found = [side for side in (left, right) if isinstance(side, LanesType)]
            others = [side for side in (left, right) if not isinstance(side, LanesType)]
            if found and all(isinstance(side, types.Number) for side in others):
                return found[0]
            return None

        return typer

    def lowered(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right = (
            _operand(context, builder, value, given, signature.return_type)
            for value, given in zip(arguments, signature.args, strict=True)
        )
        return getattr(builder, instruction)(left, right, flags=FLAGS)

    for pair in (
        (LanesType, LanesType),
        (LanesType, types.Number),
        (types.Number, LanesType),
    ):
        lower_builtin(symbol, *pair)(lowered)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.iadd, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")


@type_callable(operator.neg)
def _typed_negation(_context: Any) -> Any:
    return lambda side: side if isinstance(side, LanesType) else None


@lower_builtin(operator.neg, LanesType)
def _negated(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    return builder.fneg(arguments[0])


class MemoryType(types.Type):
    """The type of an address where numbers of one type lie.

    An array would do, but is seven words wide and counts references; an address is one word. The
    caller keeps the array that it belongs to.
    """

    def __init__(self, element: Any) -> None:
        self.element = element
        super().__init__(name=f"Memory({element})")


@register_model(MemoryType)
class MemoryModel(models.PrimitiveModel):
    """Memory as a pointer."""

    def __init__(self, dmm: Any, fe_type: Any) -> None:
        words = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
        plain = words.get(fe_type.element) or ir.IntType(fe_type.element.bitwidth)
        super().__init__(dmm, fe_type, plain.as_pointer())


@intrinsic
def memory(_typing: Any, array: Any) -> Any:
    """Return where the numbers of a contiguous array lie."""

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return context.make_array(array)(context, builder, value=arguments[0]).data

    return MemoryType(array.dtype)(array), code


@intrinsic
def number(_typing: Any, place: Any, index: Any) -> Any:
    """Return one number of a memory of integers."""

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        at = context.cast(builder, arguments[1], index, types.int64)
        return builder.load(builder.gep(arguments[0], [at]))

    return place.element(place, index), code


def _at(builder: Any, start: Any, index: Any, vector: Any) -> Any:
    first = builder.mul(index, INT64(LANES))
    return builder.bitcast(builder.gep(start, [first]), vector.as_pointer())


def _aligned(element: Any) -> int:
    return 4 if element == types.float32 else 8


@intrinsic
def load(_typing: Any, place: Any, index: Any) -> Any:
    """Return the ``index``-th sixteen numbers of a memory."""

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        at = context.cast(builder, arguments[1], index, types.int64)
        found = _at(builder, arguments[0], at, vector_of(place.element))
        return builder.load(found, align=_aligned(place.element))

    return LanesType(place.element)(place, index), code


@intrinsic
def store(_typing: Any, place: Any, index: Any, lanes: Any) -> Any:
    """Put a value at the ``index``-th sixteen numbers of a memory of the same float type."""

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        at = context.cast(builder, arguments[1], index, types.int64)
        found = _at(builder, arguments[0], at, vector_of(place.element))
        builder.store(arguments[2], found, align=_aligned(place.element))
        return context.get_dummy_value()

    return types.void(place, index, lanes), code


@intrinsic
def splat(_typing: Any, value: Any, like: Any) -> Any:
    """Return a scalar in each lane of a value of the same type as ``like``."""

    def code(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _operand(context, builder, arguments[0], value, like)

    return like(value, like), code


@intrinsic
def gather(_typing: Any, table: Any, rows: Any, first: Any, width: Any, column: Any) -> Any:
    """Return in lane k ``table[rows[first + k] * width + column]``, of two memories."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start, across, down = (
            context.cast(builder, value, given, types.int64)
            for value, given in zip(arguments[2:], signature.args[2:], strict=True)
        )
        found = ir.Constant(vector_of(table.element), ir.Undefined)
        for lane in range(LANES):
            at = builder.gep(arguments[1], [builder.add(start, INT64(lane))])
            row = context.cast(builder, builder.load(at), rows.element, types.int64)
            place = builder.add(builder.mul(row, across), down)
            value = builder.load(builder.gep(arguments[0], [place]))
            found = builder.insert_element(found, value, INT32(lane))
        return found

    return LanesType(table.element)(table, rows, first, width, column), code


@intrinsic
def widened(_typing: Any, lanes: Any) -> Any:
    """Return the same numbers in float64."""
    kind = LanesType(types.float64)

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        if lanes.element == types.float64:
            return arguments[0]
        return builder.fpext(arguments[0], vector_of(types.float64))

    return kind(lanes), code


def _choice(comparison: Callable[..., Any], symbol: str) -> Any:
    def typed(_typing: Any, left: Any, right: Any, yes: Any, no: Any) -> Any:
        kind = next(side for side in (left, right, yes, no) if isinstance(side, LanesType))

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, b, first, second = (
                _operand(context, builder, value, given, kind)
                for value, given in zip(arguments, signature.args, strict=True)
            )
            return builder.select(comparison(builder, symbol, a, b), first, second)

        return kind(left, right, yes, no), code

    return typed


@intrinsic
def if_greater(typing: Any, left: Any, right: Any, yes: Any, no: Any) -> Any:
    """Return ``yes`` where left > right, else ``no``; NaN is not greater."""
    return _choice(ir.IRBuilder.fcmp_ordered, ">")(typing, left, right, yes, no)


@intrinsic
def unless_at_most(typing: Any, left: Any, right: Any, yes: Any, no: Any) -> Any:
    """Return ``no`` where left <= right, else ``yes``; so NaN gives ``yes``."""
    return _choice(ir.IRBuilder.fcmp_unordered, ">")(typing, left, right, yes, no)


@intrinsic
def if_equal(typing: Any, left: Any, right: Any, yes: Any, no: Any) -> Any:
    """Return ``yes`` where left == right, else ``no``; NaN equals nothing."""
    return _choice(ir.IRBuilder.fcmp_ordered, "==")(typing, left, right, yes, no)


def _unary(code_of: Callable[[Any, Any, Any], Any]) -> Any:
    def typed(_typing: Any, lanes: Any) -> Any:
        def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return code_of(builder, arguments[0], lanes.element)

        return lanes(lanes), code

    return typed


def _llvm(name: str) -> Callable[[Any, Any, Any], Any]:
    def code(builder: Any, value: Any, element: Any) -> Any:
        width = 32 if element == types.float32 else 64
        symbol = f"llvm.{name}.v{LANES}f{width}"
        kind = ir.FunctionType(value.type, [value.type])
        function = builder.module.globals.get(symbol) or ir.Function(builder.module, kind, symbol)
        return builder.call(function, [value])

    return code


@intrinsic
def root(typing: Any, lanes: Any) -> Any:
    """Return the square root."""
    return _unary(_llvm("sqrt"))(typing, lanes)


@intrinsic
def size(typing: Any, lanes: Any) -> Any:
    """Return the absolute value."""
    return _unary(_llvm("fabs"))(typing, lanes)
