"""Rows from files, tables and iterators: the bits of an array, and errors that name the block."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow
import pyarrow.parquet
import pytest
import scipy.sparse
import zarr
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import fastclust.minibatch
import fastclust.rows.streaming
from fastclust import BisectingKMeans, KMeans, MiniBatchKMeans, SampledKMeansPlusPlus
from fastclust.kernels import slices, update
from fastclust.rows.columns import Parquet
from fastclust.rows.sources import ArrayLike, Blocks, Source, open_rows

Array = np.ndarray[Any, Any]

# Rows that are moved one by one and rows that are recorded; slices of one and of several tiles.
SHAPES = [(5000, 7, 9), (1500, 200, 90), (20000, 3, 5), (400, 2, 50)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: Any) -> None:
    """Blocks so small that there are many."""
    monkeypatch.setattr(fastclust.rows.streaming, "BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr(fastclust.minibatch, "SAMPLE_BYTES", 1 << 14)


def rows(n: int, d: int, dtype: Any = np.float32) -> Array:
    rng = np.random.default_rng([n, d])
    return (rng.normal(size=(n, d)) + 3 * rng.integers(0, 5, size=(n, 1))).astype(dtype)


def table(X: Array) -> Any:
    return pyarrow.table({f"c{i}": column for i, column in enumerate(X.T)})


def of_kind(kind: str, X: Array, folder: Path) -> Any:
    """The same rows, elsewhere."""
    if kind == "npy":
        np.save(folder / "rows.npy", X)
        return folder / "rows.npy"
    if kind == "npy by columns":
        np.save(folder / "columns.npy", np.asfortranarray(X))
        return str(folder / "columns.npy")
    if kind == "memmap":
        mapped = np.memmap(folder / "rows.dat", X.dtype, "w+", shape=X.shape)
        mapped[:] = X
        return mapped
    if kind == "parquet":
        pyarrow.parquet.write_table(table(X), folder / "rows.parquet", row_group_size=777)
        return folder / "rows.parquet"
    if kind == "hdf5":
        with h5py.File(folder / "rows.h5", "w") as file:
            file["rows"] = X
        return h5py.File(folder / "rows.h5")["rows"]
    if kind == "zarr":
        array = zarr.create_array(
            folder / "rows.zarr", shape=X.shape, dtype=X.dtype, chunks=(777, X.shape[1] // 2 + 1)
        )
        array[:] = X
        return zarr.open_array(folder / "rows.zarr", mode="r")
    if kind == "polars":
        return pl.DataFrame(X)
    if kind == "iterator":
        return lambda: (X[start : start + 333] for start in range(0, len(X), 333))
    assert kind == "frame"
    return pd.DataFrame(X)


STREAMED = ["parquet", "hdf5", "zarr", "iterator"]
KINDS = ["npy", "npy by columns", "memmap", "frame", "polars", *STREAMED]


def assert_same(ours: Any, theirs: Any) -> None:
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)


def assert_same_fit(ours: Any, theirs: Any) -> None:
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    assert ours.cluster_centers_.dtype == theirs.cluster_centers_.dtype
    assert ours.inertia_ == theirs.inertia_
    assert ours.n_iter_ == theirs.n_iter_


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_all_kinds_give_the_bits_of_an_array(kind: str, shape: Any, tmp_path: Path) -> None:
    n, d, k = shape
    X = rows(n, d, np.float64 if kind == "polars" else np.float32)
    source = of_kind(kind, X, tmp_path)
    weights = np.random.default_rng(0).integers(0, 3, n)
    few = min(k, 6) if kind in STREAMED else k  # k-means++ is a pass for each center
    for parameters in (
        {"n_clusters": few},
        {"n_clusters": k, "init": "random", "n_init": 2},
        {"n_clusters": k, "init": X[:k]},
        {"n_clusters": k, "init": SampledKMeansPlusPlus(500), "n_init": 1},
    ):
        model = KMeans(random_state=1, max_iter=4, **parameters)
        for own in (None, weights):
            array = model.fit(X, sample_weight=own)
            expected = (array.predict(X), array.transform(X), array.score(X, sample_weight=own))
            streamed = KMeans(random_state=1, max_iter=4, **parameters)
            streamed.fit(source, sample_weight=own)
            assert_same_fit(streamed, array)
            np.testing.assert_array_equal(streamed.predict(source), expected[0])
            np.testing.assert_allclose(streamed.transform(source), expected[1], rtol=1e-4)
            assert streamed.score(source, sample_weight=own) == expected[2]


def test_empty_clusters_are_moved_alike(tmp_path: Path) -> None:
    X = rows(3000, 4)
    start = np.vstack([X[:5], np.full((3, 4), 1e4)]).astype(np.float32)
    array = KMeans(8, init=start, max_iter=5).fit(X)
    for kind in STREAMED:
        assert_same_fit(KMeans(8, init=start, max_iter=5).fit(of_kind(kind, X, tmp_path)), array)


def test_bisecting_labels_what_is_read_and_fits_what_is_mapped(tmp_path: Path) -> None:
    X = rows(3000, 4)
    array = BisectingKMeans(6, random_state=0).fit(X)
    for kind in ("npy", "memmap"):
        assert_same(BisectingKMeans(6, random_state=0).fit(of_kind(kind, X, tmp_path)), array)
    for kind in STREAMED:
        source = of_kind(kind, X, tmp_path)
        np.testing.assert_array_equal(array.predict(source), array.labels_)


def test_slices_are_bounded_for_rows_on_disk(monkeypatch: Any, tmp_path: Path) -> None:
    """With more slices than MAX_SLICES, as large data have: the same bits again."""
    monkeypatch.setattr(update, "SLICE_WORK", 100)
    monkeypatch.setattr(slices, "SLICE_ELEMENTS", 300)
    monkeypatch.setattr(slices, "MAX_SLICES", 64)
    assert update.slice_rows(9000, 3, 5) == 128
    X = rows(9000, 3)
    array = KMeans(5, random_state=0).fit(X)
    assert_same_fit(KMeans(5, random_state=0).fit(of_kind("parquet", X, tmp_path)), array)


@pytest.mark.parametrize("kind", ["npy by columns", *STREAMED])
def test_mini_batches_from_a_source(kind: str, tmp_path: Path) -> None:
    X = rows(6000, 5)
    source = of_kind(kind, X, tmp_path)
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    start = 3 * np.repeat(np.arange(5.0)[:, None], 5, axis=1)  # others end in poor optima, at times
    for own in (None, weights):
        exact = KMeans(5, init=start).fit(X, sample_weight=own)
        model = MiniBatchKMeans(5, init=start, random_state=0, batch_size=100)
        model.fit(source, sample_weight=own)
        assert model.inertia_ < 1.1 * exact.inertia_
        np.testing.assert_array_equal(model.labels_, model.predict(X))
        whole = MiniBatchKMeans(
            5, random_state=0, batch_size=100, max_iter=2, max_no_improvement=None
        ).fit(source, sample_weight=own)
        assert whole.n_steps_ == 2 * len(X) // 100


def test_mini_batches_of_files_read_in_place_are_those_of_an_array(tmp_path: Path) -> None:
    X = rows(6000, 5)
    array = MiniBatchKMeans(5, random_state=0).fit(X)
    for kind in ("npy", "memmap"):
        model = MiniBatchKMeans(5, random_state=0).fit(of_kind(kind, X, tmp_path))
        assert_same_fit(model, array)


def test_what_is_opened_as_what(tmp_path: Path) -> None:
    X = rows(100, 3)
    assert open_rows(X) is X
    assert isinstance(open_rows(of_kind("npy", X, tmp_path)), np.memmap)
    for kind, expected in (
        ("npy by columns", ArrayLike),
        ("parquet", Parquet),
        ("hdf5", ArrayLike),
        ("zarr", ArrayLike),
        ("iterator", Blocks),
    ):
        source = open_rows(of_kind(kind, X, tmp_path))
        assert type(source) is expected
        assert (source.shape, source.dtype, len(source)) == ((100, 3), np.float32, 100)
        chosen = np.array([99, 0, 50, 0])
        np.testing.assert_array_equal(source.take(chosen), X[chosen])
        np.testing.assert_array_equal(np.concatenate(list(source.blocks(7))), X)
    for frame, same in (
        (pd.DataFrame(X, columns=["a", "b", "c"]), X),
        (pl.DataFrame(X, schema=["a", "b", "c"]), X.astype(np.float64)),
    ):
        assert open_rows(frame) is frame
        model = KMeans(3, random_state=0).fit(frame)
        assert_same_fit(model, KMeans(3, random_state=0).fit(same))
        assert list(model.feature_names_in_) == ["a", "b", "c"]


BITS = np.random.default_rng(0).integers(0, 2, (300, 4))
FRAMES: dict[str, Any] = {
    "bool": lambda: pd.DataFrame(BITS.astype(bool)),
    "boolean": lambda: pd.DataFrame(BITS.astype(bool)).astype("boolean"),
    "Float64": lambda: pd.DataFrame(BITS).astype("Float64"),
    "Int64": lambda: pd.DataFrame(BITS).astype("Int64"),
    "arrow": lambda: pd.DataFrame(BITS).astype("double[pyarrow]"),
    "arrow bool": lambda: pd.DataFrame(BITS.astype(bool)).astype("bool[pyarrow]"),
    "object": lambda: pd.DataFrame(BITS).astype(object),
    "category": lambda: pd.DataFrame(BITS).astype("category"),
    "one sparse": lambda: pd.DataFrame(BITS).astype({0: pd.SparseDtype(float, 0)}),
    "mixed": lambda: pd.DataFrame(BITS.astype(float)).astype({0: bool, 1: "Int64", 2: "float32"}),
    "float32 and bool": lambda: pd.DataFrame(BITS.astype("float32")).astype({0: bool}),
    "float32": lambda: pd.DataFrame(BITS.astype("float32")),
    "polars": lambda: pl.DataFrame(BITS),
    "polars bool": lambda: pl.DataFrame(BITS.astype(bool)),
}
ESTIMATORS = [
    KMeans(3, random_state=0),
    KMeans(3, random_state=0, init=lambda X, k, random_state: X[:k]),
    MiniBatchKMeans(3, random_state=0),
    MiniBatchKMeans(3, random_state=0, algorithm="nested", batch_size=50),
    BisectingKMeans(3, random_state=0),
]


@pytest.mark.filterwarnings("ignore:pandas.DataFrame with sparse columns")
@pytest.mark.filterwarnings("ignore:Explicit initial center position")
@pytest.mark.parametrize("kind", FRAMES)
def test_frames_of_every_dtype_give_the_bits_of_an_array(kind: str) -> None:
    """In memory, and as the blocks of an iterator."""
    frame = FRAMES[kind]()
    X = BITS.astype("float32" if kind.startswith("float32") else float)
    for model in ESTIMATORS:
        expected = clone(model).fit(X)
        found = clone(model).fit(frame)
        assert_same(found, expected)
        assert found.cluster_centers_.dtype == X.dtype
        np.testing.assert_array_equal(found.predict(frame), expected.predict(X))
    blocks = lambda: (frame[first : first + 70] for first in range(0, len(X), 70))  # noqa: E731
    expected = KMeans(3, random_state=0).fit(X)
    assert_same_fit(KMeans(3, random_state=0).fit(blocks), expected)


def test_frames_of_any_size_become_arrays() -> None:
    """2**25 rows of one bool column, 2**28 bytes as numbers."""
    frame = pd.DataFrame({"a": np.arange(2**25 + 1) % 3 == 0})
    model = KMeans(2, init=np.array([[0.0], [1.0]])).fit([[0.0], [1.0]])
    with pytest.warns(UserWarning, match="X has feature names"):
        np.testing.assert_array_equal(model.predict(frame), frame["a"])


def test_columns_that_are_all_sparse_are_sparse_rows() -> None:
    frame = pd.DataFrame(BITS).astype(pd.SparseDtype(float, 0))
    assert_same_fit(
        KMeans(3, random_state=0).fit(frame),
        KMeans(3, random_state=0).fit(scipy.sparse.csr_matrix(BITS.astype(float))),
    )
    for model in (MiniBatchKMeans(3, algorithm="nested"), fastclust.GaussianMixture(3)):
        with pytest.raises(TypeError, match="X must be a dense array, but it is a sparse"):
            model.fit(frame)


def test_names_of_blocks_that_are_frames() -> None:
    frame = pd.DataFrame(BITS.astype(float), columns=list("abcd"))
    model = KMeans(3, random_state=0).fit(lambda: iter([frame[:100], frame[100:]]))
    assert list(model.feature_names_in_) == list("abcd")


INDEXES: dict[str, Any] = {
    "none": lambda frame: frame,
    "shuffled": lambda frame: frame.sample(frac=1, random_state=0),
    "named": lambda frame: frame.rename_axis("customer_id")[::-1],
    "of text": lambda frame: frame.set_axis([f"row {i}" for i in range(len(frame))]),
    "two": lambda frame: frame.set_index([[i // 9 for i in range(len(frame))], list(frame.index)]),
    "range": lambda frame: frame.set_axis(range(7, 7 + 2 * len(frame), 2)),
}


@pytest.mark.parametrize("names", [list("abc"), [0, 1, 2], ["a", "a.b", "x.y"]])
@pytest.mark.parametrize("index", INDEXES)
def test_stored_indexes_are_no_features(index: str, names: Any, tmp_path: Path) -> None:
    plain = pd.DataFrame(rows(600, 3, np.float64), columns=names)
    frame = INDEXES[index](plain)
    if index == "named" and names[1] == "a.b":
        frame = frame.rename_axis("a.c")
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path, row_group_size=250)
    assert open_rows(path).shape == (600, 3)
    for Estimator in (KMeans, MiniBatchKMeans):
        expected = Estimator(4, random_state=0).fit(frame)
        model = Estimator(4, random_state=0).fit(path)
        assert_same_fit(model, expected)
        assert hasattr(model, "feature_names_in_") == hasattr(expected, "feature_names_in_")
        assert list(getattr(model, "feature_names_in_", ())) == list(
            getattr(expected, "feature_names_in_", ())
        )
        np.testing.assert_array_equal(expected.predict(path), model.predict(frame))
    model = BisectingKMeans(4, random_state=0).fit(frame)
    np.testing.assert_array_equal(model.predict(path), model.labels_)
    mixtures = [fastclust.GaussianMixture(2, random_state=0).fit(X) for X in (frame, path)]
    np.testing.assert_array_equal(mixtures[0].means_, mixtures[1].means_)


@pytest.mark.parametrize(
    "kind", ["bool", "Int64", "boolean", "category", "mixed", "float32 and bool", "float32"]
)
def test_parquet_has_the_dtype_of_the_frame(kind: str, tmp_path: Path) -> None:
    frame = FRAMES[kind]()
    frame.to_parquet(tmp_path / "rows.parquet", row_group_size=77)
    model = KMeans(3, random_state=0).fit(tmp_path / "rows.parquet")
    assert_same_fit(model, KMeans(3, random_state=0).fit(frame))


@pytest.mark.parametrize("kind", ["npy by columns", *STREAMED])
def test_mini_batches_of_few_rows_are_those_of_an_array(
    kind: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(fastclust.minibatch, "SAMPLE_BYTES", 1 << 20)
    X = rows(3000, 5)
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    source = of_kind(kind, X, tmp_path)
    for own in (None, weights):
        model = MiniBatchKMeans(5, random_state=0, batch_size=100, n_init=2)
        expected = clone(model).fit(X, sample_weight=own)
        assert_same_fit(model.fit(source, sample_weight=own), expected)
        assert model.n_steps_ == expected.n_steps_


def test_mini_batches_are_mixed_where_the_rows_are_sorted(tmp_path: Path) -> None:
    """Two groups one after the other: batches in the order of the rows see one of them alone."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 3)).astype(np.float32)
    X[10_000:] += 6
    of_array = MiniBatchKMeans(2, random_state=0, batch_size=100).fit(X)
    models = []
    for kind in ("npy by columns", *STREAMED):
        model = MiniBatchKMeans(2, random_state=0, batch_size=100)
        models.append(model.fit(of_kind(kind, X, tmp_path)))
        assert model.inertia_ < 1.01 * of_array.inertia_
        assert_same_fit(model, models[0])  # how the rows lie does not matter


