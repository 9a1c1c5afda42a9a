"""Tiles with lanes over rows: 64 packed rows against packed centers, and what comes of the scores.

These are pieces that instructions are made of; see :mod:`.search_rows` and :mod:`.densities`.
"""

from __future__ import annotations

from .cpu import NARROW, ROW_VECTORS, TILE_ROWS, WIDE
from .language import fma, index, loop, smaller, where
from .vectors import crossed


def over_groups(panels, counts, depth, body, state=()):
    """Run ``state = body(width, panel, first center, state)`` for the groups of 6, then of 4.

    A center has `depth` numbers in `panels`.
    """
    base, first = index(0), index(0)
    for width, count in zip((WIDE, NARROW), counts, strict=True):
        stride = depth * width

        @loop(count, state)
        def state(group, state):
            return body(width, panels.at(base + group * stride), first + group * width, state)

        base = base + count * stride
        first = first + count * width
    return state


def over_row_parts(kind, body):
    """Run ``body(first row)`` for the parts of a tile that are in registers together."""
    size = ROW_VECTORS * kind.lanes
    loop(TILE_ROWS // size)(lambda part: body(part * size))


def row_vectors(place, row=0, line=0):
    """The vectors of a part of the rows, from `row` on in the `line` that begins so far behind."""
    return [place.load(row + (line + v * place.lanes)) for v in range(ROW_VECTORS)]


def over_tile(packed, centers, counts, n_features, start, step, epilogue):
    """Run ``step(row vector, center, sum)`` over all features, for each group of centers.

    `start` gives what the sums of a center begin with.  `epilogue` receives the first row, the
    first center and the sums, ``[center][vector]``.
    """

    def group(width, panel, center, _):
        def part(row):
            own = packed.at(row)
            starts = [[start(center + j)] * ROW_VECTORS for j in range(width)]

            @loop(n_features, starts)
            def sums(t, sums):
                vectors = row_vectors(own.at(t * TILE_ROWS))
                column = panel.at(t * width)
                return crossed(step, vectors, map(column.broadcast, range(width)), sums)

            epilogue(row, center, sums)

        over_row_parts(packed.kind, part)
        return ()

    over_groups(centers, counts, n_features, group)


def fill(place, vector):
    """Set 64 elements to `vector`."""
    for row in range(0, TILE_ROWS, place.lanes):
        place.store(row, vector)


def store_all(results):
    """Epilogue: write everything to `results` (padded centers, 64)."""

    def epilogue(row, center, sums):
        for j, vectors in enumerate(sums):
            column = (center + j) * TILE_ROWS
            for v, total in enumerate(vectors):
                results.store(column + row + v * results.lanes, total)

    return epilogue


def keep_smallest(best, numbers):
    """Epilogue: running minimum and its lowest index.

    The centers of a group play a knock-out tournament first, so that the chain from group to
    group, which runs through memory, is one comparison long.
    """
    whole = numbers.kind

    def epilogue(row, center, sums):
        first = whole.splat(center.to(whole.element))
        for v in range(ROW_VECTORS):
            here = row + v * best.lanes
            players = [(vectors[v], whole(j)) for j, vectors in enumerate(sums)]
            while len(players) > 1:
                winners = []
                for (score, number), (other, of_other) in zip(
                    players[::2], players[1::2], strict=False
                ):
                    less = other < score  # the lower index wins ties
                    winners.append((where(less, other, score), where(less, of_other, number)))
                players = winners + players[len(players) - len(players) % 2 :]
            ((score, number),) = players
            old, old_number = best.load(here), numbers.load(here)
            less = score < old
            best.store(here, where(less, score, old))
            numbers.store(here, where(less, first + number, old_number))

    return epilogue


def keep_two_smallest(best, numbers, second):
    """Epilogue: running minimum, its lowest index, and the second smallest score."""
    whole = numbers.kind

    def epilogue(row, center, sums):
        first = whole.splat(center.to(whole.element))
        for v in range(ROW_VECTORS):
            here = row + v * best.lanes
            least, winner, runner_up = (each.load(here) for each in (best, numbers, second))
            for j, vectors in enumerate(sums):
                score, candidate = vectors[v], first + j
                less = score < least
                runner_up = where(less, least, smaller(score, runner_up))
                least = where(less, score, least)
                winner = where(less, candidate, winner)
            for target, value in zip(
                (best, numbers, second), (least, winner, runner_up), strict=True
            ):
                target.store(here, value)

    return epilogue


def keep_own_and_rival(labels, own, rival):
    """Epilogue: the value of the center of each row's label, and the least of the others."""
    whole = labels.kind

    def epilogue(row, center, sums):
        first = whole.splat(center.to(whole.element))
        for v in range(ROW_VECTORS):
            here = row + v * own.lanes
            label, mine, least = (each.load(here) for each in (labels, own, rival))
            for j, vectors in enumerate(sums):
                value = vectors[v]
                is_own = label == first + j
                mine = where(is_own, value, mine)
                least = where(is_own, least, smaller(value, least))
            own.store(here, mine)
            rival.store(here, least)

    return epilogue


def low_search(rows, centers, bias, counts, *, two):
    """Look through all centers for the rows whose features ``rows[feature][v]`` holds.

    Returns their smallest scores, the numbers of those centers, and where `two` are wanted the
    second smallest scores: ``[v]`` each.  Rows, minima and numbers all stay in registers while the
    centers pass by one at a time; nothing but centers is read.
    """
    n_features, kind = len(rows), rows[0][0].kind
    infinity, nowhere = kind(float("inf")), kind.integers(0)
    n_wide, n_narrow = counts

    def one_center(start, coordinates, state):
        least, winner, others, number = state
        least, winner, others = list(least), list(winner), list(others)
        for v in range(ROW_VECTORS):
            score = start
            for t, value in enumerate(coordinates):
                score = fma(rows[t][v], value, score)
            less = score < least[v]
            if two:
                others[v] = smaller(where(less, least[v], score), others[v])
            least[v] = where(less, score, least[v])
            winner[v] = where(less, number, winner[v])
        return least, winner, others, number + 1

    # The number of the center is counted in a vector: as a scalar it would be broadcast anew,
    # under a mask, for every vector of rows.
    others = [infinity] * (ROW_VECTORS if two else 0)
    state = [infinity] * ROW_VECTORS, [nowhere] * ROW_VECTORS, others, nowhere

    @loop(n_wide + n_narrow, (state, index(0), index(0)))
    def found(group, found):
        state, base, center = found
        # One code for both widths: less to compile.
        width = where(group < n_wide, index(WIDE), NARROW)
        panel = centers.at(base)

        @loop(width // 2, state)
        def state(pair, state):
            for which in range(2):
                j = pair * 2 + which
                start = rows[0][0].kind.splat(bias[center + j])
                coordinates = [panel.broadcast(width * t + j) for t in range(n_features)]
                state = one_center(start, coordinates, state)
            return state

        return state, base + width * n_features, center + width

    return found[0][: 3 if two else 2]
