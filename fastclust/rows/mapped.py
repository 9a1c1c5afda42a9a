"""Files that are mapped into memory and become shorter: an error instead of the end of the process.

A file that shrinks while it is mapped, or a disk that fails, makes the next read of a page that is
gone a SIGBUS, and that ends the process.  While :func:`survived` is entered, the page and all that
follow it in the map are replaced by zeros instead, what reads them goes on, and a ValueError that
names the file is raised as soon as Python has its turn (:func:`check`), at the latest when the
block ends.

Every public method of an estimator is such a block, since the estimator is :class:`Guarded`, and so
is every function that is :func:`surviving`: where no argument, parameter or result of a fit can be
mapped, which costs a look at each, nothing is entered.

Such a signal is not sent from outside: it strikes at a load instruction of the thread that reads
the rows, in a kernel or in NumPy, and never inside the interpreter or the allocator.  That is why
its handler may be written in Python.  A signal for any other address goes to whoever handled it
before.  Linux alone is known to be served: elsewhere nothing is installed.  (Windows does not let
a mapped file shrink.)
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import inspect
import mmap
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy import ndarray  # looked up in every call

Function = TypeVar("Function", bound=Callable[..., Any])

SUPPORTED = sys.platform == "linux" and sys.maxsize > 2**32
_FLAGS = 4  # SA_SIGINFO
_ADDRESS = 16  # of the address in a siginfo_t
_FIXED = 0x10  # MAP_FIXED


class _Action(ctypes.Structure):
    """``struct sigaction`` of the C libraries of Linux on 64 bits."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class _Map(NamedTuple):
    """A file where it is mapped: from address to address, and the place of the first in it."""

    start: int
    stop: int
    place: int
    name: str


class _Watch:
    """One block that is survived: by which thread, and what it has lost."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.lost: tuple[str, int] | None = None

    def check(self) -> None:
        """Raise where something is lost."""
        if self.lost is not None:
            name, place = self.lost
            raise ValueError(
                f"the file {name!r}, which is mapped, could not be read from byte {place} on: it "
                "has shrunk, or its disk has failed."
            )


_watches: list[_Watch] = []
# Taken once more by its own thread where the handler of another signal fits.
_lock = threading.RLock()
_before = _Action()


def _mapped_at(address: int) -> _Map | None:
    """The file that is mapped at `address`, if there is one."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            borders, _, place, _, inode, *path = line.split(maxsplit=5)
            start, stop = (int(border, 16) for border in borders.split("-"))
            if start <= address < stop and inode != "0":
                name = os.path.basename(path[0].strip()) if path else "?"
                return _Map(start, stop, int(place, 16), name.removesuffix(" (deleted)"))
    return None


def _on_bus_error(number: int, info: int, context: int) -> None:
    """The handler: put zeros in the place of what is gone, and remember it."""
    address = ctypes.c_size_t.from_address(info + _ADDRESS).value
    found = _mapped_at(address) if _watches else None
    page = address - address % mmap.PAGESIZE
    if found is None or not _zeros(page, found.stop):
        _c.sigaction(number, ctypes.byref(_before), None)  # the instruction is tried once more
        return
    own = [watch for watch in _watches if watch.thread == threading.get_ident()]
    for watch in own or list(_watches):  # a helper does not know for whom it works
        watch.lost = watch.lost or (found.name, found.place + page - found.start)


def _zeros(start: int, stop: int) -> bool:
    """Replace pages by empty ones; whether that was possible."""
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _FIXED
    return _c.mmap(start, stop - start, protection, flags, -1, 0) == start


if SUPPORTED:
    _c: Any = ctypes.CDLL(None, use_errno=True)
    _c.mmap.restype = ctypes.c_size_t
    _c.mmap.argtypes = [
        ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    ]  # fmt: skip
    _c.sigaction.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    _handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t)(_on_bus_error)
    _ours = _Action(ctypes.cast(_handler, ctypes.c_void_p), (ctypes.c_ulong * 16)(), _FLAGS, None)


# What holds no array, as an argument and as a parameter, where text is no path.
_NUMBERS = {type(None), bool, int, float}
_PLAIN = _NUMBERS | {str, np.random.RandomState}