@pytest.mark.parametrize("scale", [1e30, 1e-30])
@pytest.mark.parametrize("kind", ["npy by columns", "parquet", "iterator"])
def test_extreme_float32_rows_are_read(scale: float, kind: str, tmp_path: Path) -> None:
    X = (scale * rows(600, 3, np.float64)).astype(np.float32)
    source = of_kind(kind, X, tmp_path)
    for model in (KMeans(3, random_state=0), MiniBatchKMeans(3, random_state=0, batch_size=100)):
        expected = clone(model).fit(X)
        assert_same_fit(clone(model).fit(source), expected)
        np.testing.assert_array_equal(expected.predict(source), expected.predict(X))
        assert expected.score(source) == expected.score(X)
    bisected = BisectingKMeans(3, random_state=0).fit(X)
    np.testing.assert_array_equal(bisected.predict(source), bisected.labels_)
    mixture = fastclust.GaussianMixture(
        2, random_state=0, init_params="k-means++", max_iter=2, reg_covar=scale**2
    )
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        means = [clone(mixture).fit(each).means_ for each in (X, source)]
    np.testing.assert_array_equal(*means)


def test_whole_numbers_become_float64(tmp_path: Path) -> None:
    X = np.arange(600).reshape(200, 3) % 17
    pyarrow.parquet.write_table(table(X), tmp_path / "rows.parquet")
    np.save(tmp_path / "rows.npy", X)
    array = KMeans(3, random_state=0).fit(X)
    for name in ("rows.parquet", "rows.npy"):
        assert_same_fit(KMeans(3, random_state=0).fit(tmp_path / name), array)
    model = KMeans(3, random_state=0).fit(tmp_path / "rows.parquet")
    assert list(model.feature_names_in_) == ["c0", "c1", "c2"]


