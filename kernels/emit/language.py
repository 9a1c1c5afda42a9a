"""The language that instructions are written in: values with Python's operators, which emit LLVM.

A :class:`Value` is a number, or a vector of them, in the program that is being emitted.  Operators
on it emit; Python's own numbers become constants of the other operand's type.  A :class:`Pointer`
is where numbers lie: ``p[i]`` is the number at i, ``p.load(i)`` the vector that begins there.

Loops and branches are decorators.  They run the function below them once, to emit its code, and
its name then stands for what comes out::

    @loop(n_features, zeros)
    def total(t, total):
        return fma(x.load(t * TILE_ROWS), c.broadcast(t), total)

What a loop carries may be a value, or a list or tuple of such things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, TypeAlias

from llvmlite import ir
from numba.core import cgutils

from .cpu import CACHE_LINE, VECTOR_BYTES

FLOAT, DOUBLE = ir.FloatType(), ir.DoubleType()
BIT, BYTE, INT16, INT32, INT64 = (ir.IntType(width) for width in (1, 8, 16, 32, 64))

Number: TypeAlias = "Value | int"

# Where instructions are being emitted, the innermost last; Numba compiles on one thread at a time.
_builders: list[ir.IRBuilder] = []


@contextmanager
def emitting(builder: ir.IRBuilder) -> Iterator[None]:
    """What is written inside is emitted by `builder`."""
    _builders.append(builder)
    try:
        yield
    finally:
        _builders.pop()


def _now() -> ir.IRBuilder:
    return _builders[-1]


def call(name: str, result: ir.Type, *operands: Value, fastmath: tuple[str, ...] = ()) -> Value:
    """Call an LLVM intrinsic."""
    kind = ir.FunctionType(result, [each.ir.type for each in operands])
    function = cgutils.get_or_insert_function(_now().module, kind, name)
    return Value(_now().call(function, [each.ir for each in operands], fastmath=fastmath))


class Kind(NamedTuple):
    """A type of values: that of an element, and the number of lanes; a scalar has none."""

    element: ir.Type
    lanes: int = 0

    @property
    def type(self) -> ir.Type:
        """As LLVM knows it."""
        return ir.VectorType(self.element, self.lanes) if self.lanes else self.element

    @property
    def size(self) -> int:
        """Bytes of an element."""
        if isinstance(self.element, ir.IntType):
            return int(self.element.width) // 8
        return 8 if self.element == DOUBLE else 4

    @property
    def is_float(self) -> bool:
        """Whether elements are floats."""
        return self.element in (FLOAT, DOUBLE)

    @property
    def integers(self) -> Kind:
        """Integers as wide as the elements, which share their masks."""
        return Kind(ir.IntType(8 * self.size), self.lanes)

    @property
    def name(self) -> str:
        """As LLVM's intrinsics call it: v4f64, f32, v8i32."""
        vector = f"v{self.lanes}" if self.lanes else ""
        return f"{vector}{'f' if self.is_float else 'i'}{8 * self.size}"

    def of(self, element: ir.Type) -> Kind:
        """As many lanes of another type."""
        return Kind(element, self.lanes)

    @property
    def nothing(self) -> Value:
        """A vector whose lanes are all to be filled."""
        return Value(ir.Constant(self.type, ir.Undefined))

    def __call__(self, number: Any) -> Value:
        """A constant: the same number in all lanes, or a list of them."""
        if self.lanes:
            number = list(number) if isinstance(number, (list, range)) else [number] * self.lanes
        return Value(ir.Constant(self.type, number))

    def splat(self, scalar: Value) -> Value:
        """A scalar in all lanes."""
        nothing = self.of(scalar.ir.type).nothing
        return shuffle(nothing.with_lane(0, scalar), nothing, [0] * self.lanes)


