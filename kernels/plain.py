"""NumPy twins of the intrinsics in `simd` and `gaussian_tiles`, for ``NUMBA_DISABLE_JIT=1``.

Same arguments, same layouts, same ties; they run in the interpreter, so that a kernel can be
stepped through in a debugger and tested without a compiler.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _integers(index: Array) -> Any:
    """Integer type as wide as the elements of `index`, whose bits are integers."""
    return np.dtype(f"i{index.itemsize}")


def _unpacked(centers: Array, n_wide: int, n_narrow: int, n_features: int) -> Array:
    """Negated centers (padded centers, features) out of their packed groups."""
    flat = centers.reshape(-1)
    split = n_wide * 6 * n_features
    end = split + n_narrow * 4 * n_features
    wide = flat[:split].reshape(n_wide, n_features, 6).transpose(0, 2, 1)
    narrow = flat[split:end].reshape(n_narrow, n_features, 4).transpose(0, 2, 1)
    return np.concatenate([wide.reshape(-1, n_features), narrow.reshape(-1, n_features)])


def _scores(
    packed: Array, centers: Array, bias: Array, n_wide: int, n_narrow: int, n_features: int
) -> Array:
    negated = _unpacked(centers, n_wide, n_narrow, n_features)
    rows = packed.reshape(-1, 64)[None, :n_features]
    # Not a matrix product, which may round equal columns differently.
    return bias[: len(negated), None] + (negated[:, :, None] * rows).sum(axis=1)


def nearest_in_tile(
    packed: Array,
    centers: Array,
    bias: Array,
    n_wide: int,
    n_narrow: int,
    n_features: int,
    best: Array,
    index: Array,
) -> None:
    """Write the smallest score and its lowest center for each of 64 packed rows."""
    scores = _scores(packed, centers, bias, n_wide, n_narrow, n_features)
    index.view(_integers(index))[:] = scores.argmin(axis=0)
    best[:] = scores.min(axis=0)


def nearest_two_in_tile(
    packed: Array,
    centers: Array,
    bias: Array,
    n_wide: int,
    n_narrow: int,
    n_features: int,
    best: Array,
    index: Array,
    second: Array,
) -> None:
    """As :func:`nearest_in_tile`, and the second smallest score."""
    scores = np.sort(_scores(packed, centers, bias, n_wide, n_narrow, n_features), axis=0)
    nearest_in_tile(packed, centers, bias, n_wide, n_narrow, n_features, best, index)
    second[:] = scores[1]


nearest_of_many, nearest_two_of_many = nearest_in_tile, nearest_two_in_tile


def nearest_in_row(
    x: Array, centers: Array, bias: Array, n_wide: int, n_narrow: int, n_features: int
) -> int:
    """Center nearest to one row."""
    tile = np.repeat(x[:n_features, None], 64, axis=1)  # summed as the tile is
    return int(_scores(tile, centers, bias, n_wide, n_narrow, n_features)[:, 0].argmin())


def doubtful_rows(
    packed: Array,
    n_features: int,
    best: Array,
    second: Array,
    slack: float,
    least: float,
    norms: Array,
) -> np.uint64:
    """Squared norms of packed rows; the mask of those whose two smallest scores are too close."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms[:] = (packed.reshape(-1, 64)[:n_features] ** 2).sum(axis=0)
        error = slack * (9 * norms + 8 * second) + 2 * least
        sure = second - best > error
    mask = 0
    for bit in np.flatnonzero(~sure):
        mask |= 1 << int(bit)
    return np.uint64(mask)


def distances_in_tile(
    packed: Array, centers: Array, n_wide: int, n_narrow: int, n_features: int, distances: Array
) -> None:
    """Write squared distances, difference form."""
    negated = _unpacked(centers, n_wide, n_narrow, n_features)
    difference = packed.reshape(-1, 64)[None, :n_features] + negated[:, :, None]
    distances.reshape(-1, 64)[: len(negated)] = (difference * difference).sum(axis=1)


def _parts(tile: Array, n_features: int) -> Array:
    """Rows (64, features) of a tile that lies in parts."""
    from .simd import part_rows

    parts = tile[: 64 * n_features].reshape(-1, n_features, part_rows(tile.dtype))
    return parts.transpose(0, 2, 1).reshape(64, n_features)


