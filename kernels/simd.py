"""Emits LLVM IR, as `seeding_tiles` and `gaussian_tiles` do: tiles, packing, bits, as intrinsics.

Every intrinsic takes ordinary arrays, so that the same kernel runs compiled and, under
``NUMBA_DISABLE_JIT=1``, as plain Python over the NumPy twin given beside each intrinsic.  The
vector width comes from the CPU that Numba compiles for (``NUMBA_CPU_NAME`` and
``NUMBA_CPU_FEATURES`` included): 64 bytes with AVX-512, 32 with AVX, 16 otherwise (SSE2, NEON;
LLVM makes scalars of them where a CPU has no vectors at all).

Layouts
-------
packed rows
    ``[feature][row]``, 64 rows (:data:`TILE_ROWS`) of one block side by side, centred.
packed centers
    Negated, in groups of 6 and then of 4 centers, ``[group][feature][center]``; see
    :func:`center_groups`.  Negation makes ``|c|²/2 - x·c`` a chain of fused multiply-adds that
    starts at the bias ``|c|²/2``.  Padding centers have the bias +inf, which is never smallest.

Ties go to the lowest index, as in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

TILE_ROWS = 64
ALL_ROWS = np.uint64(2**TILE_ROWS - 1)
CACHE_LINE, LONG_ROW = 64, 384  # bytes; from such rows on, as measured, packing reads twice
WIDE, NARROW = 6, 4  # centers per group
# Bytes by which rows of few features are asked for early: while changed rows are listed and moved,
# no load runs ahead.
FETCHED_AHEAD = 4096
LOW_FEATURES = 3  # up to here, the nearest center is found by code for that very number


def _cpu_features() -> frozenset[str]:
    """Features of the CPU that Numba generates code for, without the leading plus signs."""
    if config.CPU_FEATURES is not None:
        enabled = [name for name in config.CPU_FEATURES.split(",") if name.startswith("+")]
        return frozenset(name[1:] for name in enabled)
    if config.CPU_NAME == "generic":
        return frozenset()
    return frozenset(name for name, on in llvm.get_host_cpu_features().items() if on)


def _is_arm64() -> bool:
    return llvm.get_default_triple().startswith(("aarch64", "arm64"))


CPU_FEATURES = _cpu_features()
VECTOR_BYTES = 64 if "avx512f" in CPU_FEATURES else 32 if "avx" in CPU_FEATURES else 16
# Vectors of rows that a tile keeps in registers beside a group of centers: the accumulators
# (vectors × 6) must leave room for the operands among 32 (AVX-512, NEON) or 16 registers.
ROW_VECTORS = 4 if VECTOR_BYTES == 64 or _is_arm64() else 2
# Up to so many features, the rows themselves stay there, too, and need no packed tile.
IN_REGISTERS = LOW_FEATURES if ROW_VECTORS == 4 else 2


def lanes(dtype: Any) -> int:
    """Elements of `dtype` in one vector register."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def part_rows(dtype: Any) -> int:
    """Rows of a part of a tile: those that are in registers together."""
    return ROW_VECTORS * lanes(dtype)


