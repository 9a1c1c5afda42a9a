"""Posteriors of 64 rows, and the moments of components that they weigh.

Moments are one vector of partial sums per number, added up over the lanes at the end of a slice.
"""

from __future__ import annotations

import numpy as np

from .cpu import ROW_VECTORS, TILE_ROWS, VECTOR_BYTES, WIDE
from .elementary import LEAST_EXPONENT, exp, log
from .instructions import emits
from .language import DOUBLE, INT64, fma, larger, loop, loop_with_rest, where
from .tiles_of_rows import over_row_parts
from .vectors import crossed, tree_sum

LANES = VECTOR_BYTES // 8
HELD = min(8, TILE_ROWS // LANES)  # vectors of rows that the moments keep in registers

# Orders of moments.
NO_MOMENTS, MEANS, DISTANCES, VARIANCES, COVARIANCES, OUTER_PRODUCTS = -1, 0, 1, 2, 3, 4


@emits(doubles="logits log_norm negentropy")
def posterior_in_tile(logits, n_components, log_norm, negentropy):
    """Turn `logits` (k, 64) into posterior probabilities, in place.

    ``log_norm`` (64,) receives the log of the sum of the exponentials, and ``negentropy`` (64,)
    the sum of ``p log p``.
    """
    kind = logits.kind
    zero, least = kind(0.0), kind(LEAST_EXPONENT)

    def part(row):
        own = logits.at(row)

        def places(component):
            line = own.at(component * TILE_ROWS)
            return [line.at(v * kind.lanes) for v in range(ROW_VECTORS)]

        @loop(n_components, [kind(-1.7e308)] * ROW_VECTORS)
        def largest(component, largest):
            found = [place.load() for place in places(component)]
            return [larger(new, old) for new, old in zip(found, largest, strict=True)]

        @loop(n_components, ([zero] * ROW_VECTORS, [zero] * ROW_VECTORS))
        def totals(component, totals):
            sums, dots = (list(each) for each in totals)
            for v, place in enumerate(places(component)):
                x = place.load() - largest[v]
                visible = x > least
                x = where(visible, x, least)
                value = where(visible, exp(x), zero)
                place.store(0, value)
                sums[v] = sums[v] + value
                dots[v] = fma(value, x, dots[v])
            return sums, dots

        inverses = []
        for v, (total, dot) in enumerate(zip(*totals, strict=True)):
            inverse, log_total = kind(1.0) / total, log(total)
            here = row + v * kind.lanes
            log_norm.store(here, largest[v] + log_total)
            negentropy.store(here, dot * inverse - log_total)
            inverses.append(inverse)

        @loop(n_components)
        def _(component):
            for place, inverse in zip(places(component), inverses, strict=True):
                place.store(0, place.load() * inverse)

    over_row_parts(kind, part)


@posterior_in_tile.twin
def _(logits, n_components, log_norm, negentropy):
    values = logits.reshape(-1, 64)[:n_components]
    largest = values.max(axis=0)
    x = np.maximum(values - largest, LEAST_EXPONENT)
    parts = np.where(x > LEAST_EXPONENT, np.exp(x), 0.0)
    total = parts.sum(axis=0)
    log_norm[:64] = largest + np.log(total)
    negentropy[:64] = (parts * x).sum(axis=0) / total - np.log(total)
    values[:] = parts / total


def _add_dot(a, b, place):
    """Add ``sum(a · b)``, lane by lane, to the vector at `place`, by two chains."""
    chains = [a[0] * b[0], a[1] * b[1]]
    for v in range(2, len(a)):
        chains[v % 2] = fma(a[v], b[v], chains[v % 2])
    place.add(0, chains[0] + chains[1])


@emits(doubles="posterior weights squares totals", flag="squared")
def weigh_in_tile(posterior, weights, n_components, squares, squared, totals):
    """Multiply the posteriors (k, 64) by the weights of the rows (64,), in place.

    ``totals`` (k, 2, lanes) gains the sums of the products r and, where `squared`, of r times
    `squares` (k, 64).
    """
    each = range(0, TILE_ROWS, LANES)
    wanted = squared.to(INT64, signed=False)

    @loop(n_components)
    def _(component):
        line, total = component * TILE_ROWS, totals.at(component * (2 * LANES))
        r = []
        for row in each:
            place = posterior.at(line + row)
            r.append(place.load() * weights.load(row))
            place.store(0, r[-1])
        total.add(0, tree_sum(r))

        @loop(wanted)
        def _(_):
            found = [squares.load(line + row) for row in each]
            _add_dot(r, found, total.at(LANES))


@weigh_in_tile.twin
def _(posterior, weights, n_components, squares, squared, totals):
    r = posterior.reshape(-1, 64)[:n_components]
    r *= weights[:64]
    sums = totals.reshape(-1, 2, LANES)[:n_components]
    sums[:, 0] += r.reshape(n_components, -1, LANES).sum(axis=1)
    if squared:
        terms = r * squares.reshape(-1, 64)[:n_components]
        sums[:, 1] += terms.reshape(n_components, -1, LANES).sum(axis=1)


# --------------------------------------------------------------------------------------------
# Moments


def _add_moments(order, rows, means, begin, end, n_features, moments):
    """Add the moments of 64 rows up to `order`: sums of r z and of r z z with ``z = x - mean``.

    `rows` are the packed rows and what they are weighed by.
    """
    packed, parts = rows
    seconds = moments.at(n_features * LANES)

    @loop(TILE_ROWS // (HELD * LANES))
    def _(part):
        row = part * (HELD * LANES)
        each = [v * LANES for v in range(HELD)]
        r = [parts.load(row + v) for v in each]

        def centred(i):
            mean, line = means.broadcast(i), i * TILE_ROWS
            return [packed.load(line + row + v) - mean for v in each]

        before = begin * (begin + 1) >> 1

        @loop(end - begin, before)
        def _(number, line):
            i = begin + number
            z = centred(i)
            first = moments.at(i * LANES)
            if order == MEANS:  # one instruction for each number beside the subtraction
                _add_dot(r, z, first)
                return line
            rz = [a * b for a, b in zip(r, z, strict=True)]
            first.add(0, tree_sum(rz))
            if order == VARIANCES:
                _add_dot(rz, z, seconds.at(i * LANES))
            if order < COVARIANCES:
                return line

            @loop(i + 1)
            def _(j):
                _add_dot(rz, centred(j), seconds.at((line + j) * LANES))

            return line + (i + 1)


def _add_by_lanes(moments, base, first, terms):
    """Add terms (numbers, 64) to vectors of moments, as many lanes each as the machine has."""
    base += first * LANES
    by_lanes = terms.reshape(len(terms), 64 // LANES, LANES).sum(axis=1)
    moments.reshape(-1)[base : base + by_lanes.size] += by_lanes.ravel()


def _first_moments(packed, parts, place, means, first_mean, n_features):
    """Centred rows z (features, 64), and the terms of the sums of r z."""
    mean = means.reshape(-1)[first_mean : first_mean + n_features, None]
    z = packed.reshape(-1, 64)[:n_features] - mean
    return z, parts.reshape(-1)[place : place + 64] * z


@emits(doubles="packed parts means moments")
def add_means(packed, parts, place, means, first_mean, begin, end, n_features, moments, base):
    """Add sums of r z over 64 rows to the moments of one component, of features `begin` to `end`.

    r is ``parts[place : + 64]``, z is ``x - means[first_mean : + d]``; the moments lie in `moments`
    from `base` on, a vector each.
    """
    rows, means = (packed, parts.at(place)), means.at(first_mean)
    _add_moments(MEANS, rows, means, begin, end, n_features, moments.at(base))


@add_means.twin
def _(packed, parts, place, means, first_mean, begin, end, n_features, moments, base):
    _, terms = _first_moments(packed, parts, place, means, first_mean, n_features)
    _add_by_lanes(moments, base, begin, terms[begin:end])


@emits(doubles="packed parts means moments")
def add_variances(packed, parts, place, means, first_mean, begin, end, n_features, moments, base):
    """As :func:`add_means`, and d sums of r z²."""
    rows, means = (packed, parts.at(place)), means.at(first_mean)
    _add_moments(VARIANCES, rows, means, begin, end, n_features, moments.at(base))


@add_variances.twin
def _(packed, parts, place, means, first_mean, begin, end, n_features, moments, base):
    z, terms = _first_moments(packed, parts, place, means, first_mean, n_features)
    _add_by_lanes(moments, base, begin, terms[begin:end])
    _add_by_lanes(moments, base, n_features + begin, (terms * z)[begin:end])


@emits(doubles="packed parts means moments")
def add_covariances(packed, parts, place, means, first_mean, begin, end, n_features, moments, base):
    """As :func:`add_means`, and d (d + 1) / 2 sums of r z_i z_j, j <= i, line by line."""
    rows, means = (packed, parts.at(place)), means.at(first_mean)
    _add_moments(COVARIANCES, rows, means, begin, end, n_features, moments.at(base))


@add_covariances.twin
def _(packed, parts, place, means, first_mean, begin, end, n_features, moments, base):
    z, terms = _first_moments(packed, parts, place, means, first_mean, n_features)
    i, j = np.tril_indices(end)
    i, j = i[i >= begin], j[i >= begin]
    _add_by_lanes(moments, base, begin, terms[begin:end])
    before = begin * (begin + 1) // 2
    _add_by_lanes(moments, base, n_features + before, terms[i] * z[j])


# --------------------------------------------------------------------------------------------
# Outer products of listed rows


@emits(floats="X", doubles="center means left right sums", double="part")
def gather_row(X, row, part, n_features, center, means, first_mean, left, right, place, sums):
    """Lay out one row for :func:`add_outer_products`: z to `right`, ``part · z`` to `left`.

    z is ``(X[row] - center) - means[first_mean : + d]``; `place` is where the row begins, and
    ``sums[first_mean : + d]`` gains ``part · z``.
    """
    x = X.at(row * n_features)

    @loop_with_rest(n_features, (LANES, 1))
    def _(t, width):
        own, here = first_mean + t, place + t
        value = x.load(t, width, aligned=False).to(DOUBLE)
        value = value - center.load(t, width, aligned=False)
        z = value - means.load(own, width, aligned=False)
        weighted = z.kind.splat(part) * z
        total = sums.load(own, width, aligned=False) + weighted
        right.store(here, z, aligned=False)
        left.store(here, weighted, aligned=False)
        sums.store(own, total, aligned=False)


@gather_row.twin
def _(X, row, part, n_features, center, means, first_mean, left, right, place, sums):
    own = slice(first_mean, first_mean + n_features)
    z = X[row].astype(np.float64) - center[:n_features] - means.reshape(-1)[own]
    right[place : place + n_features] = z
    left[place : place + n_features] = part * z
    sums.reshape(-1)[own] += part * z


def _outer_tile(width, left, right, n_rows, stride, products):
    """6 × `width` vectors of products, in registers over all rows."""
    places = [
        [products.at(stride * i + v * products.lanes) for v in range(width)] for i in range(WIDE)
    ]

    @loop(n_rows, [[place.load() for place in line] for line in places])
    def sums(row, sums):
        line = row * stride
        vectors = [right.load(line + v * right.lanes) for v in range(width)]
        values = (left.broadcast(line + i) for i in range(WIDE))
        return crossed(fma, vectors, values, sums)

    for line, totals in zip(places, sums, strict=True):
        for place, total in zip(line, totals, strict=True):
            place.store(0, total)


@emits(doubles="left right products")
def add_outer_products(left, right, n_rows, n_features, stride, products, base):
    """Add ``leftᵀ right`` over `n_rows` rows to the upper triangle of `products`.

    `left` and `right` are ``[row][stride]``, zero from `n_features` on; `products`, from `base`
    on, is ``[feature][stride]``.  The stride is whole vectors and at least `n_features` rounded up
    to 6, and so many lines `products` has.  Lanes are features of `right`.
    """
    n_vectors = (n_features + (LANES - 1)) // LANES

    @loop((n_features + (WIDE - 1)) // WIDE)
    def _(block):
        first = block * WIDE
        vector = first // LANES
        left_over = n_vectors - vector
        for width in range(ROW_VECTORS, 0, -1):
            if width == ROW_VECTORS:
                count = left_over // width
            else:
                count = (left_over % ROW_VECTORS == width).to(INT64, signed=False)

            @loop(count, vector)
            def vector(_, vector):
                column = vector * LANES
                place = base + first * stride + column
                _outer_tile(
                    width, left.at(first), right.at(column), n_rows, stride, products.at(place)
                )
                return vector + width


@add_outer_products.twin
def _(left, right, n_rows, n_features, stride, products, base):
    size = n_rows * stride
    rows = [side[:size].reshape(n_rows, stride)[:, :n_features] for side in (left, right)]
    square = products[base : base + stride * stride].reshape(stride, stride)
    square[:n_features, :n_features] += np.triu(rows[0].T @ rows[1])