class Broken:
    """Blocks of 50 rows, of which one is replaced, from a pass on."""

    def __init__(self, block: int, instead: Callable[[Array], Any], passes: int = 0) -> None:
        self.block, self.instead, self.passes = block, instead, passes
        self.X = rows(2000, 3)

    def __call__(self) -> Iterator[Any]:
        self.passes -= 1
        for number in range(40):
            block = self.X[50 * number : 50 * number + 50]
            if number == self.block and self.passes < 0:
                block = self.instead(block.copy())
                if block is None:
                    return
            yield block


def with_nan(block: Array) -> Array:
    block[3, 1] = np.nan
    return block


def fails(block: Array) -> Array:
    raise OSError("the disk is gone")


BROKEN: dict[str, tuple[Any, str]] = {
    "nan": (with_nan, r"Input X contains NaN: .* row 1853, block \d+"),
    "columns": (lambda block: block[:, :2], r"3 columns, but block 37 has shape \(50, 2\)"),
    "one-dimensional": (lambda block: block[0], r"block 37 has shape \(3,\)"),
    "dtype": (lambda block: block.astype(float), "first, float32, but block 37 has float64"),
    "raises": (fails, "block 37 raised OSError: the disk is gone"),
    "ends": (lambda block: None, r"it has ended after 1850 of 2000 rows, in block \d+"),
    "shorter": (lambda block: block[:20], r"it has ended after 1970 of 2000 rows, in block"),
    "longer": (lambda block: np.vstack([block, block]), "it has more than the 2000 rows"),
}


