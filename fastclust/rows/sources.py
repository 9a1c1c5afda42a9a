"""Rows that do not lie in memory: one view of files, tables, array-likes and iterators.

A :class:`Source` knows its shape and dtype and gives its rows as often as asked, in blocks of the
size that the reader wants.  Block borders are therefore those of the computation and not those of
the file, which is what makes results the same bits as for an array.  Blocks are read ahead by one
thread while kernels run; at no time are there more than three of them.

What can be used as an array where it lies (arrays, memory maps, ``.npy`` files of C-contiguous
floats) is: :func:`open_rows` then gives an array and no source.  Frames and tables in memory are no
sources either: whatever their size, scikit-learn's checks make an array of them.

Paths are in :mod:`fastclust.rows.files`, tables of columns in :mod:`fastclust.rows.columns`.
"""

from __future__ import annotations

import copy
import functools
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar, cast

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

from ..kernels.tiles import Array

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
PIECE_ELEMENTS = 1 << 20  # of rows that are read at once where nothing else says how many
NEAR_BYTES = 1 << 16  # what lies no farther apart is read at once
AHEAD = 1  # blocks that wait, beside the one being read and the one being used
Method = TypeVar("Method", bound=Callable[..., Any])


class Source:
    """Rows by blocks, as often as asked.

    Subclasses say what there is and give :meth:`pieces`; those that can reach any row directly
    override :meth:`_holding`, too.

    Attributes
    ----------
    name : str
        What error messages call it.
    shape : tuple of int
        Rows and columns.
    dtype : numpy.dtype
        float32 where all is float32, otherwise float64.
    """

    name: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    _stored: np.dtype[Any] | None = None  # what `dtype` was before :meth:`astype`

    def __len__(self) -> int:
        return self.shape[0]

    def astype(self, dtype: Any) -> Self:
        """The same source, whose rows are converted to `dtype` as they are read."""
        other = copy.copy(self)
        other._stored, other.dtype = self._own_dtype, np.dtype(dtype)
        return other

    @property
    def _own_dtype(self) -> np.dtype[Any]:
        """float32 where all that is stored is, otherwise float64."""
        return self.dtype if self._stored is None else self._stored

    def head(self) -> Any:
        """The first row, with the names of the columns where there are names."""
        return self.take(np.zeros(1, np.int64))

    def pieces(self) -> Iterator[Any]:
        """All rows in order, in two-dimensional pieces of any number of rows."""
        raise NotImplementedError

    def ranges(self, borders: Sequence[tuple[int, int]]) -> list[Array]:
        """The rows of several ranges ``(start, stop)``."""
        rows = self.take(np.concatenate([np.arange(start, stop) for start, stop in borders]))
        return np.split(rows, np.cumsum([stop - start for start, stop in borders])[:-1])

    def take(self, rows: Array) -> Array:
        """The given rows, in the order given; what holds them is read once."""
        order = np.argsort(rows, kind="stable")
        listed = rows[order]
        result = np.empty((len(rows), self.shape[1]), self.dtype)
        done = 0
        try:
            for first, piece in self._holding(listed):
                here = slice(done, int(np.searchsorted(listed, first + len(piece))))
                result[order[here]] = piece[listed[here] - first]
                done = here.stop
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(
                f"{self.name} could not be read: {type(error).__name__}: {error}"
            ) from error
        return result

    def holding(self, start: int, stop: int) -> Iterator[tuple[int, Array]]:
        """Pieces that hold rows `start` to `stop`, each with the number of its first row.

        Raises
        ------
        ValueError
            Where they cannot be read.
        """
        try:
            yield from self._holding(np.arange(start, stop))
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(
                f"{self.name} could not be read: {type(error).__name__}: {error}"
            ) from error

    def _holding(self, listed: Array) -> Iterator[tuple[int, Array]]:
        """Pieces that hold all listed rows (in ascending order), each with its first row's number.

        Here in one pass over the rows, up to the last of them.
        """
        first = 0
        for block in self._blocks(max(1, PIECE_ELEMENTS // self.shape[1])):
            yield first, block
            first += len(block)
            if first > listed[-1]:
                break

    def blocks(self, size: int) -> Iterator[Array]:
        """All rows in C-contiguous blocks of `size` rows, the last one shorter, read ahead.

        Raises
        ------
        ValueError
            Where a block cannot be read, is not finite, or is not what the source has said it
            is; the message names the block.
        """
        return _read_ahead(self._blocks(size))

    def _blocks(self, size: int) -> Iterator[Array]:
        """As :meth:`blocks`, by the thread that asks."""
        n_samples, n_features = self.shape
        pieces = self._numbered()
        piece, number, used, start = np.empty((0, n_features), self.dtype), 0, 0, 0
        while start < n_samples:
            wanted = min(size, n_samples - start)
            block = np.empty((wanted, n_features), self.dtype)
            filled = 0
            while filled < wanted:
                if used == len(piece):
                    number, piece = next(pieces, (-1, piece))
                    used = 0
                    if number < 0:
                        raise ValueError(
                            f"{self.name} must give the same rows every time: it has ended after "
                            f"{start + filled} of {n_samples} rows, in block {start // size}."
                        )
                count = min(wanted - filled, len(piece) - used)
                block[filled : filled + count] = piece[used : used + count]
                filled, used = filled + count, used + count
            yield self._finite(block, start // size, start)
            start += wanted
        if used < len(piece) or any(len(more) for _, more in pieces):
            raise ValueError(
                f"{self.name} must give the same rows every time: it has more than the "
                f"{n_samples} rows of before."
            )

    def _numbered(self) -> Iterator[tuple[int, Array]]:
        """Pieces with their numbers, checked."""
        pieces = iter(self.pieces())
        number = 0
        while True:
            try:
                piece = as_array(next(pieces))
            except StopIteration:
                return
            except Exception as error:
                raise ValueError(
                    f"{self.name} could not be read: block {number} raised "
                    f"{type(error).__name__}: {error}"
                ) from error
            yield number, self._checked(piece, number)
            number += 1

    def _checked(self, array: Array, number: int) -> Array:
        if array.ndim != 2 or array.shape[1] != self.shape[1]:
            raise ValueError(
                f"Every block of {self.name} must have {self.shape[1]} columns, but block "
                f"{number} has shape {array.shape}."
            )
        if float_dtype(array.dtype) != self._own_dtype:
            raise ValueError(
                f"Every block of {self.name} must have the dtype of the first, "
                f"{self._own_dtype.name}, but block {number} has {array.dtype}."
            )
        return array

    def _finite(self, block: Array, number: int, start: int) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(block.sum())
        if suspicious and not np.isfinite(block).all():
            what = "NaN" if np.isnan(block).any() else "infinity"
            row = start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise ValueError(f"Input X contains {what}: {self._place(row)}, block {number}.")
        return block

    def _place(self, row: int) -> str:
        """Where a row that is not finite is."""
        return f"{self.name} has it in row {row}"


class DistantWeights:
    """Weights of rows that are elsewhere, and stay there.

    Attributes
    ----------
    dtype : numpy.dtype
        That of the rows.
    shape : tuple of int
        Number of rows.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def least(self) -> float:
        """The smallest."""
        raise NotImplementedError

    def most(self) -> float:
        """The largest; not a number where one is not."""
        raise NotImplementedError

    def n_positive(self) -> int:
        """How many are above zero."""
        raise NotImplementedError

    def sum(self, dtype: Any = None) -> Any:
        """As NumPy's, to the bit."""
        raise NotImplementedError

    def astype(self, dtype: Any) -> Any:
        """The same in another dtype."""
        raise NotImplementedError

    def identity(self) -> str:
        """What tells them from others."""
        raise NotImplementedError


class ArrayLike(Source):
    """Anything with a shape, a dtype and slices of rows: HDF5 and Zarr arrays, and memory maps.

    Parameters
    ----------
    data : array-like
        Two-dimensional.
    name : str
        What error messages call it.
    """

    def __init__(self, data: Any, name: str) -> None:
        self.data, self.name = data, name
        self.shape = checked_shape(data.shape, name)
        self.dtype = float_dtype(np.dtype(data.dtype), name)

    def pieces(self) -> Iterator[Any]:
        step = max(1, PIECE_ELEMENTS // self.shape[1])
        for start in range(0, self.shape[0], step):
            yield self._read(start, min(start + step, self.shape[0]))

    def _holding(self, listed: Array) -> Iterator[tuple[int, Array]]:
        n_features = self.shape[1]
        step = max(1, PIECE_ELEMENTS // n_features)
        near = max(1, NEAR_BYTES // (n_features * self.dtype.itemsize))
        apart = (np.diff(listed) > near) | (np.diff(listed // step) > 0)
        for group in np.split(listed, np.flatnonzero(apart) + 1):
            yield int(group[0]), self._read(int(group[0]), int(group[-1]) + 1)

    def _read(self, start: int, stop: int) -> Any:
        piece = np.asarray(self.data[start:stop])
        if len(piece) != stop - start:
            raise EOFError(f"{len(piece)} rows instead of {stop - start}")
        return piece


class Listed(Source):
    """Some rows of an array, which are gathered block by block.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        All rows; they must be finite.
    rows : ndarray of int
        Which of them, in their order.
    """

    name = "X"

    def __init__(self, X: Array, rows: Array) -> None:
        self.X, self.rows = X, rows
        self.shape = (len(rows), X.shape[1])
        self.dtype = X.dtype

    def take(self, rows: Array) -> Array:
        return self.X.take(self.rows[rows], axis=0)

    def _blocks(self, size: int) -> Iterator[Array]:
        for start in range(0, len(self.rows), size):
            yield self.X.take(self.rows[start : start + size], axis=0)


class Blocks(Source):
    """A callable that returns a fresh iterator of blocks each time it is called.

    The first pass counts the rows.

    Parameters
    ----------
    make : callable
        Takes no arguments; the iterator gives two-dimensional arrays or frames of one dtype.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.name = f"the iterator of {getattr(make, '__name__', type(make).__name__)!r}"
        first = next(iter(self._fresh()), None)
        if first is None:
            raise ValueError(f"{self.name} must give at least one block, but it gives none.")
        first = _unarrowed(first)
        array = as_array(first)
        self._names = first.head(1) if _is_frame(first) else None
        self.shape = checked_shape((1, *array.shape[1:]), self.name)
        self.dtype = float_dtype(array.dtype, self.name)
        n_samples = sum(len(piece) for _, piece in self._numbered())
        self.shape = checked_shape((n_samples, self.shape[1]), self.name)

    def head(self) -> Any:
        return super().head() if self._names is None else self._names

    def pieces(self) -> Iterator[Any]:
        return iter(self._fresh())

    def _fresh(self) -> Any:
        try:
            return iter(self.make())
        except Exception as error:
            raise ValueError(
                f"{self.name} could not be read: making it raised {type(error).__name__}: {error}"
            ) from error


def open_rows(X: Any) -> Any:
    """`X` itself where it is or becomes an array, a :class:`Source` where it must be read.

    Parameters
    ----------
    X : array-like, path or list of paths, frame, Arrow dataset, HDF5 or Zarr array, or callable
        See :doc:`/guide/out_of_core`.

    Returns
    -------
    array-like or Source
        A ``.npy`` file of C-contiguous floats becomes a read-only memory map.

    Raises
    ------
    ValueError, TypeError
        Where a file cannot be read or is of no known kind.
    FileNotFoundError
        Where there is no such file; it is a ValueError, too.
    """
    if isinstance(X, Source | np.ndarray) or issparse(X):
        return X
    if isinstance(X, str | os.PathLike):
        from .files import open_path

        return open_path(X)
    if isinstance(X, list | tuple):
        if X and all(isinstance(each, str | os.PathLike) for each in X):
            from .files import open_files

            return open_files(X)
        return X
    _refuse_what_holds_no_rows(X)
    if callable(X) and not hasattr(X, "shape"):
        return Blocks(X)
    module = type(X).__module__.split(".")[0]
    if module in ("pyarrow", "polars"):
        from .columns import open_columns

        return open_columns(X)
    sliceable = all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__"))
    if sliceable and module in ("h5py", "zarr", "tables", "netCDF4", "tensorstore"):
        return ArrayLike(X, f"the {type(X).__name__}")
    if sliceable and not hasattr(X, "__array__") and not hasattr(X, "nnz"):
        return ArrayLike(X, f"the {type(X).__name__}")
    return X


def _refuse_what_holds_no_rows(X: Any) -> None:
    """Say so of what resembles a source but is none."""
    kind = type(X)
    module = kind.__module__.split(".")[0]
    if isinstance(X, bytes | bytearray):
        raise TypeError(f"X must be rows or a path as str or os.PathLike, not {X[:40]!r} of bytes.")
    if hasattr(X, "read") and hasattr(X, "close") and module in ("_io", "tempfile", "gzip"):
        raise TypeError(
            f"X must be rows or the path of a file, not an open file ({kind.__name__})."
        )
    if hasattr(X, "__next__"):
        raise TypeError(
            f"X must be rows or a callable that returns a fresh iterator each time it is called, "
            f"not a {kind.__name__}, which can be gone through only once: partial_fit, predict, "
            "transform, predict_proba and score_samples take that, and nothing else does."
        )
    if module == "h5py" and not X:
        raise ValueError("X must be a dataset of an open HDF5 file, but the file is closed.")
    if module in ("h5py", "zarr") and kind.__name__ in ("Group", "File"):
        raise TypeError(
            f"X must be an array of the {module} {kind.__name__.lower()}, such as X['name'], not "
            f"the {kind.__name__.lower()}, which holds {sorted(X)}."
        )


def once_by_blocks(method: Method) -> Method:
    """A method of `X` that takes an iterator of blocks as well, which is gone through once.

    It is called for each block as it comes; arrays that it returns are joined.  Whatever else can
    be gone through is left to the method.
    """

    @functools.wraps(method)
    def by_blocks(self: Any, X: Any, *args: Any, **options: Any) -> Any:
        if type(X) is np.ndarray or not hasattr(X, "__next__") or hasattr(X, "read"):
            return method(self, X, *args, **options)
        if options.get("sample_weight", args[1] if len(args) > 1 else None) is not None:
            raise ValueError(
                f"sample_weight must be None where X is a {type(X).__name__}, whose number "
                "of rows is not known: call with one block after the other."
            )
        results: list[Any] = []
        while True:
            try:
                block = next(X)
            except StopIteration:
                break
            except Exception as error:
                raise _of_block(
                    X, len(results), f"raised {type(error).__name__}: {error}"
                ) from error
            try:
                results.append(method(self, block))
            except ValueError as error:
                raise _of_block(X, len(results), f"was refused: {error}") from error
        if not results:
            raise ValueError(
                f"X must give at least one block, but the {type(X).__name__} gave none."
            )
        return np.concatenate(results) if isinstance(results[0], np.ndarray) else results[-1]

    return cast(Method, by_blocks)


def _of_block(X: Any, number: int, what: str) -> ValueError:
    return ValueError(f"Block {number} of the {type(X).__name__} {what}")


def _is_frame(block: Any) -> bool:
    return type(block).__module__.split(".")[0] in ("pandas", "polars")


def _unarrowed(block: Any) -> Any:
    """A block, of Arrow's columns the frame that pandas makes of it."""
    return block.to_pandas() if type(block).__module__.split(".")[0] == "pyarrow" else block


def as_array(block: Any) -> Array:
    """A block as an array: of a frame, what an estimator makes of it."""
    block = _unarrowed(block)
    if not _is_frame(block):
        return np.asarray(block)
    array: Array = check_array(
        block, dtype=[np.float64, np.float32], ensure_all_finite=False, ensure_min_samples=0
    )
    return array


def checked_shape(shape: Any, name: str) -> tuple[int, int]:
    if len(shape) != 2:
        raise ValueError(
            f"{name} must have two dimensions, rows and columns, but its shape is {tuple(shape)}."
        )
    if min(shape) < 1:
        raise ValueError(
            f"{name} must hold at least one row and one column, but its shape is {tuple(shape)}."
        )
    return int(shape[0]), int(shape[1])


def float_dtype(dtype: np.dtype[Any], name: str = "the source") -> np.dtype[Any]:
    """The dtype in which numbers of `dtype` are computed with."""
    if dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, but its dtype is {dtype}.")
    return np.dtype(np.float32) if dtype == np.float32 else np.dtype(np.float64)


def _read_ahead(blocks: Iterator[Array]) -> Iterator[Array]:
    """Blocks of an iterator that a thread of its own runs, at most `AHEAD` of them waiting."""
    waiting: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def put(item: tuple[Any, BaseException | None]) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for block in blocks:
                if not put((block, None)):
                    return
            put((None, None))
        except BaseException as error:  # carried to the reader
            put((None, error))

    thread = threading.Thread(target=read, name="fastclust-reader", daemon=True)
    thread.start()
    process = os.getpid()
    try:
        while True:
            if os.getpid() != process:  # where nobody reads, and the queue may be locked
                raise RuntimeError(
                    "A fit that reads its rows cannot go on in a child that was forked in its "
                    "midst: fit anew there."
                )
            block, error = waiting.get()
            if error is not None:
                raise error
            if block is None:
                return
            yield block
            del block
    finally:
        stopped.set()
        thread.join()
