"""Rows from tables of named columns: Parquet files, datasets of Arrow's, lazy frames of polars'.

All columns must hold numbers or truth values.  Rows are float32 where every column is, otherwise
float64; what is null becomes NaN, which is refused when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels.tiles import Array
from .sources import PIECE_ELEMENTS, Source, as_array, checked_shape


def open_columns(X: Any) -> Any:
    """What polars or pyarrow has made, as rows: a source, a frame, or `X` where it is neither."""
    kinds = {kind.__name__ for kind in type(X).__mro__}
    if "LazyFrame" in kinds:
        return Lazy(X)
    if "Dataset" in kinds:
        return Dataset(X)
    if kinds & {"Table", "RecordBatch"}:
        return X.to_pandas()
    return X


class _Arrow(Source):
    """Columns of Arrow's: their names and dtypes are those of the frame that pandas makes.

    An index that pandas has stored is no column.
    """

    names: Any

    def _describe(self, schema: Any, n_samples: int) -> None:
        """Set what a source tells, from a schema that holds numbers alone."""
        columns, self._selected = _columns(schema)
        for field in columns:
            if not _is_number(field.type):
                raise _not_a_number(self.name, field.name, field.type)
        names = schema.names
        if len(set(names)) < len(names):
            twice = next(each for each in names if names.count(each) > 1)
            raise ValueError(
                f"Every column of {self.name} must have a name of its own, but {twice!r} is there "
                f"{names.count(twice)} times."
            )
        self.shape = checked_shape((n_samples, len(columns)), self.name)
        frame = schema.empty_table().to_pandas()
        self.names = frame.columns
        self.dtype = as_array(frame).dtype

    def head(self) -> Any:
        import pandas

        return pandas.DataFrame(super().head(), columns=self.names)

    def _array(self, table: Any) -> Array:
        """The rows of a table of this schema."""
        columns = table.columns if self._selected is None else map(table.column, self._selected)
        rows = np.empty((table.num_rows, self.shape[1]), self._own_dtype)
        for place, column in enumerate(columns):
            rows[:, place] = _numbers(column)
        return rows


class Parquet(_Arrow):
    """A Parquet file, read by row groups.

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
        try:
            self._file = pyarrow.parquet.ParquetFile(path)
            meta, schema = self._file.metadata, self._file.schema_arrow
            _columns(schema)
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise ValueError(f"{self.name} could not be read as Parquet: {error}") from error
        self._describe(schema, meta.num_rows)
        sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def pieces(self) -> Iterator[Any]:
        for number in range(len(self._starts) - 1):
            yield self._group(number)

    def _holding(self, listed: Array) -> Iterator[tuple[int, Array]]:
        for number in np.unique(np.searchsorted(self._starts, listed, side="right") - 1).tolist():
            yield int(self._starts[number]), self._group(number)

    def _group(self, number: int) -> Array:
        return self._array(self._file.read_row_group(number, columns=self._selected))


class Dataset(_Arrow):
    """A dataset of Arrow's: files of any kind that it reads, filtered or not, in its order.

    Parameters
    ----------
    dataset : pyarrow.dataset.Dataset
        Read batch by batch.
    """

    def __init__(self, dataset: Any) -> None:
        import pyarrow

        self.name = f"the {type(dataset).__name__}"
        self.dataset = dataset
        try:
            n_samples = dataset.count_rows()
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise type_of(error)(f"{self.name} could not be read: {error}") from error
        self._describe(dataset.schema, n_samples)

    def pieces(self) -> Iterator[Any]:
        import pyarrow
        import pyarrow.dataset

        # Read ahead as little as can be: by default whole files are, whatever their size.
        options: dict[str, Any] = {"use_threads": False}
        options |= {"batch_readahead": 0, "fragment_readahead": 0}
        kind = getattr(self.dataset, "format", None)
        if isinstance(kind, pyarrow.dataset.ParquetFileFormat):
            scan = pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False)
            options["fragment_scan_options"] = scan
        size = max(1, PIECE_ELEMENTS // self.shape[1])
        for batch in self.dataset.to_batches(columns=self._selected, batch_size=size, **options):
            yield self._array(pyarrow.Table.from_batches([batch]))


class Lazy(Source):
    """A lazy frame of polars', whose query is run anew in every pass, batch by batch.

    Parameters
    ----------
    frame : polars.LazyFrame
        It must give its rows in the same order every time.
    """

    name = "the LazyFrame"

    def __init__(self, frame: Any) -> None:
        import polars

        if not hasattr(frame, "collect_batches"):
            raise ImportError(
                "reading a LazyFrame by batches needs polars 1.34 or newer, but it is "
                f"{polars.__version__}: pip install -U polars"
            )
        try:
            kinds = frame.collect_schema()
            n_samples = frame.select(polars.len()).collect(engine="streaming").item()
        except (OSError, polars.exceptions.PolarsError) as error:
            raise type_of(error)(f"{self.name} could not be read: {error}") from error
        for column, kind in kinds.items():
            if not (kind.is_numeric() or kind == polars.Boolean):
                raise _not_a_number(self.name, column, kind)
        single = all(kind == polars.Float32 for kind in kinds.values())
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.names = list(kinds)
        self.shape = checked_shape((n_samples, len(kinds)), self.name)
        self.frame = frame.select(polars.all().cast(polars.Float32 if single else polars.Float64))

    def head(self) -> Any:
        import polars

        return polars.DataFrame(super().head(), schema=self.names)

    def pieces(self) -> Iterator[Any]:
        size = max(1, PIECE_ELEMENTS // self.shape[1])
        for batch in self.frame.collect_batches(chunk_size=size, maintain_order=True, lazy=True):
            yield batch.to_numpy()


def type_of(error: Exception) -> type[ValueError]:
    """A ValueError for what could not be read, which is a FileNotFoundError where `error` is."""
    from .files import MissingFile

    return MissingFile if isinstance(error, FileNotFoundError) else ValueError


def _not_a_number(name: str, column: str, kind: Any) -> TypeError:
    return TypeError(f"Every column of {name} must hold numbers, but {column!r} is of type {kind}.")


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
