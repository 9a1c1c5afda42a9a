"""How kernels are compiled: lazily, without the GIL, and with a cache that cannot go stale.

Numba's own cache looks at the file of the function alone.  A kernel here is mostly made of code
from other files (tiles, vector instructions), so an upgrade that changes those would leave the old
machine code in use.  :class:`KernelCache` therefore stamps every entry with a digest of all files
that the kernel is made of (:mod:`.stamps`), names each entry after its own key (two processes that
fill one cache can not give one file two meanings) and treats a cache that cannot be read or
written as a cache that is not there: a fit never fails because of it.

An entry is machine code, and whoever can write it runs code as whoever reads it.  It is therefore
only used where nobody but this user and root can have written it (:mod:`.files`), and begins with
a digest of the rest, without which one bit that has flipped on a disk would end the process.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from numba import config, njit
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from .files import Distrusted, check_folder, read_trusted, replace_file
from .garbage import collector_paused
from .launching import LaunchingCompiler, is_launched
from .stamps import source_stamp
from .stored import StoredKernel

Function = TypeVar("Function", bound=Callable[..., Any])

# For sums over a row or a tile: lets LLVM reorder the additions and so vectorise them.  Never for
# whole kernels, where it would also turn (x - mean) - center into x - (mean + center) and lose
# what the first subtraction is for; and never `nnan` or `ninf`: the score of a padding center is
# +inf and must compare as IEEE says.
VECTOR_SUM = {"reassoc", "contract", "nsz"}


# fastmath is switched off explicitly: a function that says nothing takes over what its caller has.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}


DIGEST_SIZE = hashlib.sha256().digest_size


class _KeyedFiles:
    """Cache files named after stamp and key; no index file, so no two writers ever disagree."""

    def __init__(self, folder: str, base: str, stamp: str) -> None:
        self._folder = Path(folder)
        self._base = base
        self._stamp = stamp

    def _path(self, key: object) -> Path:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:20]
        return self._folder / f"{self._base}.{self._stamp[:12]}.{digest}.nbc"

    def load(self, key: object) -> Any:
        try:
            content = memoryview(read_trusted(self._path(key)))
        except FileNotFoundError:
            return None
        digest, rest = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
        if hashlib.sha256(rest).digest() != digest:
            raise ValueError("an entry is damaged")
        stamp, stored_key, data = pickle.loads(rest)
        return data if (stamp, stored_key) == (self._stamp, repr(key)) else None

    def save(self, key: object, data: Any) -> None:
        check_folder(self._folder)
        path = self._path(key)
        rest = dumps((self._stamp, repr(key), data))
        digest = hashlib.sha256(rest).digest()
        # Others may read it, as they may read Numba's; a wide umask does not let them write it.
        replace_file(path, (digest, rest), suffix=".tmp", mode=0o644)
        self._remove_stale(path)

    def _remove_stale(self, current: Path) -> None:
        for other in self._folder.glob(f"{self._base}.*.nbc"):
            if f".{self._stamp[:12]}." not in other.name and other != current:
                with contextlib.suppress(OSError):  # another user's, in a folder open to all
                    other.unlink()

    def flush(self) -> None:
        for path in self._folder.glob(f"{self._base}.*.nbc"):
            path.unlink(missing_ok=True)


def _trusted(locator: Any) -> Any:
    """One of Numba's ways to find a directory, if others may not write to what it finds."""

    class Trusted(locator):
        @classmethod
        def from_function(cls, py_func: Any, py_file: Any) -> Any:
            found = super().from_function(py_func, py_file)
            try:
                if found is not None:
                    check_folder(Path(found.get_cache_path()))
            except FileNotFoundError:  # that of a zipped package, which is made later
                return found
            except Distrusted as reason:
                if config.CACHE_DIR:  # which was asked for; otherwise the next way is as good
                    _warn_distrusted(reason)
                return None
            return found

    return Trusted


class _TrustedKernel(StoredKernel):
    _locator_classes: ClassVar = [_trusted(each) for each in StoredKernel._locator_classes]


class KernelCache(FunctionCache):
    """Numba's function cache with the stamp, the file names and the caution described above."""

    _impl_class = _TrustedKernel

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        self._cache_file = _KeyedFiles(
            self.cache_path, self._impl.filename_base, source_stamp(py_func)
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            # Numba's own method would first import the implementation of all that Numba can
            # compile, which takes longer than everything else here; a compilation does so, too.
            rtsys.initialize(target_context)
            with collector_paused():
                found = self._load_overload(sig, target_context)
        except Distrusted as reason:
            _warn_distrusted(reason)
            return None
        except Exception as error:  # a truncated or foreign file: compile again
            _warn_cache("read", error)
            return None
        if found is None:
            _tell_of_compilation()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Distrusted as reason:
            _warn_distrusted(reason)
        except Exception as error:  # a full disk, or a Numba that takes its results apart otherwise
            _warn_cache("write", error)


@functools.cache
def _tell_of_compilation() -> None:
    """Say once why nothing seems to happen for seconds."""
    logging.getLogger("fastclust").info(
        "compiling kernels, which takes seconds and is done once: they are kept in the cache "
        "(`fastclust warm` compiles all of them)"
    )


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=4)


def _warn_cache(action: str, error: Exception) -> None:
    _warn_once(
        f"fastclust could not {action} its cache of compiled kernels ({type(error).__name__}); "
        "they are compiled again in this process. Set NUMBA_CACHE_DIR to a writable directory."
    )


def _warn_distrusted(reason: Distrusted) -> None:
    _warn_once(
        f"fastclust does not use a cache of compiled kernels, because {reason}. "
        "Set NUMBA_CACHE_DIR to a directory that is yours alone."
    )


def kernel(function: Function) -> Function:
    """Compile `function` as a serial kernel that releases the GIL, with a cache that stays true.

    One that takes tasks (its first parameters are ``counter, gate, n_tasks``) can launch itself.
    """
    if config.DISABLE_JIT:
        return function
    launched = {"pipeline_class": LaunchingCompiler} if is_launched(function) else {}
    dispatcher = njit(**OPTIONS, **launched)(function)
    try:
        dispatcher._cache = KernelCache(function)
    except RuntimeError:
        # Neither the package, NUMBA_CACHE_DIR nor the user's cache directory can be written to, or
        # all of them by others, too.
        _warn_cache("write", OSError("no writable cache directory"))
    return dispatcher


def helper(function: Function) -> Function:
    """Compile `function` for use by kernels; its roundings happen as written.

    Not for the innermost loops: what happens for every tile stands in the kernel itself, where
    Numba counts no references.
    """
    if config.DISABLE_JIT:
        return function
    return njit(**OPTIONS)(function)


def inlined(function: Function) -> Function:
    """Make `function` part of its callers before types are inferred.

    A function compiled by itself is optimised again at every level of its callers, which is where
    most of a compilation's time would go; but each inlined call counts references to its arrays.
    """
    if config.DISABLE_JIT:
        return function
    return njit(**OPTIONS, inline="always")(function)


def vector_least(function: Function) -> Function:
    """Compile a small function whose result is the least of some numbers, compared as vectors.

    Where a number is NaN, the result is any number.
    """
    if config.DISABLE_JIT:
        return function
    return njit(**{**OPTIONS, "fastmath": {"nnan", "nsz"}})(function)


def vector_sum(function: Function) -> Function:
    """Compile a small function whose result is a sum, with additions in the order that is fastest.

    The order is fixed when it is compiled: the same input gives the same bits.
    """
    if config.DISABLE_JIT:
        return function
    return njit(**{**OPTIONS, "fastmath": VECTOR_SUM})(function)
