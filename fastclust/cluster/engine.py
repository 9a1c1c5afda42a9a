"""The protocol: all that a fit asks of whatever runs its workers.

A worker holds a range of the rows and the state that belongs to them in a :class:`.holder.Holder`.
An :class:`Engine` makes holders, calls their methods, and makes those anew that were lost.  A
:class:`Crew` is what loops talk to: it maps a call over all holders, has a baton handed on from one
to the next in the order of the rows, and brings holders that were lost back to where they were.

For that it keeps a journal of the calls that changed the state of a holder.  What a holder computes
depends on its rows and on these calls alone, so that they lead a new one to the same bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernels.tiles import Array
from .layout import Share


class Order(NamedTuple):
    """A method that a holder is to be called by."""

    number: int  # of the holder
    method: str
    arguments: tuple[Any, ...] = ()


class Lost:
    """In the place of a result: the holder is gone."""


LOST = Lost()


class Engine(ABC):
    """Runs holders somewhere.

    Attributes
    ----------
    shares : list of Share
        What each holder holds, in the order of the rows.
    """

    shares: list[Share]

    @abstractmethod
    def call(self, orders: Sequence[Order]) -> list[Any]:
        """Results of calls, at once and each on its holder; :data:`LOST` where that is gone."""

    @abstractmethod
    def together(self, orders: Sequence[Order], function: Callable[..., Any], *more: Any) -> Any:
        """``function(results, *more)``, run where a holder is; :data:`LOST` if one was lost."""

    @abstractmethod
    def restore(self, numbers: Sequence[int]) -> None:
        """Make these holders anew, with their rows and no state."""

    @abstractmethod
    def find_lost(self) -> list[int]:
        """Holders that are gone."""

    @abstractmethod
    def close(self) -> None:
        """Let go of all holders."""


class Crew:
    """All holders of a fit; see this module's docstring."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shares = engine.shares
        # By holder, and in each by subject: calls in their order.
        self._journal: list[dict[str, list[Order]]] = [{} for _ in self.shares]

    def map(
        self, method: str, *arguments: Any, subject: str = "", fresh: bool = False, last: int = 0
    ) -> list[Any]:
        """Results of a call on all holders, in the order of the rows.

        Parameters
        ----------
        method : str
            Of :class:`.holder.Holder`.
        *arguments
            What it is given.
        subject : str
            What of a holder's state the call changes; nothing by default.
        fresh : bool
            Whether all calls about that before it do not matter any more.
        last : int
            How many of the calls of this method matter, the last ones; all by default.
        """
        orders = [Order(number, method, arguments) for number in range(len(self.shares))]
        return self.call(orders, subject=subject, fresh=fresh, last=last)

    def one(self, number: int, method: str, *arguments: Any) -> list[Any]:
        """Result of a call on one holder, in a list."""
        return self.call([Order(number, method, arguments)])

    def relay(self, method: str, baton: Any, *arguments: Any, subject: str = "") -> Any:
        """Hand a baton from holder to holder: each is given what the one before has returned."""
        for number in range(len(self.shares)):
            order = Order(number, method, (baton, *arguments))
            [baton] = self.call([order], subject=subject)
        return baton

    def together(self, method: str, arguments: tuple[Any, ...], function: Any, *more: Any) -> Any:
        """``function(results, *more)`` of what all holders give, run where one of them is."""
        orders = [Order(number, method, arguments) for number in range(len(self.shares))]
        while (found := self.engine.together(orders, function, *more)) is LOST:
            self._restore(self.engine.find_lost())
        return found

    def call(
        self, orders: Sequence[Order], *, subject: str = "", fresh: bool = False, last: int = 0
    ) -> list[Any]:
        """Results of calls on some holders; see :meth:`map`."""
        results = self.engine.call(orders)
        while lost := [place for place, found in enumerate(results) if found is LOST]:
            self._restore([orders[place].number for place in lost])
            again = self.engine.call([orders[place] for place in lost])
            for place, found in zip(lost, again, strict=True):
                results[place] = found
        if subject:
            for order in orders:
                self._note(order, subject, fresh, last)
        return results

    def _note(self, order: Order, subject: str, fresh: bool, last: int) -> None:
        journal = self._journal[order.number]
        noted = [] if fresh else journal.get(subject, [])
        noted.append(order)
        if last:
            same = [place for place, each in enumerate(noted) if each.method == order.method]
            gone = set(same[:-last])
            noted = [each for place, each in enumerate(noted) if place not in gone]
        journal[subject] = noted

    def _restore(self, numbers: list[int]) -> None:
        """Bring lost holders to where they were."""
        while numbers:
            self.engine.restore(numbers)
            lost_again = []
            for number in numbers:
                for noted in self._journal[number].values():
                    if any(self.engine.call([order])[0] is LOST for order in noted):
                        lost_again.append(number)
                        break
            numbers = lost_again

    def forget(self, subject: str) -> None:
        """Let go of what belongs to a subject."""
        self.map("forget", subject)
        for journal in self._journal:
            journal.pop(subject, None)

    def take(self, rows: Array, method: str, *arguments: Any) -> list[tuple[Array, Any]]:
        """What the holders of numbered rows give for them: places in `rows`, and what is there."""
        stops = np.array([share.stop for share in self.shares])
        owners = np.searchsorted(stops, rows, side="right")
        places = [np.flatnonzero(owners == number) for number in range(len(stops))]
        asked = [number for number, here in enumerate(places) if len(here)]
        orders = [
            Order(number, method, (rows[places[number]] - self.shares[number].first, *arguments))
            for number in asked
        ]
        found = self.call(orders)
        return [(places[number], result) for number, result in zip(asked, found, strict=True)]
