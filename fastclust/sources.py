"""Rows that do not lie in memory: one view of files, tables, array-likes and iterators.

A :class:`Source` knows its shape and dtype and gives its rows as often as asked, in blocks of the
size that the reader wants.  Block borders are therefore those of the computation and not those of
the file, which is what makes results the same bits as for an array.  Blocks are read ahead by one
thread while kernels run; at no time are there more than three of them.

What can be used as an array where it lies (arrays, memory maps, ``.npy`` files of C-contiguous
floats) is: :func:`open_rows` then gives an array and no source.  Frames in memory are no sources
either: whatever their size, scikit-learn's checks make an array of them.
"""

from __future__ import annotations

import copy
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

from .kernels.tiles import Array

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
PIECE_ELEMENTS = 1 << 20  # of rows that are read at once where nothing else says how many
NEAR_BYTES = 1 << 16  # what lies no farther apart is read at once
AHEAD = 1  # blocks that wait, beside the one being read and the one being used
_PATHS = "a path must end in '.npy', '.parquet' or '.pq'"


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
                piece = _as_array(next(pieces))
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
        if _float_dtype(array.dtype) != self._own_dtype:
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
            raise ValueError(
                f"Input X contains {what}: {self.name} has it in row {row}, block {number}."
            )
        return block


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
        self.shape = _checked_shape(data.shape, name)
        self.dtype = _float_dtype(np.dtype(data.dtype), name)

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


class Parquet(Source):
    """A Parquet file, read by row groups.

    Columns, their names and their dtype are those of the frame that pandas makes of the file: an
    index that pandas has stored is no column.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ImportError
        Without pyarrow or pandas.
    TypeError
        Where a column holds no numbers.
    """

    def __init__(self, path: Path) -> None:
        try:
            import pandas  # noqa: F401  (pyarrow imports it when it is needed)
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise ImportError(
                'reading Parquet files needs pyarrow: pip install "fastclust[parquet]"'
            ) from error
        self.name = f"the file {path.name!r}"
        self.path = path
        try:
            self._file = pyarrow.parquet.ParquetFile(path)
            schema = self._file.schema_arrow
            columns, self._selected = _columns(schema)
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise ValueError(f"{self.name} could not be read as Parquet: {error}") from error
        for field in columns:
            if not _is_number(field.type):
                raise TypeError(
                    f"Every column of {self.name} must hold numbers, but {field.name!r} is of type "
                    f"{field.type}."
                )
        meta = self._file.metadata
        names = schema.names
        if len(set(names)) < len(names):
            twice = next(each for each in names if names.count(each) > 1)
            raise ValueError(
                f"Every column of {self.name} must have a name of its own, but {twice!r} is there "
                f"{names.count(twice)} times."
            )
        self.shape = _checked_shape((meta.num_rows, len(columns)), self.name)
        frame = schema.empty_table().to_pandas()
        self.names = frame.columns
        self.dtype = _as_array(frame).dtype
        sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def head(self) -> Any:
        import pandas

        return pandas.DataFrame(super().head(), columns=self.names)

    def pieces(self) -> Iterator[Any]:
        for number in range(len(self._starts) - 1):
            yield self._group(number)

    def _holding(self, listed: Array) -> Iterator[tuple[int, Array]]:
        for number in np.unique(np.searchsorted(self._starts, listed, side="right") - 1).tolist():
            yield int(self._starts[number]), self._group(number)

    def _group(self, number: int) -> Array:
        table = self._file.read_row_group(number, columns=self._selected)
        columns = table.columns if self._selected is None else map(table.column, self._selected)
        group = np.empty((table.num_rows, self.shape[1]), self._own_dtype)
        for place, column in enumerate(columns):
            group[:, place] = _numbers(column)  # nulls become NaN, which is refused later
        return group


