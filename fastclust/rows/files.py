"""Paths of rows: a file, a member of an archive, all files of a folder or a pattern, a list.

Several files are one source.  Each is opened when it is read and closed a few files later, so that
thousands of them take no more of the process than a few.
"""

from __future__ import annotations

import functools
import glob
import struct
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels.tiles import Array
from .columns import Parquet
from .sources import FLOATS, PIECE_ELEMENTS, ArrayLike, Source, checked_shape, float_dtype

SUFFIXES = (".npy", ".npz", ".parquet", ".pq")
OPEN = 8  # files at a time
_PATHS = (
    "a path must end in '.npy', '.parquet' or '.pq', or be that of a '.npz' archive, of a folder "
    "or a pattern of such files"
)


class MissingFile(FileNotFoundError, ValueError):
    """There is no such file, folder or member."""


def open_path(path: Any) -> Any:
    """The rows of one file as an array or a source, those of a folder or a pattern as a source."""
    path = Path(path)
    if path.is_dir():
        return open_files(_in_folder(path))
    if glob.has_magic(str(path)) and not path.exists() and _archive_of(path) is None:
        found = [Path(each) for each in sorted(glob.glob(str(path), recursive=True))]
        found = [each for each in found if not each.is_dir()]
        if not found:
            raise MissingFile(f"X must be a pattern of files, but no file is like {str(path)!r}.")
        return open_files(found)
    return _open_file(path)


def open_files(paths: Sequence[Any]) -> Any:
    """The rows of files, one after the other; of one file alone, as :func:`open_path`."""
    files = [Path(path) for path in paths]
    for path in files:
        if path.is_dir():
            raise ValueError(
                f"A list of paths must be of files, but {str(path)!r} is a folder: give it alone, "
                "or its files."
            )
    return _open_file(files[0]) if len(files) == 1 else Joined(files)


def _in_folder(folder: Path) -> list[Path]:
    """The files of a folder, by name."""
    files = sorted(each for each in folder.iterdir() if not each.name.startswith((".", "_")))
    for path in files:
        if path.is_dir() or path.suffix not in SUFFIXES:
            what = "folder" if path.is_dir() else "file"
            raise ValueError(
                f"The folder {folder.name!r} must hold nothing but files of rows "
                f"({', '.join(SUFFIXES)}), but it holds the {what} {path.name!r}: give a pattern "
                f"as '{folder.name}/*.parquet', or, of folders of Parquet files, "
                f"pyarrow.dataset.dataset({folder.name!r})."
            )
    if not files:
        raise MissingFile(f"The folder {folder.name!r} must hold files of rows, but it holds none.")
    return files


def _open_file(path: Path) -> Any:
    name = f"the file {path.name!r}"
    archive = _archive_of(path)
    if archive is None and path.suffix not in SUFFIXES:
        raise ValueError(
            f"X must be rows or a path to rows, and {_PATHS}, but it is {str(path)!r}."
        )
    if not (archive or path).exists():
        missing = name if archive is None else f"the file {archive.name!r}"
        raise MissingFile(f"{missing} could not be read: there is no {str(archive or path)!r}.")
    if archive is not None:
        return _open_member(archive, path.relative_to(archive).as_posix())
    if path.suffix in (".parquet", ".pq"):
        return Parquet(path)
    try:
        array = np.load(path, mmap_mode="r")
    except Exception as error:  # whatever NumPy stumbles over in a file that is damaged
        foreign = path.is_file() and not _has_magic(path)
        why = "it does not begin as a '.npy' file does" if foreign else error
        raise ValueError(f"{name} could not be read as rows: {why}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{name} must hold one array, but it is an archive of arrays ('.npz').")
    checked_shape(array.shape, name)
    if array.dtype in FLOATS and array.flags.c_contiguous:
        return array
    return ArrayLike(array, name)


def _has_magic(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) == np.lib.format.MAGIC_PREFIX


def _archive_of(path: Path) -> Path | None:
    """The archive that is `path`, or that has `path` as a member."""
    inner = (each for each in path.parents if each.suffix == ".npz" and not each.is_dir())
    return path if path.suffix == ".npz" else next(inner, None)


def _open_member(path: Path, member: str) -> Source:
    """A member of an archive, '.' being the only one.

    One that is not compressed is mapped, but is a source all the same: it rarely lies on a border
    of a number, and whether it does must not decide how it is read.
    """
    name = f"the file {path.name!r}"
    try:
        with zipfile.ZipFile(path) as archive:
            members = [each.removesuffix(".npy") for each in archive.namelist()]
            member = members[0] if member == "." and len(members) == 1 else member
            if member not in members:
                raise _no_member(name, path, member, members)
            entry = archive.getinfo(f"{member}.npy")
            with archive.open(entry) as stream:
                shape, by_columns, dtype = _header(stream)
                begin = stream.tell() + _begin_of(path, entry)
    except MissingFile:
        raise
    except Exception as error:  # as for a '.npy' file
        raise ValueError(f"{name} could not be read as rows: {error}") from error
    name = f"{member!r} of {name}"
    checked_shape(shape, name)
    float_dtype(dtype, name)
    if entry.compress_type == zipfile.ZIP_STORED:
        order: Any = "F" if by_columns else "C"
        return ArrayLike(np.memmap(path, dtype, "r", begin, shape, order), name)
    if by_columns:
        raise ValueError(
            f"{name} must not be compressed where it is stored by columns: use np.savez, or "
            "np.ascontiguousarray before np.savez_compressed."
        )
    return Zipped(path, entry, shape, dtype, name)


