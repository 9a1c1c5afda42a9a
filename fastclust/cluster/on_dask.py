"""Holders on the workers of a Dask cluster; the only file that knows Dask.

A worker's rows lie in one array in its memory, with the state that belongs to them: a Dask actor,
which Dask neither copies nor moves nor spills, and frees when the client lets go of it or is gone.
What holders are asked goes to the actors without a task, one call for each worker and pass however
many partitions there are: two workers then answer in 7 ms where tasks take 26.  Rows come from
tasks, which Dask's dashboard shows by their names: a block is computed where it is wanted, copied
to its place, and released.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
import types
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import dask
import dask.array
import distributed
import numpy as np
from dask.delayed import Delayed

from .. import validation
from ..kernels.tiles import Array
from ..persistence import installed
from ..rows.sources import ArrayLike, Source, as_array, checked_shape, float_dtype, open_rows
from .engine import LOST, Crew, Engine, Order
from .held import HeldLabels, HeldRows, HeldWeights
from .holder import Holder, landed
from .layout import Share, shares

PATIENCE = 3.0  # seconds between two looks at whether the workers that are waited for are there
RETURN = 20.0  # seconds in which a worker that was lost may be replaced before others take over
# Blocks go to a worker in groups of so many bytes, unless one has more; and groups at a time.
GROUP_BYTES, IN_FLIGHT = 1 << 24, 2

_seats: weakref.WeakValueDictionary[str, Seat] = weakref.WeakValueDictionary()


class SeatLost(Exception):
    """A worker does not have the rows that it had: it has been started anew."""


class Seat:
    """On a worker: the array that its rows are copied to, and their holder once all are there."""

    def __init__(self, key: str, share: Share, dtype: Any, weighted: bool, n_threads: int) -> None:
        self.share, self.n_threads = share, n_threads
        n_rows = share.end - share.first
        self.X = np.empty((n_rows, share.n_features), dtype)
        self.weights = np.empty(n_rows, dtype) if weighted else None
        self.holder: Holder | None = None
        _seats[key] = self

    def put(self, first: int, X: Array, weights: Array | None) -> None:
        """Take over the rows from number `first` on that have a place here."""
        start, stop = max(first, self.share.first), min(first + len(X), self.share.end)
        there, here = (slice(start - at, stop - at) for at in (self.share.first, first))
        self.X[there] = X[here]
        if self.weights is not None:
            self.weights[there] = 1.0 if weights is None else weights[here]

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """What the holder gives."""
        if self.holder is None:
            self.holder = Holder(self.share, self.X, self.weights, self.n_threads)
        return self.holder.call(method, arguments)


# Tasks.


def take_seat(key: str, share: Share, dtype: Any, weighted: bool, n_threads: int) -> Seat:
    """Make room for rows."""
    return Seat(key, share, dtype, weighted, n_threads)


def _seat(key: str) -> Seat:
    found = _seats.get(key)
    if found is None:
        raise SeatLost(key)
    return found


def call_holder(key: str, method: str, arguments: tuple[Any, ...]) -> Any:
    """A call of a holder of this worker."""
    return _seat(key).call(method, arguments)


def join_results(function: Callable[..., Any], results: list[Any], more: tuple[Any, ...]) -> Any:
    """What a function makes of the results of all holders."""
    return function(results, *more)


def fill_from_blocks(
    key: str, firsts: list[int], blocks: list[Any], weights: list[Any], saids: list[Said]
) -> None:
    """Copy blocks of rows to their places."""
    for first, block, own, said in zip(firsts, blocks, weights, saids, strict=True):
        _seat(key).put(first, *said.checked(block, own))


def fill_from_files(key: str, path: Any, n_samples: int, weights: Any, said: Said) -> None:
    """Read the rows of this worker."""
    seat, source = _seat(key), as_source(path)
    if source.shape[0] != n_samples:
        raise ValueError(
            f"{source.name} must be the same for all workers, but one finds {source.shape[0]} "
            f"rows in it and the client {n_samples}."
        )
    share = seat.share
    for first, piece in source.holding(share.first, share.end):
        seat.put(first, *said.checked(piece, None))
    if weights is not None and seat.weights is not None:
        seat.weights[:] = weights


def look_at_block(block: Any) -> tuple[tuple[int, ...], str, list[Any] | None]:
    """Shape and dtype of a block, and the names of its columns."""
    array = as_array(block)
    return array.shape, array.dtype.name, list(getattr(block, "columns", [])) or None


class Said(NamedTuple):
    """What is known of a block, for the checks of a worker."""

    name: str  # of all rows
    number: int  # of the block, -1 of a piece of a file
    n_rows: int
    n_features: int
    dtype: Any

    def checked(self, block: Any, weights: Any) -> tuple[Array, Array | None]:
        """Rows and weights as arrays of the dtype of the fit."""
        which = f"block {self.number} of {self.name}" if self.number >= 0 else self.name
        X = as_array(block)
        wanted = len(X) if self.number < 0 else self.n_rows, self.n_features
        if X.shape != wanted:
            raise ValueError(f"{which} must be of shape {wanted}, but it is of shape {X.shape}.")
        X = X.astype(self.dtype, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(X.sum())
        if suspicious and not np.isfinite(X).all():
            what = "NaN" if np.isnan(X).any() else "infinity"
            raise ValueError(f"Input X contains {what}: {which} has it.")
        if weights is None:
            return X, None
        weights = np.asarray(weights)
        if weights.shape != (len(X),):
            raise ValueError(
                f"sample_weight must have a weight for each row, but for the {len(X)} rows of "
                f"{which} its shape is {weights.shape}."
            )
        weights = weights.astype(self.dtype)
        if not np.isfinite(weights).all():
            raise ValueError(f"Input sample_weight contains NaN or infinity for {which}.")
        return X, weights


def as_source(path: Any) -> Source:
    """A path, or several, as rows that are read."""
    X = open_rows(path)
    return X if isinstance(X, Source) else ArrayLike(X, f"the file {os.fspath(path)!r}")


# What fits are given.


class Given(NamedTuple):
    """Rows as they were given, and where to get them as often as they are wanted.

    Attributes
    ----------
    name, shape, dtype, example
        As of :class:`.held.HeldRows`.
    sizes : list of int
        Rows of each block; empty where workers read files.
    blocks : list
        Delayed objects or futures, one for each block.
    path : object
        Of the files, if that is what it is.
    weights : list, ndarray or None
        By block, or of all rows of files.
    again : list or None
        What is to be computed where a block is wanted once more; None for the blocks themselves,
        which are kept otherwise.
    """

    name: str
    shape: tuple[int, int]
    dtype: Any
    example: Any
    sizes: list[int]
    blocks: list[Any]
    path: Any = None
    weights: Any = None
    again: list[Any] | None = None


def as_given(client: Any, X: Any, sample_weight: Any) -> Given:
    """Look at what a fit was given; blocks of unknown size are computed for that."""
    if isinstance(X, str | os.PathLike) or _all_are(X, (str, os.PathLike)):
        source = as_source(X)
        given = Given(source.name, source.shape, source.dtype, source.head(), [], [], X)
        return given._replace(weights=_weights_of_files(sample_weight, source.shape[0]))
    if isinstance(X, dask.array.Array):
        given = _of_array(client, X)
    elif dask.is_dask_collection(X) and hasattr(X, "columns") and hasattr(X, "to_delayed"):
        import pandas

        example = pandas.DataFrame(np.zeros((1, len(X.columns))), columns=X.columns)
        given = _of_blocks(client, "the dataframe", X.to_delayed(), example)
    elif _all_are(X, (distributed.Future, Delayed)):
        given = _of_blocks(client, "the list of blocks", list(X), None)
    else:
        raise TypeError(
            "X must be a dask array or dataframe, a list of delayed blocks or futures, or a path, "
            f"not {validation.said(X)} of type {type(X).__name__}; rows in memory are for the "
            "estimators of fastclust itself."
        )
    return given._replace(weights=_weights_of_blocks(sample_weight, given))


def _all_are(X: Any, kinds: Any) -> bool:
    return isinstance(X, list | tuple) and len(X) > 0 and all(isinstance(x, kinds) for x in X)


def _of_array(client: Any, X: Any) -> Given:
    if X.ndim != 2:
        raise ValueError(f"X must have two dimensions, rows and columns, but has shape {X.shape}.")
    if X.numblocks[1] > 1:
        validation.warn(
            f"X has its columns in {X.numblocks[1]} chunks, which are joined for the fit: "
            "X.rechunk({1: -1}) does so once and for all.",
            RuntimeWarning,
        )
        X = X.rechunk({1: -1})
    blocks, name = X.to_delayed().ravel().tolist(), "the dask array"
    if np.isnan(X.chunks[0]).any() or np.isnan(X.shape[1]):
        return _of_blocks(client, name, blocks, None)
    shape = checked_shape(X.shape, name)
    dtype = float_dtype(X.dtype, name)
    return Given(name, shape, dtype, np.zeros((1, shape[1])), list(X.chunks[0]), blocks)


def _of_blocks(client: Any, name: str, blocks: list[Any], example: Any) -> Given:
    """Blocks that must be looked at; they are kept until workers have copied them."""
    again = blocks
    blocks = [each if _is_future(each) else client.compute(each) for each in blocks]
    seen = client.gather([_submit(client, look_at_block, each) for each in blocks])
    full = [place for place, (shape, _, _) in enumerate(seen) if shape[0]]
    if not full:
        raise ValueError(f"{name} must hold at least one row and one column, but it has no rows.")
    first = seen[full[0]]
    for place in full:
        own, dtype, names = seen[place]
        if len(own) != 2 or own[1:] != first[0][1:] or names != first[2]:
            raise ValueError(
                f"Every block of {name} must have the columns of the first, but block {place} has "
                f"shape {own}."
            )
        if float_dtype(np.dtype(dtype)) != float_dtype(np.dtype(first[1])):
            raise ValueError(
                f"Every block of {name} must have the dtype of the first, {first[1]}, but block "
                f"{place} has {dtype}."
            )
    sizes = [shape[0] for shape, _, _ in seen]
    shape = checked_shape((sum(sizes), *first[0][1:]), name)
    if example is None:
        example = np.zeros((1, shape[1]))
        if first[2] is not None:
            import pandas

            example = pandas.DataFrame(example, columns=first[2])
    return Given(
        name, shape, float_dtype(np.dtype(first[1]), name), example, sizes, blocks, again=again
    )


def _is_future(block: Any) -> bool:
    return isinstance(block, distributed.Future)


def _weights_of_files(weights: Any, n_samples: int) -> Any:
    if weights is None:
        return None
    if dask.is_dask_collection(weights):
        weights = weights.compute()
    weights = np.asarray(weights)
    if weights.shape != (n_samples,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected ({n_samples},).")
    return weights


def _weights_of_blocks(weights: Any, given: Given) -> Any:
    """Weights by the blocks of the rows."""
    if weights is None:
        return None
    n_samples = given.shape[0]
    if hasattr(weights, "to_dask_array"):  # a series
        weights = weights.to_dask_array()
    if isinstance(weights, dask.array.Array):
        if weights.ndim != 1:
            raise ValueError(f"sample_weight.shape == {weights.shape}, expected ({n_samples},).")
        if np.isnan(weights.shape[0]):
            blocks = weights.to_delayed().ravel().tolist()
            if len(blocks) != len(given.blocks):
                raise ValueError(
                    f"sample_weight must have the blocks of X, which are {len(given.blocks)}, but "
                    f"it has {len(blocks)}."
                )
            return blocks
        _check_length(weights.shape, n_samples)
        full = tuple(size for size in given.sizes if size)
        blocks = iter(weights.rechunk((full,)).to_delayed().ravel().tolist())
        return [next(blocks) if size else None for size in given.sizes]
    if _all_are(weights, (distributed.Future, Delayed)):
        return list(weights)
    weights = np.asarray(weights)
    _check_length(weights.shape, n_samples)
    return np.split(weights, np.cumsum(given.sizes)[:-1])


def _check_length(shape: tuple[int, ...], n_samples: int) -> None:
    if shape != (n_samples,):
        raise ValueError(f"sample_weight.shape == {shape}, expected ({n_samples},).")


# The engine.


def _submit(client: Any, function: Any, *arguments: Any, called: str = "", **options: Any) -> Any:
    """A task under a name that the dashboard shows."""
    name = called or function.__name__.replace("_", "-")
    key = f"fastclust-{name}-{uuid.uuid4().hex}"
    return client.submit(function, *arguments, key=key, pure=False, **options)


def _version_there() -> str:  # sent as code: it must work where there is no fastclust
    try:
        from importlib.metadata import version

        import fastclust.cluster.holder  # noqa: F401

        return version("fastclust")
    except ImportError as error:
        return f"none ({error})"


def check_workers(client: Any) -> dict[str, int]:
    """Threads of each worker by its address; all of them must have this fastclust."""
    probe = types.FunctionType(_version_there.__code__, {"__builtins__": __builtins__})
    probe.__module__ = "__main__"
    own = installed("fastclust")
    for address, found in client.run(probe, on_error="return").items():
        # Whoever is gone meanwhile has no version.
        if found != own and not isinstance(found, Exception):
            raise RuntimeError(
                f"Every worker must have fastclust {own}, the client's version, but the worker at "
                f"{address} has {found}."
            )
    threads: dict[str, int] = client.nthreads()
    if not threads:
        raise RuntimeError(
            f"Dask's scheduler at {client.scheduler.address} has no workers: start some."
        )
    return threads


class OnDask(Engine):
    """Holders on the workers of a client's cluster.

    Parameters
    ----------
    client : distributed.Client
        The client.
    given : Given
        The rows.
    main : int
        Rows of a slice of the pass that takes most of the time; see :func:`.layout.shares`.
    others : sequence of int
        Those of all other passes.
    """

    def __init__(self, client: Any, given: Given, main: int, others: Sequence[int]) -> None:
        self.client, self.given = client, given
        threads = check_workers(client)
        addresses = sorted(threads)
        weights = [float(threads[address]) for address in addresses]
        self.shares = shares(given.shape, main, others, weights)
        self.n_wanted = len(self.shares)
        self._places = addresses[: len(self.shares)]
        self._keys: list[str] = [""] * len(self.shares)
        self._actors: list[Any] = [None] * len(self.shares)  # futures: who has one keeps it alive
        self._callees: list[Any] = [None] * len(self.shares)
        self._seat(range(len(self.shares)))
        if given.again is not None:
            self.given = given._replace(blocks=given.again)

    def call(self, orders: Sequence[Order]) -> list[Any]:
        asked = [self._ask(order) for order in orders]
        return [
            self._answer(order.number, future) for order, future in zip(orders, asked, strict=True)
        ]

    def _ask(self, order: Order) -> Any:
        """A call of an actor, or LOST."""
        with self.client.as_current():
            try:
                return self._callees[order.number].call(order.method, order.arguments)
            except RuntimeError:  # Dask knows that it is gone
                return LOST

    def _answer(self, number: int, future: Any) -> Any:
        """What an actor answers, or LOST."""
        if future is LOST:
            return LOST
        while True:
            try:
                return landed(future.result(timeout=PATIENCE))
            except TimeoutError:  # it may be at work, or gone
                if not self._is_alive(number):
                    return LOST
            except OSError:  # nobody answers at its address: Dask will notice, too
                deadline = time.monotonic() + PATIENCE
                while self._is_alive(number) and time.monotonic() < deadline:
                    time.sleep(0.1)
                return LOST

    def _is_alive(self, number: int) -> bool:
        """Whether a worker is there and has its rows, as far as Dask's scheduler knows."""
        there = self._workers()
        return self._places[number] in there and self._actors[number].status in (
            "finished",
            "pending",
        )

    def _workers(self) -> dict[str, int]:
        """Workers that are there; an error where there is no scheduler any more."""
        try:
            there: dict[str, int] = self.client.nthreads()
        except Exception as error:
            raise self._gone() from error
        if self.client.status != "running":
            raise self._gone()
        return there

    def together(self, orders: Sequence[Order], function: Callable[..., Any], *more: Any) -> Any:
        futures = self._futures(orders)
        place = self._places[orders[0].number]
        options: Any = {"workers": [place], "allow_other_workers": True}
        last = _submit(self.client, join_results, function, futures, more, **options)
        everywhere = [self._places[order.number] for order in orders]
        try:
            return self._results([last], [everywhere])[0]
        finally:
            self._cancel(futures)

    def restore(self, numbers: Sequence[int]) -> None:
        deadline = time.monotonic() + RETURN
        while True:
            threads = check_workers(self.client)
            taken = {self._places[n] for n in range(len(self.shares)) if n not in numbers}
            free = sorted(threads.keys() - taken)
            if len(free) >= len(numbers) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        choice = itertools.cycle([*free, *sorted(taken & threads.keys())])
        for number in numbers:
            self._places[number] = next(choice)
        self._seat(numbers)

    def find_lost(self) -> list[int]:
        orders = [Order(number, "forget", ("",)) for number in range(len(self.shares))]
        return [number for number, found in enumerate(self.call(orders)) if found is LOST]

    def close(self) -> None:
        self._callees = [None] * len(self.shares)
        self._actors = [None] * len(self.shares)

    def labels(self, held: HeldLabels, size: int) -> Any:
        """Labels as a dask array with the chunks of the rows; slices have `size` rows."""
        orders = [Order(number, "labels", (held.name,)) for number in range(len(self.shares))]
        done = False
        while not done:
            held.crew.map("forget", "")  # whoever has been lost is there again
            futures = self._futures(orders)
            done = self._are_done(futures)
        parts = []
        for share, future in zip(self.shares, futures, strict=True):
            place = share.rows(size, *share.slices(size))
            if place.stop > place.start:
                shape = (place.stop - place.start,)
                parts.append(dask.array.from_delayed(future, shape, np.int32))
        labels = dask.array.concatenate(parts)
        sizes = tuple(size for size in self.given.sizes if size)
        return labels.rechunk((sizes,)) if sizes else labels

    # Tasks.

    def _are_done(self, futures: list[Any]) -> bool:
        """Wait for results that stay on their workers; whether none of these was lost."""
        looks = [_submit(self.client, _is_there, future) for future in futures]
        return LOST not in self._results(looks, self._places)

    def _futures(self, orders: Sequence[Order]) -> list[Any]:
        return [
            _submit(
                self.client, call_holder, self._keys[number], method, arguments,
                called=method.replace("_", "-"), workers=[self._places[number]],
                allow_other_workers=False, priority=10,
            )
            for number, method, arguments in orders
        ]  # fmt: skip

    def _results(self, futures: Sequence[Any], places: Sequence[Any]) -> list[Any]:
        """Results of tasks; LOST where the worker that they are pinned to is gone."""
        found: dict[int, Any] = {}
        waiting = dict(enumerate(futures))
        try:
            while waiting:
                try:
                    results = self.client.sync(self._gathered, list(waiting.values()))
                    found |= dict(zip(waiting, results, strict=True))
                    break
                except Exception as error:
                    self._see_what_happened(waiting, places, found, error)
        finally:
            self._cancel(list(waiting.values()) if len(found) < len(futures) else [])
        return [landed(found[number]) for number in range(len(futures))]

    async def _gathered(self, futures: list[Any]) -> Any:
        return await asyncio.wait_for(
            self.client.gather(futures, asynchronous=True), timeout=PATIENCE
        )

    def _see_what_happened(
        self,
        waiting: dict[int, Any],
        places: Sequence[Any],
        found: dict[int, Any],
        error: Exception,
    ) -> None:
        """Take those tasks out that nobody can finish any more; raise what a worker has raised."""
        del error  # each future tells its own
        there = self._workers()
        for number, future in list(waiting.items()):
            place = [places[number]] if isinstance(places[number], str) else places[number]
            lost = not all(each in there for each in place)
            if not lost and future.status == "error":
                exception = future.exception()
                lost = isinstance(exception, SeatLost | distributed.KilledWorker)
                if not lost:
                    raise exception.with_traceback(future.traceback())
            if lost or future.status in ("lost", "cancelled"):
                found[number] = LOST
                self._cancel([waiting.pop(number)])

    def _gone(self) -> RuntimeError:
        return RuntimeError(
            f"Dask's scheduler at {self.client.scheduler.address} is gone, and with it the fit."
        )

    def _cancel(self, futures: list[Any]) -> None:
        if futures and self.client.status == "running":
            self.client.cancel(futures, force=True)

    # Rows.

    def _seat(self, numbers: Sequence[int]) -> None:
        """Give holders their place on workers, and their rows."""
        given, threads = self.given, self.client.nthreads()
        weighted = given.weights is not None
        for number in numbers:
            key, place = f"rows {number} {uuid.uuid4().hex}", self._places[number]
            self._keys[number] = key
            self._actors[number] = _submit(
                self.client, take_seat, key, self.shares[number], given.dtype, weighted,
                threads.get(place, 1), workers=[place], allow_other_workers=False, actor=True,
            )  # fmt: skip
        self._results_or_lost([self._actors[number] for number in numbers], numbers)
        with self.client.as_current():
            for number in numbers:
                key, place = self._actors[number].key, self._places[number]
                self._callees[number] = distributed.Actor(Seat, place, key)
        waiting: dict[Any, int] = {}
        try:
            for future, number in self._fills(numbers):
                waiting[future] = number
                if len(waiting) >= IN_FLIGHT * len(numbers):
                    self._wait_for_some(waiting)
            while waiting:
                self._wait_for_some(waiting)
        finally:
            self._cancel(list(waiting))

    def _results_or_lost(self, futures: list[Any], numbers: Sequence[int]) -> None:
        """Wait for tasks; whoever is lost by then is found so when it is called."""
        self._results(
            [_submit(self.client, _is_there, each) for each in futures],
            [self._places[number] for number in numbers],
        )

    def _wait_for_some(self, waiting: dict[Any, int]) -> None:
        """Let go of what has been copied, and of what nobody can copy any more."""
        try:
            done = distributed.wait(list(waiting), PATIENCE, "FIRST_COMPLETED").done
        except TimeoutError:
            done = set()
        there = self.client.nthreads() if not done else None
        for future in list(waiting):
            number = waiting[future]
            if future in done or future.done():
                del waiting[future]
                if future.status == "error":
                    exception = future.exception()
                    if not isinstance(exception, SeatLost | distributed.KilledWorker):
                        raise exception
            elif there is not None and self._places[number] not in there:
                del waiting[future]
                self._cancel([future])

    def _fills(self, numbers: Sequence[int]) -> Iterator[tuple[Any, int]]:
        """Tasks that bring rows to their holders, those of different holders in turn."""
        each = [self._fills_of(number) for number in numbers]
        for together in itertools.zip_longest(*each):
            yield from (one for one in together if one is not None)

    def _fills_of(self, number: int) -> Iterator[tuple[Any, int]]:
        given, share, place = self.given, self.shares[number], self._places[number]
        key = self._keys[number]
        pinned: Any = {"workers": [place], "allow_other_workers": False}
        (n_samples, n_features), name = given.shape, given.name
        if given.path is not None:
            said = Said(name, -1, 0, n_features, given.dtype)
            own = None if given.weights is None else given.weights[share.first : share.end]
            arguments = key, given.path, n_samples, own, said
            yield _submit(self.client, fill_from_files, *arguments, **pinned), number
            return
        for group in self._groups(share):
            saids = [
                Said(name, block, given.sizes[block], n_features, given.dtype) for block, _ in group
            ]
            own = given.weights or [None] * len(given.sizes)
            parts = [given.blocks[block] for block, _ in group] + [own[block] for block, _ in group]
            parts = self._computed(parts, place)
            blocks, weights = parts[: len(group)], parts[len(group) :]
            firsts = [first for _, first in group]
            brought = key, firsts, blocks, weights, saids
            yield _submit(self.client, fill_from_blocks, *brought, **pinned), number

    def _groups(self, share: Share) -> Iterator[list[tuple[int, int]]]:
        """Blocks that have rows of a share, some at a time, each with the number of its first."""
        per_row = self.given.dtype.itemsize * share.n_features
        group: list[tuple[int, int]] = []
        first = n_bytes = 0
        for block, size in enumerate(self.given.sizes):
            if size and first < share.end and first + size > share.first:
                if group and n_bytes + size * per_row > GROUP_BYTES:
                    yield group
                    group, n_bytes = [], 0
                group.append((block, first))
                n_bytes += size * per_row
            first += size
        if group:
            yield group

    def _computed(self, parts: list[Any], place: str) -> list[Any]:
        """Blocks as futures, computed where they are wanted if they are still to be computed."""
        lazy = [number for number, part in enumerate(parts) if dask.is_dask_collection(part)]
        if lazy:
            found = self.client.compute(
                [parts[number] for number in lazy], workers=[place], allow_other_workers=True
            )
            for number, future in zip(lazy, found, strict=True):
                parts[number] = future
        return parts