def add_products(rows: Array, others: Array, n_features: int, results: Array) -> None:
    """Add products of rows with rows to what there is."""
    results.reshape(-1, 64)[:64] += _parts(others, n_features) @ _parts(rows, n_features).T


def add_differences(rows: Array, others: Array, n_features: int, results: Array) -> None:
    """Add squared distances of rows to rows to what there is."""
    difference = _parts(others, n_features)[:, None] - _parts(rows, n_features)
    results.reshape(-1, 64)[:64] += (difference * difference).sum(axis=2)


def add_line(values: Array, first: int, sums: Array, place: int) -> None:
    """Add 64 numbers to sums."""
    sums[place : place + 64] += values[first : first + 64]


def move_rows(
    X: Array,
    mean: Array,
    weights: Array,
    movers: Array,
    sources: Array,
    count: int,
    labels: Array,
    records: Array,
    touched: Array,
    pile: int,
) -> None:
    """Add each listed row to the record of its label and take it off that of its source."""
    for row, old in zip(movers[:count], sources[:count], strict=True):
        moved = _record(X, mean, weights, row)
        records[pile, labels[row], : len(moved)] += moved
        touched[pile, labels[row]] = True
        if old >= 0:
            records[pile, old, : len(moved)] -= moved
            touched[pile, old] = True


def add_rows(
    X: Array,
    mean: Array,
    weights: Array,
    first: int,
    count: int,
    labels: Array,
    records: Array,
    touched: Array,
    pile: int,
) -> None:
    """Add adjacent rows to the records of their labels."""
    for row in range(first, first + count):
        moved = _record(X, mean, weights, row)
        records[pile, labels[row], : len(moved)] += moved
        touched[pile, labels[row]] = True


def _record(X: Array, mean: Array, weights: Array, row: int) -> Array:
    weight = float(weights[row]) if len(weights) else 1.0
    centred = (X[row] - mean[: X.shape[1]]).astype(np.float64)
    return np.append(centred * weight, [weight, weight != 0])


def _candidate_gaps(X: Array, rows: Array, panels: Array, number: int) -> Array:
    """Squared distances (rows, 8) of listed rows to the candidates of a panel."""
    size = 8 * X.shape[1]
    candidates = panels[number * size : (number + 1) * size].reshape(-1, 8).T
    gaps = X[rows][:, None, :] - candidates[None]
    return np.asarray((gaps * gaps).sum(axis=2))


def _tell(listed: Array, squares: Array, number: int, closest: Array, nearest: Array) -> None:
    closer = squares < closest[listed]
    closest[listed[closer]] = squares[closer]
    nearest[listed[closer]] = number


def add_potentials(
    X: Array,
    rows: Array,
    first: int,
    count: int,
    ahead: int,
    panels: Array,
    number: int,
    winner: int,
    closest: Array,
    nearest: Array,
    factors: Array,
    potentials: Array,
) -> None:
    """Add what the candidates of a panel would leave of the distances of listed rows."""
    listed = rows[first : first + count]
    squares = _candidate_gaps(X, listed, panels, number)
    if winner >= 0:
        _tell(listed, squares[:, 0], winner, closest, nearest)
    least = np.minimum(squares, closest[listed][:, None])
    potentials[number * 8 : number * 8 + 8] += factors[:count] @ least.astype(np.float64)


def list_rows(
    start: int,
    stop: int,
    weights: Array,
    weighted: bool,
    reach: Array,
    closest: Array,
    nearest: Array,
    listed: Array,
    settled: Array,
) -> int:
    """List the rows that a candidate may come closer to; sum the distances of the others."""
    own = closest[start:stop]
    open_ = own > reach[nearest[start:stop]]
    count = int(open_.sum())
    listed[:count] = start + np.flatnonzero(open_)
    amounts = np.where(open_, 0.0, own).astype(np.float64)
    settled[0] = (amounts * weights[start:stop] if weighted else amounts).sum()
    return count


