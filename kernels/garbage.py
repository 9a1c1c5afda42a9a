"""Python's garbage collector, while objects are made that stay for good."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Look for no garbage for a while; afterwards the collector is as it was.

    Imports and the loading of kernels make a hundred thousand objects and next to no garbage. To
    look for it among them and all others, again and again while they come, takes longer than to
    make them.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
