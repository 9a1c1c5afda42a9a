"""The root of a tree in a forest of sets, while other threads unite them."""

from __future__ import annotations

from numba import types

from .instructions import emits
from .language import repeat, when


@emits(types.int64, int64s="parents", int64="member")
def find(parents, member):
    """Root of the tree that `member` is in; whoever is met on the way is moved up.

    What is written is a parent's parent at some time, and so a forefather for ever: threads that
    do this at once do not harm each other.  A root is never written to.
    """

    @repeat((member, member))
    def found(state):
        here = state[0]
        above = parents[here]
        top = parents[above]
        with when(top != above):
            parents[here] = top
        return (top, above), top != above

    return found[1]


@find.twin
def _(parents, member):
    while parents[member] != parents[parents[member]]:
        parents[member] = parents[parents[member]]
    return int(parents[member])