def lower_to_candidates(
    X: Array, count: int, rows: Array, panels: Array, number: int, closest: Array
) -> None:
    """Lower ``closest`` of listed rows to the nearest candidate of a panel."""
    listed = rows[:count]
    least = _candidate_gaps(X, listed, panels, number).min(axis=1)
    closest[listed] = np.minimum(closest[listed], least)


def come_closer(
    X: Array,
    rows: Array,
    first: int,
    count: int,
    center: Array,
    number: int,
    closest: Array,
    nearest: Array,
) -> None:
    """Tell listed rows of a new center."""
    listed = rows[first : first + count]
    gaps = X[listed] - center
    _tell(listed, (gaps * gaps).sum(axis=1), number, closest, nearest)


def _tile(X: Array, tail: Array, first: int) -> Array:
    """64 rows from `first` on, of `tail` where `X` ends before."""
    return X[first : first + 64] if first + 64 <= len(X) else tail


def nearest_of_few(
    X: Array,
    tail: Array,
    first_row: int,
    mean: Array,
    centers: Array,
    bias: Array,
    n_wide: int,
    n_narrow: int,
    best: Array,
    index: Array,
    slot: int,
) -> None:
    """Nearest center of a few rows of X; centers packed by chunks of features."""
    from .simd import FEATURE_ROWS, lanes, round_up

    size, n_features = lanes(X.dtype), X.shape[1]
    chunks = round_up(n_features, size) // size
    flat = centers.reshape(-1)
    split = n_wide * 6 * chunks * size
    end = split + n_narrow * 4 * chunks * size
    wide = flat[:split].reshape(n_wide, chunks, 6, size).transpose(0, 2, 1, 3)
    narrow = flat[split:end].reshape(n_narrow, chunks, 4, size).transpose(0, 2, 1, 3)
    negated = np.concatenate([wide.reshape(-1, chunks * size), narrow.reshape(-1, chunks * size)])[
        :, :n_features
    ]
    rows = _tile(X, tail, first_row)[slot : slot + FEATURE_ROWS] - mean[:n_features]
    scores = (rows[:, None] * negated[None]).sum(axis=2) + bias[: len(negated)]
    best[slot : slot + FEATURE_ROWS] = scores.min(axis=1)
    index.view(_integers(index))[slot : slot + FEATURE_ROWS] = scores.argmin(axis=1)


def pack_rows(X: Array, tail: Array, first_row: int, mean: Array, packed: Array) -> None:
    """Centre and transpose 64 adjacent rows."""
    n_features = X.shape[1]
    packed.reshape(-1, 64)[:n_features] = (_tile(X, tail, first_row) - mean[:n_features]).T


def nearest_of_low(
    X: Array,
    tail: Array,
    first_row: int,
    mean: Array,
    centers: Array,
    bias: Array,
    n_wide: int,
    n_narrow: int,
    index: Array,
    slack: float,
    least: float,
) -> np.uint64:
    """Nearest center of 64 adjacent rows of few features; the mask of those in doubt."""
    n_features = X.shape[1]
    packed = np.empty((n_features, 64), centers.dtype)
    best, second, norms = np.empty((3, 64), centers.dtype)
    pack_rows(X, tail, first_row, mean, packed)
    arguments = packed, centers, bias, n_wide, n_narrow, n_features, best, index
    if centers.dtype == X.dtype:
        nearest_in_tile(*arguments)
        return np.uint64(0)
    nearest_two_in_tile(*arguments, second)
    return doubtful_rows(packed, n_features, best, second, slack, least, norms)


def pack_listed_rows(
    X: Array, rows: Array, first: int, n_features: int, mean: Array, packed: Array
) -> None:
    """Centre and transpose 64 listed rows."""
    packed = packed.reshape(-1, 64)
    packed[:n_features] = (X[rows[first : first + 64]] - mean[:n_features]).T


def add_row(
    X: Array, row: int, n_features: int, mean: Array, weight: float, sums: Array, place: int
) -> None:
    """Add one weighted, centred row to a float64 sum."""
    total = sums.reshape(-1)[place : place + n_features]
    total += weight * (X[row] - mean[:n_features]).astype(np.float64)