@pytest.mark.parametrize("Estimator", [KMeans, MiniBatchKMeans])
@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_blocks_are_named(name: str, passes: int, Estimator: Any) -> None:
    """From the first pass after the rows have been counted, or later."""
    instead, message = BROKEN[name]
    # One call looks at the first block, one counts.
    source = Broken(37, instead, 1 + passes)
    model = Estimator(4, random_state=0, init=source.X[:4])
    with pytest.raises(ValueError, match=message):
        model.fit(source)
    assert not [name for name in vars(model) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        model.predict(source.X)
    assert not [t for t in threading.enumerate() if t.name == "fastclust-reader"]


def test_broken_files_are_named(tmp_path: Path) -> None:
    X = rows(500, 3)
    whole = of_kind("npy", X, tmp_path).read_bytes()
    (tmp_path / "short.npy").write_bytes(whole[:-100])
    (tmp_path / "text.npy").write_text("no rows")
    (tmp_path / "text.parquet").write_text("no rows")
    for name in ("short.npy", "text.npy", "text.parquet", "missing.npy", "missing.parquet"):
        with pytest.raises((ValueError, OSError), match=f"the file '{name}' could not be read"):
            KMeans(2).fit(tmp_path / name)
    with pytest.raises(ValueError, match=r"a path must end in '\.npy', '\.parquet' or '\.pq'"):
        KMeans(2).fit("rows.csv")
    strings = pyarrow.table({"a": [1.0, 2.0], "b": ["x", "y"]})
    pyarrow.parquet.write_table(strings, tmp_path / "strings.parquet")
    with pytest.raises(TypeError, match="must hold numbers, but 'b' is of type string"):
        KMeans(2).fit(tmp_path / "strings.parquet")
    nulls = pyarrow.table({"a": [1.0, None, 3.0], "b": [1.0, 2.0, 3.0]})
    pyarrow.parquet.write_table(nulls, tmp_path / "nulls.parquet")
    with pytest.raises(ValueError, match=r"contains NaN: the file 'nulls.parquet' has it in row 1"):
        KMeans(2, init=np.eye(2)).fit(tmp_path / "nulls.parquet")


class Shrinking:
    """An array-like whose rows become fewer."""

    def __init__(self, X: Array) -> None:
        self.X, self.shape, self.dtype, self.reads = X, X.shape, X.dtype, 0

    def __getitem__(self, rows: slice) -> Array:
        self.reads += 1
        return self.X[: len(self.X) - 10 * (self.reads > 4)][rows]


def test_an_array_that_shrinks_is_named() -> None:
    model = KMeans(3, init=np.eye(3))
    with pytest.raises(ValueError, match=r"the Shrinking could not be read: block \d+ raised EOF"):
        model.fit(Shrinking(rows(400, 3)))
    assert not hasattr(model, "labels_")


def test_what_needs_an_array_says_so(tmp_path: Path) -> None:
    source = of_kind("parquet", rows(300, 3), tmp_path)
    with pytest.raises(TypeError, match=r"init must be .* SampledKMeansPlusPlus for the file"):
        KMeans(3, init=lambda X, k, random_state: X[:k]).fit(source)
    with pytest.raises(ValueError, match="algorithm='nested' needs rows as an array"):
        MiniBatchKMeans(3, algorithm="nested").fit(source)
    message = "path of a '.npy' file .* for BisectingKMeans, but it is the file 'rows.parquet'"
    with pytest.raises(TypeError, match=message):
        BisectingKMeans(3).fit(source)
    with pytest.raises(ValueError, match="must give at least one block"):
        KMeans(3).fit(lambda: iter([]))
    with pytest.raises(TypeError, match="must hold real numbers, but its dtype is <U1"):
        KMeans(3).fit(lambda: iter([np.array([["a"]])]))
    fitted = KMeans(3).fit(rows(300, 3))
    with pytest.raises(ValueError, match="4 features, but KMeans is expecting 3 features"):
        fitted.predict(of_kind("hdf5", rows(300, 4), tmp_path))


def test_blocks_are_read_ahead_and_no_more(monkeypatch: Any) -> None:
    made = []

    class Counted(Source):
        name, shape, dtype = "counted", (100, 2), np.dtype(np.float64)

        def pieces(self) -> Iterator[Any]:
            for number in range(100):
                made.append(number)
                yield np.zeros((1, 2))

    blocks = Counted().blocks(10)
    next(blocks)
    blocks.close()
    assert len(made) <= 40  # one used, one waiting, one being put, one being read
    assert not [t for t in threading.enumerate() if t.name == "fastclust-reader"]
