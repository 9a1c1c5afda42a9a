"""Emits LLVM IR for k-means++: rows, read in place, against the candidates of a round.

Vector lanes are candidates, in panels of 8 laid out ``[panel][feature][candidate]``:
a number of a row is broadcast and meets all of them at once.  Unlike the tiles of :mod:`.simd` this
needs no transposition, which for so few centers would cost several times what the distances do.

Rows are given as a list, so that those which no candidate can reach are not read.  Distances are
in difference form, ``sum((x - c)²)``: a row that equals a candidate has distance zero exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from .simd import CACHE_LINE, VECTOR_BYTES, _Emitter, _is_arm64, _is_float_array, _pointers, _shape

PANEL = 8  # candidates side by side
UNROLLED = 4  # features per turn of the inner loop, where they do not fill a cache line
PARTIAL_SUMS = 4 if VECTOR_BYTES == 64 or _is_arm64() else 2


def n_panels(n_candidates: int) -> int:
    """Panels that hold so many candidates."""
    return -(-n_candidates // PANEL)


def _rows_at_once(size: int) -> int:
    """Rows whose accumulators stay in registers, for elements of `size` bytes."""
    registers = max(1, PANEL * size // VECTOR_BYTES)
    return max(1, (16 if _is_arm64() else 8) // registers)


Finish = Callable[[ir.Value, list[ir.Value], list[ir.Value], list[ir.Value]], list[ir.Value]]


def _is_list(kind: Any) -> bool:
    return isinstance(kind, types.Array) and kind.dtype == types.int64


def _emit_distances(
    emit: _Emitter,
    starts: list[ir.Value],
    later: list[ir.Value],
    panel: ir.Value,
    n_features: ir.Value,
) -> list[ir.Value]:
    """Squared distances of the rows at `starts` to the 8 candidates of a panel.

    The rows at `later` are fetched meanwhile, a cache line of each with a line of these.
    """
    builder = emit.builder

    def feature(t: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        centers = emit.load(emit.at(panel, builder.mul(t, emit.const(PANEL))), aligned=False)
        result = []
        for start, total in zip(starts, sums, strict=True):
            gap = builder.fsub(emit.broadcast(emit.at(start, t)), centers)
            result.append(emit.multiply_add(gap, gap, total))
        return result

    sums: list[ir.Value] = [ir.Constant(emit.vector, [0.0] * emit.lanes)] * len(starts)
    done = emit.const(0)
    for width in ((CACHE_LINE // emit.size,) if later else ()) + (UNROLLED, 1):

        def several(
            turn: ir.Value, sums: list[ir.Value], width: int = width, done: ir.Value = done
        ) -> list[ir.Value]:
            first = builder.add(done, builder.mul(turn, emit.const(width)))
            if width > UNROLLED:
                for start in later:
                    emit.prefetch(emit.at(start, first))
            for t in range(width):
                sums = feature(builder.add(first, emit.const(t)), sums)
            return sums

        turns = builder.sdiv(builder.sub(n_features, done), emit.const(width))
        sums = emit.loop(turns, sums, several)
        done = builder.add(done, builder.mul(turns, emit.const(width)))
    return sums


def _emit_listed(
    emit: _Emitter,
    data: ir.Value,
    rows: ir.Value,
    first: ir.Value,
    count: ir.Value,
    panel: ir.Value,
    n_features: ir.Value,
    state: list[ir.Value],
    finish: Finish,
    *,
    ahead: ir.Value | None = None,
) -> list[ir.Value]:
    """Run ``state = finish(place, rows, distances, state)`` over ``rows[first : first + count]``.

    Several rows at once, then one by one; `place` is that of the first of them in the list.  With
    `ahead`, rows that are listed so many places later, and may be none, are fetched early.
    """
    builder = emit.builder
    done = emit.const(0)
    for width in (_rows_at_once(emit.size), 1):

        def some(
            turn: ir.Value, state: list[ir.Value], width: int = width, done: ir.Value = done
        ) -> list[ir.Value]:
            place = builder.add(done, builder.mul(turn, emit.const(width)))

            def listed(place: ir.Value) -> list[ir.Value]:
                return [
                    builder.load(emit.at(rows, first, place, emit.const(i))) for i in range(width)
                ]

            def starts(found: list[ir.Value]) -> list[ir.Value]:
                return [emit.at(data, builder.mul(row, n_features)) for row in found]

            now = listed(place)
            early = ahead is not None and width > 1
            later = starts(listed(builder.add(place, ahead))) if early else []
            distances = _emit_distances(emit, starts(now), later, panel, n_features)
            return finish(place, now, distances, state)

        turns = builder.sdiv(builder.sub(count, done), emit.const(width))
        state = emit.loop(turns, state, some)
        done = builder.add(done, builder.mul(turns, emit.const(width)))
    return state


def _smaller(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def _tell(
    builder: ir.IRBuilder, square: ir.Value, own: ir.Value, near: ir.Value, number: ir.Value
) -> None:
    """Store a squared distance and whose it is, where it is below the one at `own`."""
    old = builder.load(own)
    less = builder.fcmp_ordered("<", square, old)
    builder.store(builder.select(less, square, old), own)
    builder.store(builder.select(less, number, builder.load(near)), near)


def _add_potentials(
    typing_context: Any,
    X: Any,
    rows: Any,
    first: Any,
    count: Any,
    ahead: Any,
    panels: Any,
    number: Any,
    winner: Any,
    closest: Any,
    nearest: Any,
    factors: Any,
    potentials: Any,
) -> Any:
    """``potentials[j] += sum(factor * min(closest, |x - c_j|²))`` over listed rows, in float64.

    Rows are ``rows[first : first + count]`` (int64) of `X` (n, d), candidates those of panel
    `number`, ``factors[: count]`` (float64) the rows' weights in the order of the list.  With
    `winner` (int32) not negative, the first candidate is a center of that number that rows have
    to be told of first, as by :func:`come_closer`.  The list goes on for `ahead` places more, whose
    rows, which need not be rows of X, are fetched early.
    """
    if not _is_float_array(X, panels, closest, factors, potentials) or not _is_list(rows):
        return None
    if getattr(nearest, "dtype", None) != types.int32:
        return None
    if factors.dtype != types.float64 or potentials.dtype != types.float64:
        return None
    n = types.intp
    signature = types.void(
        X, rows, n, n, n, panels, n, types.int32, closest, nearest, factors, potentials
    )

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0], PANEL)
        wide = _Emitter(builder, signature.args[11], PANEL)
        (
            data, rows, first, count, ahead, panels, number, winner, closest, nearest, factors,
            potentials,
        ) = _pointers(context, builder, signature, arguments)  # fmt: skip
        _, n_features = _shape(context, builder, signature.args[0], arguments[0])
        size = builder.mul(n_features, emit.const(PANEL))

        def finish(
            place: ir.Value,
            listed: list[ir.Value],
            distances: list[ir.Value],
            sums: list[ir.Value],
        ) -> list[ir.Value]:
            sums = list(sums)
            with builder.if_then(builder.icmp_signed(">=", winner, winner.type(0))):
                for row, distance in zip(listed, distances, strict=True):
                    square = builder.extract_element(distance, ir.Constant(ir.IntType(32), 0))
                    own, near = emit.at(closest, row), builder.gep(nearest, [row])
                    _tell(builder, square, own, near, winner)
            for i, (row, distance) in enumerate(zip(listed, distances, strict=True)):
                least = _smaller(builder, distance, emit.broadcast(emit.at(closest, row)))
                if emit.size == 4:
                    least = builder.fpext(least, wide.vector)
                factor = wide.broadcast(wide.at(factors, place, wide.const(i)))
                which = i % PARTIAL_SUMS
                sums[which] = wide.multiply_add(least, factor, sums[which])
            return sums

        panel = emit.at(panels, builder.mul(number, size))
        zeros = [ir.Constant(wide.vector, [0.0] * PANEL)] * PARTIAL_SUMS
        sums = _emit_listed(
            emit, data, rows, first, count, panel, n_features, zeros, finish, ahead=ahead
        )
        total = sums[0]
        for part in sums[1:]:
            total = builder.fadd(total, part)
        target = wide.at(potentials, builder.mul(number, wide.const(PANEL)))
        total = builder.fadd(wide.load(target, aligned=False), total)
        builder.store(total, builder.bitcast(target, wide.vector.as_pointer()), align=8)
        return context.get_dummy_value()

    return signature, codegen


def _lower_to_candidates(
    typing_context: Any, X: Any, count: Any, rows: Any, panels: Any, number: Any, closest: Any
) -> Any:
    """``closest[row] = min(closest[row], |x - c_j|² for all j)`` over ``rows[:count]``.

    The candidates are those of panel `number`.
    """
    if not _is_float_array(X, panels, closest) or not _is_list(rows):
        return None
    signature = types.void(X, types.intp, rows, panels, types.intp, closest)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0], PANEL)
        data, count, rows, panels, number, closest = _pointers(
            context, builder, signature, arguments
        )
        _, n_features = _shape(context, builder, signature.args[0], arguments[0])
        panel = emit.at(panels, builder.mul(number, builder.mul(n_features, emit.const(PANEL))))

        def finish(
            place: ir.Value,
            listed: list[ir.Value],
            distances: list[ir.Value],
            state: list[ir.Value],
        ) -> list[ir.Value]:
            for row, distance in zip(listed, distances, strict=True):
                target = emit.at(closest, row)
                least = _smaller(builder, _fold(emit, distance, _smaller), builder.load(target))
                builder.store(least, target)
            return state

        zero = emit.const(0)
        _emit_listed(emit, data, rows, zero, count, panel, n_features, [], finish)
        return context.get_dummy_value()

    return signature, codegen


def _fold(
    emit: _Emitter,
    vector: ir.Value,
    join: Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value],
) -> ir.Value:
    """All lanes of a vector joined to one number, halves first."""
    size = emit.lanes
    while size > 1:
        size //= 2
        low = emit.shuffle(vector, vector, list(range(size)))
        high = emit.shuffle(vector, vector, list(range(size, 2 * size)))
        vector = join(emit.builder, low, high)
    return emit.builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _come_closer(
    typing_context: Any,
    X: Any,
    rows: Any,
    first: Any,
    count: Any,
    center: Any,
    number: Any,
    closest: Any,
    nearest: Any,
) -> Any:
    """Tell the rows ``rows[first : first + count]`` of a new center, with lanes over features.

    Where ``|x - center|²`` is below ``closest[row]`` it takes its place, and `number` that of
    ``nearest[row]`` (int32).  `center` is (d,).
    """
    if not _is_float_array(X, center, closest) or not _is_list(rows):
        return None
    if getattr(nearest, "dtype", None) != types.int32:
        return None
    n = types.intp
    signature = types.void(X, rows, n, n, center, types.int32, closest, nearest)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[0], PANEL)
        data, rows, first, count, center, number, closest, nearest = _pointers(
            context, builder, signature, arguments
        )
        _, n_features = _shape(context, builder, signature.args[0], arguments[0])
        vectors = builder.sdiv(n_features, emit.const(PANEL))
        done = builder.mul(vectors, emit.const(PANEL))
        rest = builder.sub(n_features, done)

        def tell(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            row = builder.load(emit.at(rows, first, index))
            start = emit.at(data, builder.mul(row, n_features))

            def eight(turn: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
                t = builder.mul(turn, emit.const(PANEL))
                x, c = (emit.load(emit.at(place, t), aligned=False) for place in (start, center))
                gap = builder.fsub(x, c)
                return [emit.multiply_add(gap, gap, state[0])]

            def one(index: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
                t = builder.add(done, index)
                x, c = (builder.load(emit.at(place, t)) for place in (start, center))
                gap = builder.fsub(x, c)
                return [builder.fadd(state[0], builder.fmul(gap, gap))]

            zeros = ir.Constant(emit.vector, [0.0] * PANEL)
            (sums,) = emit.loop(vectors, [zeros], eight)
            square = _fold(emit, sums, lambda builder, a, b: builder.fadd(a, b))
            (square,) = emit.loop(rest, [square], one)
            _tell(builder, square, emit.at(closest, row), builder.gep(nearest, [row]), number)
            return []

        emit.loop(count, [], tell)
        return context.get_dummy_value()

    return signature, codegen


# Bit mask of 8 rows -> places of those that are set, one byte each.
_PLACES = [[i for i in range(8) if mask >> i & 1] for mask in range(256)]


def _places_table(module: ir.Module) -> ir.GlobalVariable:
    name = "fastclust_places"
    found = module.globals.get(name)
    if found is None:
        word = ir.VectorType(ir.IntType(8), 8)
        lines = [ir.Constant(word, places + [0] * (8 - len(places))) for places in _PLACES]
        kind = ir.ArrayType(word, 256)
        found = ir.GlobalVariable(module, kind, name)
        found.initializer = ir.Constant(kind, lines)
        found.global_constant, found.linkage = True, "internal"
    return found


def _list_rows(
    typing_context: Any,
    start: Any,
    stop: Any,
    weights: Any,
    weighted: Any,
    reach: Any,
    closest: Any,
    nearest: Any,
    listed: Any,
    settled: Any,
) -> Any:
    """List the rows of a range whose ``closest`` is above ``reach[nearest]``; their number.

    The sum of `closest`, times `weights` where they are `weighted`, over the others is written to
    ``settled[0]`` (float64).  `listed` has room for 8 more.
    """
    if not _is_float_array(weights, reach, closest, settled) or not _is_list(listed):
        return None
    if getattr(nearest, "dtype", None) != types.int32 or settled.dtype != types.float64:
        return None
    n = types.intp
    signature = types.intp(n, n, weights, types.boolean, reach, closest, nearest, listed, settled)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Emitter(builder, signature.args[5], PANEL)
        wide = _Emitter(builder, signature.args[8], PANEL)
        start, stop, weights, weighted, reach, closest, nearest, listed, settled = _pointers(
            context, builder, signature, arguments
        )
        table = _places_table(builder.module)
        byte, word = ir.IntType(8), ir.IntType(32)

        def limits(row: ir.Value) -> ir.Value:
            """``reach[nearest]`` of 8 rows."""
            result = ir.Constant(emit.vector, ir.Undefined)
            for i in range(PANEL):
                which = builder.load(emit.at(nearest, row, emit.const(i)))
                limit = builder.load(emit.at(reach, builder.sext(which, emit.intp)))
                result = builder.insert_element(result, limit, ir.Constant(word, i))
            return result

        def kept(open_: ir.Value, own: ir.Value, kind: ir.Type, factor: Any) -> ir.Value:
            nothing = own.type(0.0) if own.type == emit.element else own.type([0.0] * PANEL)
            amount = builder.select(open_, nothing, own)
            amount = builder.fpext(amount, kind) if emit.size == 4 else amount
            if factor is None:
                return amount
            factor = builder.fpext(factor, kind) if emit.size == 4 else factor
            return builder.fmul(amount, factor)

        def run(with_weights: bool) -> tuple[ir.Value, ir.Value]:
            def eight(turn: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
                row = builder.add(start, builder.mul(turn, emit.const(PANEL)))
                own = emit.load(emit.at(closest, row), aligned=False)
                open_ = builder.fcmp_ordered(">", own, limits(row))
                factor = emit.load(emit.at(weights, row), aligned=False) if with_weights else None
                mask = builder.zext(builder.bitcast(open_, byte), emit.intp)
                places = builder.load(builder.gep(table, [emit.const(0), mask]), align=8)
                wider = ir.VectorType(emit.intp, PANEL)
                found = builder.add(builder.zext(places, wider), emit.splat(row))
                target = builder.bitcast(emit.at(listed, state[0]), wider.as_pointer())
                builder.store(found, target, align=8)
                count = builder.add(state[0], builder.ctpop(mask))
                return [count, builder.fadd(state[1], kept(open_, own, wide.vector, factor))]

            def one(index: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
                row = builder.add(builder.add(start, done), index)
                own = builder.load(emit.at(closest, row))
                which = builder.load(emit.at(nearest, row))
                limit = builder.load(emit.at(reach, builder.sext(which, emit.intp)))
                open_ = builder.fcmp_ordered(">", own, limit)
                factor = builder.load(emit.at(weights, row)) if with_weights else None
                builder.store(row, emit.at(listed, state[0]))
                count = builder.add(state[0], builder.zext(open_, emit.intp))
                return [count, builder.fadd(state[1], kept(open_, own, wide.element, factor))]

            size = builder.sub(stop, start)
            turns = builder.sdiv(size, emit.const(PANEL))
            done = builder.mul(turns, emit.const(PANEL))
            zeros = ir.Constant(wide.vector, [0.0] * PANEL)
            count, sums = emit.loop(turns, [emit.const(0), zeros], eight)
            total = _fold(wide, sums, lambda builder, a, b: builder.fadd(a, b))
            count, total = emit.loop(builder.sub(size, done), [count, total], one)
            builder.store(total, settled)
            return count, builder.block

        with builder.if_else(context.cast(builder, weighted, types.boolean, types.boolean)) as (
            then,
            otherwise,
        ):
            with then:
                first, first_block = run(with_weights=True)
            with otherwise:
                second, second_block = run(with_weights=False)
        count = builder.phi(emit.intp)
        count.add_incoming(first, first_block)
        count.add_incoming(second, second_block)
        return count

    return signature, codegen


INTRINSICS = ("add_potentials", "come_closer", "list_rows", "lower_to_candidates")

if config.DISABLE_JIT:
    from .plain import add_potentials, come_closer, list_rows, lower_to_candidates
else:
    add_potentials = intrinsic(_add_potentials)
    come_closer = intrinsic(_come_closer)
    list_rows = intrinsic(_list_rows)
    lower_to_candidates = intrinsic(_lower_to_candidates)