def changed_labels(index: Array, labels: Array, first: int, winners: Array, slot: int) -> np.uint64:
    """Write the winners as int32; the mask of those that differ from the labels."""
    winners[slot : slot + 64] = index.view(_integers(index))
    mask = 0
    for bit in np.flatnonzero(labels[first : first + 64] != winners[slot : slot + 64]):
        mask |= 1 << int(bit)
    return np.uint64(mask)


def unlabelled_rows(labels: Array, first: int) -> np.uint64:
    """The mask of the rows of a tile that have no label."""
    mask = 0
    for bit in np.flatnonzero(labels[first : first + 64] < 0):
        mask |= 1 << int(bit)
    return np.uint64(mask)


def list_changes(
    mask: int,
    first: int,
    winners: Array,
    slot: int,
    labels: Array,
    movers: Array,
    sources: Array,
    count: int,
) -> int:
    """Store the winners that the mask names; list their rows and the labels these had."""
    for bit in range(64):
        if int(mask) >> bit & 1:
            movers[count], sources[count] = first + bit, labels[first + bit]
            labels[first + bit] = winners[slot + bit]
            count += 1
    return count


def lowest_bit(mask: int) -> int:
    """Position of the lowest set bit."""
    return (int(mask) & -int(mask)).bit_length() - 1


def fetch_add(counters: Array, slot: int, amount: int) -> int:
    """Add and return the old value; the interpreter's lock makes one thread of them all."""
    old = int(counters[slot])
    counters[slot] += amount
    return old


def fetch(values: Array, place: int) -> None:
    """Nothing to be seen."""


def peek(counters: Array, slot: int) -> int:
    """Read one counter."""
    return int(counters[slot])


def nearest_of_sparse(
    values: Array,
    columns: Array,
    first: int,
    last: int,
    table: Array,
    bias: Array,
    n_vectors: int,
    best: Array,
    index: Array,
) -> int:
    """Lowest of the columns with the smallest score."""
    scores = bias.copy()
    lines = table.reshape(-1, len(bias))
    for value, column in zip(values[first:last], columns[first:last], strict=True):
        scores += value * lines[column]
    return int(scores.argmin())


def sparse_products(
    values: Array,
    columns: Array,
    first: int,
    last: int,
    table: Array,
    n_vectors: int,
    out: Array,
) -> None:
    """Sums in the order of the entries, as a lane makes them."""
    out[:] = 0
    lines = table.reshape(-1, len(out))
    for value, column in zip(values[first:last], columns[first:last], strict=True):
        out += np.float64(value) * lines[column]


def multiply_add(a: float, b: float, c: float) -> float:
    """Not fused."""
    return a * b + c