def in_memory(X: Any) -> bool:
    """Whether `X` is a number, or an array whose data are surely not a file's."""
    while type(X) is ndarray:
        if X.base is None:
            return True
        X = X.base
    return type(X) in _NUMBERS


def _are_in_memory(arguments: Iterable[Any]) -> bool:
    """Whether no argument is mapped or may become so, as paths, frames, lists and callables may."""
    for X in arguments:  # noqa: SIM110 (a generator is slower)
        if not in_memory(X):
            return False
    return True


def _has_memory_alone(estimator: Any) -> bool:
    """Whether nothing that an estimator was given or has found can be mapped.

    Of what a fit has found only arrays are looked at: a model that was loaded as a map has its
    centers there, too.
    """
    for name, value in vars(estimator).items():
        kind = type(value)
        if kind in _PLAIN or (kind is ndarray and value.base is None):
            continue
        if isinstance(value, ndarray):
            if not in_memory(value):
                return False
        elif name[0] != "_" and name[-1] != "_":
            return False
    return True


@contextlib.contextmanager
def survived() -> Iterator[None]:
    """Raise a ValueError, at the end of the block or before, where a mapped file has lost rows.

    Arrays that show the lost part of the file show zeros from then on.

    Raises
    ------
    ValueError
        Names the file and the first byte that is gone.
    """
    if not SUPPORTED:
        yield
        return
    watch = _Watch()
    with _lock:
        if not _watches:
            _c.sigaction(signal.SIGBUS, ctypes.byref(_ours), ctypes.byref(_before))
        _watches.append(watch)
    try:
        yield
    finally:
        with _lock:
            _watches.remove(watch)
            _rest()
        watch.check()  # in the place of what zeros may have led to


def _rest() -> None:
    """Leave the signal to whoever handled it before, where no block is watched any more."""
    if not _watches:
        _c.sigaction(signal.SIGBUS, ctypes.byref(_before), None)


def _forget_others() -> None:
    """In a forked child the blocks of other threads never end."""
    global _lock
    _lock = threading.RLock()
    if _watches:
        _watches[:] = [watch for watch in _watches if watch.thread == threading.get_ident()]
        _rest()


if SUPPORTED:
    os.register_at_fork(after_in_child=_forget_others)


def surviving(function: Function) -> Function:
    """A function whose arguments are read as within :func:`survived`."""

    @functools.wraps(function)
    def guarded(*args: Any, **options: Any) -> Any:
        if _are_in_memory(args) and _are_in_memory(options.values()):
            return function(*args, **options)
        with survived():
            return function(*args, **options)

    return cast(Function, guarded)


def _surviving_method(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method by which arguments and estimator are read as within :func:`survived`."""

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **options: Any) -> Any:
        try:
            if (
                _are_in_memory(args)
                and _has_memory_alone(self)
                and (not options or _are_in_memory(options.values()))
            ):
                return method(self, *args, **options)
            with survived():
                return method(self, *args, **options)
        except TypeError as error:
            _name_class(error, method, self)
            raise

    guarded.survives = True  # type: ignore[attr-defined]
    return guarded


def _name_class(error: TypeError, method: Callable[..., Any], estimator: Any) -> None:
    """Let Python's complaint of arguments name the public class, and not one that it is built on.

    As in "GaussianMixture.fit() got an unexpected keyword argument 'callback'".
    """
    said, internal = str(error), f"{method.__qualname__}() "
    if said.startswith(internal):
        name = f"{type(estimator).__name__}.{method.__name__}() "
        error.args = (name + said.removeprefix(internal),)


class Guarded:
    """An estimator whose public methods all read what they read as within :func:`survived`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in dir(cls):
            if name.startswith(
                ("_", "get_", "set_")
            ):  # what gets and sets parameters reads no array
                continue
            member = inspect.getattr_static(cls, name)
            inner = getattr(
                member, "fn", None
            )  # of a method that scikit-learn's available_if hides
            if inspect.isfunction(member) and not hasattr(member, "survives"):
                setattr(cls, name, _surviving_method(member))
            elif inspect.isfunction(inner) and not hasattr(inner, "survives"):
                member.fn = _surviving_method(inner)


def check() -> None:
    """Raise the error of :func:`survived` now, where this thread's block has lost rows."""
    for watch in tuple(_watches):
        if watch.thread == threading.get_ident():
            watch.check()
