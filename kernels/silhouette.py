"""Silhouettes: how much nearer each row is to its own cluster than to the next one.

Rousseeuw, P. J.: Silhouettes: a graphical aid to the interpretation and validation of cluster
analysis. Journal of Computational and Applied Mathematics 20 (1987).

Tiles of 64 rows meet in pairs, each pair once: its distances are added to the sums of both, by
cluster, and forgotten.  Bands of tiles are paired as teams in a tournament: in a round no band
plays twice, so that no two threads add to one sum, and the order of the additions is that of the
rounds.  Few rows have few bands, and so few games a round: there each round has its own sums, and
no round waits for another.  Several labelings of the same rows share the distances.

Where there are few features, distances are taken from differences, and nothing cancels.  Where
there are many, they come from products, which takes half of the arithmetic; distances that are
short beside the norms of their rows, for which products are not exact enough, are taken from
differences again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .emit.cpu import TILE_ROWS, part_rows
from .emit.masks import below, lowest_bit
from .emit.packing import pack_rows
from .emit.rows_and_rows import add_differences, add_products
from .emit.sums import add_line
from .machine.compiling import helper, kernel, vector_sum
from .machine.parallel import Team, next_task
from .tiles import Array, aligned_empty, make_rows, padded_vector, scratch

BY_PRODUCTS = 24  # features from which on products are faster, as measured
BLOCK_BYTES = 1024  # of each row that meet at a time: two parts fit into the first-level cache
# Squared distances below this share of the squared norms are taken from differences.
NEAR = {np.dtype(np.float64): 1e-3, np.dtype(np.float32): 0.05}
GROUP = 4  # tiles of which a block of features stays in the caches, those of the opponent beside it
LEAST_BANDS, MOST_BANDS = 8, 64  # if there are as many tiles; half of them play in a round
ALONE = 5e6  # multiply-adds up to which all is one game
MOST_SUMS = 1 << 23  # numbers, or as many as the data have: with more, each pair meets twice
APART = 2048  # rows up to which each round has sums of its own, and all rounds are played at once
MOST_WORK = 2e9  # multiply-adds of one call of the kernel, which Ctrl-C cannot interrupt


@kernel
def _pack(counter, gate, n_tasks, X, tail, center, block, size, tiles, norms):
    """Lay out each tile as ``[block of features][part][feature][row]``, and sum its squares.

    `size` is the number of rows of a part.
    """
    n_samples, n_features = X.shape
    packed = scratch(center, n_features * TILE_ROWS)
    squares = np.empty(TILE_ROWS)
    while True:
        tile = next_task(counter, gate, n_tasks)
        if tile >= n_tasks:
            break
        first = tile * TILE_ROWS
        pack_rows(X, tail, first, center, packed)
        for row in range(n_samples - first, TILE_ROWS):  # nothing is to come of what is no row
            for t in range(n_features):
                packed[t * TILE_ROWS + row] = 0
        squares[:] = 0.0
        for t in range(n_features):
            start = t // block * block
            width = min(block, n_features - start)
            line, place = t * TILE_ROWS, (tile * n_features + start) * TILE_ROWS
            for row in range(TILE_ROWS):
                squares[row] += np.float64(packed[line + row]) ** 2
            for part in range(0, TILE_ROWS, size):
                here = place + part * width + (t - start) * size
                for row in range(size):
                    tiles[here + row] = packed[line + part + row]
        for row in range(TILE_ROWS):
            norms[first + row] = squares[row]


@vector_sum
def _squared_distance(X, row, other):
    total = X.dtype.type(0)
    for t in range(X.shape[1]):
        difference = X[row, t] - X[other, t]
        total += difference * difference
    return total


@helper
def _square(tiles, shape, block, a, stop, b, end, squares):
    """Squared distances, or products, of tiles ``a … stop`` and ``b … end``, pair by pair.

    A block of features of them all at a time, which then stays in the caches.
    """
    n_samples, n_features = shape
    size, pair = n_features * TILE_ROWS, TILE_ROWS * TILE_ROWS
    for i in range((stop - a) * (end - b) * pair):
        squares[i] = 0
    for start in range(0, n_features, block):
        place, skipped = np.int64(0), start * TILE_ROWS
        width = min(block, n_features - start)
        for tile in range(a, stop):
            rows = tiles[tile * size + skipped :]
            for other in range(b, end):
                others, results = tiles[other * size + skipped :], squares[place:]
                place += pair
                if other < tile and a == b:  # among themselves each pair once
                    continue
                count = min(TILE_ROWS, n_samples - other * TILE_ROWS) if other != tile else 0
                if n_features < BY_PRODUCTS:
                    add_differences(rows, others, width, count, results)
                else:
                    add_products(rows, others, width, count, results)


@helper
def _mirror(part, squares):
    """Fill in what a tile of parts of this size has left out where it met itself."""
    for other in range(part, TILE_ROWS):
        for row in range(other // part * part):
            squares[other * TILE_ROWS + row] = squares[row * TILE_ROWS + other]


@helper
def _make_distances(X, norms, near, a, b, limits, squares):
    """Distances of the rows of tile `a` to each row of tile `b` out of their products."""
    first, last = a * TILE_ROWS, min((b + 1) * TILE_ROWS, X.shape[0])
    real = np.uint64(2**TILE_ROWS - 1)
    if first + TILE_ROWS > X.shape[0]:
        real = (np.uint64(1) << np.uint64(X.shape[0] - first)) - np.uint64(1)
    line = np.int64(0)
    for row in range(b * TILE_ROWS, last):
        for i in range(TILE_ROWS):
            norm = norms[first + i] + norms[row]
            squares[line + i] = norm - (squares[line + i] + squares[line + i])
            limits[i] = near * norm
        mask = below(squares, line, limits) & real
        while mask != 0:
            i = lowest_bit(mask)
            mask &= mask - np.uint64(1)
            squares[line + i] = _squared_distance(X, first + i, row)
        line += TILE_ROWS


@helper
def _add(distances, labels, first, sums, base):
    """Add the distances to rows ``first, first + 1, …`` of a tile to the sums of their clusters."""
    stop = min(first + TILE_ROWS, labels.shape[1])
    for labeling in range(labels.shape[0]):
        for row in range(first, stop):
            place = base + labels[labeling, row] * TILE_ROWS
            add_line(distances, (row - first) * TILE_ROWS, sums, place)


@kernel
def _meet(
    counter, gate, n_tasks, games, skipped, X, zeros, tiles, norms, block, group, part, near,
    labels, n_clusters, sums,
):  # fmt: skip
    """Let bands of tiles meet, `group` of each at a time.

    ``games[task]`` is the first tile of a band and the one behind it, the same of its opponent,
    whether the opponent's sums are wanted, too, and where the sums of its round begin, with those
    of tile `skipped`.
    """
    pair, size = TILE_ROWS * TILE_ROWS, n_clusters * TILE_ROWS
    squares = scratch(zeros, group * group * pair)
    limits, turned = scratch(zeros, TILE_ROWS), scratch(zeros, pair)
    distances = scratch(zeros, pair)
    table = distances.reshape((TILE_ROWS, TILE_ROWS))
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        first, stop, others, end, both, start = games[task]
        for a in range(first, stop, group):
            # A band that meets itself: each pair of its groups once.
            for b in range(a if both and first == others else others, end, group):
                a_end, b_end = min(a + group, stop), min(b + group, end)
                _square(tiles, X.shape, block, a, a_end, b, b_end, squares)
                met = np.int64(0)
                for tile in range(a, a_end):
                    for other in range(b, b_end):
                        here = squares[met:]
                        met += pair
                        if both and other < tile:
                            continue
                        if other == tile:
                            _mirror(part, here)
                        if X.shape[1] >= BY_PRODUCTS:
                            _make_distances(X, norms, near, tile, other, limits, here)
                        for i in range(pair):
                            distances[i] = np.sqrt(here[i])
                        place = start + (tile - skipped) * size
                        _add(distances, labels, other * TILE_ROWS, sums, place)
                        if both and other != tile:
                            pack_rows(table, table, 0, zeros, turned)
                            place = start + (other - skipped) * size
                            _add(turned, labels, tile * TILE_ROWS, sums, place)


@kernel
def _finish(counter, gate, n_tasks, skipped, labels, firsts, sizes, sums, values):
    """Silhouettes of tiles ``skipped, skipped + 1, …`` out of their sums: `values` (m, n).

    `sums` are those of a round each, which are added to those of the first.
    ``firsts[labeling]`` is where its clusters begin among those of all labelings, and the last
    number where they end.
    """
    n_samples = labels.shape[1]
    nearest = np.empty(TILE_ROWS)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        first, base = (skipped + task) * TILE_ROWS, task * len(sizes) * TILE_ROWS
        filled = min(TILE_ROWS, n_samples - first)
        for number in range(1, sums.shape[0]):
            for i in range(base, base + len(sizes) * TILE_ROWS):
                sums[0, i] += sums[number, i]
        for labeling in range(labels.shape[0]):
            nearest[:] = np.inf
            for cluster in range(firsts[labeling], firsts[labeling + 1]):
                place, size = base + cluster * TILE_ROWS, sizes[cluster]
                for i in range(filled):
                    if labels[labeling, first + i] != cluster:
                        nearest[i] = min(nearest[i], sums[0, place + i] / size)
            for i in range(filled):
                cluster = labels[labeling, first + i]
                size = sizes[cluster]
                own = sums[0, base + cluster * TILE_ROWS + i] / max(size - 1, 1)  # of the others
                larger = max(own, nearest[i])
                alone = size == 1 or larger == 0.0
                values[labeling, first + i] = 0.0 if alone else (nearest[i] - own) / larger


class _Tiles:
    """Rows laid out in tiles, as often as they are asked about.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64, C-contiguous
        Rows.
    center : ndarray of shape (n_features,)
        A point near them.
    team : Team
        Threads to run on.
    """

    def __init__(self, X: Array, center: Array, team: Team) -> None:
        n_samples, n_features = X.shape
        self.rows, self.team = make_rows(X), team
        self.n_tiles = -(-n_samples // TILE_ROWS)
        by_products = n_features >= BY_PRODUCTS
        self.block, self.group = BLOCK_BYTES // X.itemsize, GROUP if by_products else 1
        # Differences of rows as they are have no rounding, and need no center.
        shift = padded_vector(center if by_products else np.zeros(n_features), X.dtype)
        self.zeros = padded_vector(np.zeros(TILE_ROWS), X.dtype)
        self.tiles = aligned_empty(self.n_tiles * TILE_ROWS * n_features, X.dtype)
        self.norms = aligned_empty(self.n_tiles * TILE_ROWS, X.dtype)
        # Rounds whose sums are held at a time.
        self.held = 1 if n_samples > APART else len(list(_tournament(self.n_tiles, n_features)))
        team.run(
            _pack, 4.0 * X.size, self.n_tiles, self.rows.X, self.rows.tail, shift, self.block,
            part_rows(X.dtype), self.tiles, self.norms,
        )  # fmt: skip

    def meet(self, games: Array, skipped: int, labels: Array, n_clusters: int, sums: Array) -> None:
        """Play games, some at a time, so that Ctrl-C can come between."""
        n_features = self.rows.shape[1]
        near = self.norms.dtype.type(NEAR[self.norms.dtype])
        tiles = (games[:, 1] - games[:, 0]) * (games[:, 3] - games[:, 2])
        work = float(TILE_ROWS**2 * tiles.max() * (n_features + 10))
        together = max(self.team.n_threads, int(MOST_WORK / work))
        for first in range(0, len(games), together):
            some = games[first : first + together]
            self.team.run(
                _meet, work * len(some), len(some), some, skipped, self.rows.X, self.zeros,
                self.tiles, self.norms, self.block, self.group, part_rows(self.rows.X.dtype), near,
                labels, n_clusters, sums,
            )  # fmt: skip

    def silhouettes(self, labels: Array, sizes: Sequence[Array]) -> Array:
        """As :func:`silhouettes`, where there is room for the sums of all rows, or of some."""
        firsts = np.cumsum([0, *map(len, sizes)])
        n_clusters = int(firsts[-1])
        labels = labels + firsts[:-1, None]
        values = np.empty(labels.shape)
        room = most_sums(self.rows.X) // self.rows.shape[0]
        whole = n_clusters <= room
        apart = self.held > 1 and n_clusters * self.held <= room
        size = n_clusters * TILE_ROWS
        step = self.n_tiles if whole else max(self.team.n_threads, MOST_SUMS // size)
        for skipped in range(0, self.n_tiles, step):
            stop = min(skipped + step, self.n_tiles)
            if whole:
                rounds = list(_tournament(self.n_tiles, self.rows.shape[1]))
            else:
                tile = np.arange(skipped, stop)
                every = (tile, tile + 1, 0 * tile, 0 * tile + self.n_tiles, 0 * tile)
                rounds = [np.stack(every, axis=1)]
            sums = aligned_empty((self.held if apart else 1, (stop - skipped) * size), np.float64)
            sums.fill(0)
            places = sums.shape[1] * (np.arange(len(rounds)) % len(sums))
            rounds = [
                np.insert(games, 5, place, axis=1)
                for games, place in zip(rounds, places, strict=True)
            ]
            for games in [np.concatenate(rounds)] if apart else rounds:
                self.meet(games, skipped, labels, n_clusters, sums.reshape(-1))
            self.team.run(
                _finish, float(sums.size), stop - skipped, skipped, labels, firsts,
                np.concatenate(sizes), sums, values,
            )  # fmt: skip
        return values


def most_sums(X: Array) -> int:
    """How many numbers the sums of all rows may be, so that they need no more than a copy of X."""
    return max(MOST_SUMS, X.size)


def _tournament(n_tiles: int, n_features: int) -> Iterator[Array]:
    """Rounds of games of bands of tiles, by the shape alone; see :func:`_meet`.

    In the first round each band meets itself.  Then they sit at a long table, and all but the
    last one move by a seat from round to round.  Little work is one game.
    """
    most = int((MOST_WORK / (n_features + 10)) ** 0.5) // TILE_ROWS
    least = min(n_tiles // LEAST_BANDS, GROUP)
    if n_tiles * n_tiles * TILE_ROWS**2 * (n_features + 10) < ALONE:
        least = n_tiles
    size = max(1, min(max(least, -(-n_tiles // MOST_BANDS)), most))
    edges = np.minimum(np.arange(0, n_tiles + size, size), n_tiles)
    n_bands = len(edges) - 1
    seats = np.arange(n_bands)
    yield np.stack([edges[:-1], edges[1:], edges[:-1], edges[1:], 0 * seats + 1], axis=1)
    moving = n_bands - 1 + n_bands % 2  # of an odd number, one has a rest
    left = np.arange((moving + 1) // 2)
    for number in range(moving if n_bands > 1 else 0):
        pairs = np.stack([(number + left) % moving, (number - left) % moving], axis=1)
        pairs[0, 1] = moving
        pairs = np.sort(pairs[(pairs < n_bands).all(axis=1)], axis=1)
        a, b = pairs.T
        yield np.stack([edges[a], edges[a + 1], edges[b], edges[b + 1], 0 * a + 1], axis=1)


def silhouettes(
    X: Array, center: Array, labels: Array, sizes: Sequence[Array], team: Team
) -> Array:
    """Silhouette of each row by each of several labelings.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64, C-contiguous
        Rows.
    center : ndarray of shape (n_features,), float64
        A point near the rows.
    labels : ndarray of shape (n_labelings, n_samples), int64
        Clusters of the rows, from 0.
    sizes : sequence of n_labelings ndarrays of shape (n_clusters,), int64
        Number of rows of each cluster; none is empty.
    team : Team
        Threads to run on.

    Returns
    -------
    values : ndarray of shape (n_labelings, n_samples), float64
        The same bits for any number of threads, and for a labeling alone or among others; 0 for
        rows that are alone in their cluster.

    Notes
    -----
    Memory: a copy of `X`, and at most as much again, or 64 MB, for sums.  Labelings of more
    clusters than that holds sums of are computed by themselves, each distance twice.
    """
    tiles = _Tiles(X, center, team)
    values = np.empty(labels.shape)
    room = most_sums(X) // (len(X) * tiles.held)  # clusters
    first = 0
    while first < len(sizes):
        last, held = first + 1, len(sizes[first])
        while last < len(sizes) and held + len(sizes[last]) <= room:
            held += len(sizes[last])
            last += 1
        values[first:last] = tiles.silhouettes(labels[first:last], sizes[first:last])
        first = last
    return values
