"""Vector code for Gaussian mixtures: densities, exponentials, posteriors and moments of 64 rows.

Everything here is float64, whatever the dtype of X, and works on tiles as :mod:`.simd` makes them:
``[feature][row]``, 64 rows side by side.  Quantities of components are ``[component][row]``.

Layouts
-------
triangle
    An upper triangular matrix U for ``y = x U``: its columns in groups of 6, each group
    ``[row][column]`` down to the diagonal, and the ragged rest of the columns as a last group; see
    :func:`triangle_order`.
panels
    Means ``[group][feature][component]``, or scales and shifts ``[group][feature][2][component]``,
    in the groups of 6 and 4 of :func:`.simd.center_groups`.
moments
    One vector of partial sums per number, added up over the lanes at the end of a slice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from .simd import (
    NARROW,
    ROW_VECTORS,
    TILE_ROWS,
    VECTOR_BYTES,
    WIDE,
    _emit_pack,
    _emit_tile,
    _Emitter,
    _is_float_array,
    _pointers,
    _shape,
    _tile_start,
)

LANES = VECTOR_BYTES // 8
# Features of a tile that stay in the first-level cache while all components pass over them.
NEAR_FEATURES = 16
HELD = min(8, TILE_ROWS // LANES)  # vectors of rows that the moments keep in registers

# Orders of moments.
NO_MOMENTS, MEANS, DISTANCES, VARIANCES, COVARIANCES, OUTER_PRODUCTS = -1, 0, 1, 2, 3, 4

# exp(r) - 1 - r over r², |r| <= log(2) / 2: Chebyshev fit, 1.3e-17 from the truth.
EXP_COEFFICIENTS = (
    0.5000000000000001,
    0.16666666666666669,
    0.04166666666662413,
    0.008333333333330062,
    0.0013888888917213717,
    0.00019841269863053618,
    2.4801521295954376e-05,
    2.7557268459997064e-06,
    2.7620088445409746e-07,
    2.510038549551032e-08,
)
# log(1 + f) by s = f / (2 + f), as in fdlibm's e_log.c (Sun Microsystems, 1993).
LOG_COEFFICIENTS = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
# log(2) in two parts; products of the first with integers below 2**20 are exact.
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LEAST_EXPONENT = -708.0  # below it exp is taken for zero; the smallest normal number is exp(-708.4)


def triangle_order(n_features: int) -> np.ndarray[Any, Any]:
    """Places, in a flattened upper triangular matrix, of the elements of the triangle layout."""
    groups = []
    for first in range(0, n_features, WIDE):
        columns = np.arange(first, min(first + WIDE, n_features))
        depth = columns[-1] + 1
        groups.append((np.arange(depth)[:, None] * n_features + columns).ravel())
    return np.concatenate(groups)


def _doubles(*kinds: Any) -> bool:
    return _is_float_array(*kinds) and all(kind.dtype == types.float64 for kind in kinds)


# --------------------------------------------------------------------------------------------
# Elementary functions


class _Doubles(_Emitter):
    """Vectors of float64, with exp and log."""

    def number(self, value: float) -> ir.Constant:
        return ir.Constant(self.vector, [value] * self.lanes)

    def whole(self, value: int) -> ir.Constant:
        return ir.Constant(self.integers, [value] * self.lanes)

    def polynomial(self, coefficients: tuple[float, ...], x: ir.Value) -> ir.Value:
        value = self.number(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            value = self.multiply_add(value, x, self.number(coefficient))
        return value

    def exp(self, x: ir.Value) -> ir.Value:
        """``exp(x)`` for x from -708 to 708, to about an ulp."""
        builder = self.builder
        # Adding 1.5 · 2**52 rounds to an integer and leaves it in the low bits.
        magic = self.number(6755399441055744.0)
        shifted = self.multiply_add(x, self.number(1.4426950408889634), magic)
        n = builder.fsub(shifted, magic)
        r = self.multiply_add(n, self.number(-LN2_HIGH), x)
        r = self.multiply_add(n, self.number(-LN2_LOW), r)
        square = builder.fmul(r, r)
        rest = self.multiply_add(self.polynomial(EXP_COEFFICIENTS, r), square, r)
        mantissa = builder.fadd(rest, self.number(1.0))
        exponent = builder.shl(builder.bitcast(shifted, self.integers), self.whole(52))
        bits = builder.add(builder.bitcast(mantissa, self.integers), exponent)
        return builder.bitcast(bits, self.vector)

    def log(self, x: ir.Value) -> ir.Value:
        """``log(x)`` for positive normal x, to about an ulp."""
        builder = self.builder
        bits = builder.bitcast(x, self.integers)
        # Subtracting sqrt(1/2) brings the exponent of everything from there to sqrt(2) to zero.
        offset = builder.sub(bits, self.whole(0x3FE6A09E667F3BCD))
        exponent = builder.ashr(offset, self.whole(52))
        mantissa = builder.sub(bits, builder.shl(exponent, self.whole(52)))
        k = self.small_integer(exponent)
        f = builder.fsub(builder.bitcast(mantissa, self.vector), self.number(1.0))
        s = builder.fdiv(f, builder.fadd(f, self.number(2.0)))
        z = builder.fmul(s, s)
        r = builder.fmul(self.polynomial(LOG_COEFFICIENTS, z), z)
        half = builder.fmul(builder.fmul(f, f), self.number(0.5))
        inner = self.multiply_add(k, self.number(LN2_LOW), builder.fmul(s, builder.fadd(half, r)))
        rest = builder.fsub(builder.fsub(half, inner), f)
        return builder.fsub(builder.fmul(k, self.number(LN2_HIGH)), rest)

    def small_integer(self, value: ir.Value) -> ir.Value:
        """An integer below 2**51 in magnitude as float64, without the instruction of AVX-512."""
        builder = self.builder
        magic = self.number(6755399441055744.0)
        bits = builder.add(value, builder.bitcast(magic, self.integers))
        return builder.fsub(builder.bitcast(bits, self.vector), magic)

    def tree(self, values: list[ir.Value]) -> ir.Value:
        while len(values) > 1:
            pairs = zip(values[::2], values[1::2], strict=False)
            odd = values[len(values) - len(values) % 2 :]
            values = [self.builder.fadd(a, b) for a, b in pairs] + odd
        return values[0]

    def add_to(self, pointer: ir.Value, value: ir.Value) -> None:
        self.store(self.builder.fadd(self.load(pointer), value), pointer)


def _elementwise(name: str) -> Callable[..., Any]:
    def typing(typing_context: Any, values: Any) -> Any:
        if not _doubles(values):
            return None
        signature = types.void(values, types.intp)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit = _Doubles(builder, signature.args[0])
            values, count = _pointers(context, builder, signature, arguments)

            def vector(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
                place = emit.at(values, builder.mul(index, emit.const(emit.lanes)))
                emit.store(getattr(emit, name)(emit.load(place)), place)
                return []

            emit.loop(builder.sdiv(count, emit.const(emit.lanes)), [], vector)
            return context.get_dummy_value()

        return signature, codegen

    return typing


def _exp_of(typing_context: Any, values: Any, count: Any) -> Any:
    """Replace `count` numbers, whole vectors of them and aligned, by their exponentials."""
    return _elementwise("exp")(typing_context, values)


def _log_of(typing_context: Any, values: Any, count: Any) -> Any:
    """Replace `count` positive numbers, whole vectors of them and aligned, by their logarithms."""
    return _elementwise("log")(typing_context, values)


def _pack_doubles(
    typing_context: Any,
    X: Any,
    tail: Any,
    first_row: Any,
    zeros: Any,
    center: Any,
    raw: Any,
    packed: Any,
) -> Any:
    """As :func:`.simd.pack_rows`, to float64: rows minus `center` into `packed` (features, 64).

    `zeros` and `raw` are room for rows of another dtype: zeros (features,) and (features, 64) of
    the dtype of `X`.
    """
    if not _is_float_array(X, tail, zeros, raw) or not _doubles(center, packed):
        return None
    signature = types.void(X, tail, types.intp, zeros, center, raw, packed)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Doubles(builder, signature.args[4])
        data, tail, first, zeros, center, raw, packed = _pointers(
            context, builder, signature, arguments
        )
        shape = _shape(context, builder, signature.args[0], arguments[0])
        start = _tile_start(builder, data, tail, first, shape)
        narrow = _Emitter(builder, signature.args[0])
        if narrow.size == 8:
            _emit_pack(narrow, start, shape[1], center, packed)
            return context.get_dummy_value()
        _emit_pack(narrow, start, shape[1], zeros, raw)
        source = _Emitter(builder, signature.args[0], emit.lanes)

        def feature(t: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            shift = emit.broadcast(emit.at(center, t))
            line = builder.mul(t, emit.const(TILE_ROWS))
            for row in range(0, TILE_ROWS, emit.lanes):
                value = source.load(source.at(raw, line, emit.const(row)))
                wide = builder.fpext(value, emit.vector)
                emit.store(builder.fsub(wide, shift), emit.at(packed, line, emit.const(row)))
            return []

        emit.loop(shape[1], [], feature)
        return context.get_dummy_value()

    return signature, codegen


# --------------------------------------------------------------------------------------------
# Triangular products: densities of full covariances, whitening for tied ones

Sums = list[list[ir.Value]]


def _emit_triangle(
    emit: _Doubles,
    packed: ir.Value,
    triangle: ir.Value,
    n_features: ir.Value,
    start: Callable[[ir.Value], ir.Value],
    epilogue: Callable[[ir.Value, ir.Value, Sums], None],
) -> None:
    """``y = start + x U`` for 64 rows, a group of columns at a time.

    `epilogue` receives the first row, the first column and ``[column][vector]``.  Nothing else is
    kept in registers from group to group: there is no room.
    """
    builder = emit.builder
    rows_at_once = ROW_VECTORS * emit.lanes
    n_full = builder.sdiv(n_features, emit.const(WIDE))
    ragged = builder.srem(n_features, emit.const(WIDE))

    def over_rows(part: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        row = builder.mul(part, emit.const(rows_at_once))
        own_rows = emit.at(packed, row)

        def columns(
            width: int, first: ir.Value, depth: ir.Value, state: list[ir.Value]
        ) -> list[ir.Value]:
            (place,) = state
            panel = emit.at(triangle, place)

            def over_features(t: ir.Value, flat: list[ir.Value]) -> list[ir.Value]:
                source = emit.at(own_rows, builder.mul(t, emit.const(TILE_ROWS)))
                vectors = [
                    emit.load(emit.at(source, emit.const(v * emit.lanes)))
                    for v in range(ROW_VECTORS)
                ]
                line = emit.at(panel, builder.mul(t, emit.const(width)))
                result = []
                for j in range(width):
                    value = emit.broadcast(emit.at(line, emit.const(j)))
                    for v in range(ROW_VECTORS):
                        result.append(
                            emit.multiply_add(vectors[v], value, flat[j * ROW_VECTORS + v])
                        )
                return result

            initial = []
            for j in range(width):
                initial += [start(builder.add(first, emit.const(j)))] * ROW_VECTORS
            flat = emit.loop(depth, initial, over_features)
            sums = [flat[j * ROW_VECTORS : (j + 1) * ROW_VECTORS] for j in range(width)]
            epilogue(row, first, sums)
            return [builder.add(place, builder.mul(depth, emit.const(width)))]

        def full(group: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
            first = builder.mul(group, emit.const(WIDE))
            return columns(WIDE, first, builder.add(first, emit.const(WIDE)), state)

        state = emit.loop(n_full, [emit.const(0)], full)
        first = builder.mul(n_full, emit.const(WIDE))
        for width in range(1, WIDE):
            here = builder.icmp_signed("==", ragged, emit.const(width))

            def rest(_: ir.Value, state: list[ir.Value], width: int = width) -> list[ir.Value]:
                return columns(width, first, n_features, state)

            state = emit.loop(builder.zext(here, emit.intp), state, rest)
        return []

    emit.loop(emit.const(TILE_ROWS // rows_at_once), [], over_rows)


def _log_density_in_tile(
    typing_context: Any,
    packed: Any,
    triangles: Any,
    place: Any,
    shifts: Any,
    first_shift: Any,
    constant: Any,
    n_features: Any,
    logits: Any,
    first_logit: Any,
) -> Any:
    """``constant - |x U + shift|²/2`` of 64 packed rows into ``logits[first_logit : + 64]``.

    U lies in `triangles` from `place` on; the shift is ``shifts[first_shift : + n_features]``.
    """
    if not _doubles(packed, triangles, shifts, logits):
        return None
    n = types.intp
    signature = types.void(packed, triangles, n, shifts, n, types.float64, n, logits, n)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Doubles(builder, signature.args[0])
        packed, triangles, place, shifts, first_shift, constant, n_features, logits, first = (
            _pointers(context, builder, signature, arguments)
        )
        constants = emit.splat(constant)

        def places(row: ir.Value) -> list[ir.Value]:
            return [
                emit.at(logits, first, row, emit.const(v * emit.lanes)) for v in range(ROW_VECTORS)
            ]

        def epilogue(row: ir.Value, column: ir.Value, sums: Sums) -> None:
            for v, place in enumerate(places(row)):
                logit = emit.load(place)
                for values in sums:
                    half = builder.fmul(values[v], emit.number(-0.5))
                    logit = emit.multiply_add(half, values[v], logit)
                emit.store(logit, place)

        for row in range(0, TILE_ROWS, emit.lanes):
            emit.store(constants, emit.at(logits, first, emit.const(row)))
        _emit_triangle(
            emit,
            packed,
            emit.at(triangles, place),
            n_features,
            lambda column: emit.broadcast(emit.at(shifts, first_shift, column)),
            epilogue,
        )
        return context.get_dummy_value()

    return signature, codegen


def _whiten_in_tile(
    typing_context: Any, packed: Any, triangle: Any, n_features: Any, white: Any
) -> Any:
    """``x U`` of 64 packed rows into `white` (features, 64)."""
    if not _doubles(packed, triangle, white):
        return None
    signature = types.void(packed, triangle, types.intp, white)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Doubles(builder, signature.args[0])
        packed, triangle, n_features, white = _pointers(context, builder, signature, arguments)

        def epilogue(row: ir.Value, column: ir.Value, sums: Sums) -> None:
            for j, values in enumerate(sums):
                line = builder.mul(builder.add(column, emit.const(j)), emit.const(TILE_ROWS))
                for v, value in enumerate(values):
                    emit.store(value, emit.at(white, line, row, emit.const(v * emit.lanes)))

        _emit_triangle(
            emit,
            packed,
            triangle,
            n_features,
            lambda column: emit.number(0.0),
            epilogue,
        )
        return context.get_dummy_value()

    return signature, codegen


# --------------------------------------------------------------------------------------------
# Axis-parallel densities


def _scaled_log_densities(
    typing_context: Any,
    packed: Any,
    panels: Any,
    n_wide: Any,
    n_narrow: Any,
    constants: Any,
    n_features: Any,
    logits: Any,
) -> Any:
    """``constant - sum((x · scale + shift)²)/2`` for all components: `logits` (padded k, 64)."""
    if not _doubles(packed, panels, constants, logits):
        return None
    n = types.intp
    signature = types.void(packed, panels, n, n, constants, n, logits)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Doubles(builder, signature.args[0])
        packed, panels, n_wide, n_narrow, constants, n_features, logits = _pointers(
            context, builder, signature, arguments
        )
        base, first_component = emit.const(0), emit.const(0)
        for width, count in zip((WIDE, NARROW), (n_wide, n_narrow), strict=True):
            stride = builder.mul(emit.const(2 * width), n_features)

            def over_groups(
                group: ir.Value,
                _: list[ir.Value],
                width: int = width,
                stride: ir.Value = stride,
                base: ir.Value = base,
                first_component: ir.Value = first_component,
            ) -> list[ir.Value]:
                panel = emit.at(panels, base, builder.mul(group, stride))
                first = builder.add(first_component, builder.mul(group, emit.const(width)))
                _emit_scaled_group(emit, packed, panel, width, n_features, constants, first, logits)
                return []

            emit.loop(count, [], over_groups)
            base = builder.add(base, builder.mul(count, stride))
            first_component = builder.add(first_component, builder.mul(count, emit.const(width)))
        return context.get_dummy_value()

    return signature, codegen


def _emit_scaled_group(
    emit: _Doubles,
    packed: ir.Value,
    panel: ir.Value,
    width: int,
    n_features: ir.Value,
    constants: ir.Value,
    first: ir.Value,
    logits: ir.Value,
) -> None:
    builder = emit.builder
    rows_at_once = ROW_VECTORS * emit.lanes

    def over_rows(part: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        row = builder.mul(part, emit.const(rows_at_once))
        own_rows = emit.at(packed, row)

        def over_features(t: ir.Value, flat: list[ir.Value]) -> list[ir.Value]:
            source = emit.at(own_rows, builder.mul(t, emit.const(TILE_ROWS)))
            vectors = [
                emit.load(emit.at(source, emit.const(v * emit.lanes))) for v in range(ROW_VECTORS)
            ]
            line = emit.at(panel, builder.mul(t, emit.const(2 * width)))
            result = []
            for j in range(width):
                scale = emit.broadcast(emit.at(line, emit.const(j)))
                shift = emit.broadcast(emit.at(line, emit.const(width + j)))
                for v in range(ROW_VECTORS):
                    y = emit.multiply_add(vectors[v], scale, shift)
                    result.append(emit.multiply_add(y, y, flat[j * ROW_VECTORS + v]))
            return result

        flat = emit.loop(n_features, [emit.number(0.0)] * (width * ROW_VECTORS), over_features)
        for j in range(width):
            component = builder.add(first, emit.const(j))
            constant = emit.broadcast(emit.at(constants, component))
            line = builder.mul(component, emit.const(TILE_ROWS))
            for v in range(ROW_VECTORS):
                square = flat[j * ROW_VECTORS + v]
                logit = emit.multiply_add(square, emit.number(-0.5), constant)
                emit.store(logit, emit.at(logits, line, row, emit.const(v * emit.lanes)))
        return []

    emit.loop(emit.const(TILE_ROWS // rows_at_once), [], over_rows)


# --------------------------------------------------------------------------------------------
# Round densities


def _round_log_densities(
    typing_context: Any,
    packed: Any,
    panels: Any,
    n_wide: Any,
    n_narrow: Any,
    halves: Any,
    constants: Any,
    n_features: Any,
    squares: Any,
    logits: Any,
) -> Any:
    """``constant + half · |x - mean|²`` for all components: `logits` (padded k, 64).

    `squares` (padded k, 64) receives the squared distances.  A subtraction and a multiply-add for
    each number: CPUs that add beside multiplying need half the time of two multiply-adds.
    """
    if not _doubles(packed, panels, halves, constants, squares, logits):
        return None
    n = types.intp
    signature = types.void(packed, panels, n, n, halves, constants, n, squares, logits)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Doubles(builder, signature.args[0])
        packed, panels, n_wide, n_narrow, halves, constants, n_features, squares, logits = (
            _pointers(context, builder, signature, arguments)
        )

        def step(x: ir.Value, mean: ir.Value, total: ir.Value) -> ir.Value:
            z = builder.fsub(x, mean)
            return emit.multiply_add(z, z, total)

        def epilogue(row: ir.Value, first: ir.Value, sums: Sums) -> None:
            for j, values in enumerate(sums):
                component = builder.add(first, emit.const(j))
                half = emit.broadcast(emit.at(halves, component))
                constant = emit.broadcast(emit.at(constants, component))
                line = builder.mul(component, emit.const(TILE_ROWS))
                for v, square in enumerate(values):
                    place = builder.add(line, builder.add(row, emit.const(v * emit.lanes)))
                    emit.store(square, emit.at(squares, place))
                    logit = emit.multiply_add(square, half, constant)
                    emit.store(logit, emit.at(logits, place))

        _emit_tile(
            emit,
            packed,
            panels,
            (n_wide, n_narrow),
            n_features,
            lambda component: emit.number(0.0),
            step,
            epilogue,
        )
        return context.get_dummy_value()

    return signature, codegen


# --------------------------------------------------------------------------------------------
# Posteriors


def _posterior_in_tile(
    typing_context: Any, logits: Any, n_components: Any, log_norm: Any, negentropy: Any
) -> Any:
    """Turn `logits` (k, 64) into posterior probabilities, in place.

    ``log_norm`` (64,) receives the log of the sum of the exponentials, and ``negentropy`` (64,)
    the sum of ``p log p``.
    """
    if not _doubles(logits, log_norm, negentropy):
        return None
    signature = types.void(logits, types.intp, log_norm, negentropy)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Doubles(builder, signature.args[0])
        logits, n_components, log_norm, negentropy = _pointers(
            context, builder, signature, arguments
        )
        rows_at_once = ROW_VECTORS * emit.lanes

        def over_rows(part: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            row = builder.mul(part, emit.const(rows_at_once))
            _emit_posterior(emit, emit.at(logits, row), n_components, row, log_norm, negentropy)
            return []

        emit.loop(emit.const(TILE_ROWS // rows_at_once), [], over_rows)
        return context.get_dummy_value()

    return signature, codegen


def _emit_posterior(
    emit: _Doubles,
    logits: ir.Value,
    n_components: ir.Value,
    row: ir.Value,
    log_norm: ir.Value,
    negentropy: ir.Value,
) -> None:
    builder = emit.builder
    each = range(ROW_VECTORS)

    def places(component: ir.Value) -> list[ir.Value]:
        line = emit.at(logits, builder.mul(component, emit.const(TILE_ROWS)))
        return [emit.at(line, emit.const(v * emit.lanes)) for v in each]

    def larger(component: ir.Value, largest: list[ir.Value]) -> list[ir.Value]:
        found = [emit.load(place) for place in places(component)]
        return [
            builder.select(builder.fcmp_ordered(">", new, old), new, old)
            for new, old in zip(found, largest, strict=True)
        ]

    def exponentials(component: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
        sums, dots = state[:ROW_VECTORS], state[ROW_VECTORS:]
        least, zero = emit.number(LEAST_EXPONENT), emit.number(0.0)
        for v, place in enumerate(places(component)):
            x = builder.fsub(emit.load(place), largest[v])
            visible = builder.fcmp_ordered(">", x, least)
            x = builder.select(visible, x, least)
            value = builder.select(visible, emit.exp(x), zero)
            emit.store(value, place)
            sums[v] = builder.fadd(sums[v], value)
            dots[v] = emit.multiply_add(value, x, dots[v])
        return [*sums, *dots]

    largest = emit.loop(n_components, [emit.number(-1.7e308)] * ROW_VECTORS, larger)
    state = emit.loop(n_components, [emit.number(0.0)] * (2 * ROW_VECTORS), exponentials)
    inverses = []
    for v in each:
        total, dot = state[v], state[ROW_VECTORS + v]
        inverse = builder.fdiv(emit.number(1.0), total)
        log = emit.log(total)
        here = builder.add(row, emit.const(v * emit.lanes))
        emit.store(builder.fadd(largest[v], log), emit.at(log_norm, here))
        emit.store(builder.fsub(builder.fmul(dot, inverse), log), emit.at(negentropy, here))
        inverses.append(inverse)

    def normalised(component: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        for v, place in enumerate(places(component)):
            emit.store(builder.fmul(emit.load(place), inverses[v]), place)
        return []

    emit.loop(n_components, [], normalised)


def _above(typing_context: Any, values: Any, first: Any, limit: Any) -> Any:
    """64-bit mask of the numbers in ``values[first : first + 64]`` that are above `limit`."""
    if not _doubles(values):
        return None
    signature = types.uint64(values, types.intp, types.float64)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Doubles(builder, signature.args[0], TILE_ROWS)
        values, first, limit = _pointers(context, builder, signature, arguments)
        typed = builder.bitcast(emit.at(values, first), emit.vector.as_pointer())
        found = builder.load(typed, align=VECTOR_BYTES)
        more = builder.fcmp_ordered(">", found, emit.splat(limit))
        return builder.bitcast(more, ir.IntType(64))

    return signature, codegen


def _weigh_in_tile(
    typing_context: Any,
    posterior: Any,
    weights: Any,
    n_components: Any,
    squares: Any,
    squared: Any,
    totals: Any,
) -> Any:
    """Multiply the posteriors (k, 64) by the weights of the rows (64,), in place.

    ``totals`` (k, 2, lanes) gains the sums of the products r and, where `squared`, of r times
    `squares` (k, 64).
    """
    if not _doubles(posterior, weights, squares, totals):
        return None
    n = types.intp
    signature = types.void(posterior, weights, n, squares, types.boolean, totals)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Doubles(builder, signature.args[0])
        posterior, weights, n_components, squares, squared, totals = _pointers(
            context, builder, signature, arguments
        )
        each = [emit.const(row) for row in range(0, TILE_ROWS, LANES)]
        wanted = builder.zext(squared, emit.intp)

        def over_components(component: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            line = builder.mul(component, emit.const(TILE_ROWS))
            total = emit.at(totals, builder.mul(component, emit.const(2 * LANES)))
            r = []
            for row in each:
                place = emit.at(posterior, line, row)
                r.append(builder.fmul(emit.load(place), emit.load(emit.at(weights, row))))
                emit.store(r[-1], place)
            emit.add_to(total, emit.tree(r))

            def distances(_: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
                found = [emit.load(emit.at(squares, line, row)) for row in each]
                _add_dot(emit, r, found, emit.at(total, emit.const(LANES)))
                return state

            emit.loop(wanted, [], distances)
            return []

        emit.loop(n_components, [], over_components)
        return context.get_dummy_value()

    return signature, codegen


# --------------------------------------------------------------------------------------------
# Moments


def _moments_of(order: int) -> Callable[..., Any]:
    """Intrinsic that adds the moments of 64 rows up to `order` to those of one component."""

    def typing(packed: Any, parts: Any, means: Any, moments: Any) -> Any:
        if not _doubles(packed, parts, means, moments):
            return None
        n = types.intp
        signature = types.void(packed, parts, n, means, n, n, n, n, moments, n)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit = _Doubles(builder, signature.args[0])
            pointers = _pointers(context, builder, signature, arguments)

            def over_rows(part: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
                _emit_moments(emit, order, pointers, builder.mul(part, emit.const(HELD * LANES)))
                return []

            emit.loop(emit.const(TILE_ROWS // (HELD * LANES)), [], over_rows)
            return context.get_dummy_value()

        return signature, codegen

    return typing


def _emit_moments(emit: _Doubles, order: int, pointers: list[ir.Value], row: ir.Value) -> None:
    """Moments of ``HELD`` vectors of rows: sums of r z and of r z z with ``z = x - mean``."""
    builder = emit.builder
    packed, parts, place, means, first_mean, begin, end, n_features, moments, base = pointers
    each = [emit.const(v * LANES) for v in range(HELD)]
    step = emit.const(LANES)
    r = [emit.load(emit.at(parts, place, row, v)) for v in each]
    firsts = emit.at(moments, base)
    seconds = emit.at(firsts, builder.mul(n_features, step))

    def centred(i: ir.Value, v: ir.Value, mean: ir.Value) -> ir.Value:
        line = builder.mul(i, emit.const(TILE_ROWS))
        return builder.fsub(emit.load(emit.at(packed, line, row, v)), mean)

    def feature(index: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
        i = builder.add(begin, index)
        mean = emit.broadcast(emit.at(means, first_mean, i))
        z = [centred(i, v, mean) for v in each]
        if order == MEANS:  # one instruction for each number beside the subtraction
            _add_dot(emit, r, z, emit.at(firsts, builder.mul(i, step)))
            return state
        rz = [builder.fmul(a, b) for a, b in zip(r, z, strict=True)]
        emit.add_to(emit.at(firsts, builder.mul(i, step)), emit.tree(rz))
        if order == VARIANCES:
            _add_dot(emit, rz, z, emit.at(seconds, builder.mul(i, step)))
        if order < COVARIANCES:
            return state
        line = state[0]

        def earlier(j: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            mean = emit.broadcast(emit.at(means, first_mean, j))
            others = [centred(j, v, mean) for v in each]
            place = builder.mul(builder.add(line, j), step)
            _add_dot(emit, rz, others, emit.at(seconds, place))
            return []

        count = builder.add(i, emit.const(1))
        emit.loop(count, [], earlier)
        return [builder.add(line, count)]

    lines = builder.mul(begin, builder.add(begin, emit.const(1)))  # before this one, twice
    lines = builder.ashr(lines, emit.const(1))
    emit.loop(builder.sub(end, begin), [lines], feature)


def _add_dot(emit: _Doubles, a: list[ir.Value], b: list[ir.Value], place: ir.Value) -> None:
    """Add ``sum(a · b)``, lane by lane, to the vector at `place`, by two chains."""
    chains = [emit.builder.fmul(a[0], b[0]), emit.builder.fmul(a[1], b[1])]
    for v in range(2, len(a)):
        chains[v % 2] = emit.multiply_add(a[v], b[v], chains[v % 2])
    emit.add_to(place, emit.builder.fadd(*chains))


def _add_means(
    typing_context: Any,
    packed: Any,
    parts: Any,
    place: Any,
    means: Any,
    first_mean: Any,
    begin: Any,
    end: Any,
    n_features: Any,
    moments: Any,
    base: Any,
) -> Any:
    """Add sums of r z over 64 rows to the moments of one component, of features `begin` to `end`.

    r is ``parts[place : + 64]``, z is ``x - means[first_mean : + d]``; the moments lie in `moments`
    from `base` on, a vector each.
    """
    return _moments_of(MEANS)(packed, parts, means, moments)


def _add_variances(
    typing_context: Any,
    packed: Any,
    parts: Any,
    place: Any,
    means: Any,
    first_mean: Any,
    begin: Any,
    end: Any,
    n_features: Any,
    moments: Any,
    base: Any,
) -> Any:
    """As :func:`add_means`, and d sums of r z²."""
    return _moments_of(VARIANCES)(packed, parts, means, moments)


def _add_covariances(
    typing_context: Any,
    packed: Any,
    parts: Any,
    place: Any,
    means: Any,
    first_mean: Any,
    begin: Any,
    end: Any,
    n_features: Any,
    moments: Any,
    base: Any,
) -> Any:
    """As :func:`add_means`, and d (d + 1) / 2 sums of r z_i z_j, j <= i, line by line."""
    return _moments_of(COVARIANCES)(packed, parts, means, moments)


# --------------------------------------------------------------------------------------------
# Outer products of listed rows


def _gather_row(
    typing_context: Any,
    X: Any,
    row: Any,
    part: Any,
    n_features: Any,
    center: Any,
    means: Any,
    first_mean: Any,
    left: Any,
    right: Any,
    place: Any,
    sums: Any,
) -> Any:
    """Lay out one row for :func:`add_outer_products`: z to `right`, ``part · z`` to `left`.

    z is ``(X[row] - center) - means[first_mean : + d]``; `place` is where the row begins, and
    ``sums[first_mean : + d]`` gains ``part · z``.
    """
    doubles = _doubles(center, means, left, right, sums)
    if not _is_float_array(X) or not doubles:
        return None
    n = types.intp
    signature = types.void(X, n, types.float64, n, center, means, n, left, right, n, sums)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, row, part, n_features, center, means, first, left, right, place, sums = _pointers(
            context, builder, signature, arguments
        )
        source = _Emitter(builder, signature.args[0], LANES)
        vectors, scalars = (
            _Doubles(builder, signature.args[4]),
            _Doubles(builder, signature.args[4], 1),
        )
        x = source.at(data, builder.mul(row, n_features))

        def centred(emit: _Doubles, t: ir.Value) -> None:
            raw = ir.VectorType(source.element, emit.lanes)
            typed = builder.bitcast(source.at(x, t), raw.as_pointer())
            value = builder.load(typed, align=source.size)
            if source.size == 4:
                value = builder.fpext(value, emit.vector)
            value = builder.fsub(value, emit.load(emit.at(center, t), aligned=False))
            z = builder.fsub(value, emit.load(emit.at(means, first, t), aligned=False))
            weighted = builder.fmul(emit.splat(part), z)
            total = builder.fadd(emit.load(emit.at(sums, first, t), aligned=False), weighted)
            for result, pointer in (
                (z, emit.at(right, place, t)),
                (weighted, emit.at(left, place, t)),
                (total, emit.at(sums, first, t)),
            ):
                builder.store(result, builder.bitcast(pointer, emit.vector.as_pointer()), align=8)

        def vector(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            centred(vectors, builder.mul(index, vectors.const(LANES)))
            return []

        n_full = builder.sdiv(n_features, vectors.const(LANES))
        vectors.loop(n_full, [], vector)
        done = builder.mul(n_full, vectors.const(LANES))

        def scalar(index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            centred(scalars, builder.add(done, index))
            return []

        vectors.loop(builder.sub(n_features, done), [], scalar)
        return context.get_dummy_value()

    return signature, codegen


def _add_outer_products(
    typing_context: Any,
    left: Any,
    right: Any,
    n_rows: Any,
    n_features: Any,
    stride: Any,
    products: Any,
    base: Any,
) -> Any:
    """Add ``leftᵀ right`` over `n_rows` rows to the upper triangle of `products`.

    `left` and `right` are ``[row][stride]``, zero from `n_features` on; `products`, from `base`
    on, is ``[feature][stride]``.  The stride is whole vectors and at least `n_features` rounded up
    to 6, and so many lines `products` has.  Lanes are features of `right`.
    """
    if not _doubles(left, right, products):
        return None
    n = types.intp
    signature = types.void(left, right, n, n, n, products, n)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit = _Doubles(builder, signature.args[0])
        left, right, n_rows, n_features, stride, products, base = _pointers(
            context, builder, signature, arguments
        )
        n_vectors = builder.sdiv(
            builder.add(n_features, emit.const(emit.lanes - 1)), emit.const(emit.lanes)
        )
        n_blocks = builder.sdiv(builder.add(n_features, emit.const(WIDE - 1)), emit.const(WIDE))

        def over_blocks(block: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            first = builder.mul(block, emit.const(WIDE))
            vector = builder.sdiv(first, emit.const(emit.lanes))
            left_over = builder.sub(n_vectors, vector)
            for width in range(ROW_VECTORS, 0, -1):
                if width == ROW_VECTORS:
                    count = builder.sdiv(left_over, emit.const(width))
                else:
                    ragged = builder.srem(left_over, emit.const(ROW_VECTORS))
                    count = builder.zext(
                        builder.icmp_signed("==", ragged, emit.const(width)), emit.intp
                    )

                def tile(_: ir.Value, state: list[ir.Value], width: int = width) -> list[ir.Value]:
                    column = builder.mul(state[0], emit.const(emit.lanes))
                    place = builder.add(base, builder.mul(first, stride))
                    _emit_outer_tile(
                        emit,
                        width,
                        emit.at(left, first),
                        emit.at(right, column),
                        n_rows,
                        stride,
                        emit.at(products, place, column),
                    )
                    return [builder.add(state[0], emit.const(width))]

                (vector,) = emit.loop(count, [vector], tile)
            return []

        emit.loop(n_blocks, [], over_blocks)
        return context.get_dummy_value()

    return signature, codegen


def _emit_outer_tile(
    emit: _Doubles,
    width: int,
    left: ir.Value,
    right: ir.Value,
    n_rows: ir.Value,
    stride: ir.Value,
    products: ir.Value,
) -> None:
    """6 × `width` vectors of products, in registers over all rows."""
    builder = emit.builder
    places = [
        emit.at(products, builder.mul(emit.const(i), stride), emit.const(v * emit.lanes))
        for i in range(WIDE)
        for v in range(width)
    ]

    def row(index: ir.Value, flat: list[ir.Value]) -> list[ir.Value]:
        line = builder.mul(index, stride)
        vectors = [
            emit.load(emit.at(right, line, emit.const(v * emit.lanes))) for v in range(width)
        ]
        result = []
        for i in range(WIDE):
            value = emit.broadcast(emit.at(left, line, emit.const(i)))
            for v in range(width):
                result.append(emit.multiply_add(vectors[v], value, flat[i * width + v]))
        return result

    flat = emit.loop(n_rows, [emit.load(place) for place in places], row)
    for value, place in zip(flat, places, strict=True):
        emit.store(value, place)


INTRINSICS = (
    "above",
    "add_covariances",
    "add_means",
    "add_outer_products",
    "add_variances",
    "exp_of",
    "gather_row",
    "log_density_in_tile",
    "log_of",
    "pack_doubles",
    "posterior_in_tile",
    "round_log_densities",
    "scaled_log_densities",
    "weigh_in_tile",
    "whiten_in_tile",
)

if config.DISABLE_JIT:
    from .plain import (
        above,
        add_covariances,
        add_means,
        add_outer_products,
        add_variances,
        exp_of,
        gather_row,
        log_density_in_tile,
        log_of,
        pack_doubles,
        posterior_in_tile,
        round_log_densities,
        scaled_log_densities,
        weigh_in_tile,
        whiten_in_tile,
    )
else:
    above = intrinsic(_above)
    add_covariances = intrinsic(_add_covariances)
    add_means = intrinsic(_add_means)
    add_outer_products = intrinsic(_add_outer_products)
    add_variances = intrinsic(_add_variances)
    exp_of = intrinsic(_exp_of)
    gather_row = intrinsic(_gather_row)
    log_density_in_tile = intrinsic(_log_density_in_tile)
    log_of = intrinsic(_log_of)
    pack_doubles = intrinsic(_pack_doubles)
    posterior_in_tile = intrinsic(_posterior_in_tile)
    round_log_densities = intrinsic(_round_log_densities)
    scaled_log_densities = intrinsic(_scaled_log_densities)
    weigh_in_tile = intrinsic(_weigh_in_tile)
    whiten_in_tile = intrinsic(_whiten_in_tile)