def _columns(schema: Any) -> tuple[list[Any], list[str] | None]:
    """Fields that pandas makes columns of, and their names where they are not all."""
    index = [
        name
        for name in (schema.pandas_metadata or {}).get("index_columns", ())
        if isinstance(name, str)
    ]  # others are ranges, which are not stored
    stored = {schema.get_field_index(name) for name in index}
    fields = [field for place, field in enumerate(schema) if place not in stored]
    return fields, None if len(fields) == len(schema) else [field.name for field in fields]


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    tests = (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
    return any(test(kind) for test in tests)


def _numbers(column: Any) -> Array:
    """A column as pandas and then NumPy convert it."""
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pyarrow.types.is_boolean(column.type):
        column = column.cast(pyarrow.uint8())
    if pyarrow.types.is_decimal(column.type):
        return np.array(column.to_pylist(), np.float64)  # Arrow's conversion rounds otherwise
    numbers: Array = column.to_numpy()
    return numbers


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
        array = _as_array(first)
        self._names = first.head(1) if _is_frame(first) else None
        self.shape = _checked_shape((1, *array.shape[1:]), self.name)
        self.dtype = _float_dtype(array.dtype, self.name)
        n_samples = sum(len(piece) for _, piece in self._numbered())
        self.shape = _checked_shape((n_samples, self.shape[1]), self.name)

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
    X : array-like, path, DataFrame, HDF5 or Zarr array, or callable
        See :mod:`fastclust.sources`.

    Returns
    -------
    array-like or Source
        A ``.npy`` file of C-contiguous floats becomes a read-only memory map.

    Raises
    ------
    ValueError, TypeError
        Where a file cannot be read or is of no known kind.
    """
    if isinstance(X, Source | np.ndarray) or issparse(X):
        return X
    if isinstance(X, list | tuple):
        if X and all(isinstance(each, str | os.PathLike) for each in X):
            raise ValueError(
                f"X must be rows or the path of one file of rows, not a {type(X).__name__} of "
                f"{len(X)} paths or texts."
            )
        return X
    if isinstance(X, str | os.PathLike):
        return _open_path(Path(X))
    _refuse_what_holds_no_rows(X)
    if callable(X) and not hasattr(X, "shape"):
        return Blocks(X)
    module = type(X).__module__.split(".")[0]
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
    if hasattr(X, "__next__"):
        raise TypeError(
            f"X must be rows or a callable that returns a fresh iterator each time it is called, "
            f"not a {kind.__name__}, which can be gone through only once."
        )
    if module == "h5py" and not X:
        raise ValueError("X must be a dataset of an open HDF5 file, but the file is closed.")
    if module in ("h5py", "zarr") and kind.__name__ in ("Group", "File"):
        raise TypeError(
            f"X must be an array of the {module} {kind.__name__.lower()}, such as X['name'], not "
            f"the {kind.__name__.lower()}, which holds {sorted(X)}."
        )


def _open_path(path: Path) -> Any:
    name = f"the file {path.name!r}"
    if path.suffix in (".parquet", ".pq"):
        return Parquet(path)
    if path.suffix != ".npy":
        raise ValueError(
            f"X must be rows or a path to rows, and {_PATHS}, but it is {str(path)!r}."
        )
    try:
        array = np.load(path, mmap_mode="r")
    except Exception as error:  # whatever NumPy stumbles over in a file that is damaged
        foreign = path.is_file() and not _has_magic(path)
        why = "it does not begin as a '.npy' file does" if foreign else error
        raise ValueError(f"{name} could not be read as rows: {why}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{name} must hold one array, but it is an archive of arrays ('.npz').")
    _checked_shape(array.shape, name)
    if array.dtype in FLOATS and array.flags.c_contiguous:
        return array
    return ArrayLike(array, name)


def _has_magic(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) == np.lib.format.MAGIC_PREFIX


def _is_frame(block: Any) -> bool:
    return type(block).__module__.split(".")[0] in ("pandas", "polars")


def _as_array(block: Any) -> Array:
    """A block as an array: of a frame, what an estimator makes of it."""
    if not _is_frame(block):
        return np.asarray(block)
    array: Array = check_array(
        block, dtype=[np.float64, np.float32], ensure_all_finite=False, ensure_min_samples=0
    )
    return array


def _checked_shape(shape: Any, name: str) -> tuple[int, int]:
    if len(shape) != 2:
        raise ValueError(
            f"{name} must have two dimensions, rows and columns, but its shape is {tuple(shape)}."
        )
    if min(shape) < 1:
        raise ValueError(
            f"{name} must hold at least one row and one column, but its shape is {tuple(shape)}."
        )
    return int(shape[0]), int(shape[1])


def _float_dtype(dtype: np.dtype[Any], name: str = "the source") -> np.dtype[Any]:
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