def _is_there(seat: Any) -> bool:
    return seat is not None


def hold(
    X: Any, sample_weight: Any, client: Any, sizes: Callable[[int, int], tuple[int, list[int]]]
) -> tuple[OnDask, HeldRows, HeldWeights | None]:
    """Have workers hold rows.

    Parameters
    ----------
    X, sample_weight
        What a fit was given.
    client : distributed.Client or None
        The current one by default.
    sizes : callable
        Gives, by the shape of the rows, `main` and `others` of :func:`.layout.shares`.
    """
    client = current(client)
    given = as_given(client, X, sample_weight)
    engine = OnDask(client, given, *sizes(*given.shape))
    crew = Crew(engine)
    rows = HeldRows(crew, given.shape, given.dtype, given.example, given.name)
    weights = None
    if given.weights is not None:
        weights = HeldWeights(crew, given.shape[0], given.dtype)
    return engine, rows, weights


def current(client: Any) -> Any:
    """A client: the one given, or the current one."""
    if client is not None:
        if not isinstance(client, distributed.Client):
            raise TypeError(
                f"client must be a distributed.Client or None, not {validation.said(client)}."
            )
        return client
    try:
        return distributed.default_client()
    except ValueError as error:
        raise ValueError(
            "There is no Dask client: make one by distributed.Client(…), or hand it over as "
            "client=…"
        ) from error
