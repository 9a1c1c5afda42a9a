"""Python's garbage collector, while objects are made that stay for good."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator

_pausing: set[int] = set()  # threads that have switched it off


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Look for no garbage for a while; afterwards the collector is as it was.

    Imports and the loading of kernels make a hundred thousand objects and next to no garbage. To
    look for it among them and all others, again and again while they come, takes longer than to
    make them.
    """
    collecting = gc.isenabled()
    if collecting:
        _pausing.add(threading.get_ident())
        gc.disable()
    try:
        yield
    finally:
        if collecting:
            _pausing.discard(threading.get_ident())
            gc.enable()


def _end_pauses_of_others() -> None:
    """In a forked child, where the threads that would end them are not there."""
    here = threading.get_ident()
    if _pausing - {here}:
        _pausing.clear()
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_pauses_of_others)
