"""Single numbers in memory: early fetches, numbers that other threads write to, and tasks."""

from __future__ import annotations

from numba import types

from .instructions import emits
from .language import BIT, Kind, add_atomically, either, index, load_afresh, repeat

# What threads take their tasks from; see :mod:`..machine.parallel`.  A counter has a record for
# each seat: how many tasks of its share are taken, by its own thread from the front, by others from
# the back.
RECORD = 16  # numbers of 8 bytes: two cache lines, which CPUs fetch together
TAKEN, FRONT, BACK = 0, 1, 2
# All see the same gate; the view of a thread is longer by its seat, which is how a kernel can tell.
CALLERS_GATE = 8


@emits(arrays="values")
def fetch(values, place):
    """Ask for the cache line of ``values[place]``, which need not be an element."""
    values.prefetch(place)


@fetch.twin
def _(values, place):
    """Nothing to be seen."""


@emits(types.int64, int64s="counters")
def peek(counters, slot):
    """Read ``counters[slot]`` (int64) afresh from memory, with what was written before it."""
    return load_afresh(counters.at(slot))


@peek.twin
def _(counters, slot):
    return int(counters[slot])


@emits(types.int64, int64s="counters", int64="amount")
def fetch_add(counters, slot, amount):
    """Add `amount` to ``counters[slot]`` (int64) atomically and return what was there before."""
    return add_atomically(counters.at(slot), amount)


@fetch_add.twin
def _(counters, slot, amount):
    old = int(counters[slot])  # the interpreter's lock makes one thread of them all
    counters[slot] += amount
    return old


@emits(types.intp, int64s="counter", arrays="gate")
def next_task(counter, gate, n_tasks):
    """Number of the next task for this thread; `n_tasks` when they are used up.

    A thread first takes those of its own share, which is the same from call to call as long as
    the number of tasks is; then from the end of another's.
    """
    n_seats = counter.shape[0] // RECORD
    seat = gate.shape[0] - CALLERS_GATE
    one = index(1)

    def share(turn):
        owner = (seat + turn) % n_seats
        start, stop = ((owner + i) * n_tasks // n_seats for i in (0, 1))
        return counter.at(owner * RECORD), start, stop

    @repeat((index(-1), Kind(BIT)(0)))
    def found(state):
        turn = state[0] + 1
        record, start, stop = share(turn)
        some = add_atomically(record.at(TAKEN), one) < stop - start
        return (turn, some), ~some & (turn + 1 < n_seats)

    turn, some = found

    @either(some)
    def task(some):
        if not some:
            return n_tasks
        record, start, stop = share(turn)

        @either(turn == 0)
        def task(own):
            if own:
                return start + add_atomically(record.at(FRONT), one)
            return stop - (add_atomically(record.at(BACK), one) + 1)

        return task

    return task


@next_task.twin
def _(counter, gate, n_tasks):
    counter[TAKEN] += 1  # in order: the interpreter runs a kernel on one thread
    if counter[TAKEN] > n_tasks:
        return n_tasks
    counter[FRONT] += 1
    return int(counter[FRONT]) - 1