def round_up(size: int, multiple: int) -> int:
    """Smallest multiple of `multiple` that is not below `size`."""
    return -(-size // multiple) * multiple


def center_groups(n_centers: int) -> tuple[int, int]:
    """Numbers of groups of 6 and of 4 that hold `n_centers` with the least padding."""
    wide, narrow = divmod(n_centers, WIDE)
    if narrow == 0:
        return wide, 0
    # 6a+4b reaches every even number from 4 on: give up a group of 6 where that wastes less.
    if narrow <= 2 and wide:
        return wide - 1, 2
    return (wide, 1) if narrow <= NARROW else (wide + 1, 0)


# --------------------------------------------------------------------------------------------
# Building blocks


class _Emitter:
    """The few vector operations that the tiles are made of, for one element type."""

    def __init__(
        self, builder: ir.IRBuilder, array_type: types.Array, lanes: int | None = None
    ) -> None:
        self.builder = builder
        self.array_type = array_type
        double = array_type.dtype == types.float64
        self.element: ir.Type = ir.DoubleType() if double else ir.FloatType()
        self.size = 8 if double else 4
        self.lanes = lanes or VECTOR_BYTES // self.size
        self.vector = ir.VectorType(self.element, self.lanes)
        # Indices as wide as the elements share their masks.
        self.integer = ir.IntType(64 if double else 32)
        self.integers = ir.VectorType(self.integer, self.lanes)
        self.suffix = f"v{self.lanes}f{64 if double else 32}"
        self.intp = ir.IntType(64)

    def const(self, value: int) -> ir.Constant:
        return ir.Constant(self.intp, value)

    def splat(self, scalar: ir.Value) -> ir.Value:
        kind = ir.VectorType(scalar.type, self.lanes)
        first = self.builder.insert_element(
            ir.Constant(kind, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

    def at(self, pointer: ir.Value, *offset: ir.Value) -> ir.Value:
        """Address of element `offset` (summed) behind `pointer`."""
        total = offset[0]
        for part in offset[1:]:
            total = self.builder.add(total, part)
        return self.builder.gep(pointer, [total])

    def load(self, pointer: ir.Value, *, aligned: bool = True, kind: ir.Type | None = None) -> Any:
        kind = kind or self.vector
        typed = self.builder.bitcast(pointer, kind.as_pointer())
        return self.builder.load(typed, align=self.lanes * self.size if aligned else self.size)

    def store(self, value: ir.Value, pointer: ir.Value) -> None:
        typed = self.builder.bitcast(pointer, value.type.as_pointer())
        self.builder.store(value, typed, align=self.lanes * self.size)

    def store_rounded(self, value: ir.Value, pointer: ir.Value) -> None:
        """Store a vector of floats as what `pointer` points to: the same type, or float32."""
        element, size = pointer.type.pointee, self.size
        if element != self.element:
            value = self.builder.fptrunc(value, ir.VectorType(element, self.lanes))
            size = 4
        typed = self.builder.bitcast(pointer, value.type.as_pointer())
        self.builder.store(value, typed, align=self.lanes * size)

    def broadcast(self, pointer: ir.Value) -> ir.Value:
        return self.splat(self.builder.load(pointer, align=self.size))

    def call(self, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """``a * b + c``, fused where the CPU can (llvm.fma would call libm where it can not)."""
        return self.call(f"llvm.fmuladd.{self.suffix}", self.vector, a, b, c)

    def squared_difference_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """``(a - b)² + c``."""
        difference = self.builder.fsub(a, b)
        return self.multiply_add(difference, difference, c)

    def masked_load(self, pointer: ir.Value, count: ir.Value) -> ir.Value:
        """The first `count` lanes behind `pointer` (none when negative), zeros in the others."""
        iota = ir.Constant(self.integers, list(range(self.lanes)))
        limit = (
            self.splat(self.builder.trunc(count, self.integer))
            if self.size == 4
            else (self.splat(count))
        )
        mask = self.builder.icmp_signed("<", iota, limit)
        typed = self.builder.bitcast(pointer, self.vector.as_pointer())
        zeros = ir.Constant(self.vector, [0.0] * self.lanes)
        align = ir.Constant(ir.IntType(32), self.size)
        name = f"llvm.masked.load.{self.suffix}.p0"
        return self.call(name, self.vector, typed, align, mask, zeros)

    def prefetch(self, pointer: ir.Value) -> None:
        """Ask for the cache line at `pointer`, which may lie outside of any array."""
        word = ir.IntType(32)
        pointer = self.builder.bitcast(pointer, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        # Into the second-level cache: what comes early would drive out of the first what is in use.
        read, keep, data = (ir.Constant(word, value) for value in (0, 2, 1))
        self.builder.call(function, [pointer, read, keep, data])

    def touch(self, pointer: ir.Value, count: ir.Value) -> None:
        """Load one number of each cache line of `count` elements, in the order of memory.

        Which is what the hardware's prefetcher follows.  Loads that nobody uses are kept by LLVM
        only if they are atomic.
        """
        builder = self.builder
        step = CACHE_LINE // self.size
        word = ir.IntType(8 * self.size)
        words = builder.bitcast(pointer, word.as_pointer())

        def line(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            place = builder.gep(words, [builder.mul(index, self.const(step))])
            builder.load_atomic(place, "monotonic", align=self.size)
            return []

        self.loop(builder.sdiv(count, self.const(step)), [], line)

    def shuffle(self, a: ir.Value, b: ir.Value, picks: list[int]) -> ir.Value:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(picks)), picks)
        return self.builder.shuffle_vector(a, b, mask)

    def sums_of(self, vectors: list[ir.Value]) -> ir.Value:
        """One vector with the sum of the lanes of each vector; as many as a power of two."""
        wanted, held, parts = len(vectors), 1, self.lanes
        while len(vectors) > 1 and parts > 1:
            # Lane `part · held + i` holds a part of sum i: of two vectors, halves are added.
            halves = [
                [
                    self.lanes * of + held * part + i
                    for part in range(first, first + parts // 2)
                    for of in range(2)
                    for i in range(held)
                ]
                for first in (0, parts // 2)
            ]
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [
                self.builder.fadd(*(self.shuffle(a, b, picks) for picks in halves))
                for a, b in pairs
            ]
            held, parts = 2 * held, parts // 2
        while len(vectors) > 1:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self.shuffle(a, b, list(range(2 * a.type.count))) for a, b in pairs]
        (total,) = vectors
        while total.type.count > wanted:
            size = total.type.count // 2
            low, high = (list(range(first, first + size)) for first in (0, size))
            total = self.builder.fadd(*(self.shuffle(total, total, h) for h in (low, high)))
        return total

    def loop(
        self,
        count: ir.Value,
        state: list[ir.Value],
        body: Callable[[ir.Value, list[ir.Value]], list[ir.Value]],
    ) -> list[ir.Value]:
        """``for i in range(count): state = body(i, state)`` with the state in registers."""
        builder = self.builder
        before = builder.block
        head = builder.append_basic_block("head")
        inside = builder.append_basic_block("body")
        after = builder.append_basic_block("after")
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(self.intp)
        carried = [builder.phi(value.type) for value in state]
        builder.cbranch(builder.icmp_signed("<", index, count), inside, after)
        builder.position_at_end(inside)
        result = body(index, list(carried))
        following = builder.add(index, self.const(1))
        for phi, start, value in zip(
            [index, *carried], [self.const(0), *state], [following, *result], strict=True
        ):
            phi.add_incoming(start, before)
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return list(carried)


def _data(context: Any, builder: ir.IRBuilder, array_type: types.Array, value: ir.Value) -> Any:
    return context.make_array(array_type)(context, builder, value).data


def _pointers(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> list[Any]:
    """Arguments of an intrinsic with each array replaced by the address of its data."""
    return [
        _data(context, builder, kind, value) if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


def _is_float_array(*kinds: Any) -> bool:
    return all(
        isinstance(kind, types.Array) and kind.dtype in (types.float32, types.float64)
        for kind in kinds
    )


# --------------------------------------------------------------------------------------------
# Tiles with lanes over rows: 64 packed rows against packed centers

Epilogue = Callable[[ir.Value, ir.Value, list[list[ir.Value]]], None]


def _emit_tile(
    emit: _Emitter,
    packed: ir.Value,
    centers: ir.Value,
    groups: tuple[ir.Value, ir.Value],
    n_features: ir.Value,
    start: Callable[[ir.Value], ir.Value],
    step: Callable[[ir.Value, ir.Value, ir.Value], ir.Value],
    epilogue: Epilogue,
) -> None:
    """Run ``step(row vector, center, accumulator)`` over all features, for each group of centers.

    `epilogue` receives the first row, the first center and the accumulators ``[center][vector]``.
    """
    builder = emit.builder
    rows_at_once = ROW_VECTORS * emit.lanes
    base, first_center = emit.const(0), emit.const(0)
    for width, count in zip((WIDE, NARROW), groups, strict=True):
        stride = builder.mul(emit.const(width), n_features)

        def over_groups(
            group: ir.Value,
            _: list[ir.Value],
            width: int = width,
            stride: ir.Value = stride,
            base: ir.Value = base,
            first_center: ir.Value = first_center,
        ) -> list[ir.Value]:
            panel = emit.at(centers, base, builder.mul(group, stride))
            center = builder.add(first_center, builder.mul(group, emit.const(width)))

            def over_rows(part: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
                row = builder.mul(part, emit.const(rows_at_once))
                own_rows = emit.at(packed, row)

                def over_features(t: ir.Value, flat: list[ir.Value]) -> list[ir.Value]:
                    source = emit.at(own_rows, builder.mul(t, emit.const(TILE_ROWS)))
                    vectors = [
                        emit.load(emit.at(source, emit.const(v * emit.lanes)))
                        for v in range(ROW_VECTORS)
                    ]
                    column = emit.at(panel, builder.mul(t, emit.const(width)))
                    result = []
                    for j in range(width):
                        value = emit.broadcast(emit.at(column, emit.const(j)))
                        for v in range(ROW_VECTORS):
                            result.append(step(vectors[v], value, flat[j * ROW_VECTORS + v]))
                    return result

                initial = []
                for j in range(width):
                    initial += [start(builder.add(center, emit.const(j)))] * ROW_VECTORS
                flat = emit.loop(n_features, initial, over_features)
                sums = [flat[j * ROW_VECTORS : (j + 1) * ROW_VECTORS] for j in range(width)]
                epilogue(row, center, sums)
                return []

            emit.loop(emit.const(TILE_ROWS // rows_at_once), [], over_rows)
            return []

        emit.loop(count, [], over_groups)
        base = builder.add(base, builder.mul(count, stride))
        first_center = builder.add(first_center, builder.mul(count, emit.const(width)))


def _fill(emit: _Emitter, pointer: ir.Value, vector: ir.Value) -> None:
    """Set the 64 elements behind `pointer` to `vector`."""
    for row in range(0, TILE_ROWS, emit.lanes):
        emit.store(vector, emit.at(pointer, emit.const(row)))


def _keep_smallest(emit: _Emitter, best: ir.Value, index: ir.Value) -> Epilogue:
    """Epilogue: running minimum and its lowest index.

    The centers of a group play a knock-out tournament first, so that the chain from group to
    group, which runs through memory, is one comparison long.
    """
    builder = emit.builder

    def epilogue(row: ir.Value, center: ir.Value, sums: list[list[ir.Value]]) -> None:
        number = builder.trunc(center, emit.integer) if emit.size == 4 else center
        first = emit.splat(number)
        for v in range(ROW_VECTORS):
            here = builder.add(row, emit.const(v * emit.lanes))
            players = [
                (accumulators[v], ir.Constant(emit.integers, [j] * emit.lanes))
                for j, accumulators in enumerate(sums)
            ]
            while len(players) > 1:
                winners = []
                for (score, where), (other, there) in zip(
                    players[::2], players[1::2], strict=False
                ):
                    less = builder.fcmp_ordered("<", other, score)  # the lower index wins ties
                    winners.append(
                        (builder.select(less, other, score), builder.select(less, there, where))
                    )
                players = winners + players[len(players) - len(players) % 2 :]
            ((score, where),) = players
            smallest, so_far = emit.at(best, here), emit.at(index, here)
            old, old_where = emit.load(smallest), emit.load(so_far, kind=emit.integers)
            less = builder.fcmp_ordered("<", score, old)
            emit.store(builder.select(less, score, old), smallest)
            emit.store(builder.select(less, builder.add(first, where), old_where), so_far)

    return epilogue


def _keep_two_smallest(
    emit: _Emitter, best: ir.Value, index: ir.Value, second: ir.Value
) -> Epilogue:
    """Epilogue: running minimum, its lowest index, and the second smallest score."""
    builder = emit.builder

    def epilogue(row: ir.Value, center: ir.Value, sums: list[list[ir.Value]]) -> None:
        number = builder.trunc(center, emit.integer) if emit.size == 4 else center
        first = emit.splat(number)
        for v in range(ROW_VECTORS):
            here = builder.add(row, emit.const(v * emit.lanes))
            smallest = emit.load(emit.at(best, here))
            where = emit.load(emit.at(index, here), kind=emit.integers)
            runner_up = emit.load(emit.at(second, here))
            for j, accumulators in enumerate(sums):
                score = accumulators[v]
                candidate = builder.add(first, ir.Constant(emit.integers, [j] * emit.lanes))
                less = builder.fcmp_ordered("<", score, smallest)
                closer = builder.fcmp_ordered("<", score, runner_up)
                kept = builder.select(closer, score, runner_up)
                runner_up = builder.select(less, smallest, kept)
                smallest = builder.select(less, score, smallest)
                where = builder.select(less, candidate, where)
            emit.store(smallest, emit.at(best, here))
            emit.store(where, emit.at(index, here))
            emit.store(runner_up, emit.at(second, here))

    return epilogue


def _emit_low_search(
    emit: _Emitter, vectors: list[list[ir.Value]], pointers: list[ir.Value], *, two: bool
) -> list[list[ir.Value]]:
    """Look through all centers for the rows whose features ``vectors[feature][v]`` holds.

    Returns their smallest scores, the numbers of those centers, and where `two` are wanted the
    second smallest scores: ``[v]`` each.  Rows, minima and numbers all stay in registers while the
    centers pass by one at a time; nothing but centers is read.
    """
    builder = emit.builder
    centers, bias, n_wide, n_narrow = pointers
    n_features = len(vectors)
    infinity = ir.Constant(emit.vector, [float("inf")] * emit.lanes)
    nowhere = ir.Constant(emit.integers, [0] * emit.lanes)
    one = ir.Constant(emit.integers, [1] * emit.lanes)

    def one_center(
        start: ir.Value, coordinates: list[ir.Value], state: list[ir.Value]
    ) -> list[ir.Value]:
        smallest, where, others = (state[i * ROW_VECTORS : (i + 1) * ROW_VECTORS] for i in range(3))
        number = state[-1]
        for v in range(ROW_VECTORS):
            score = start
            for t, value in enumerate(coordinates):
                score = emit.multiply_add(vectors[t][v], value, score)
            less = builder.fcmp_ordered("<", score, smallest[v])
            if two:
                loser = builder.select(less, smallest[v], score)
                closer = builder.fcmp_ordered("<", loser, others[v])
                others[v] = builder.select(closer, loser, others[v])
            smallest[v] = builder.select(less, score, smallest[v])
            where[v] = builder.select(less, number, where[v])
        return [*smallest, *where, *(others if two else []), builder.add(number, one)]

    def over_groups(group: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
        # One code for both widths: less to compile.
        state, (base, center) = state[:-2], state[-2:]
        wide = builder.icmp_signed("<", group, n_wide)
        width = builder.select(wide, emit.const(WIDE), emit.const(NARROW))
        panel = emit.at(centers, base)

        def two_centers(pair: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
            for which in range(2):
                j = builder.add(builder.mul(pair, emit.const(2)), emit.const(which))
                start = emit.broadcast(emit.at(bias, center, j))
                coordinates = [
                    emit.broadcast(emit.at(panel, builder.mul(width, emit.const(t)), j))
                    for t in range(n_features)
                ]
                state = one_center(start, coordinates, state)
            return state

        state = emit.loop(builder.lshr(width, emit.const(1)), state, two_centers)
        following = builder.add(base, builder.mul(width, emit.const(n_features)))
        return [*state, following, builder.add(center, width)]

    # The number of the center is counted in a vector: as a scalar it would be broadcast anew,
    # under a mask, for every vector of rows.
    runners_up = [infinity] * (ROW_VECTORS if two else 0)
    state = [infinity] * ROW_VECTORS + [nowhere] * ROW_VECTORS + runners_up + [nowhere]
    n_groups = builder.add(n_wide, n_narrow)
    state = emit.loop(n_groups, [*state, emit.const(0), emit.const(0)], over_groups)
    return [state[i * ROW_VECTORS : (i + 1) * ROW_VECTORS] for i in range(3 if two else 2)]


def _emit_nearest_low(
    emit: _Emitter, pointers: list[ir.Value], n_features: int, second: ir.Value | None
) -> None:
    """Nearest centers for a fixed, small number of features; scores of the `second`, if wanted."""
    builder = emit.builder
    packed, centers, bias, n_wide, n_narrow, _, best, index = pointers
    rows_at_once = ROW_VECTORS * emit.lanes

    def over_rows(part: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        row = builder.mul(part, emit.const(rows_at_once))
        vectors = [
            [
                emit.load(emit.at(packed, row, emit.const(t * TILE_ROWS + v * emit.lanes)))
                for v in range(ROW_VECTORS)
            ]
            for t in range(n_features)
        ]
        found = _emit_low_search(
            emit, vectors, [centers, bias, n_wide, n_narrow], two=second is not None
        )
        for results, target in zip(found, (best, index, second), strict=False):
            for v, result in enumerate(results):
                emit.store(result, emit.at(target, row, emit.const(v * emit.lanes)))
        return []

    emit.loop(emit.const(TILE_ROWS // rows_at_once), [], over_rows)


def _emit_scores(emit: _Emitter, pointers: list[ir.Value], second: ir.Value | None) -> None:
    packed, centers, bias, n_wide, n_narrow, n_features, best, index = pointers
    infinity = ir.Constant(emit.vector, [float("inf")] * emit.lanes)
    _fill(emit, best, infinity)
    _fill(emit, index, ir.Constant(emit.integers, [0] * emit.lanes))
    epilogue = _keep_smallest(emit, best, index)
    if second is not None:
        _fill(emit, second, infinity)
        epilogue = _keep_two_smallest(emit, best, index, second)
    _emit_tile(
        emit,
        packed,
        centers,
        (n_wide, n_narrow),
        n_features,
        start=lambda center: emit.broadcast(emit.at(bias, center)),
        step=emit.multiply_add,
        epilogue=epilogue,
    )


def _emit_nearest(
    emit: _Emitter, pointers: list[ir.Value], second: ir.Value | None = None, least: int = 1
) -> None:
    """Dispatch on the number of features: from `least` up to 3 have loops of their own."""
    builder = emit.builder
    done = builder.append_basic_block("scored")
    many = builder.append_basic_block("many_features")
    few = builder.switch(pointers[5], many)
    for n_features in range(least, LOW_FEATURES + 1):
        case = builder.append_basic_block(f"scores{n_features}")
        few.add_case(emit.const(n_features), case)
        builder.position_at_end(case)
        _emit_nearest_low(emit, pointers, n_features, second)
        builder.branch(done)
    builder.position_at_end(many)
    _emit_scores(emit, pointers, second)
    builder.branch(done)
    builder.position_at_end(done)


def _search_of_tile(packed: Any, centers: Any, bias: Any, *results: Any, least: int = 1) -> Any:
    """What the intrinsics are that search a tile for ``best, index`` and, if given, ``second``."""
    best, _, *second = results
    if not _is_float_array(packed, centers, bias, best, *second):
        return None
    n = types.intp
    signature = types.void(packed, centers, bias, n, n, n, *results)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0])
        pointers = _pointers(context, builder, signature, arguments)
        _emit_nearest(emit, pointers[:8], pointers[8] if second else None, least)
        return context.get_dummy_value()

    return signature, codegen


def _nearest_in_tile(
    typing_context: Any,
    packed: Any,
    centers: Any,
    bias: Any,
    n_wide: Any,
    n_narrow: Any,
    n_features: Any,
    best: Any,
    index: Any,
) -> Any:
    """Nearest center of each of 64 packed rows: ``best`` and ``index``, both written.

    `packed` (features, 64), `centers` packed and `bias` (padded centers,) are read; `best` (64,)
    receives the smallest ``|c|²/2 - x·c`` and `index` (64,) the bits of the lowest center that has
    it, an integer as wide as the dtype that all arrays share.  All are aligned.
    """
    return _search_of_tile(packed, centers, bias, best, index)


def _nearest_two_in_tile(
    typing_context: Any,
    packed: Any,
    centers: Any,
    bias: Any,
    n_wide: Any,
    n_narrow: Any,
    n_features: Any,
    best: Any,
    index: Any,
    second: Any,
) -> Any:
    """As :func:`nearest_in_tile`, and the second smallest score of each row into `second` (64,)."""
    return _search_of_tile(packed, centers, bias, best, index, second)


def _nearest_of_many(
    typing_context: Any,
    packed: Any,
    centers: Any,
    bias: Any,
    n_wide: Any,
    n_narrow: Any,
    n_features: Any,
    best: Any,
    index: Any,
) -> Any:
    """As :func:`nearest_in_tile`, without the code for up to `IN_REGISTERS` features.

    Which takes long to compile, and of which :func:`nearest_of_low` is the faster form.
    """
    return _search_of_tile(packed, centers, bias, best, index, least=IN_REGISTERS + 1)


def _nearest_two_of_many(
    typing_context: Any,
    packed: Any,
    centers: Any,
    bias: Any,
    n_wide: Any,
    n_narrow: Any,
    n_features: Any,
    best: Any,
    index: Any,
    second: Any,
) -> Any:
    """As :func:`nearest_two_in_tile`; compare :func:`nearest_of_many`."""
    return _search_of_tile(packed, centers, bias, best, index, second, least=IN_REGISTERS + 1)


def _emit_nearest_in_row(emit: _Emitter, pointers: list[ir.Value]) -> ir.Value:
    """Number of the center nearest to one row; vector lanes are the centers of a group.

    Each score is the chain of multiply-adds that it is in the tile, so it is the same bits.
    """
    builder = emit.builder
    x, centers, bias, n_wide, n_narrow, n_features = pointers
    infinity = ir.Constant(emit.element, float("inf"))
    nearest = (infinity, emit.const(0))
    base, first_center = emit.const(0), emit.const(0)
    for width, n_groups in ((WIDE, n_wide), (NARROW, n_narrow)):
        group = _Emitter(builder, emit.array_type, width)
        stride = builder.mul(emit.const(width), n_features)
        lane_numbers = ir.Constant(ir.VectorType(emit.intp, width), list(range(width)))

        def over_groups(
            batch: ir.Value,
            state: list[ir.Value],
            start: ir.Value,
            together: int,
            group: _Emitter = group,
            width: int = width,
            stride: ir.Value = stride,
            lane_numbers: ir.Constant = lane_numbers,
            base: ir.Value = base,
            first_center: ir.Value = first_center,
        ) -> list[ir.Value]:
            first = builder.add(start, builder.mul(batch, emit.const(together)))
            numbers = [builder.add(first, emit.const(i)) for i in range(together)]
            panels = [emit.at(centers, base, builder.mul(n, stride)) for n in numbers]
            places = [builder.add(first_center, builder.mul(n, emit.const(width))) for n in numbers]

            def over_features(t: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                value = group.broadcast(emit.at(x, t))
                column = builder.mul(t, emit.const(width))
                return [
                    group.multiply_add(
                        value, group.load(emit.at(panel, column), aligned=False), score
                    )
                    for panel, score in zip(panels, sums, strict=True)
                ]

            biases = [group.load(emit.at(bias, place), aligned=False) for place in places]
            best, where = state
            for place, score in zip(
                places, emit.loop(n_features, biases, over_features), strict=True
            ):
                less = builder.fcmp_ordered("<", score, best)
                best = builder.select(less, score, best)
                where = builder.select(less, builder.add(group.splat(place), lane_numbers), where)
            return [best, where]

        state = [
            ir.Constant(group.vector, [float("inf")] * width),
            ir.Constant(lane_numbers.type, [0] * width),
        ]
        # Four at once: a chain alone would wait for every one of its additions.
        start = emit.const(0)
        for together in (4, 1):
            count = builder.sdiv(builder.sub(n_groups, start), emit.const(together))
            state = emit.loop(count, state, partial(over_groups, start=start, together=together))
            start = builder.add(start, builder.mul(count, emit.const(together)))
        for lane in range(width):
            score, where = (
                builder.extract_element(vector, ir.Constant(ir.IntType(32), lane))
                for vector in state
            )
            less = builder.fcmp_ordered("<", score, nearest[0])
            equal = builder.fcmp_ordered("==", score, nearest[0])
            lower = builder.icmp_signed("<", where, nearest[1])
            wins = builder.or_(less, builder.and_(equal, lower))
            nearest = (
                builder.select(wins, score, nearest[0]),
                builder.select(wins, where, nearest[1]),
            )
        base = builder.add(base, builder.mul(n_groups, stride))
        first_center = builder.add(first_center, builder.mul(n_groups, emit.const(width)))
    return nearest[1]


def _nearest_in_row(
    typing_context: Any,
    x: Any,
    centers: Any,
    bias: Any,
    n_wide: Any,
    n_narrow: Any,
    n_features: Any,
) -> Any:
    """Number of the center nearest to the centred row `x` (n_features,), as in the tile.

    `centers` and `bias` as for :func:`nearest_in_tile`, of whose time it takes a fiftieth.
    """
    if not _is_float_array(x, centers, bias):
        return None
    signature = types.intp(x, centers, bias, types.intp, types.intp, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0])
        return _emit_nearest_in_row(emit, _pointers(context, builder, signature, arguments))

    return signature, codegen


def _emit_sure(
    emit: _Emitter,
    norm: ir.Value,
    best: ir.Value,
    second: ir.Value,
    limits: tuple[ir.Value, ir.Value],
) -> ir.Value:
    """Mask of the rows whose two smallest scores are farther apart than both may be wrong."""
    builder = emit.builder
    slack, least = limits
    by_norm, by_score, rest = (
        emit.splat(builder.fmul(value, ir.Constant(emit.element, factor)))
        for value, factor in ((slack, 9.0), (slack, 8.0), (least, 2.0))
    )
    error = emit.multiply_add(by_norm, norm, emit.multiply_add(by_score, second, rest))
    # Not where anything is infinite or no number.
    return builder.fcmp_ordered(">", builder.fsub(second, best), error)


def _doubtful_rows(
    typing_context: Any,
    packed: Any,
    n_features: Any,
    best: Any,
    second: Any,
    slack: Any,
    least: Any,
    norms: Any,
) -> Any:
    """64-bit mask of the packed rows whose two smallest scores may be in the wrong order.

    A score may be off by ``slack · (4.5 |x|² + 4 · second) + least``, and by anything where |x|²
    is infinite.  `norms` (64,) receives |x|².
    """
    if not _is_float_array(packed, best, second, norms):
        return None
    real = packed.dtype
    signature = types.uint64(packed, types.intp, best, second, real, real, norms)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0], TILE_ROWS)
        packed, n_features, best, second, slack, least, norms = _pointers(
            context, builder, signature, arguments
        )

        def square(t: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            place = emit.at(packed, builder.mul(t, emit.const(TILE_ROWS)))
            values = emit.load(place, aligned=False)
            return [emit.multiply_add(values, values, sums[0])]

        zeros = ir.Constant(emit.vector, [0.0] * TILE_ROWS)
        (norm,) = emit.loop(n_features, [zeros], square)
        typed = builder.bitcast(norms, emit.vector.as_pointer())
        builder.store(norm, typed, align=emit.size)
        nearest, runner_up = (emit.load(scores, aligned=False) for scores in (best, second))
        sure = _emit_sure(emit, norm, nearest, runner_up, (slack, least))
        return builder.not_(builder.bitcast(sure, ir.IntType(64)))

    return signature, codegen


def _scores_in_tile(
    typing_context: Any,
    packed: Any,
    centers: Any,
    bias: Any,
    n_wide: Any,
    n_narrow: Any,
    n_features: Any,
    scores: Any,
) -> Any:
    """All scores ``|c|²/2 - x·c`` of 64 packed rows: `scores` (padded centers, 64).

    The same bits as those that :func:`nearest_in_tile` compares.
    """
    if not _is_float_array(packed, centers, bias, scores):
        return None
    n = types.intp
    signature = types.void(packed, centers, bias, n, n, n, scores)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0])
        packed, centers, bias, n_wide, n_narrow, n_features, scores = _pointers(
            context, builder, signature, arguments
        )

        _emit_tile(
            emit,
            packed,
            centers,
            (n_wide, n_narrow),
            n_features,
            start=lambda center: emit.broadcast(emit.at(bias, center)),
            step=emit.multiply_add,
            epilogue=_store_all(emit, scores),
        )
        return context.get_dummy_value()

    return signature, codegen


def _store_all(emit: _Emitter, results: ir.Value) -> Epilogue:
    """Epilogue: write everything to `results` (padded centers, 64)."""
    builder = emit.builder

    def epilogue(row: ir.Value, center: ir.Value, sums: list[list[ir.Value]]) -> None:
        for j, accumulators in enumerate(sums):
            column = builder.mul(builder.add(center, emit.const(j)), emit.const(TILE_ROWS))
            for v, total in enumerate(accumulators):
                emit.store(total, emit.at(results, column, row, emit.const(v * emit.lanes)))

    return epilogue


def _distances_in_tile(
    typing_context: Any,
    packed: Any,
    centers: Any,
    n_wide: Any,
    n_narrow: Any,
    n_features: Any,
    distances: Any,
) -> Any:
    """Squared distances of 64 packed rows to packed (negated) centers, in difference form.

    `distances` (padded centers, 64) is written: ``sum((x + (-c))²)``, exactly zero for equal rows.
    """
    if not _is_float_array(packed, centers, distances):
        return None
    signature = types.void(packed, centers, types.intp, types.intp, types.intp, distances)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0])
        packed, centers, n_wide, n_narrow, n_features, distances = _pointers(
            context, builder, signature, arguments
        )

        def step(vector: ir.Value, center: ir.Value, total: ir.Value) -> ir.Value:
            difference = builder.fadd(vector, center)
            return emit.multiply_add(difference, difference, total)

        zeros = ir.Constant(emit.vector, [0.0] * emit.lanes)
        _emit_tile(
            emit,
            packed,
            centers,
            (n_wide, n_narrow),
            n_features,
            start=lambda center: zeros,
            step=step,
            epilogue=_store_all(emit, distances),
        )
        return context.get_dummy_value()

    return signature, codegen


# --------------------------------------------------------------------------------------------
# Tiles that meet tiles: 64 rows against 64 rows


def _meeting(combine: str) -> Callable[..., Any]:
    """What the intrinsics are that let two tiles meet; `combine` names a method of `_Emitter`."""

    def meet(typing_context: Any, rows: Any, others: Any, n_features: Any, results: Any) -> Any:
        if not _is_float_array(rows, others, results):
            return None
        signature = types.void(rows, others, types.intp, results)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit = _Emitter(builder, signature.args[0])
            pointers = _pointers(context, builder, signature, arguments)
            _emit_meeting(emit, pointers, getattr(emit, combine))
            return context.get_dummy_value()

        return signature, codegen

    return meet


def _emit_meeting(
    emit: _Emitter,
    pointers: list[ir.Value],
    step: Callable[[ir.Value, ir.Value, ir.Value], ir.Value],
) -> None:
    """Add ``step(row vector, other row, so far)`` over all features to the results, [other][row].

    A part of the rows, which stays in the first-level cache, meets four of the others at a time.
    """
    builder = emit.builder
    rows, others, n_features, results = pointers
    size = ROW_VECTORS * emit.lanes

    def over_parts(part: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        first = builder.mul(part, emit.const(size))
        own = emit.at(rows, builder.mul(first, n_features))

        def over_others(group: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            other = builder.mul(group, emit.const(NARROW))
            inside = builder.and_(other, emit.const(size - 1))
            their_part = builder.mul(builder.sub(other, inside), n_features)
            theirs = emit.at(others, their_part, inside)

            def over_features(t: ir.Value, flat: list[ir.Value]) -> list[ir.Value]:
                place = builder.mul(t, emit.const(size))
                vectors = [
                    emit.load(emit.at(own, place, emit.const(v * emit.lanes)))
                    for v in range(ROW_VECTORS)
                ]
                result = []
                for j in range(NARROW):
                    value = emit.broadcast(emit.at(theirs, place, emit.const(j)))
                    for v in range(ROW_VECTORS):
                        result.append(step(vectors[v], value, flat[j * ROW_VECTORS + v]))
                return result

            places = [
                emit.at(
                    results,
                    builder.mul(builder.add(other, emit.const(j)), emit.const(TILE_ROWS)),
                    first,
                    emit.const(v * emit.lanes),
                )
                for j in range(NARROW)
                for v in range(ROW_VECTORS)
            ]
            totals = emit.loop(n_features, [emit.load(place) for place in places], over_features)
            for total, place in zip(totals, places, strict=True):
                emit.store(total, place)
            return []

        emit.loop(emit.const(TILE_ROWS // NARROW), [], over_others)
        return []

    emit.loop(emit.const(TILE_ROWS // size), [], over_parts)


# --------------------------------------------------------------------------------------------
# Packing: 64 rows of X, centred, into [feature][row]


def _interleave_stage(emit: _Emitter, vectors: list[ir.Value], block: int) -> list[ir.Value]:
    """One stage of a transposition: exchange lanes that differ in bit `block` between vectors."""
    result = list(vectors)
    size = emit.lanes
    for i in range(size):
        if i & block:
            continue
        a, b = vectors[i], vectors[i | block]
        low = [lane if not lane & block else size + (lane ^ block) for lane in range(size)]
        high = [lane | block if not lane & block else size + lane for lane in range(size)]
        result[i] = emit.shuffle(a, b, low)
        result[i | block] = emit.shuffle(a, b, high)
    return result


def _emit_pack_squares(
    emit: _Emitter,
    row_start: Callable[[ir.Value], ir.Value],
    n_features: ir.Value,
    mean: ir.Value,
    packed: ir.Value,
    adjacent: bool,
) -> None:
    """Transpose squares of lanes × lanes; the last one overlaps the one before where d is ragged.

    At least as many features as lanes.  Long rows that are `adjacent` are touched first.
    """
    builder = emit.builder
    size = emit.lanes

    def over_row_groups(group: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        first = builder.mul(group, emit.const(size))
        starts = [row_start(builder.add(first, emit.const(i))) for i in range(size)]
        # The rows of the next group: the hardware's prefetcher does not follow so many streams.
        later = [row_start(builder.add(first, emit.const(size + i))) for i in range(size)]

        def square(feature: ir.Value) -> None:
            shift = emit.load(emit.at(mean, feature), aligned=False)
            vectors = []
            for start in starts:
                row = emit.load(emit.at(start, feature), aligned=False)
                vectors.append(builder.fsub(row, shift))
            block = size // 2
            while block:
                vectors = _interleave_stage(emit, vectors, block)
                block //= 2
            for t, vector in enumerate(vectors):
                column = builder.mul(builder.add(feature, emit.const(t)), emit.const(TILE_ROWS))
                emit.store_rounded(vector, emit.at(packed, column, first))

        def full(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            feature = builder.mul(index, emit.const(size))
            if size * emit.size == VECTOR_BYTES:
                for start in later:
                    emit.prefetch(emit.at(start, feature))
            square(feature)
            return []

        emit.loop(builder.sdiv(n_features, emit.const(size)), [], full)
        ragged = builder.srem(n_features, emit.const(size))
        with builder.if_then(builder.icmp_signed(">", ragged, emit.const(0))):
            square(builder.sub(n_features, emit.const(size)))
        return []

    if adjacent:
        wide = builder.icmp_signed(">=", n_features, emit.const(LONG_ROW // emit.size))
        with builder.if_then(wide):
            emit.touch(row_start(emit.const(0)), builder.mul(emit.const(TILE_ROWS), n_features))
    emit.loop(emit.const(TILE_ROWS // size), [], over_row_groups)


def _emit_pack_blocks(
    emit: _Emitter,
    row_start: Callable[[ir.Value], ir.Value],
    n_features: ir.Value,
    mean: ir.Value,
    packed: ir.Value,
    *,
    adjacent: bool,
) -> None:
    """Transpose by squares of the widest vectors that the features fill; 5 features or more."""
    builder = emit.builder
    done = builder.append_basic_block("squares_done")
    while True:
        if emit.lanes <= 4:
            _emit_pack_squares(emit, row_start, n_features, mean, packed, adjacent)
            builder.branch(done)
            break
        fits = builder.append_basic_block(f"squares{emit.lanes}")
        narrower = builder.append_basic_block("narrower")
        builder.cbranch(
            builder.icmp_signed(">=", n_features, emit.const(emit.lanes)), fits, narrower
        )
        builder.position_at_end(fits)
        _emit_pack_squares(emit, row_start, n_features, mean, packed, adjacent)
        builder.branch(done)
        builder.position_at_end(narrower)
        emit = _Emitter(builder, emit.array_type, emit.lanes // 2)
    builder.position_at_end(done)


def _emit_columns(
    emit: _Emitter, start: ir.Value, n_features: int, mean: ir.Value
) -> list[ir.Value]:
    """1 to 4 features of a vector of adjacent rows, minus `mean`: lanes picked out by shuffles."""
    builder = emit.builder
    size = emit.lanes
    vectors = []
    for v in range(n_features):
        place = emit.at(start, emit.const(v * size))
        emit.prefetch(emit.at(place, emit.const(FETCHED_AHEAD // emit.size)))
        vectors.append(emit.load(place, aligned=False))
    columns = []
    for t in range(n_features):
        places = [divmod(lane * n_features + t, size) for lane in range(size)]
        column = vectors[0]
        for v in range(1, n_features):
            # Lanes already gathered stay; those that live in vector v come in.
            picks = [
                size + place if vector == v else (lane if v > 1 else place)
                for lane, (vector, place) in enumerate(places)
            ]
            column = emit.shuffle(column, vectors[v], picks)
        columns.append(builder.fsub(column, emit.broadcast(emit.at(mean, emit.const(t)))))
    return columns


def _emit_pack_few(
    emit: _Emitter, source: ir.Value, n_features: int, mean: ir.Value, packed: ir.Value
) -> None:
    """1 to 4 features of 64 adjacent rows: whole vectors in, whole vectors out."""
    builder = emit.builder

    def over_row_groups(group: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        first = builder.mul(group, emit.const(emit.lanes))
        start = emit.at(source, builder.mul(first, emit.const(n_features)))
        for t, column in enumerate(_emit_columns(emit, start, n_features, mean)):
            emit.store_rounded(column, emit.at(packed, emit.const(t * TILE_ROWS), first))
        return []

    emit.loop(emit.const(TILE_ROWS // emit.lanes), [], over_row_groups)


def _tile_start(
    builder: ir.IRBuilder, X: ir.Value, tail: ir.Value, first: ir.Value, shape: list[ir.Value]
) -> ir.Value:
    """Address of the 64 rows from `first` on: in `X`, or `tail` where `X` (n, d) ends before."""
    n_samples, n_features = shape
    end = builder.add(first, ir.Constant(first.type, TILE_ROWS))
    inside = builder.icmp_signed("<=", end, n_samples)
    return builder.select(inside, builder.gep(X, [builder.mul(first, n_features)]), tail)


def _shape(context: Any, builder: ir.IRBuilder, array_type: types.Array, value: ir.Value) -> Any:
    array = context.make_array(array_type)(context, builder, value)
    return cgutils.unpack_tuple(builder, array.shape)


def _emit_pack(
    emit: _Emitter, source: ir.Value, n_features: ir.Value, mean: ir.Value, packed: ir.Value
) -> None:
    """Pack the 64 adjacent rows at `source`, by the code for their number of features."""
    builder = emit.builder
    done = builder.append_basic_block("packed")
    blocks = builder.append_basic_block("blocks")
    few = builder.switch(n_features, blocks)
    for count in range(1, 5):
        case = builder.append_basic_block(f"features{count}")
        few.add_case(emit.const(count), case)
        builder.position_at_end(case)
        _emit_pack_few(emit, source, count, mean, packed)
        builder.branch(done)
    builder.position_at_end(blocks)
    _emit_pack_blocks(
        emit,
        lambda i: emit.at(source, builder.mul(i, n_features)),
        n_features,
        mean,
        packed,
        adjacent=True,
    )
    builder.branch(done)
    builder.position_at_end(done)


def _pack_rows(
    typing_context: Any, X: Any, tail: Any, first_row: Any, mean: Any, packed: Any
) -> Any:
    """Write rows ``first_row … first_row + 63`` of `X`, minus `mean`, to `packed` (features, 64).

    `X` (n, d) is C-contiguous and may be read-only; where it ends before the tile does, `tail`
    (64, d) is read instead.  `packed` is aligned; it may be float32 where `X` is not.
    """
    if not _is_float_array(X, tail, mean, packed):
        return None
    signature = types.void(X, tail, types.intp, mean, packed)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0])
        data, tail, first, mean, packed = _pointers(context, builder, signature, arguments)
        shape = _shape(context, builder, signature.args[0], arguments[0])
        source = _tile_start(builder, data, tail, first, shape)
        _emit_pack(emit, source, shape[1], mean, packed)
        return context.get_dummy_value()

    return signature, codegen


def _pack_listed_rows(
    typing_context: Any,
    X: Any,
    rows: Any,
    first: Any,
    n_features: Any,
    mean: Any,
    packed: Any,
) -> Any:
    """As :func:`pack_rows`, for the 64 rows that ``rows[first : first + 64]`` (int64) lists.

    One vector of `rows` more is read, to fetch those rows early; they need not be rows of X.
    """
    if not _is_float_array(X, mean, packed) or getattr(rows, "dtype", None) != types.int64:
        return None
    signature = types.void(X, rows, types.intp, types.intp, mean, packed)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0])
        data, rows, first, n_features, mean, packed = _pointers(
            context, builder, signature, arguments
        )

        def row_start(i: ir.Value) -> ir.Value:
            row = builder.load(emit.at(rows, first, i))
            return emit.at(data, builder.mul(row, n_features))

        _emit_pack_blocks(emit, row_start, n_features, mean, packed, adjacent=False)
        return context.get_dummy_value()

    return signature, codegen


def _emit_low_rows(
    emit: _Emitter, narrow: _Emitter, start: ir.Value, n_features: int, mean: ir.Value
) -> list[list[ir.Value]]:
    """Features ``[feature][v]`` of ROW_VECTORS vectors of rows, rounded to the type of `narrow`."""
    builder = emit.builder
    vectors: list[list[ir.Value]] = [[] for _ in range(n_features)]
    for v in range(ROW_VECTORS):
        first = v * narrow.lanes
        pieces = [
            _emit_columns(emit, emit.at(start, emit.const(row * n_features)), n_features, mean)
            for row in range(first, first + narrow.lanes, emit.lanes)
        ]
        for t in range(n_features):
            column = pieces[0][t]
            if len(pieces) > 1:  # of twice the width
                column = emit.shuffle(column, pieces[1][t], list(range(narrow.lanes)))
            if narrow.element != emit.element:
                column = builder.fptrunc(column, narrow.vector)
            vectors[t].append(column)
    return vectors


def _emit_nearest_of_low(
    emits: tuple[_Emitter, _Emitter],
    source: ir.Value,
    n_features: int,
    mean: ir.Value,
    pointers: list[ir.Value],
    index: ir.Value,
    limits: tuple[ir.Value, ir.Value],
) -> ir.Value:
    """As :func:`_nearest_of_low` for a fixed number of features."""
    emit, narrow = emits
    builder = emit.builder
    rows_at_once = ROW_VECTORS * narrow.lanes
    screened = narrow.element != emit.element

    def over_rows(part: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
        row = builder.mul(part, emit.const(rows_at_once))
        start = emit.at(source, builder.mul(row, emit.const(n_features)))
        vectors = _emit_low_rows(emit, narrow, start, n_features, mean)
        found = _emit_low_search(narrow, vectors, pointers, two=screened)
        (doubt,) = state
        for v in range(ROW_VECTORS):
            here = builder.add(row, emit.const(v * narrow.lanes))
            narrow.store(found[1][v], narrow.at(index, here))
            if screened:
                norm = ir.Constant(narrow.vector, [0.0] * narrow.lanes)
                for column in vectors:
                    norm = narrow.multiply_add(column[v], column[v], norm)
                sure = _emit_sure(narrow, norm, found[0][v], found[2][v], limits)
                bits = builder.bitcast(builder.not_(sure), ir.IntType(narrow.lanes))
                doubt = builder.or_(doubt, builder.shl(builder.zext(bits, emit.intp), here))
        return [doubt]

    n_parts = emit.const(TILE_ROWS // rows_at_once)
    (doubt,) = emit.loop(n_parts, [emit.const(0)], over_rows)
    return doubt


def _nearest_of_low(
    typing_context: Any,
    X: Any,
    tail: Any,
    first_row: Any,
    mean: Any,
    centers: Any,
    bias: Any,
    n_wide: Any,
    n_narrow: Any,
    index: Any,
    slack: Any,
    least: Any,
) -> Any:
    """Nearest center of rows ``first_row … first_row + 63``, of up to `IN_REGISTERS` features.

    What :func:`pack_rows` and :func:`nearest_in_tile` do, without a packed tile in between.  Where
    `centers`, `bias` and `index` are float32 and `X` is not, they do as :func:`doubtful_rows` does:
    the mask of the rows in doubt is returned, which otherwise is zero.
    """
    if not (_is_float_array(X, tail, mean) and _is_float_array(centers, bias, index)):
        return None
    n, real = types.intp, centers.dtype
    signature = types.uint64(X, tail, n, mean, centers, bias, n, n, index, real, real)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emits = _Emitter(builder, signature.args[0]), _Emitter(builder, signature.args[4])
        data, tail, first, mean, centers, bias, n_wide, n_narrow, index, slack, least = _pointers(
            context, builder, signature, arguments
        )
        shape = _shape(context, builder, signature.args[0], arguments[0])
        source = _tile_start(builder, data, tail, first, shape)
        done = builder.append_basic_block("low_done")
        none = builder.append_basic_block("low_none")
        few = builder.switch(shape[1], none)
        doubts = []
        for n_features in range(1, IN_REGISTERS + 1):
            case = builder.append_basic_block(f"low{n_features}")
            few.add_case(emits[0].const(n_features), case)
            builder.position_at_end(case)
            doubt = _emit_nearest_of_low(
                emits, source, n_features, mean, [centers, bias, n_wide, n_narrow], index,
                (slack, least),
            )  # fmt: skip
            doubts.append((doubt, builder.block))
            builder.branch(done)
        builder.position_at_end(none)
        doubts.append((emits[0].const(0), none))
        builder.branch(done)
        builder.position_at_end(done)
        result = builder.phi(emits[0].intp)
        for doubt, block in doubts:
            result.add_incoming(doubt, block)
        return result

    return signature, codegen


def _scatter_lines(
    typing_context: Any, lines: Any, n_lines: Any, rows: Any, first: Any, results: Any
) -> Any:
    """``results[row] = column`` of `lines` (n_lines, 64) for the rows ``rows[first : first + 64]``.

    `lines` are float32, and of each number the upper half is kept: `results` (n, n_lines) is
    uint16.  The number of lines is whole vectors; a row may be listed several times at the end.
    """
    kinds = [getattr(kind, "dtype", None) for kind in (lines, rows, results)]
    if kinds != [types.float32, types.int64, types.uint16]:
        return None
    signature = types.void(lines, types.intp, rows, types.intp, results)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0])
        lines, n_lines, rows, first, results = _pointers(context, builder, signature, arguments)
        size = emit.lanes

        def over_rows(part: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            slot = builder.mul(part, emit.const(size))
            targets = []
            for i in range(size):
                row = builder.load(emit.at(rows, first, slot, emit.const(i)))
                targets.append(emit.at(results, builder.mul(row, n_lines)))

            def square(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
                line = builder.mul(index, emit.const(size))
                vectors = []
                for i in range(size):
                    start = builder.mul(builder.add(line, emit.const(i)), emit.const(TILE_ROWS))
                    vectors.append(emit.load(emit.at(lines, start, slot)))
                block = size // 2
                while block:
                    vectors = _interleave_stage(emit, vectors, block)
                    block //= 2
                upper_half = ir.Constant(emit.integers, [16] * size)
                for vector, target in zip(vectors, targets, strict=True):
                    bits = builder.lshr(builder.bitcast(vector, emit.integers), upper_half)
                    halves = builder.trunc(bits, ir.VectorType(ir.IntType(16), size))
                    typed = builder.bitcast(emit.at(target, line), halves.type.as_pointer())
                    builder.store(halves, typed, align=2)
                return []

            emit.loop(builder.sdiv(n_lines, emit.const(size)), [], square)
            return []

        emit.loop(emit.const(TILE_ROWS // size), [], over_rows)
        return context.get_dummy_value()

    return signature, codegen


# --------------------------------------------------------------------------------------------
# Tile with lanes over features: rows of X read in place, for few centers and many features

FEATURE_ROWS = 4 if VECTOR_BYTES == 64 or _is_arm64() else 2


def _emit_feature_sums(
    emit: _Emitter,
    source: ir.Value,
    panel: ir.Value,
    width: int,
    n_features: ir.Value,
    mean: ir.Value,
) -> list[list[ir.Value]]:
    """Scalars ``sum_t (x_t - mean_t) * (-c_t)``, ``[row][center]``, for one group of centers."""
    builder = emit.builder
    size = emit.lanes

    def step(
        feature: ir.Value, load: Callable[[ir.Value], ir.Value], flat: list[ir.Value]
    ) -> list[ir.Value]:
        shift = emit.load(emit.at(mean, feature))
        chunk = emit.at(panel, builder.mul(feature, emit.const(width)))
        vectors = []
        for r in range(FEATURE_ROWS):
            row = emit.at(source, builder.mul(emit.const(r), n_features), feature)
            # The hardware's prefetcher loses the short streams of single rows.
            ahead = emit.const(2 * FEATURE_ROWS)
            emit.prefetch(emit.at(row, builder.mul(ahead, n_features)))
            vectors.append(builder.fsub(load(row), shift))
        result = list(flat)
        for j in range(width):
            center = emit.load(emit.at(chunk, emit.const(j * size)))
            for r in range(FEATURE_ROWS):
                k = j * FEATURE_ROWS + r
                result[k] = emit.multiply_add(vectors[r], center, result[k])
        return result

    def full(index: ir.Value, flat: list[ir.Value]) -> list[ir.Value]:
        feature = builder.mul(index, emit.const(size))
        return step(feature, lambda p: emit.load(p, aligned=False), flat)

    zeros = ir.Constant(emit.vector, [0.0] * size)
    n_full = builder.sdiv(n_features, emit.const(size))
    flat = emit.loop(n_full, [zeros] * (width * FEATURE_ROWS), full)
    done = builder.mul(n_full, emit.const(size))
    rest = builder.sub(n_features, done)
    ragged = builder.select(
        builder.icmp_signed(">", rest, emit.const(0)), emit.const(1), emit.const(0)
    )
    flat = emit.loop(
        ragged, flat, lambda _, flat: step(done, lambda p: emit.masked_load(p, rest), flat)
    )
    total = []
    for r in range(FEATURE_ROWS):
        of_row = []
        for j in range(width):
            kind = ir.FunctionType(emit.element, [emit.element, emit.vector])
            name = f"llvm.vector.reduce.fadd.{emit.suffix}"
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            start = ir.Constant(emit.element, -0.0)
            # reassoc: a tree over the lanes instead of a chain.
            of_row.append(
                builder.call(function, [start, flat[j * FEATURE_ROWS + r]], fastmath=("reassoc",))
            )
        total.append(of_row)
    return total


def _nearest_of_few(
    typing_context: Any,
    X: Any,
    tail: Any,
    first_row: Any,
    mean: Any,
    centers: Any,
    bias: Any,
    n_wide: Any,
    n_narrow: Any,
    best: Any,
    index: Any,
    slot: Any,
) -> Any:
    """Nearest center of :data:`FEATURE_ROWS` rows of a tile, read in place.

    They are rows `slot` and following of the tile that begins at `first_row` of `X` (n, d), or of
    `tail` (64, d) where `X` ends before the tile does.
    `centers` is packed by features, ``[group][chunk of lanes][center][lane]``; ``best[slot…]`` and
    ``index[slot…]`` are written as by :func:`nearest_in_tile`.
    """
    if not _is_float_array(X, tail, mean, centers, bias, best):
        return None
    n = types.intp
    signature = types.void(X, tail, n, mean, centers, bias, n, n, best, index, n)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0])
        data, tail, first, mean, centers, bias, n_wide, n_narrow, best, index, slot = _pointers(
            context, builder, signature, arguments
        )
        shape = _shape(context, builder, signature.args[0], arguments[0])
        n_features = shape[1]
        start = _tile_start(builder, data, tail, first, shape)
        source = emit.at(start, builder.mul(slot, n_features))
        size = emit.const(emit.lanes)
        chunks = builder.sdiv(builder.add(n_features, emit.const(emit.lanes - 1)), size)
        padded = builder.mul(chunks, size)
        state = [ir.Constant(emit.element, float("inf"))] * FEATURE_ROWS
        state += [emit.const(0)] * FEATURE_ROWS
        base, first_center = emit.const(0), emit.const(0)
        for width, count in zip((WIDE, NARROW), (n_wide, n_narrow), strict=True):
            stride = builder.mul(emit.const(width), padded)

            def over_groups(
                group: ir.Value,
                state: list[ir.Value],
                width: int = width,
                stride: ir.Value = stride,
                base: ir.Value = base,
                first_center: ir.Value = first_center,
            ) -> list[ir.Value]:
                panel = emit.at(centers, base, builder.mul(group, stride))
                sums = _emit_feature_sums(emit, source, panel, width, n_features, mean)
                center = builder.add(first_center, builder.mul(group, emit.const(width)))
                smallest, where = state[:FEATURE_ROWS], state[FEATURE_ROWS:]
                for j in range(width):
                    number = builder.add(center, emit.const(j))
                    start = builder.load(emit.at(bias, number))
                    for r in range(FEATURE_ROWS):
                        score = builder.fadd(sums[r][j], start)
                        less = builder.fcmp_ordered("<", score, smallest[r])
                        smallest[r] = builder.select(less, score, smallest[r])
                        where[r] = builder.select(less, number, where[r])
                return [*smallest, *where]

            state = emit.loop(count, state, over_groups)
            base = builder.add(base, builder.mul(count, stride))
            first_center = builder.add(first_center, builder.mul(count, emit.const(width)))
        for r in range(FEATURE_ROWS):
            here = builder.add(slot, emit.const(r))
            builder.store(state[r], emit.at(best, here))
            number = state[FEATURE_ROWS + r]
            if emit.size == 4:
                number = builder.trunc(number, emit.integer)
            place = builder.bitcast(emit.at(index, here), emit.integer.as_pointer())
            builder.store(number, place)
        return context.get_dummy_value()

    return signature, codegen


# --------------------------------------------------------------------------------------------
# Scatter: one row onto a float64 sum


def _add_row(
    typing_context: Any,
    X: Any,
    row: Any,
    n_features: Any,
    mean: Any,
    weight: Any,
    sums: Any,
    place: Any,
) -> Any:
    """``sums[place : place + d] += weight * (X[row] - mean)`` in float64, `sums` seen as flat.

    The difference is rounded as in the tiles, so that a cluster of one row has that row as center.
    Written out because LLVM, which can not know that the arrays do not overlap, spends more on
    finding out than the few additions take.
    """
    if not _is_float_array(X, mean, sums) or sums.dtype != types.float64:
        return None
    n = types.intp
    signature = types.void(X, n, n, mean, types.float64, sums, n)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, row, n_features, mean, weight, sums, place = _pointers(
            context, builder, signature, arguments
        )
        source = _Emitter(builder, signature.args[0], VECTOR_BYTES // 8)
        target = _Emitter(builder, signature.args[5])
        x = source.at(data, builder.mul(row, n_features))
        total = target.at(sums, place)
        weights = target.splat(weight)

        def widened(value: ir.Value, kind: ir.Type) -> ir.Value:
            return builder.fpext(value, kind) if source.size == 4 else value

        def vectors(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            t = builder.mul(index, source.const(source.lanes))
            value = source.load(source.at(x, t), aligned=False)
            shift = source.load(source.at(mean, t), aligned=False)
            centred = widened(builder.fsub(value, shift), target.vector)
            old = target.load(target.at(total, t), aligned=False)
            new = target.multiply_add(weights, centred, old)
            typed = builder.bitcast(target.at(total, t), target.vector.as_pointer())
            builder.store(new, typed, align=8)
            return []

        n_full = builder.sdiv(n_features, source.const(source.lanes))
        source.loop(n_full, [], vectors)
        done = builder.mul(n_full, source.const(source.lanes))

        def scalars(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            t = builder.add(done, index)
            value, shift = builder.load(source.at(x, t)), builder.load(source.at(mean, t))
            spot = target.at(total, t)
            step = builder.fmul(weight, widened(builder.fsub(value, shift), target.element))
            builder.store(builder.fadd(builder.load(spot), step), spot)
            return []

        source.loop(builder.sub(n_features, done), [], scalars)
        return context.get_dummy_value()

    return signature, codegen


def record_size(n_features: int) -> int:
    """Numbers of a record of :func:`move_rows`: a sum of rows, one of weights, a number of rows."""
    return round_up(n_features + 2, 4)


Change = Callable[[ir.Value, ir.Value], None]


def _emit_moves(
    builder: ir.IRBuilder,
    entry: Callable[[ir.Value], tuple[ir.Value, ir.Value | None]],
    labels: ir.Value,
    count: ir.Value,
    pile: tuple[ir.Value, ir.Value, ir.Value],
    body: Callable[[ir.Value, Change], None],
) -> None:
    """Run ``body(row, change)`` over `count` rows, in order.

    ``entry(index)`` tells the row and, where rows have one, the cluster that it leaves, negative
    for none; `pile` is the first record, their size and the first mark.  ``change(value, t)`` adds
    `value` to the numbers from `t` on of the new cluster's record, and takes it off the old one's.
    """
    records, size, touched = pile
    emit = _Emitter(builder, types.Array(types.float64, 1, "C"), 1)
    mark = ir.Constant(touched.type.pointee, 1)

    def move(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        row, old = entry(index)
        new = builder.sext(builder.load(emit.at(labels, row)), emit.intp)

        def put(cluster: ir.Value, t: ir.Value, value: ir.Value, how: Any) -> None:
            place = emit.at(records, builder.mul(cluster, size), t)
            place = builder.bitcast(place, value.type.as_pointer())
            builder.store(how(builder.load(place, align=8), value), place, align=8)

        def add(value: ir.Value, t: ir.Value) -> None:
            put(new, t, value, builder.fadd)

        builder.store(mark, emit.at(touched, new))
        if old is None:
            body(row, add)
            return []

        def change(value: ir.Value, t: ir.Value) -> None:
            add(value, t)
            put(old, t, value, builder.fsub)

        leaves = builder.icmp_signed(">=", old, emit.const(0))
        with builder.if_else(leaves) as (some_leave, none_leaves):
            with some_leave:
                builder.store(mark, emit.at(touched, old))
                body(row, change)
            with none_leaves:
                body(row, add)
        return []

    emit.loop(count, [], move)


def _emit_piles(
    context: Any,
    builder: ir.IRBuilder,
    kinds: tuple[Any, ...],
    arrays: tuple[Any, ...],
    entry: Callable[[ir.Value], tuple[ir.Value, ir.Value | None]],
    count: ir.Value,
    pile: ir.Value,
) -> None:
    """What :func:`move_rows` does with `count` rows, of which :func:`_emit_moves` is told.

    `arrays`, of the types `kinds`, are X, mean, weights, labels, records and touched.
    """
    data, mean, weights, labels, records, touched = (
        _data(context, builder, kind, array) for kind, array in zip(kinds, arrays, strict=True)
    )
    (_, n_features), (n_weights,), (_, n_records, size), (_, n_marks) = (
        _shape(context, builder, kinds[place], arrays[place]) for place in (0, 2, 4, 5)
    )
    scalar = _Emitter(builder, kinds[0], 1)
    records = scalar.at(records, builder.mul(pile, builder.mul(n_records, size)))
    touched = scalar.at(touched, builder.mul(pile, n_marks))
    double = ir.DoubleType()

    def widened(value: ir.Value, kind: ir.Type) -> ir.Value:
        return value if value.type == kind else builder.fpext(value, kind)

    def weight_of(row: ir.Value) -> tuple[ir.Value, ir.Value]:
        """What a row adds to the sum of the weights and to the number of rows."""
        weight = widened(builder.load(scalar.at(weights, row)), double)
        return weight, builder.uitofp(builder.fcmp_unordered("!=", weight, double(0.0)), double)

    def centred(row: ir.Value, t: ir.Value, shift: ir.Value) -> ir.Value:
        lanes = shift.type.count
        x = scalar.at(data, builder.mul(row, n_features), t)
        value = scalar.load(x, aligned=False, kind=shift.type)
        return widened(builder.fsub(value, shift), ir.VectorType(double, lanes))

    def vector_of(number: ir.Value, lanes: int) -> ir.Value:
        return _Emitter(builder, kinds[0], lanes).splat(number)

    def few(n: int, *, weighted: bool) -> None:
        kind = ir.VectorType(double, round_up(n + 2, 4))
        shift = scalar.load(mean, aligned=False, kind=ir.VectorType(scalar.element, n))

        def body(row: ir.Value, change: Change) -> None:
            value = centred(row, scalar.const(0), shift)
            numbers: Any = (double(1.0), double(1.0))
            if weighted:
                numbers = weight_of(row)
                value = builder.fmul(value, vector_of(numbers[0], n))
            lanes = [ir.Constant(ir.IntType(32), t) for t in range(n + 2)]
            record = ir.Constant(kind, [0.0] * kind.count)
            for t in range(n):
                number = builder.extract_element(value, lanes[t])
                record = builder.insert_element(record, number, lanes[t])
            for lane, number in zip(lanes[n:], numbers, strict=True):
                record = builder.insert_element(record, number, lane)
            change(record, scalar.const(0))

        size = scalar.const(kind.count)
        _emit_moves(builder, entry, labels, count, (records, size, touched), body)

    def many_features(row: ir.Value, change: Change) -> None:
        row_weight = builder.select(weighted, row, scalar.const(0))
        weight, counted = weight_of(row_weight)
        t = scalar.const(0)
        for lanes in (8, 4, 1):

            def part(
                index: ir.Value, _: list[ir.Value], lanes: int = lanes, t: Any = t
            ) -> list[Any]:
                first = builder.add(t, builder.mul(index, scalar.const(lanes)))
                kind = ir.VectorType(scalar.element, lanes)
                shift = scalar.load(scalar.at(mean, first), aligned=False, kind=kind)
                value = builder.fmul(centred(row, first, shift), vector_of(weight, lanes))
                change(value, first)
                return []

            turns = builder.sdiv(builder.sub(n_features, t), scalar.const(lanes))
            scalar.loop(turns, [], part)
            t = builder.add(t, builder.mul(turns, scalar.const(lanes)))
        pair = ir.Constant(ir.VectorType(double, 2), ir.Undefined)
        for i, number in enumerate((weight, counted)):
            pair = builder.insert_element(pair, number, ir.Constant(ir.IntType(32), i))
        change(pair, n_features)

    weighted = builder.icmp_signed(">", n_weights, scalar.const(0))
    done = builder.append_basic_block("moved")
    many = builder.append_basic_block("many")
    cases = builder.switch(n_features, many)
    for n in range(1, LOW_FEATURES + 1):
        case = builder.append_basic_block(f"move{n}")
        cases.add_case(scalar.const(n), case)
        builder.position_at_end(case)
        with builder.if_else(weighted) as (some, none):
            with some:
                few(n, weighted=True)
            with none:
                few(n, weighted=False)
        builder.branch(done)
    builder.position_at_end(many)
    one = cgutils.alloca_once_value(builder, ir.Constant(weights.type.pointee, 1.0))
    weights = builder.select(weighted, weights, one)
    _emit_moves(builder, entry, labels, count, (records, size, touched), many_features)
    builder.branch(done)
    builder.position_at_end(done)


def _are_piles(X: Any, mean: Any, weights: Any, labels: Any, records: Any, touched: Any) -> bool:
    kinds = [getattr(kind, "dtype", None) for kind in (labels, touched)]
    floats = _is_float_array(X, mean, weights, records) and records.dtype == types.float64
    return floats and kinds == [types.int32, types.boolean]


def _move_rows(
    typing_context: Any,
    X: Any,
    mean: Any,
    weights: Any,
    movers: Any,
    sources: Any,
    count: Any,
    labels: Any,
    records: Any,
    touched: Any,
    pile: Any,
) -> Any:
    """Move the rows ``movers[:count]`` from the clusters `sources` to their labels, in order.

    `movers` are int64, `sources` int32 and negative for a row that leaves no cluster, `weights`
    empty for weights of one.  A row is added to the record of its new cluster among
    ``records[pile]``, and the same numbers are taken off its old one's; ``touched[pile]`` marks
    both.

    A record, float64, holds ``sum(weight * (x - mean))``, the difference rounded as in the tiles,
    then the sum of the weights, then the number of rows whose weight is not zero; see
    :func:`record_size`.  Up to :data:`LOW_FEATURES` features all of it is one vector.
    """
    kinds = [getattr(kind, "dtype", None) for kind in (movers, sources)]
    if kinds != [types.int64, types.int32]:
        return None
    if not _are_piles(X, mean, weights, labels, records, touched):
        return None
    n = types.intp
    signature = types.void(X, mean, weights, movers, sources, n, labels, records, touched, n)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, _, movers, sources, count, *_ = _pointers(context, builder, signature, arguments)
        emit = _Emitter(builder, types.Array(types.float64, 1, "C"), 1)

        def entry(index: ir.Value) -> tuple[ir.Value, ir.Value]:
            old = builder.sext(builder.load(emit.at(sources, index)), emit.intp)
            return builder.load(emit.at(movers, index)), old

        kinds, arrays = (
            tuple(of[i] for i in (0, 1, 2, 6, 7, 8)) for of in (signature.args, arguments)
        )
        _emit_piles(context, builder, kinds, arrays, entry, count, arguments[9])
        return context.get_dummy_value()

    return signature, codegen


def _add_rows(
    typing_context: Any,
    X: Any,
    mean: Any,
    weights: Any,
    first: Any,
    count: Any,
    labels: Any,
    records: Any,
    touched: Any,
    pile: Any,
) -> Any:
    """Add `count` rows from `first` on to the records of their labels; see :func:`move_rows`."""
    if not _are_piles(X, mean, weights, labels, records, touched):
        return None
    n = types.intp
    signature = types.void(X, mean, weights, n, n, labels, records, touched, n)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def entry(index: ir.Value) -> tuple[ir.Value, None]:
            return builder.add(arguments[3], index), None

        kinds, arrays = (
            tuple(of[i] for i in (0, 1, 2, 5, 6, 7)) for of in (signature.args, arguments)
        )
        _emit_piles(context, builder, kinds, arrays, entry, arguments[4], arguments[8])
        return context.get_dummy_value()

    return signature, codegen


# --------------------------------------------------------------------------------------------
# Sparse rows: one row against a table of columns, lanes over columns

MAX_VECTORS = 8  # accumulators of one sweep over the entries of a row


def _is_index_array(kind: Any) -> bool:
    return isinstance(kind, types.Array) and kind.dtype in (types.int32, types.int64)


def _emit_sweeps(
    emit: _Emitter,
    kinds: tuple[types.Array, types.Array],
    pointers: list[ir.Value],
    table: ir.Value,
    n_vectors: ir.Value,
    start: Callable[[ir.Value], ir.Value],
    epilogue: Callable[[ir.Value, list[ir.Value]], None],
) -> None:
    """Sum ``value * table[column]`` over the entries of a row, up to 8 vectors of a sum at a time.

    `start` gives the vector that the sum of an offset begins with, `epilogue` receives the first
    offset and the sums of a sweep.
    """
    builder = emit.builder
    values, columns, first, last = pointers
    stride = builder.mul(n_vectors, emit.const(emit.lanes))
    count = builder.sub(last, first)
    narrow = kinds[0].dtype == types.float32 and emit.size == 8

    def sweep(offset: ir.Value, width: int) -> None:
        places = [builder.add(offset, emit.const(v * emit.lanes)) for v in range(width)]

        def entry(i: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            place = builder.add(first, i)
            value = builder.load(builder.gep(values, [place]))
            if narrow:
                value = builder.fpext(value, emit.element)
            factor = emit.splat(value)
            column = builder.load(builder.gep(columns, [place]))
            if kinds[1].dtype == types.int32:
                column = builder.sext(column, emit.intp)
            line = emit.at(table, builder.mul(column, stride))
            return [
                emit.multiply_add(factor, emit.load(emit.at(line, where)), total)
                for where, total in zip(places, sums, strict=True)
            ]

        epilogue(offset, emit.loop(count, [start(place) for place in places], entry))

    step = emit.const(MAX_VECTORS * emit.lanes)
    n_full = builder.sdiv(n_vectors, emit.const(MAX_VECTORS))

    def full(i: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        sweep(builder.mul(i, step), MAX_VECTORS)
        return []

    emit.loop(n_full, [], full)
    done = builder.append_basic_block("swept")
    offset = builder.mul(n_full, step)
    rest = builder.switch(builder.srem(n_vectors, emit.const(MAX_VECTORS)), done)
    for width in range(1, MAX_VECTORS):
        case = builder.append_basic_block(f"rest{width}")
        rest.add_case(emit.const(width), case)
        builder.position_at_end(case)
        sweep(offset, width)
        builder.branch(done)
    builder.position_at_end(done)


def _nearest_of_sparse(
    typing_context: Any,
    values: Any,
    columns: Any,
    first: Any,
    last: Any,
    table: Any,
    bias: Any,
    n_vectors: Any,
    best: Any,
    index: Any,
) -> Any:
    """Nearest center of the sparse row whose entries are ``values[first:last]``; returns it.

    `table` (features, centers padded to `n_vectors` vectors) holds the negated centers, `bias`
    (padded centers,) ``|c|²/2``, +inf for padding; `best` and `index` (lanes,) are scratch.  All of
    the dtype of `values`; the last four are aligned, `columns` is int32 or int64.
    """
    if not _is_float_array(values, table, bias, best, index) or not _is_index_array(columns):
        return None
    n = types.intp
    signature = types.intp(values, columns, n, n, table, bias, n, best, index)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[4])
        *row, table, bias, n_vectors, best, index = _pointers(
            context, builder, signature, arguments
        )
        own = ir.Constant(emit.integers, list(range(emit.lanes)))
        emit.store(ir.Constant(emit.vector, [float("inf")] * emit.lanes), best)
        emit.store(own, index)

        def keep_smallest(offset: ir.Value, sums: list[ir.Value]) -> None:
            smallest, where = emit.load(best), emit.load(index, kind=emit.integers)
            number = builder.trunc(offset, emit.integer) if emit.size == 4 else offset
            here = builder.add(own, emit.splat(number))
            for v, score in enumerate(sums):
                shift = ir.Constant(emit.integers, [v * emit.lanes] * emit.lanes)
                less = builder.fcmp_ordered("<", score, smallest)
                smallest = builder.select(less, score, smallest)
                where = builder.select(less, builder.add(here, shift), where)
            emit.store(smallest, best)
            emit.store(where, index)

        kinds = signature.args[:2]
        _emit_sweeps(
            emit, kinds, row, table, n_vectors, lambda o: emit.load(emit.at(bias, o)), keep_smallest
        )
        smallest, where = emit.load(best), emit.load(index, kind=emit.integers)
        least = emit.call(f"llvm.vector.reduce.fmin.{emit.suffix}", emit.element, smallest)
        ties = builder.fcmp_ordered("==", smallest, emit.splat(least))
        none = ir.Constant(emit.integers, [2 ** (8 * emit.size - 1) - 1] * emit.lanes)
        lowest = builder.select(ties, where, none)
        name = f"llvm.vector.reduce.umin.{emit.suffix.replace('f', 'i')}"
        winner = emit.call(name, emit.integer, lowest)
        return builder.zext(winner, emit.intp) if emit.size == 4 else winner

    return signature, codegen


def _sparse_products(
    typing_context: Any,
    values: Any,
    columns: Any,
    first: Any,
    last: Any,
    table: Any,
    n_vectors: Any,
    out: Any,
) -> Any:
    """Products of the sparse row ``values[first:last]`` with the columns of a float64 `table`.

    `table` is (features, columns padded to `n_vectors` vectors) and ``out[:padded]`` written; both
    are aligned.
    """
    if not _is_float_array(values, table, out) or not _is_index_array(columns):
        return None
    if types.float32 in (table.dtype, out.dtype):
        return None
    n = types.intp
    signature = types.void(values, columns, n, n, table, n, out)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[4])
        *row, table, n_vectors, out = _pointers(context, builder, signature, arguments)
        zeros = ir.Constant(emit.vector, [0.0] * emit.lanes)

        def keep(offset: ir.Value, sums: list[ir.Value]) -> None:
            for v, total in enumerate(sums):
                emit.store(total, emit.at(out, offset, emit.const(v * emit.lanes)))

        _emit_sweeps(emit, signature.args[:2], row, table, n_vectors, lambda _: zeros, keep)
        return context.get_dummy_value()

    return signature, codegen


def _multiply_add(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` in float64, rounded as a lane of :func:`sparse_products` rounds it."""
    signature = types.float64(types.float64, types.float64, types.float64)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        double = ir.DoubleType()
        kind = ir.FunctionType(double, [double] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.fmuladd.f64")
        return builder.call(function, arguments)

    return signature, codegen


# --------------------------------------------------------------------------------------------
# The roof


def _spin_multiply_adds(typing_context: Any, values: Any, count: Any) -> Any:
    """`count` rounds of :data:`ROOF_CHAINS` independent multiply-adds: the arithmetic roof.

    `values` (chains · lanes,) is read and written; a round is ``2 · chains · lanes`` operations.
    """
    if not _is_float_array(values):
        return None
    signature = types.void(values, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0])
        values, count = _pointers(context, builder, signature, arguments)
        places = [emit.at(values, emit.const(i * emit.lanes)) for i in range(ROOF_CHAINS)]
        factor = emit.load(places[0], aligned=False)
        sums = [emit.load(place, aligned=False) for place in places]
        sums = emit.loop(
            count, sums, lambda _, sums: [emit.multiply_add(s, factor, factor) for s in sums]
        )
        for total, place in zip(sums, places, strict=True):
            typed = builder.bitcast(place, emit.vector.as_pointer())
            builder.store(total, typed, align=emit.size)
        return context.get_dummy_value()

    return signature, codegen


ROOF_CHAINS = 24 if VECTOR_BYTES == 64 or _is_arm64() else 12

# --------------------------------------------------------------------------------------------
# Bounds of 64 rows


def _emit_fields(emit: _Emitter, table: ir.Value, labels: ir.Value) -> list[ir.Value]:
    """Four vectors: the fields of ``table[label]`` (k, 4) for the labels of one vector of rows.

    One load of four floats a row and a transposition: a fourth of the work of four gathers.
    """
    builder = emit.builder
    quad = ir.VectorType(emit.element, 4)
    word = ir.IntType(32)

    def fields(row: int) -> ir.Value:
        place = builder.gep(labels, [ir.Constant(word, row)])
        label = builder.sext(builder.load(place, align=4), emit.intp)
        # Rows after the last have no label, but need an address.
        label = builder.select(builder.icmp_signed("<", label, emit.const(0)), emit.const(0), label)
        start = emit.at(table, builder.mul(label, emit.const(4)))
        return builder.load(builder.bitcast(start, quad.as_pointer()), align=16)

    def joined(parts: list[ir.Value]) -> ir.Value:
        while len(parts) > 1:
            size = 2 * parts[0].type.count
            parts = [
                emit.shuffle(a, b, list(range(size)))
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
        return parts[0]

    n_quads = emit.lanes // 4
    # Line i holds rows i, i + 4, i + 8 …, so that each quarter is a 4 × 4 matrix to transpose.
    lines = [joined([fields(4 * q + i) for q in range(n_quads)]) for i in range(4)]
    for block in (2, 1):
        for i in range(4):
            if i & block:
                continue
            a, b = lines[i], lines[i | block]
            low, high = [], []
            for lane in range(emit.lanes):
                if lane & block:
                    low.append(emit.lanes + (lane ^ block))
                    high.append(emit.lanes + lane)
                else:
                    low.append(lane)
                    high.append(lane | block)
            lines[i], lines[i | block] = emit.shuffle(a, b, low), emit.shuffle(a, b, high)
    return lines


def _unsettled_rows(
    typing_context: Any,
    labels: Any,
    first: Any,
    upper: Any,
    lower: Any,
    table: Any,
    slack: Any,
    reach: Any,
) -> Any:
    """Move the bounds of rows ``first … first + 63``; the mask of those that they do not settle.

    `upper` and `lower`, aligned, bound the distances to the row's own center and to all others;
    ``table[label]`` (k, 4) says how far the own center has moved, how far the lower bound falls,
    half the distance to the nearest other center, and the distance of the nearest center that the
    fall leaves out.  All float32.  See :mod:`.hamerly` for `slack` and `reach`.
    """
    floats = _is_float_array(upper, lower, table)
    if not floats or upper.dtype != types.float32 or table.dtype != types.float32:
        return None
    if getattr(labels, "dtype", None) != types.int32 or lower.dtype != types.float32:
        return None
    n, real = types.intp, types.float32
    signature = types.uint64(labels, n, upper, lower, table, real, real)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[2])
        labels, first, upper, lower, table, slack, reach = _pointers(
            context, builder, signature, arguments
        )
        slacks, reaches = emit.splat(slack), emit.splat(reach)

        def number(value: float) -> ir.Constant:
            return ir.Constant(emit.vector, [value] * emit.lanes)

        def larger(a: ir.Value, b: ir.Value) -> ir.Value:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        def vector(index: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
            offset = builder.mul(index, emit.const(emit.lanes))
            row = builder.add(first, offset)
            own = builder.gep(labels, [row])
            drift, fall, near, far = _emit_fields(emit, table, own)
            u = builder.fadd(emit.load(emit.at(upper, row)), drift)
            u = builder.fmul(u, number(BOUND_UP))
            emit.store(u, emit.at(upper, row))
            fallen = builder.fsub(emit.load(emit.at(lower, row)), fall)
            beyond = builder.fsub(far, u)
            below = builder.select(builder.fcmp_ordered("<", beyond, fallen), beyond, fallen)
            below = builder.fmul(larger(below, number(0.0)), number(BOUND_DOWN))
            emit.store(below, emit.at(lower, row))
            best = larger(below, near)
            wall = builder.fadd(u, reaches)
            limit = emit.multiply_add(u, u, builder.fmul(slacks, builder.fmul(wall, wall)))
            limit = builder.fadd(builder.fmul(limit, number(BOUND_UP)), number(LEAST_SQUARE))
            square = builder.fmul(builder.fmul(best, best), number(BOUND_DOWN))
            open_ = builder.fcmp_unordered("<=", square, limit)
            bits = builder.zext(builder.bitcast(open_, ir.IntType(emit.lanes)), ir.IntType(64))
            return [builder.or_(state[0], builder.shl(bits, offset))]

        count = emit.const(TILE_ROWS // emit.lanes)
        (mask,) = emit.loop(count, [emit.const(0)], vector)
        return mask

    return signature, codegen


def _near_centers(
    typing_context: Any,
    bounds: Any,
    row: Any,
    ahead: Any,
    fallen: Any,
    since: Any,
    wall: Any,
    masks: Any,
) -> Any:
    """Find the centers with ``bounds[row] - fallen[since] <= wall``.

    `bounds` (n, m) are the upper halves of float32 numbers, `fallen` (rounds, m) is float32, and m
    a multiple of BOUND_LANES; ``bounds[ahead]`` is fetched for a later call.  `masks` (m / 64,
    rounded up), uint64, receives a bit for each center; the smallest of the other bounds is
    returned.
    """
    kinds = [getattr(kind, "dtype", None) for kind in (bounds, fallen, masks)]
    if kinds != [types.uint16, types.float32, types.uint64]:
        return None
    n = types.intp
    signature = types.float32(bounds, n, n, fallen, n, types.float32, masks)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[3], BOUND_LANES)
        n_bounds = _shape(context, builder, signature.args[3], arguments[3])[1]
        bounds, row, ahead, fallen, since, wall, masks = _pointers(
            context, builder, signature, arguments
        )
        halves = ir.VectorType(ir.IntType(16), emit.lanes)
        word = ir.IntType(emit.lanes)
        start, later = (emit.at(bounds, builder.mul(r, n_bounds)) for r in (row, ahead))
        falls = emit.at(fallen, builder.mul(since, n_bounds))
        pieces = builder.bitcast(masks, word.as_pointer())
        walls = emit.splat(wall)
        infinity = ir.Constant(emit.vector, [float("inf")] * emit.lanes)
        upper_half = ir.Constant(emit.integers, [16] * emit.lanes)

        def vector(index: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
            center = builder.mul(index, emit.const(emit.lanes))
            emit.prefetch(emit.at(later, center))
            typed = builder.bitcast(emit.at(start, center), halves.as_pointer())
            bits = builder.zext(builder.load(typed, align=2), emit.integers)
            bound = builder.bitcast(builder.shl(bits, upper_half), emit.vector)
            bound = builder.fsub(bound, emit.load(emit.at(falls, center), aligned=False))
            near = builder.fcmp_unordered("<=", bound, walls)
            builder.store(builder.bitcast(near, word), builder.gep(pieces, [index]), align=4)
            bound = builder.select(near, infinity, bound)
            less = builder.fcmp_ordered("<", bound, state[0])
            return [builder.select(less, bound, state[0])]

        count = builder.sdiv(n_bounds, emit.const(emit.lanes))
        (least,) = emit.loop(count, [infinity], vector)
        size = emit.lanes
        while size > 1:
            size //= 2
            other = emit.shuffle(least, least, list(range(size, 2 * size)))
            least = emit.shuffle(least, least, list(range(size)))
            least = builder.select(builder.fcmp_ordered("<", other, least), other, least)
        return builder.extract_element(least, ir.Constant(ir.IntType(32), 0))

    return signature, codegen


def _squares_to_four(
    typing_context: Any, x: Any, centers: Any, near: Any, place: Any, squares: Any
) -> Any:
    """``squares[place + i]`` is the squared distance of `x` to ``centers[near[place + i]]``, i < 4.

    `x` (d,) and `centers` (k, d), aligned, are whole vectors; sums of squared differences.
    """
    if not _is_float_array(x, centers, squares) or getattr(near, "dtype", None) != types.int64:
        return None
    signature = types.void(x, centers, near, types.intp, squares)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0])
        n_features = _shape(context, builder, signature.args[1], arguments[1])[1]
        x, centers, near, place, squares = _pointers(context, builder, signature, arguments)
        starts = []
        for i in range(4):
            center = builder.load(emit.at(near, place, emit.const(i)))
            starts.append(emit.at(centers, builder.mul(center, n_features)))

        def vector(index: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
            feature = builder.mul(index, emit.const(emit.lanes))
            row = emit.load(emit.at(x, feature))
            result = []
            for start, total in zip(starts, sums, strict=True):
                difference = builder.fsub(row, emit.load(emit.at(start, feature)))
                result.append(emit.multiply_add(difference, difference, total))
            return result

        zeros = ir.Constant(emit.vector, [0.0] * emit.lanes)
        sums = emit.loop(builder.sdiv(n_features, emit.const(emit.lanes)), [zeros] * 4, vector)
        four = emit.sums_of(sums)
        typed = builder.bitcast(emit.at(squares, place), four.type.as_pointer())
        builder.store(four, typed, align=emit.size)
        return context.get_dummy_value()

    return signature, codegen


# --------------------------------------------------------------------------------------------
# Distances of rows in place to a panel of centers: lanes are centers

PANEL_VECTORS, PANEL_ROWS = 3, 3  # accumulators: what 16 registers hold beside the operands
PANEL = PANEL_VECTORS * VECTOR_BYTES // 8  # centers


def _squares_to_panel(
    typing_context: Any, X: Any, first: Any, count: Any, panels: Any, place: Any, squares: Any
) -> Any:
    """Squared distances of `count` rows of `X` from `first` on to the :data:`PANEL` centers of one.

    `X` (n, d) is C-contiguous, of either dtype; the panel is the negated centers
    ``[feature][center]`` from ``panels[place]`` on and ``squares[row * PANEL + center]`` is
    written: float64, aligned.  A distance is the same bits whichever rows come with its own.
    """
    if not _is_float_array(X, panels, squares):
        return None
    n = types.intp
    signature = types.void(X, n, n, panels, n, squares)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[3])
        n_features = _shape(context, builder, signature.args[0], arguments[0])[1]
        rows, first, count, panels, place, squares = _pointers(
            context, builder, signature, arguments
        )
        panel = emit.at(panels, place)
        narrow = signature.args[0].dtype == types.float32

        def measure(row: ir.Value, together: int) -> None:
            numbers = [builder.add(row, emit.const(r)) for r in range(together)]
            starts = [
                emit.at(rows, builder.mul(builder.add(first, n), n_features)) for n in numbers
            ]

            def feature(t: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
                line = emit.at(panel, builder.mul(t, emit.const(PANEL)))
                centers = [
                    emit.load(emit.at(line, emit.const(v * emit.lanes)))
                    for v in range(PANEL_VECTORS)
                ]
                result: list[ir.Value] = []
                for start in starts:
                    value = builder.load(builder.gep(start, [t]))
                    value = emit.splat(builder.fpext(value, emit.element) if narrow else value)
                    for center in centers:
                        difference = builder.fadd(value, center)
                        total = sums[len(result)]
                        result.append(emit.multiply_add(difference, difference, total))
                return result

            zeros = [ir.Constant(emit.vector, [0.0] * emit.lanes)] * (together * PANEL_VECTORS)
            sums = emit.loop(n_features, zeros, feature)
            for r, number in enumerate(numbers):
                for v in range(PANEL_VECTORS):
                    column = emit.const(v * emit.lanes)
                    target = emit.at(squares, builder.mul(number, emit.const(PANEL)), column)
                    emit.store(sums[r * PANEL_VECTORS + v], target)

        done = emit.const(0)
        for together in (PANEL_ROWS, 1):
            start = done
            turns = builder.sdiv(builder.sub(count, start), emit.const(together))

            def block(
                i: ir.Value, _: list[ir.Value], together: int = together, start: ir.Value = start
            ) -> list[ir.Value]:
                measure(builder.add(start, builder.mul(i, emit.const(together))), together)
                return []

            emit.loop(turns, [], block)
            done = builder.add(start, builder.mul(turns, emit.const(together)))
        return context.get_dummy_value()

    return signature, codegen


# Roundings of float32, outwards, a few times over; and squares too small to tell apart.
BOUND_UP, BOUND_DOWN, LEAST_SQUARE = 1 + 4e-7, 1 - 4e-7, 1e-30
BOUND_LANES = 32  # bounds that are looked at together; their number is padded to this

# --------------------------------------------------------------------------------------------
# Labels, bits and atomics


def _changed_labels(
    typing_context: Any, index: Any, labels: Any, first: Any, winners: Any, slot: Any
) -> Any:
    """64-bit mask of the rows whose winner differs from ``labels[first:]``, which stays as it is.

    `index` (64,) holds bits as left by :func:`nearest_in_tile`; `labels` and `winners` are int32,
    and ``winners[slot : slot + 64]`` receives the indices as such.
    """
    int32 = types.int32
    if getattr(labels, "dtype", None) != int32 or getattr(winners, "dtype", None) != int32:
        return None
    signature = types.uint64(index, labels, types.intp, winners, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        index, labels, first, winners, slot = _pointers(context, builder, signature, arguments)
        winners = builder.gep(winners, [slot])
        bits = 64 if signature.args[0].dtype == types.float64 else 32
        narrow = ir.VectorType(ir.IntType(32), TILE_ROWS)
        wide = ir.VectorType(ir.IntType(bits), TILE_ROWS)
        new = builder.load(builder.bitcast(index, wide.as_pointer()), align=VECTOR_BYTES)
        if bits == 64:
            new = builder.trunc(new, narrow)
        builder.store(new, builder.bitcast(winners, narrow.as_pointer()), align=4)
        target = builder.bitcast(builder.gep(labels, [first]), narrow.as_pointer())
        differ = builder.icmp_unsigned("!=", new, builder.load(target, align=4))
        return builder.bitcast(differ, ir.IntType(64))

    return signature, codegen


def _add_line(typing_context: Any, values: Any, first: Any, sums: Any, place: Any) -> Any:
    """Add ``values[first : first + 64]`` to ``sums[place : place + 64]``, which are float64."""
    if not _is_float_array(values, sums) or sums.dtype != types.float64:
        return None
    signature = types.void(values, types.intp, sums, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, first, sums, place = _pointers(context, builder, signature, arguments)
        narrow, wide = (_Emitter(builder, signature.args[i], TILE_ROWS) for i in (0, 2))
        added = narrow.load(narrow.at(values, first), aligned=False)
        if added.type != wide.vector:
            added = builder.fpext(added, wide.vector)
        here = wide.at(sums, place)
        total = builder.fadd(wide.load(here, aligned=False), added)
        builder.store(total, builder.bitcast(here, total.type.as_pointer()), align=wide.size)
        return context.get_dummy_value()

    return signature, codegen


def _fetch(typing_context: Any, values: Any, place: Any) -> Any:
    """Ask for the cache line of ``values[place]``, which need not be an element."""
    if not isinstance(values, types.Array):
        return None
    signature = types.void(values, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, types.Array(types.float64, 1, "C"), 1)
        data = _data(context, builder, signature.args[0], arguments[0])
        emit.prefetch(builder.gep(data, [arguments[1]]))
        return context.get_dummy_value()

    return signature, codegen


def _unlabelled_rows(typing_context: Any, labels: Any, first: Any) -> Any:
    """64-bit mask of the rows that have no label: where ``labels[first : first + 64]`` < 0."""
    if getattr(labels, "dtype", None) != types.int32:
        return None
    signature = types.uint64(labels, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        labels, first = _pointers(context, builder, signature, arguments)
        kind = ir.VectorType(ir.IntType(32), TILE_ROWS)
        here = builder.bitcast(builder.gep(labels, [first]), kind.as_pointer())
        none = builder.icmp_signed("<", builder.load(here, align=4), ir.Constant(kind, None))
        return builder.bitcast(none, ir.IntType(64))

    return signature, codegen


def _below(typing_context: Any, values: Any, first: Any, limits: Any) -> Any:
    """64-bit mask of the numbers ``values[first : first + 64]`` that are below `limits` (64,)."""
    if not _is_float_array(values, limits) or values.dtype != limits.dtype:
        return None
    signature = types.uint64(values, types.intp, limits)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0], TILE_ROWS)
        values, first, limits = _pointers(context, builder, signature, arguments)
        found = emit.load(emit.at(values, first), aligned=False)
        less = builder.fcmp_ordered("<", found, emit.load(limits, aligned=False))
        return builder.bitcast(less, ir.IntType(64))

    return signature, codegen


LIST_SLACK = 4  # entries behind a list that :func:`list_changes` may write


def _emit_list_all(
    builder: ir.IRBuilder, first: ir.Value, olds: ir.Value, movers: ir.Value, sources: ir.Value
) -> None:
    """List all rows of a tile."""
    builder.store(olds, builder.bitcast(sources, olds.type.as_pointer()), align=4)
    emit = _Emitter(builder, types.Array(types.float64, 1, "C"))
    for i in range(0, TILE_ROWS, emit.lanes):
        steps = ir.Constant(emit.integers, list(range(i, i + emit.lanes)))
        rows = builder.add(emit.splat(first), steps)
        place = emit.at(movers, emit.const(i))
        builder.store(rows, builder.bitcast(place, rows.type.as_pointer()), align=8)


def _emit_list_some(
    builder: ir.IRBuilder,
    mask: ir.Value,
    first: ir.Value,
    labels: ir.Value,
    movers: ir.Value,
    sources: ir.Value,
) -> None:
    """List the rows of a tile that the bits of `mask` stand for.

    A round takes several rows whether there are so many or not: their number is not to be foreseen,
    and a wrong guess costs more than the rows.  Where the bits run out, the last row is read.
    """
    word = mask.type
    one, last = word(1), word(1 << (TILE_ROWS - 1))
    before = builder.block
    rounds, listed = builder.append_basic_block("list"), builder.append_basic_block("listed")
    builder.branch(rounds)
    builder.position_at_end(rounds)
    left, entry = builder.phi(word), builder.phi(word)
    rest = left
    for i in range(LIST_SLACK):
        bit = builder.cttz(builder.or_(rest, last), ir.Constant(ir.IntType(1), 1))
        rest = builder.and_(rest, builder.sub(rest, one))
        row, place = builder.add(first, bit), builder.add(entry, word(i))
        builder.store(builder.load(builder.gep(labels, [row])), builder.gep(sources, [place]))
        builder.store(row, builder.gep(movers, [place]))
    for phi, start, following in (
        (left, mask, rest),
        (entry, word(0), builder.add(entry, word(LIST_SLACK))),
    ):
        phi.add_incoming(start, before)
        phi.add_incoming(following, rounds)
    builder.cbranch(builder.icmp_unsigned("!=", rest, word(0)), rounds, listed)
    builder.position_at_end(listed)


def _list_changes(
    typing_context: Any,
    mask: Any,
    first: Any,
    winners: Any,
    slot: Any,
    labels: Any,
    movers: Any,
    sources: Any,
    count: Any,
) -> Any:
    """Store the winners of the rows of a tile that `mask` names, and list these rows.

    For bit i of `mask`, ``labels[first + i]`` becomes ``winners[slot + i]``; behind the first
    `count` entries, `movers` (int64) receives the row and `sources` (int32) its old label.
    Returns the new number of entries.  Up to :data:`LIST_SLACK` more are written.
    """
    kinds = [getattr(kind, "dtype", None) for kind in (winners, labels, movers, sources)]
    if kinds != [types.int32, types.int32, types.int64, types.int32]:
        return None
    n = types.intp
    signature = types.intp(types.uint64, n, winners, n, labels, movers, sources, n)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        mask, first, winners, slot, labels, movers, sources, count = _pointers(
            context, builder, signature, arguments
        )
        tile = ir.VectorType(ir.IntType(32), TILE_ROWS)
        here, found = (
            builder.bitcast(builder.gep(*place), tile.as_pointer())
            for place in ((labels, [first]), (winners, [slot]))
        )
        ends = (builder.gep(movers, [count]), builder.gep(sources, [count]))
        olds = builder.load(here, align=4)
        every = builder.icmp_unsigned("==", mask, mask.type(2**TILE_ROWS - 1))
        with builder.if_else(every) as (all_rows, some_rows):
            with all_rows:
                _emit_list_all(builder, first, olds, *ends)
            with some_rows:
                _emit_list_some(builder, mask, first, labels, *ends)
        # Vectors, not row by row: the CPU would take a load of the next row for one of this store.
        change = builder.bitcast(mask, ir.VectorType(ir.IntType(1), TILE_ROWS))
        news = builder.select(change, builder.load(found, align=4), olds)
        builder.store(news, here, align=4)
        return builder.add(count, builder.ctpop(mask))

    return signature, codegen


def _lowest_bit(typing_context: Any, mask: Any) -> Any:
    """Position of the lowest bit that is set in a mask that is not zero."""
    signature = types.intp(types.uint64)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return signature, codegen


def _peek(typing_context: Any, counters: Any, slot: Any) -> Any:
    """Read ``counters[slot]`` (int64) afresh from memory, with what was written before it."""
    if getattr(counters, "dtype", None) != types.int64:
        return None
    signature = types.int64(counters, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        counters, slot = _pointers(context, builder, signature, arguments)
        return builder.load_atomic(builder.gep(counters, [slot]), "acquire", align=8)

    return signature, codegen


def _fetch_add(typing_context: Any, counters: Any, slot: Any, amount: Any) -> Any:
    """Add `amount` to ``counters[slot]`` (int64) atomically and return what was there before."""
    if getattr(counters, "dtype", None) != types.int64:
        return None
    signature = types.int64(counters, types.intp, types.int64)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        counters, slot, amount = _pointers(context, builder, signature, arguments)
        place = builder.gep(counters, [slot])
        return builder.atomic_rmw("add", place, amount, ordering="seq_cst")

    return signature, codegen


# What threads take their tasks from; see :mod:`.parallel`.  A counter has a record for each seat:
# how many tasks of its share are taken, by its own thread from the front, by others from the back.
RECORD = 16  # numbers of 8 bytes: two cache lines, which CPUs fetch together
TAKEN, FRONT, BACK = 0, 1, 2
# All see the same gate; the view of a thread is longer by its seat, which is how a kernel can tell.
CALLERS_GATE = 8


def _emit_take(emit: _Emitter, counter: ir.Value, seat: ir.Value, sizes: list[ir.Value]) -> Any:
    """Loop over the shares, from that of `seat` on, until one has a task left; its number."""
    builder = emit.builder
    n_seats, n_tasks = sizes
    head, here, none, own, other, after, done = (
        builder.append_basic_block(name)
        for name in ("share", "left", "none", "own", "other", "after", "taken")
    )
    before = builder.block

    def count(place: ir.Value) -> ir.Value:
        return builder.atomic_rmw("add", place, emit.const(1), ordering="seq_cst")

    builder.branch(head)
    builder.position_at_end(head)
    turn = builder.phi(emit.intp)
    turn.add_incoming(emit.const(0), before)
    owner = builder.srem(builder.add(seat, turn), n_seats)
    start, stop = (
        builder.sdiv(builder.mul(builder.add(owner, emit.const(i)), n_tasks), n_seats)
        for i in (0, 1)
    )
    record = emit.at(counter, builder.mul(owner, emit.const(RECORD)))
    taken = count(emit.at(record, emit.const(TAKEN)))
    some = builder.icmp_signed("<", taken, builder.sub(stop, start))
    builder.cbranch(some, here, after)
    builder.position_at_end(here)
    builder.cbranch(builder.icmp_signed("==", turn, emit.const(0)), own, other)
    builder.position_at_end(own)
    from_front = builder.add(start, count(emit.at(record, emit.const(FRONT))))
    builder.branch(done)
    builder.position_at_end(other)
    behind = builder.add(count(emit.at(record, emit.const(BACK))), emit.const(1))
    from_back = builder.sub(stop, behind)
    builder.branch(done)
    builder.position_at_end(after)
    following = builder.add(turn, emit.const(1))
    turn.add_incoming(following, after)
    builder.cbranch(builder.icmp_signed("<", following, n_seats), head, none)
    builder.position_at_end(none)
    builder.branch(done)
    builder.position_at_end(done)
    task = builder.phi(emit.intp)
    for value, block in ((from_front, own), (from_back, other), (n_tasks, none)):
        task.add_incoming(value, block)
    return task


def _next_task(typing_context: Any, counter: Any, gate: Any, n_tasks: Any) -> Any:
    """Number of the next task for this thread; `n_tasks` when they are used up.

    A thread first takes those of its own share, which is the same from call to call as long as
    the number of tasks is; then from the end of another's.
    """
    if getattr(counter, "dtype", None) != types.int64:
        return None
    signature = types.intp(counter, gate, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, types.Array(types.float64, 1, "C"), 1)
        ((length,), (gate_length,)) = (
            _shape(context, builder, signature.args[i], arguments[i]) for i in (0, 1)
        )
        n_seats = builder.sdiv(length, emit.const(RECORD))
        seat = builder.sub(gate_length, emit.const(CALLERS_GATE))
        counter = _data(context, builder, signature.args[0], arguments[0])
        return _emit_take(emit, counter, seat, [n_seats, arguments[2]])

    return signature, codegen


INTRINSICS = (
    "add_differences",
    "add_line",
    "add_products",
    "add_row",
    "add_rows",
    "below",
    "changed_labels",
    "distances_in_tile",
    "doubtful_rows",
    "fetch",
    "fetch_add",
    "list_changes",
    "lowest_bit",
    "move_rows",
    "multiply_add",
    "near_centers",
    "nearest_in_row",
    "nearest_in_tile",
    "nearest_of_few",
    "nearest_of_low",
    "nearest_of_many",
    "nearest_of_sparse",
    "nearest_two_in_tile",
    "nearest_two_of_many",
    "next_task",
    "pack_listed_rows",
    "pack_rows",
    "peek",
    "sparse_products",
    "scatter_lines",
    "scores_in_tile",
    "spin_multiply_adds",
    "squares_to_four",
    "squares_to_panel",
    "unlabelled_rows",
    "unsettled_rows",
)

if config.DISABLE_JIT:
    from .plain import (
        add_differences,
        add_line,
        add_products,
        add_row,
        add_rows,
        below,
        changed_labels,
        distances_in_tile,
        doubtful_rows,
        fetch,
        fetch_add,
        list_changes,
        lowest_bit,
        move_rows,
        multiply_add,
        near_centers,
        nearest_in_row,
        nearest_in_tile,
        nearest_of_few,
        nearest_of_low,
        nearest_of_many,
        nearest_of_sparse,
        nearest_two_in_tile,
        nearest_two_of_many,
        next_task,
        pack_listed_rows,
        pack_rows,
        peek,
        scatter_lines,
        scores_in_tile,
        sparse_products,
        spin_multiply_adds,
        squares_to_four,
        squares_to_panel,
        unlabelled_rows,
        unsettled_rows,
    )
else:
    nearest_in_tile = intrinsic(_nearest_in_tile)
    nearest_two_in_tile = intrinsic(_nearest_two_in_tile)
    nearest_in_row = intrinsic(_nearest_in_row)
    doubtful_rows = intrinsic(_doubtful_rows)
    distances_in_tile = intrinsic(_distances_in_tile)
    nearest_of_few = intrinsic(_nearest_of_few)
    nearest_of_low = intrinsic(_nearest_of_low)
    nearest_of_many = intrinsic(_nearest_of_many)
    nearest_two_of_many = intrinsic(_nearest_two_of_many)
    pack_rows = intrinsic(_pack_rows)
    add_line = intrinsic(_add_line)
    add_products = intrinsic(_meeting("multiply_add"))
    add_differences = intrinsic(_meeting("squared_difference_add"))
    add_row = intrinsic(_add_row)
    add_rows = intrinsic(_add_rows)
    move_rows = intrinsic(_move_rows)
    pack_listed_rows = intrinsic(_pack_listed_rows)
    changed_labels = intrinsic(_changed_labels)
    lowest_bit = intrinsic(_lowest_bit)
    list_changes = intrinsic(_list_changes)
    below = intrinsic(_below)
    unlabelled_rows = intrinsic(_unlabelled_rows)
    fetch = intrinsic(_fetch)
    fetch_add = intrinsic(_fetch_add)
    next_task = intrinsic(_next_task)
    peek = intrinsic(_peek)
    nearest_of_sparse = intrinsic(_nearest_of_sparse)
    sparse_products = intrinsic(_sparse_products)
    multiply_add = intrinsic(_multiply_add)
    near_centers = intrinsic(_near_centers)
    scatter_lines = intrinsic(_scatter_lines)
    scores_in_tile = intrinsic(_scores_in_tile)
    spin_multiply_adds = intrinsic(_spin_multiply_adds)
    squares_to_four = intrinsic(_squares_to_four)
    squares_to_panel = intrinsic(_squares_to_panel)
    unsettled_rows = intrinsic(_unsettled_rows)
