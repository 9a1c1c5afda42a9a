"""The trivial engine: all holders in this process, one after the other; for tests.

Whatever passes between the client and holders goes through a pickle, as it would elsewhere.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

from ..kernels.tiles import Array
from .engine import LOST, Engine, Order
from .holder import Holder
from .layout import Share


class InProcess(Engine):
    """Holders of ranges of an array.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        All rows.
    weights : ndarray of shape (n_samples,) or None
        Their weights, of the dtype of the rows.
    shares : list of Share
        Who holds which.
    n_threads : int
        Threads of each holder.

    Attributes
    ----------
    n_bytes : int
        What has passed between the client and holders.
    to_lose : set of tuple
        Holder and number of a call before which it is lost: what tests set.
    """

    def __init__(
        self, X: Array, weights: Array | None, shares: list[Share], n_threads: int = 1
    ) -> None:
        self.X, self.weights, self.shares, self.n_threads = X, weights, shares, n_threads
        self.holders: list[Holder | None] = [None] * len(shares)
        self.n_bytes = self.n_calls = 0
        self.to_lose: set[tuple[int, int]] = set()
        self.restore(range(len(shares)))

    def restore(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            share = self.shares[number]
            here = slice(share.first, share.end)
            weights = None if self.weights is None else self.weights[here].copy()
            self.holders[number] = Holder(share, self.X[here].copy(), weights, self.n_threads)

    def find_lost(self) -> list[int]:
        return [number for number, holder in enumerate(self.holders) if holder is None]

    def close(self) -> None:
        self.holders = [None] * len(self.shares)

    def call(self, orders: Sequence[Order]) -> list[Any]:
        return [self._sent(self._run(order)) for order in orders]

    def together(self, orders: Sequence[Order], function: Callable[..., Any], *more: Any) -> Any:
        results = [self._run(order) for order in orders]
        return LOST if LOST in results else self._sent(function(results, *more))

    def _run(self, order: Order) -> Any:
        number, method, arguments = order
        self.n_calls += 1
        if (number, self.n_calls) in self.to_lose:
            self.holders[number] = None
        holder = self.holders[number]
        return LOST if holder is None else holder.call(method, self._sent(arguments))

    def _sent(self, value: Any) -> Any:
        if value is LOST:
            return value
        message = pickle.dumps(value)
        self.n_bytes += len(message)
        return pickle.loads(message)