def spin_multiply_adds(values: Array, count: int) -> None:
    """The roof of an interpreter is not worth measuring; the values are what they would be."""
    factor = values[: len(values) // 24].copy()
    for _ in range(count):
        values.reshape(24, -1)[:] = values.reshape(24, -1) * factor + factor


def scores_in_tile(
    packed: Array,
    centers: Array,
    bias: Array,
    n_wide: int,
    n_narrow: int,
    n_features: int,
    scores: Array,
) -> None:
    """Write all scores."""
    found = _scores(packed, centers, bias, n_wide, n_narrow, n_features)
    scores.reshape(-1, 64)[: len(found)] = found


def scatter_lines(lines: Array, n_lines: int, rows: Array, first: int, results: Array) -> None:
    """Write the upper halves of columns of lines as rows."""
    columns = np.ascontiguousarray(lines.reshape(-1, 64)[:n_lines].T)
    results[rows[first : first + 64]] = columns.view(np.uint32) >> 16


def below(values: Array, first: int, limits: Array) -> np.uint64:
    """Mask of 64 numbers that are below their limits."""
    mask = 0
    for bit in np.flatnonzero(values[first : first + 64] < limits[:64]):
        mask |= 1 << int(bit)
    return np.uint64(mask)


def unsettled_rows(
    labels: Array, first: int, upper: Array, lower: Array, table: Array, slack: float, reach: float
) -> np.uint64:
    """Move the bounds of 64 rows; the mask of those that they do not settle."""
    from .simd import BOUND_DOWN, BOUND_UP, LEAST_SQUARE

    up, down = np.float32(BOUND_UP), np.float32(BOUND_DOWN)
    rows = slice(first, first + 64)
    drift, fall, near, far = table[np.maximum(labels[rows], 0)].T
    upper[rows] = u = (upper[rows] + drift) * up
    below = np.maximum(np.minimum(far - u, lower[rows] - fall), np.float32(0)) * down
    lower[rows] = below
    best, wall = np.maximum(below, near), u + np.float32(reach)
    with np.errstate(over="ignore"):
        limit = (u * u + np.float32(slack) * (wall * wall)) * up + np.float32(LEAST_SQUARE)
        settled = best * best * down > limit
    mask = 0
    for bit in np.flatnonzero(~settled):
        mask |= 1 << int(bit)
    return np.uint64(mask)


def near_centers(
    bounds: Array,
    row: int,
    ahead: int,
    fallen: Array,
    since: int,
    wall: float,
    masks: Array,
) -> np.float32:
    """Mark the centers that the bounds of one row leave open; the smallest bound of the others."""
    found = (bounds[row].astype(np.uint32) << 16).view(np.float32) - fallen[since]
    near = ~(found > wall)
    masks[:] = 0
    for center in np.flatnonzero(near):
        masks[center // 64] |= np.uint64(1 << int(center % 64))
    return np.where(near, np.float32(np.inf), found).min()


def squares_to_panel(
    X: Array, first: int, count: int, panels: Array, place: int, squares: Array
) -> None:
    """Squared distances of adjacent rows to the centers of a panel."""
    from .simd import PANEL

    n_features = X.shape[1]
    negated = panels[place : place + n_features * PANEL].reshape(n_features, PANEL)
    differences = X[first : first + count, :, None].astype(np.float64) + negated
    # Added feature by feature, as a lane does.
    total = np.zeros((count, PANEL))
    for t in range(n_features):
        total += differences[:, t] ** 2
    squares[: count * PANEL] = total.reshape(-1)


def squares_to_four(x: Array, centers: Array, near: Array, place: int, squares: Array) -> None:
    """Squared distances of one row to four centers."""
    four = slice(place, place + 4)
    squares[four] = ((x - centers[near[four]]) ** 2).sum(axis=1)


# --------------------------------------------------------------------------------------------
# Of fastclust.kernels.gaussian_tiles, which imports this module: what it owns is fetched late.


def pack_doubles(
    X: Array, tail: Array, first_row: int, zeros: Array, center: Array, raw: Array, packed: Array
) -> None:
    """Centre and transpose 64 adjacent rows, in float64."""
    n_features = X.shape[1]
    tile = _tile(X, tail, first_row).astype(np.float64) - center[:n_features]
    packed.reshape(-1, 64)[:n_features] = tile.T


def exp_of(values: Array, count: int) -> None:
    """Replace numbers by their exponentials."""
    values[:count] = np.exp(values[:count])


def log_of(values: Array, count: int) -> None:
    """Replace positive numbers by their logarithms."""
    values[:count] = np.log(values[:count])


def _times_triangle(packed: Array, triangles: Array, place: int, n_features: int) -> Array:
    """``x U`` (features, 64) for packed rows, U in the triangle layout from `place` on."""
    from .gaussian_tiles import triangle_order

    order = triangle_order(n_features)
    square = np.zeros(n_features * n_features)
    square[order] = triangles[place : place + len(order)]
    rows = packed.reshape(-1, 64)[:n_features]
    return square.reshape(n_features, n_features).T @ rows


def log_density_in_tile(
    packed: Array,
    triangles: Array,
    place: int,
    shifts: Array,
    first_shift: int,
    constant: float,
    n_features: int,
    logits: Array,
    first_logit: int,
) -> None:
    """Write ``constant - |x U + shift|²/2`` of 64 packed rows."""
    shift = shifts[first_shift : first_shift + n_features, None]
    y = _times_triangle(packed, triangles, place, n_features) + shift
    logits.reshape(-1)[first_logit : first_logit + 64] = constant - 0.5 * (y * y).sum(axis=0)


def whiten_in_tile(packed: Array, triangle: Array, n_features: int, white: Array) -> None:
    """Write ``x U`` of 64 packed rows."""
    result = _times_triangle(packed, triangle, 0, n_features)
    white.reshape(-1, 64)[:n_features] = result


def _grouped(panels: Array, n_wide: int, n_narrow: int, n_features: int, depth: int) -> Array:
    """Numbers (padded components, features, depth) out of their groups."""
    split = n_wide * 6 * n_features * depth
    parts = []
    for flat, width in ((panels[:split], 6), (panels[split:], 4)):
        groups = flat.reshape(-1, n_features, depth, width).transpose(0, 3, 1, 2)
        parts.append(groups.reshape(-1, n_features, depth))
    return np.concatenate(parts)


def scaled_log_densities(
    packed: Array,
    panels: Array,
    n_wide: int,
    n_narrow: int,
    constants: Array,
    n_features: int,
    logits: Array,
) -> None:
    """Write ``constant - sum((x · scale + shift)²)/2`` for all components."""
    both = _grouped(panels, n_wide, n_narrow, n_features, 2)
    rows = packed.reshape(-1, 64)[None, :n_features]
    y = rows * both[:, :, :1] + both[:, :, 1:]
    n_padded = len(both)
    logits.reshape(-1, 64)[:n_padded] = constants[:n_padded, None] - 0.5 * (y * y).sum(axis=1)


def round_log_densities(
    packed: Array,
    panels: Array,
    n_wide: int,
    n_narrow: int,
    halves: Array,
    constants: Array,
    n_features: int,
    squares: Array,
    logits: Array,
) -> None:
    """Write ``constant + half · |x - mean|²`` for all components, and the squared distances."""
    means = _grouped(panels, n_wide, n_narrow, n_features, 1)
    n_padded = len(means)
    z = packed.reshape(-1, 64)[None, :n_features] - means
    found = (z * z).sum(axis=1)
    squares.reshape(-1, 64)[:n_padded] = found
    values = constants[:n_padded, None] + halves[:n_padded, None] * found
    logits.reshape(-1, 64)[:n_padded] = values


def weigh_in_tile(
    posterior: Array,
    weights: Array,
    n_components: int,
    squares: Array,
    squared: bool,
    totals: Array,
) -> None:
    """Multiply posteriors by the weights of the rows; add up, and times squared distances."""
    from .gaussian_tiles import LANES

    r = posterior.reshape(-1, 64)[:n_components]
    r *= weights[:64]
    sums = totals.reshape(-1, 2, LANES)[:n_components]
    sums[:, 0] += r.reshape(n_components, -1, LANES).sum(axis=1)
    if squared:
        terms = r * squares.reshape(-1, 64)[:n_components]
        sums[:, 1] += terms.reshape(n_components, -1, LANES).sum(axis=1)


def posterior_in_tile(logits: Array, n_components: int, log_norm: Array, negentropy: Array) -> None:
    """Turn logits into posterior probabilities; log of their norm, and ``sum(p log p)``."""
    from .gaussian_tiles import LEAST_EXPONENT

    values = logits.reshape(-1, 64)[:n_components]
    largest = values.max(axis=0)
    x = np.maximum(values - largest, LEAST_EXPONENT)
    parts = np.where(x > LEAST_EXPONENT, np.exp(x), 0.0)
    total = parts.sum(axis=0)
    log_norm[:64] = largest + np.log(total)
    negentropy[:64] = (parts * x).sum(axis=0) / total - np.log(total)
    values[:] = parts / total


def above(values: Array, first: int, limit: float) -> np.uint64:
    """Mask of the 64 numbers from `first` on that are above a limit."""
    mask = 0
    for bit in np.flatnonzero(values[first : first + 64] > limit):
        mask |= 1 << int(bit)
    return np.uint64(mask)


def _add_by_lanes(moments: Array, base: int, first: int, terms: Array) -> None:
    """Add terms (numbers, 64) to vectors of moments, as many lanes each as the machine has."""
    from .gaussian_tiles import LANES

    base += first * LANES
    by_lanes = terms.reshape(len(terms), 64 // LANES, LANES).sum(axis=1)
    moments.reshape(-1)[base : base + by_lanes.size] += by_lanes.ravel()


def _first_moments(
    packed: Array, parts: Array, place: int, means: Array, first_mean: int, n_features: int
) -> tuple[Array, Array]:
    """Centred rows z (features, 64), and the terms of the sums of r z."""
    mean = means.reshape(-1)[first_mean : first_mean + n_features, None]
    z = packed.reshape(-1, 64)[:n_features] - mean
    return z, parts.reshape(-1)[place : place + 64] * z


def add_means(
    packed: Array,
    parts: Array,
    place: int,
    means: Array,
    first_mean: int,
    begin: int,
    end: int,
    n_features: int,
    moments: Array,
    base: int,
) -> None:
    """Add sums of r z over 64 rows."""
    _, terms = _first_moments(packed, parts, place, means, first_mean, n_features)
    _add_by_lanes(moments, base, begin, terms[begin:end])


def add_variances(
    packed: Array,
    parts: Array,
    place: int,
    means: Array,
    first_mean: int,
    begin: int,
    end: int,
    n_features: int,
    moments: Array,
    base: int,
) -> None:
    """As :func:`add_means`, and sums of r z²."""
    z, terms = _first_moments(packed, parts, place, means, first_mean, n_features)
    _add_by_lanes(moments, base, begin, terms[begin:end])
    _add_by_lanes(moments, base, n_features + begin, (terms * z)[begin:end])


def add_covariances(
    packed: Array,
    parts: Array,
    place: int,
    means: Array,
    first_mean: int,
    begin: int,
    end: int,
    n_features: int,
    moments: Array,
    base: int,
) -> None:
    """As :func:`add_means`, and sums of r z_i z_j for j <= i."""
    z, terms = _first_moments(packed, parts, place, means, first_mean, n_features)
    i, j = np.tril_indices(end)
    i, j = i[i >= begin], j[i >= begin]
    _add_by_lanes(moments, base, begin, terms[begin:end])
    before = begin * (begin + 1) // 2
    _add_by_lanes(moments, base, n_features + before, terms[i] * z[j])


def gather_row(
    X: Array,
    row: int,
    part: float,
    n_features: int,
    center: Array,
    means: Array,
    first_mean: int,
    left: Array,
    right: Array,
    place: int,
    sums: Array,
) -> None:
    """Lay out one centred row, and one times its part; add the latter to the sums."""
    own = slice(first_mean, first_mean + n_features)
    z = X[row].astype(np.float64) - center[:n_features] - means.reshape(-1)[own]
    right[place : place + n_features] = z
    left[place : place + n_features] = part * z
    sums.reshape(-1)[own] += part * z


def add_outer_products(
    left: Array,
    right: Array,
    n_rows: int,
    n_features: int,
    stride: int,
    products: Array,
    base: int,
) -> None:
    """Add outer products of the rows to an upper triangle."""
    size = n_rows * stride
    rows = [side[:size].reshape(n_rows, stride)[:, :n_features] for side in (left, right)]
    square = products[base : base + stride * stride].reshape(stride, stride)
    square[:n_features, :n_features] += np.triu(rows[0].T @ rows[1])


def next_task(counter: Array, gate: Array, n_tasks: int) -> int:
    """The tasks in order: the interpreter runs a kernel on one thread."""
    from .simd import FRONT, TAKEN

    counter[TAKEN] += 1
    if counter[TAKEN] > n_tasks:
        return n_tasks
    counter[FRONT] += 1
    return int(counter[FRONT]) - 1


def digest_words(words: Array, start: int, stop: int, keys: Array) -> tuple[Any, Any]:
    """Digest of words, with products in NumPy and the mixing in integers of Python."""
    chunk, mask = len(keys) - 1, 2**64 - 1
    digests = [0, 0]
    for begin in range(start, stop, chunk):
        some = words[begin : min(begin + chunk, stop)]
        for which in range(2):
            sums = some + keys[which : which + len(some)]
            halves = (sums & np.uint64(2**32 - 1), sums >> np.uint64(32))
            x = (digests[which] + int((halves[0] * halves[1]).sum())) & mask
            x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
            x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
            digests[which] = x ^ (x >> 31)
    return np.uint64(digests[0]), np.uint64(digests[1])