class Value:
    """A scalar or a vector of the program that is being emitted.

    Integers are signed and do not overflow: ``//`` and ``%`` are for those that are not negative.
    Comparisons with a NaN are false, but for ``!=``.
    """

    __slots__ = ("ir",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: ir.Value) -> None:
        self.ir = value

    @property
    def kind(self) -> Kind:
        """Its type."""
        kind = self.ir.type
        if isinstance(kind, ir.VectorType):
            return Kind(kind.element, kind.count)
        return Kind(kind)

    def _same(self, other: Any) -> ir.Value:
        return other.ir if isinstance(other, Value) else self.kind(other).ir

    def _do(self, floats: str, integers: str, other: Any) -> Value:
        name = floats if self.kind.is_float else integers
        return Value(getattr(_now(), name)(self.ir, self._same(other)))

    def _compare(self, operator: str, other: Any) -> Value:
        if not self.kind.is_float:
            compare = _now().icmp_signed
        else:
            compare = _now().fcmp_unordered if operator == "!=" else _now().fcmp_ordered
        return Value(compare(operator, self.ir, self._same(other)))

    def __add__(self, other: Any) -> Value:
        return self._do("fadd", "add", other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Value:
        return self._do("fsub", "sub", other)

    def __mul__(self, other: Any) -> Value:
        return self._do("fmul", "mul", other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Value:
        return self._do("fdiv", "", other)

    def __floordiv__(self, other: Any) -> Value:
        return self._do("", "sdiv", other)

    def __mod__(self, other: Any) -> Value:
        return self._do("", "srem", other)

    def __and__(self, other: Any) -> Value:
        return self._do("", "and_", other)

    def __or__(self, other: Any) -> Value:
        return self._do("", "or_", other)

    def __lshift__(self, other: Any) -> Value:
        return self._do("", "shl", other)

    def __rshift__(self, other: Any) -> Value:
        return self._do("", "ashr", other)

    def __invert__(self) -> Value:
        return Value(_now().not_(self.ir))

    def __lt__(self, other: Any) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Value:
        return self._compare(">=", other)

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return self._compare("!=", other)

    def to(self, element: ir.Type, *, signed: bool = True) -> Value:
        """The same numbers, rounded or cut, as another type of floats or of integers."""
        own, builder = self.kind, _now()
        if own.element == element:
            return self
        if own.is_float:
            convert = builder.fpext if element == DOUBLE else builder.fptrunc
        elif element in (FLOAT, DOUBLE):
            convert = builder.uitofp
        elif element.width < own.element.width:
            convert = builder.trunc
        else:
            convert = builder.sext if signed else builder.zext
        return Value(convert(self.ir, own.of(element).type))

    def bits_as(self, kind: Kind) -> Value:
        """The same bits as another type."""
        return Value(_now().bitcast(self.ir, kind.type))

    def mask(self) -> Value:
        """A vector of truths as an integer of 64 bits, the first in the lowest."""
        word = self.bits_as(Kind(ir.IntType(self.kind.lanes)))
        return word.to(INT64, signed=False)

    def lane(self, which: int) -> Value:
        """One element of a vector."""
        return Value(_now().extract_element(self.ir, ir.Constant(INT32, which)))

    def with_lane(self, which: int, number: Value) -> Value:
        """The vector with another number in one lane."""
        return Value(_now().insert_element(self.ir, number.ir, ir.Constant(INT32, which)))

    def ones(self) -> Value:
        """How many bits are set."""
        return Value(_now().ctpop(self.ir))

    def lowest_one(self) -> Value:
        """The place of the lowest bit that is set, of which there must be one."""
        return Value(_now().cttz(self.ir, ir.Constant(BIT, 1)))


State: TypeAlias = "Value | Sequence[State]"


class Pointer:
    """Where numbers of one type lie, and how many of them a vector has.

    Vectors that are said to be `aligned` begin at a multiple of their size, or of a register's.
    """

    __slots__ = ("ir", "kind", "shape")

    def __init__(self, pointer: ir.Value, lanes: int | None = None, shape: Any = ()) -> None:
        self.ir = pointer
        scalar = Kind(pointer.type.pointee)
        self.kind = scalar._replace(lanes=lanes or VECTOR_BYTES // scalar.size)
        self.shape: tuple[Value, ...] = shape  # of an array that is an argument

    @property
    def lanes(self) -> int:
        """Elements of a vector."""
        return self.kind.lanes

    def in_lanes(self, lanes: int) -> Pointer:
        """The same place, for vectors of another width."""
        return Pointer(self.ir, lanes, self.shape)

    def cast(self, element: ir.Type) -> Pointer:
        """The same place, and the same number of lanes, for numbers of another type."""
        return Pointer(_now().bitcast(self.ir, element.as_pointer()), self.lanes, self.shape)

    def integers(self) -> Pointer:
        """The same place, for integers as wide as the elements."""
        return self.cast(self.kind.integers.element)

    def at(self, offset: Number) -> Pointer:
        """So many elements behind this place."""
        return Pointer(_now().gep(self.ir, [_word(offset)]), self.lanes)

    def __getitem__(self, offset: Number) -> Value:
        return Value(_now().load(self.at(offset).ir))

    def __setitem__(self, offset: Number, number: Value) -> None:
        _now().store(number.ir, self.at(offset).ir)

    def load(self, offset: Number = 0, lanes: int | None = None, *, aligned: bool = True) -> Value:
        """A vector, of these `lanes` where they are given."""
        kind = self.kind if lanes is None else Kind(self.kind.element, lanes)
        place = _now().bitcast(self.at(offset).ir, kind.type.as_pointer())
        return Value(_now().load(place, align=_alignment(kind, aligned)))

    def store(self, offset: Number, vector: Value, *, aligned: bool = True) -> None:
        """Write a vector, of whatever width."""
        place = _now().bitcast(self.at(offset).ir, vector.ir.type.as_pointer())
        _now().store(vector.ir, place, align=_alignment(vector.kind, aligned))

    def add(self, offset: Number, vector: Value, *, aligned: bool = True) -> None:
        """Add a vector to the one that is there."""
        old = self.load(offset, vector.kind.lanes, aligned=aligned)
        self.store(offset, old + vector, aligned=aligned)

    def broadcast(self, offset: Number = 0) -> Value:
        """One number in all lanes."""
        return self.kind.splat(self[offset])

    def first_of(self, count: Value) -> Value:
        """The first `count` lanes (none when negative), zeros in the others."""
        kind = self.kind
        limit = kind.splat(count.to(kind.integers.element))
        mask = kind.integers(range(kind.lanes)) < limit
        place = Value(_now().bitcast(self.ir, kind.type.as_pointer()))
        align = Kind(INT32)(kind.size)
        name = f"llvm.masked.load.{kind.name}.p0"
        return call(name, kind.type, place, align, mask, kind(0.0))

    def prefetch(self, offset: Number = 0) -> None:
        """Ask for a cache line, which may lie outside of any array."""
        word, builder = Kind(INT32), _now()
        place = builder.bitcast(self.at(offset).ir, BYTE.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, INT32, INT32, INT32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # Into the second-level cache: what comes early would drive out of the first what is in use.
        read, keep, data = (word(value).ir for value in (0, 2, 1))
        builder.call(function, [place, read, keep, data])

    def touch(self, count: Value) -> None:
        """Load one number of each cache line of `count` elements, in the order of memory.

        Which is what the hardware's prefetcher follows.  Loads that nobody uses are kept by LLVM
        only if they are atomic.
        """
        step, words = CACHE_LINE // self.kind.size, self.integers()

        @loop(count // step)
        def _(line: Value) -> None:
            _now().load_atomic(words.at(line * step).ir, "monotonic", align=self.kind.size)


def _alignment(kind: Kind, aligned: bool) -> int:
    return min(kind.lanes * kind.size, VECTOR_BYTES) if aligned and kind.lanes else kind.size


def _word(number: Number) -> ir.Value:
    return number.ir if isinstance(number, Value) else ir.Constant(INT64, number)


def index(number: int) -> Value:
    """A constant index."""
    return Value(ir.Constant(INT64, number))


# --------------------------------------------------------------------------------------------
# Loops and branches


def _leaves(state: Any) -> list[Value]:
    if state is None:
        return []
    if isinstance(state, Value):
        return [state]
    return [leaf for part in state for leaf in _leaves(part)]


def _like(state: Any, leaves: Iterator[Value]) -> Any:
    """The leaves in the form of `state`."""
    if state is None:
        return None
    if isinstance(state, Value):
        return next(leaves)
    return type(state)([_like(part, leaves) for part in state])


def _joined(results: list[tuple[Any, ir.Block]]) -> Any:
    """What comes out of branches that end in these blocks."""
    phis = []
    for values in zip(*(_leaves(result) for result, _ in results), strict=True):
        phi = _now().phi(values[0].ir.type)
        for value, (_, block) in zip(values, results, strict=True):
            phi.add_incoming(value.ir, block)
        phis.append(Value(phi))
    return _like(results[0][0], iter(phis))


def loop(count: Number, state: Any = None) -> Callable[[Callable[..., Any]], Any]:
    """``for i in range(count): state = body(i, state)``, or ``body(i)`` where there is no state."""

    def run(body: Callable[..., Any]) -> Any:
        builder = _now()
        before = builder.block
        head, inside, after = (
            builder.append_basic_block(name) for name in ("head", "body", "after")
        )
        builder.branch(head)
        builder.position_at_end(head)
        place = Value(builder.phi(INT64))
        carried = [Value(builder.phi(value.ir.type)) for value in _leaves(state)]
        builder.cbranch(builder.icmp_signed("<", place.ir, _word(count)), inside, after)
        builder.position_at_end(inside)
        following = body(place) if state is None else body(place, _like(state, iter(carried)))
        starts = [index(0), *_leaves(state)]
        nexts = [place + 1, *_leaves(following)]
        for phi, start, value in zip([place, *carried], starts, nexts, strict=True):
            phi.ir.add_incoming(start.ir, before)
            phi.ir.add_incoming(value.ir, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return _like(state, iter(carried))

    return run


def loop_with_rest(
    count: Number, widths: Sequence[int], state: Any = None, begin: Number = 0
) -> Callable[[Callable[..., Any]], Any]:
    """As :func:`loop`, by several at once, then by fewer: ``body(first, width, state)``.

    From `begin` on, up to `count`.
    """

    def run(body: Callable[..., Any]) -> Any:
        done: Any = begin
        following = state
        for width in widths:

            def some(turn: Value, *state: Any) -> Any:
                return body(done + turn * width, width, *state)

            turns = (count - done) // width
            following = loop(turns, following)(some)
            done = done + turns * width
        return following

    return run


def repeat(state: Any) -> Callable[[Callable[..., Any]], Any]:
    """``state, again = body(state)`` until it is not to be done again; at least once."""

    def run(body: Callable[..., Any]) -> Any:
        builder = _now()
        before = builder.block
        inside, after = (builder.append_basic_block(name) for name in ("again", "after"))
        builder.branch(inside)
        builder.position_at_end(inside)
        carried = [Value(builder.phi(value.ir.type)) for value in _leaves(state)]
        following, again = body(_like(state, iter(carried)))
        for phi, start, value in zip(carried, _leaves(state), _leaves(following), strict=True):
            phi.ir.add_incoming(start.ir, before)
            phi.ir.add_incoming(value.ir, builder.block)
        builder.cbranch(again.ir, inside, after)
        builder.position_at_end(after)
        return following

    return run


def cases(number: Value, keys: Sequence[int]) -> Callable[[Callable[..., Any]], Any]:
    """``body(key)`` for the key that `number` is, and ``body(None)`` if it is none of them."""

    def run(body: Callable[..., Any]) -> Any:
        builder = _now()
        done = builder.append_basic_block("done")
        others = builder.append_basic_block("others")
        switch = builder.switch(number.ir, others)
        results = []
        for key in [*keys, None]:
            block = others
            if key is not None:
                block = builder.append_basic_block(f"case{key}")
                switch.add_case(number.kind(key).ir, block)
            builder.position_at_end(block)
            result = body(key)
            results.append((result, builder.block))
            builder.branch(done)
        builder.position_at_end(done)
        return _joined(results)

    return run


def either(condition: Value) -> Callable[[Callable[..., Any]], Any]:
    """``body(True)`` where the condition holds, else ``body(False)``."""

    def run(body: Callable[..., Any]) -> Any:
        results = []
        with _now().if_else(condition.ir) as branches:
            for branch, holds in zip(branches, (True, False), strict=True):
                with branch:
                    result = body(holds)
                    results.append((result, _now().block))
        return _joined(results)

    return run


def when(condition: Value) -> AbstractContextManager[Any]:
    """What is written inside runs where the condition holds."""
    return _now().if_then(condition.ir)


# --------------------------------------------------------------------------------------------
# Functions


def where(mask: Value, a: Value, b: Any) -> Value:
    """`a` where the mask holds, else `b`."""
    return Value(_now().select(mask.ir, a.ir, a._same(b)))


def either_place(condition: Value, a: Pointer, b: Pointer) -> Pointer:
    """The place `a` where the condition holds, else `b`."""
    return Pointer(_now().select(condition.ir, a.ir, b.ir), a.lanes)


def smaller(a: Value, b: Any) -> Value:
    """`a` where it is below `b`, else `b`."""
    return where(a < b, a, b)


def larger(a: Value, b: Any) -> Value:
    """`a` where it is above `b`, else `b`."""
    return where(a > b, a, b)


def fma(a: Value, b: Any, c: Any) -> Value:
    """``a * b + c``, fused where the CPU can (llvm.fma would call libm where it can not)."""
    b, c = Value(a._same(b)), Value(a._same(c))
    return call(f"llvm.fmuladd.{a.kind.name}", a.ir.type, a, b, c)


def square_root(a: Value) -> Value:
    """The square root, rounded once."""
    return call(f"llvm.sqrt.{a.kind.name}", a.ir.type, a)


def fma_squared(difference: Value, total: Value) -> Value:
    """``difference² + total``."""
    return fma(difference, difference, total)


def shuffle(a: Value, b: Value, picks: Sequence[int]) -> Value:
    """The lanes `picks` of the two vectors side by side."""
    mask = ir.Constant(ir.VectorType(INT32, len(picks)), list(picks))
    return Value(_now().shuffle_vector(a.ir, b.ir, mask))


def reduced_sum(vector: Value) -> Value:
    """The sum of the lanes, in the order that is fastest."""
    kind = vector.kind
    name = f"llvm.vector.reduce.fadd.{kind.name}"
    # reassoc: a tree over the lanes instead of a chain.
    start = Kind(kind.element)(-0.0)
    return call(name, kind.element, start, vector, fastmath=("reassoc",))


def table(name: str, lines: list[list[int]]) -> Pointer:
    """A constant table of bytes, a vector of 8 a line, kept once in a program."""
    module = _now().module
    found = module.globals.get(name)
    if found is None:
        word = ir.VectorType(BYTE, 8)
        kind = ir.ArrayType(word, len(lines))
        found = ir.GlobalVariable(module, kind, name)
        found.initializer = ir.Constant(kind, [ir.Constant(word, line) for line in lines])
        found.global_constant, found.linkage = True, "internal"
    return Pointer(_now().bitcast(found, BYTE.as_pointer()), 8)


def address_of(number: Value) -> Pointer:
    """A place in memory that holds a number."""
    return Pointer(cgutils.alloca_once_value(_now(), number.ir), 1)


def add_atomically(place: Pointer, amount: Value) -> Value:
    """Add to the number at a place that other threads see; what was there before."""
    return Value(_now().atomic_rmw("add", place.ir, amount.ir, ordering="seq_cst"))


def load_afresh(place: Pointer) -> Value:
    """The number at a place that other threads write to, with what was written before it."""
    return Value(_now().load_atomic(place.ir, "acquire", align=place.kind.size))