def _no_member(name: str, path: Path, member: str, members: list[str]) -> ValueError:
    """What to say where it is not clear which member is meant."""
    held = ", ".join(map(repr, members)) or "nothing"
    if member != ".":
        return MissingFile(f"{name} must hold {member!r}, but it holds {held}.")
    if {"indices", "indptr", "format"} <= set(members):
        return ValueError("it holds a sparse matrix, which scipy.sparse.load_npz reads")
    return ValueError(f"it holds {held}; name one of them, as in '{path.name}/{members[0]}'")


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is stored by columns, and dtype of an array that is stored as ``.npy``."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def _begin_of(path: Path, entry: zipfile.ZipInfo) -> int:
    """Where in an archive the bytes of an entry begin, after its own header."""
    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return entry.header_offset + 30 + int(name) + int(extra)


class Zipped(Source):
    """A compressed member of an archive, unpacked as it is read, from its begin in every pass.

    Parameters
    ----------
    path : Path
        The archive.
    entry : zipfile.ZipInfo
        The member.
    shape, dtype : tuple of int, numpy.dtype
        As the member says.
    name : str
        What error messages call it.
    """

    def __init__(self, path: Path, entry: Any, shape: Any, dtype: np.dtype[Any], name: str) -> None:
        self.path, self.entry, self.name, self.stored = path, entry, name, dtype
        self.shape, self.dtype = checked_shape(shape, name), float_dtype(dtype, name)

    def pieces(self) -> Iterator[Any]:
        n_samples, n_features = self.shape
        step = max(1, PIECE_ELEMENTS // n_features)
        with zipfile.ZipFile(self.path) as archive, archive.open(self.entry) as stream:
            _header(stream)
            for start in range(0, n_samples, step):
                count = min(step, n_samples - start)
                rows = stream.read(count * n_features * self.stored.itemsize)
                yield np.frombuffer(rows, self.stored).reshape(count, n_features)


class Joined(Source):
    """The rows of several files, one after the other.

    Parameters
    ----------
    paths : list of Path
        At least one; all of the same columns, and of the same dtype to compute in.

    Raises
    ------
    ValueError
        Names the first file that does not fit to the one before all.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.name = f"the {len(paths)} files from {paths[0].name!r} to {paths[-1].name!r}"
        self._part = functools.lru_cache(OPEN)(self._opened)
        self._shapes: list[tuple[int, int]] = []
        for number in range(len(paths)):
            part = self._part(number)
            if not number:
                self.dtype, self._names = part.dtype, _names(part)
            self._check(part)
            self._shapes.append(part.shape)
        sizes = [n_samples for n_samples, _ in self._shapes]
        self.shape = sum(sizes), self._shapes[0][1]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def _check(self, part: Source) -> None:
        """That a file has the columns and the dtype of the first one."""
        n_features = self._shapes[0][1] if self._shapes else part.shape[1]
        for what, own, first in (
            ("the number of columns", part.shape[1], n_features),
            ("the names of columns", _names(part), self._names),
            ("the dtype", part.dtype.name, self.dtype.name),
        ):
            if own != first:
                raise ValueError(
                    f"Every file must have {what} of the first, {first}, but {part.name} has {own}."
                )

    def _opened(self, number: int) -> Source:
        """A file, whose shape is as when it was first opened."""
        X = _open_file(self.paths[number])
        name = f"the file {self.paths[number].name!r}"
        part: Source = X if isinstance(X, Source) else ArrayLike(X, name)
        if number < len(self._shapes) and part.shape != self._shapes[number]:
            raise ValueError(
                f"{part.name} must stay as it is, but its shape was {self._shapes[number]} and "
                f"has become {part.shape}."
            )
        return part

    def head(self) -> Any:
        return self._part(0).head()

    def _numbered(self) -> Iterator[tuple[int, Array]]:
        number = 0
        for place in range(len(self.paths)):
            for _, piece in self._part(place)._numbered():  # whose errors name the file
                yield number, piece
                number += 1

    def _holding(self, listed: Array) -> Iterator[tuple[int, Array]]:
        for number in np.unique(np.searchsorted(self._starts, listed, side="right") - 1).tolist():
            first, after = self._starts[number : number + 2].tolist()
            own = listed[np.searchsorted(listed, first) : np.searchsorted(listed, after)]
            for start, piece in self._part(number)._holding(own - first):
                yield first + start, piece

    def _place(self, row: int) -> str:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._part(number)._place(row - int(self._starts[number]))


def _names(part: Source) -> list[Any] | None:
    """The names of the columns, where they have names."""
    names = getattr(part, "names", None)
    return None if names is None else list(names)
