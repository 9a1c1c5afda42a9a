"""Locks that a fork must not catch another thread with: its child would wait for them for ever.

A forked child has the thread that forked and no other, but every lock as it was.  The locks of our
own that are held for moments are made anew in the child, where they are (:mod:`.parallel`,
:mod:`.garbage`, :mod:`fastclust.rows.mapped`).  What is listed here protects something that would
be left half done: Numba's compiler and LLVM while a kernel is compiled or loaded, NumPy's generator
of random numbers while it draws, the loader's list of libraries while it is read.  A fork waits
until it is done, as it does for the locks of `import` and `logging`.
"""

from __future__ import annotations

import contextlib
import os
import threading

import numpy as np
from llvmlite.binding import ffi
from numba.core.compiler_lock import global_compiler_lock

undivided = threading.RLock()  # to be held where a fork would come at a bad moment
_held = contextlib.ExitStack()  # what the thread that forks holds meanwhile


def _hold() -> None:
    """Take the locks, in the order in which a thread may come to hold several of them."""
    global _held
    stack = contextlib.ExitStack()
    stack.enter_context(undivided)
    stack.enter_context(global_compiler_lock)
    stack.enter_context(getattr(ffi.lib, "_lock", contextlib.nullcontext()))
    # Asked for now: the generator behind numpy.random can be exchanged.
    stack.enter_context(np.random.get_bit_generator().lock)  # type: ignore[attr-defined]
    _held = stack


def _release() -> None:
    """Let go, in the parent as in the child."""
    _held.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)
