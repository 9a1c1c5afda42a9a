"""Many files, datasets, lazy frames, archives, iterators: the bits of an array, clear errors."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import fastclust.minibatch
import fastclust.rows.columns
import fastclust.rows.files
import fastclust.rows.sources
import fastclust.rows.streaming
from fastclust import (
    BisectingKMeans,
    ClusterSearch,
    GaussianMixture,
    KMeans,
    MiniBatchKMeans,
    k_means,
    kmeans_plusplus,
    silhouette_score,
)
from fastclust.rows.sources import ArrayLike, Source, open_rows

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
dataset = pytest.importorskip("pyarrow.dataset")
polars = pytest.importorskip("polars")

Array = np.ndarray[Any, Any]
N, D, K = 3000, 5, 4
BORDERS = [0, 700, 701, 1900, N]  # of files of unequal lengths
NAMES = [f"c{i}" for i in range(D)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: Any) -> None:
    """Blocks, pieces and open files so few that there are many turns."""
    monkeypatch.setattr(fastclust.rows.streaming, "BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr(fastclust.rows.files, "OPEN", 2)
    for module in (fastclust.rows.sources, fastclust.rows.files, fastclust.rows.columns):
        monkeypatch.setattr(module, "PIECE_ELEMENTS", 1 << 10)


def rows(dtype: Any = np.float32) -> Array:
    rng = np.random.default_rng(3)
    return (rng.normal(size=(N, D)) + 3 * rng.integers(0, 5, size=(N, 1))).astype(dtype)


def cuts(X: Array) -> list[Array]:
    return [X[start:stop] for start, stop in itertools.pairwise(BORDERS)]


def table(X: Array, names: Any = None) -> Any:
    return pyarrow.table(dict(zip(names or NAMES, X.T, strict=False)))


def npy_files(X: Array, folder: Path, order: str = "C") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"part-{number}.npy" for number in range(len(BORDERS) - 1)]
    for path, cut in zip(paths, cuts(X), strict=True):
        np.save(path, np.asarray(cut, order=order))  # type: ignore[call-overload]
    return paths


def parquet_files(X: Array, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"part-{number}.parquet" for number in range(len(BORDERS) - 1)]
    for path, cut in zip(paths, cuts(X), strict=True):
        parquet.write_table(table(cut), path, row_group_size=300)
    (folder / "_SUCCESS").touch()  # as Spark leaves behind
    return paths


def archive(X: Array, folder: Path, save: Any, name: str = "rows", **others: Array) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save(folder / "rows.npz", **{name: X}, **others)
    return folder / "rows.npz"


KINDS: dict[str, Callable[[Array, Path], Any]] = {
    "list of npy": npy_files,
    "list of npy by columns": lambda X, folder: npy_files(X, folder, "F"),
    "names of npy": lambda X, folder: tuple(map(str, npy_files(X, folder))),
    "folder of npy": lambda X, folder: npy_files(X, folder)[0].parent,
    "folder of parquet": lambda X, folder: str(parquet_files(X, folder)[0].parent),
    "pattern": lambda X, folder: parquet_files(X, folder)[0].parent / "*.parquet",
    "deep pattern": lambda X, folder: f"{parquet_files(X, folder)[0].parents[1]}/**/part-[0-9].pa*",
    "dataset": lambda X, folder: dataset.dataset(parquet_files(X, folder)[0].parent),
    "union": lambda X, folder: dataset.dataset(
        [dataset.dataset(path) for path in parquet_files(X, folder)]
    ),
    "dataset in memory": lambda X, folder: dataset.dataset(table(X)),
    "filtered dataset": lambda X, folder: dataset.dataset(
        pyarrow.concat_tables([table(X), table(X + 1000)])
    ).filter(dataset.field("c0") < 500),
    "scan": lambda X, folder: polars.scan_parquet(parquet_files(X, folder)),
    "lazy": lambda X, folder: (
        polars.DataFrame(X, schema=NAMES).lazy().filter(polars.col("c0") < 99)
    ),
    "npz": lambda X, folder: archive(X, folder, np.savez),
    "compressed npz": lambda X, folder: str(archive(X, folder, np.savez_compressed)),
    "npz by columns": lambda X, folder: archive(np.asfortranarray(X), folder, np.savez),
    "member": lambda X, folder: archive(X, folder, np.savez, other=X[:3]) / "rows",
    "members": lambda X, folder: [
        archive(cut, folder / str(i), np.savez_compressed) for i, cut in enumerate(cuts(X))
    ],
    "batches of arrow": lambda X, folder: lambda: table(X).to_batches(max_chunksize=400),
}
IN_MEMORY: dict[str, Callable[[Array, Path], Any]] = {
    "table": lambda X, folder: table(X),
    "record batch": lambda X, folder: pyarrow.RecordBatch.from_pydict(
        dict(zip(NAMES, X.T, strict=True))
    ),
}


def results(model: Any) -> list[bytes]:
    found = [model.cluster_centers_, model.labels_, model.inertia_, model.n_iter_]
    return [np.asarray(each).tobytes() for each in found]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [*KINDS, *IN_MEMORY])
def test_every_kind_gives_the_bits_of_an_array(kind: str, dtype: Any, tmp_path: Path) -> None:
    X = rows(dtype)
    data = (KINDS | IN_MEMORY)[kind](X, tmp_path / "rows")
    if kind in KINDS:
        source = open_rows(data)
        assert isinstance(source, Source)
        assert (source.shape, source.dtype) == (X.shape, dtype)
        np.testing.assert_array_equal(np.concatenate(list(source.blocks(333))), X)
        chosen = np.array([N - 1, 700, 0, 701, 0, 699])
        np.testing.assert_array_equal(source.take(chosen), X[chosen])
        for own, expected in zip(
            source.ranges([(600, 800), (5, 9)]), (X[600:800], X[5:9]), strict=True
        ):
            np.testing.assert_array_equal(own, expected)
    weights = np.random.default_rng(0).integers(0, 3, N)
    expected = KMeans(K, random_state=1, max_iter=5, algorithm="lloyd").fit(
        X, sample_weight=weights
    )
    model = KMeans(K, random_state=1, max_iter=5).fit(data, sample_weight=weights)
    assert results(model) == results(expected)
    np.testing.assert_array_equal(model.predict(data), expected.predict(X))
    assert model.transform(data).tobytes() == expected.transform(X).tobytes()
    assert model.score(data) == expected.score(X)
    batches = [MiniBatchKMeans(K, random_state=0, batch_size=100).fit(each) for each in (data, X)]
    assert results(batches[0]) == results(batches[1])
    if "np" in kind or "member" in kind:
        assert not hasattr(model, "feature_names_in_")
    else:
        assert list(model.feature_names_in_) == NAMES


def test_large_rows_are_sampled_alike_from_all_kinds(tmp_path: Path, monkeypatch: Any) -> None:
    """More than one sample holds: not the batches of an array, but the same of every kind."""
    monkeypatch.setattr(fastclust.minibatch, "SAMPLE_BYTES", 1 << 13)
    monkeypatch.setattr(fastclust.minibatch, "SAMPLE_ROWS", 50)
    X = rows()
    found = {
        kind: results(
            MiniBatchKMeans(K, random_state=0, batch_size=100).fit(
                make(X, tmp_path / kind / "rows")
            )
        )
        for kind, make in KINDS.items()
    }
    assert [kind for kind in found if found[kind] != found["list of npy"]] == []


@pytest.mark.parametrize("kind", ["list of npy", "dataset", "lazy", "compressed npz", "table"])
def test_everything_else_takes_them(kind: str, tmp_path: Path) -> None:
    X = rows()
    data = (KINDS | IN_MEMORY)[kind](X, tmp_path / "rows")
    for found, expected in zip(
        kmeans_plusplus(data, K, random_state=0), kmeans_plusplus(X, K, random_state=0), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        k_means(data, K, random_state=0)[0], k_means(X, K, random_state=0)[0]
    )
    mixtures = [
        GaussianMixture(2, random_state=0, max_iter=3, tol=9).fit(each) for each in (data, X)
    ]
    for method in ("predict", "predict_proba", "score_samples", "score", "bic"):
        found, expected = (
            np.asarray(getattr(mixture, method)(each))
            for mixture, each in zip(mixtures, (data, X), strict=True)
        )
        assert found.tobytes() == expected.tobytes()
    bisected = BisectingKMeans(K, random_state=0).fit(X)
    np.testing.assert_array_equal(bisected.predict(data), bisected.labels_)
    search = ClusterSearch(KMeans(random_state=0), [2, 3], criterion="inertia").fit(data)
    np.testing.assert_array_equal(search.predict(data), search.predict(X))
    labels = bisected.labels_
    assert silhouette_score(data, labels) == silhouette_score(X, labels)


def test_one_file_of_a_list_is_read_in_place(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", rows())
    for given in ([tmp_path / "rows.npy"], tmp_path, str(tmp_path / "*.npy")):
        assert isinstance(open_rows(given), np.memmap)


def test_files_of_a_folder_are_taken_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        np.save(tmp_path / f"{name}.npy", np.full((2, 2), float(ord(name))))
    for given, order in (
        (tmp_path, "abc"),
        (tmp_path / "[!b].npy", "ac"),
        ([tmp_path / f"{name}.npy" for name in "cabc"], "cabc"),
    ):
        source = open_rows(given)
        assert [chr(int(value)) for value in source.take(np.arange(0, len(source), 2))[:, 0]] == [
            *order
        ]


def test_thousands_of_files_take_a_few_at_a_time(tmp_path: Path) -> None:
    """However many there are: an open file each would be too many for a process."""
    resource = pytest.importorskip("resource")
    X = rows()[:200]
    for number, row in enumerate(X):
        np.save(tmp_path / f"{number:04}.npy", row[None])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(in_use + 60, hard), hard))
    try:
        model = KMeans(2, random_state=0, max_iter=3).fit(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert results(model) == results(KMeans(2, random_state=0, max_iter=3).fit(X))


# --- What does not fit ---


def write(folder: Path, name: str, X: Array, names: Any = None) -> None:
    if name.endswith(".npy"):
        np.save(folder / name, X)
    else:
        parquet.write_table(table(X, names), folder / name)


UNFIT: dict[str, tuple[str, str, Any, str]] = {
    "columns": (
        "a.npy",
        "b.npy",
        lambda X: X[:, :2],
        "number of columns of the first, 5, but {b} has 2",
    ),
    "dtype": (
        "a.npy",
        "b.npy",
        lambda X: X.astype(float),
        "dtype of the first, float32, but {b} has float64",
    ),
    "kind": (
        "a.npy",
        "b.parquet",
        lambda X: X,
        r"names of columns of the first, None, but {b} has \['c0'",
    ),
    "one-dimensional": ("a.npy", "b.npy", lambda X: X[0], "{b} must have two dimensions"),
    "empty": ("a.npy", "b.npy", lambda X: X[:0], "{b} must hold at least one row"),
    "nan": (
        "a.npy",
        "b.npy",
        lambda X: X * [[np.nan]] * 1,
        "dtype of the first, float32, but {b} has float64",
    ),
    "nan32": (
        "a.npy",
        "b.npy",
        lambda X: np.where(X[7, 1] == X, np.float32(np.nan), X),
        "contains NaN: {b} has it in row 7, block",
    ),
    "parquet dtype": (
        "a.parquet",
        "b.parquet",
        lambda X: X.astype(int),
        "first, float32, but {b} has float64",
    ),
    "text": ("a.npy", "b.txt", None, "must hold nothing but files of rows .*the file 'b.txt'"),
    "folder": ("a.npy", "b", None, "must hold nothing but files of rows .*the folder 'b'"),
    "damaged": ("a.npy", "b.npy", None, "{b} could not be read as rows"),
    "damaged archive": ("a.npy", "b.npz", None, "{b} could not be read as rows"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_file_that_does_not_fit_is_named(what: str, tmp_path: Path) -> None:
    first, second, change, message = UNFIT[what]
    X = rows()[:300]
    write(tmp_path, first, X)
    if change is not None:
        write(tmp_path, second, change(X))
    elif what == "folder":
        (tmp_path / second).mkdir()
    else:
        (tmp_path / second).write_text("no rows")
    model = KMeans(2)
    with pytest.raises(ValueError, match=message.format(b=re.escape(f"the file {second!r}"))):
        model.fit(tmp_path)
    assert not hasattr(model, "labels_")


def test_names_of_columns_are_compared(tmp_path: Path) -> None:
    X = rows()[:300]
    write(tmp_path, "a.parquet", X)
    write(tmp_path, "b.parquet", X, NAMES[::-1])
    with pytest.raises(
        ValueError, match=r"names of columns of the first, .*the file 'b.parquet' has"
    ):
        KMeans(2).fit(tmp_path)


def test_a_file_that_changes_between_passes_is_named(tmp_path: Path) -> None:
    X = rows()
    paths = npy_files(X, tmp_path)

    def rewrite(progress: Any) -> None:
        np.save(paths[2], X[:50])

    message = (
        "the file 'part-2.npy' must stay as it is, but its shape was .*1199, 5.* become .50, 5"
    )
    with pytest.raises(ValueError, match=message):
        KMeans(K, random_state=0).fit(paths, callbacks=[rewrite])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none.npy", "the file 'none.npy' could not be read: there is no '.*none.npy'"),
        ("none.parquet", "the file 'none.parquet' could not be read"),
        ("none.npz", "the file 'none.npz' could not be read"),
        ("none.npz/member", "the file 'none.npz' could not be read"),
        ("none-*.npy", "no file is like '.*none-"),
        ("two.npz/third", r"the file 'two.npz' must hold 'third', but it holds 'one', 'two'"),
        ("nothing", "The folder 'nothing' must hold files of rows, but it holds none"),
        (["one.npy", "none.npy"], "the file 'none.npy' could not be read"),
    ],
)
def test_missing_files_are_file_not_found(given: Any, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", rows()[:9])
    np.savez(tmp_path / "two.npz", one=rows()[:9], two=rows()[:9])
    (tmp_path / "nothing").mkdir()
    one = isinstance(given, str)
    data = tmp_path / given if one else [tmp_path / each for each in given]
    with pytest.raises(FileNotFoundError, match=message) as caught:
        KMeans(2).fit(data)
    assert isinstance(caught.value, ValueError)


def test_missing_files_of_datasets_and_scans_are_file_not_found(tmp_path: Path) -> None:
    for make in (
        lambda path: polars.scan_parquet(path),
        lambda path: dataset.FileSystemDataset.from_paths(
            [str(path)],
            table(rows()).schema,
            dataset.ParquetFileFormat(),
            pyarrow.fs.LocalFileSystem(),
        ),
    ):
        with pytest.raises(FileNotFoundError, match=r"none\.parquet"):
            KMeans(2).fit(make(tmp_path / "none.parquet"))


def test_archives_that_are_not_one_array_say_so(tmp_path: Path) -> None:
    X = rows()[:30]
    np.savez(tmp_path / "two.npz", one=X, two=X)
    scipy.sparse.save_npz(tmp_path / "sparse.npz", scipy.sparse.csr_matrix(X))
    np.savez_compressed(tmp_path / "columns.npz", X=np.asfortranarray(X))
    np.savez(tmp_path / "objects.npz", X=X.astype(object))
    for name, error, message in (
        (
            "two",
            ValueError,
            "'two.npz' .*holds 'one', 'two'; name one of them, as in 'two.npz/one'",
        ),
        ("sparse", ValueError, "a sparse matrix, which scipy.sparse.load_npz reads"),
        ("columns", ValueError, "'X' of the file 'columns.npz' must not be compressed where"),
        ("objects", TypeError, "'X' of the file 'objects.npz' must hold real numbers"),
    ):
        with pytest.raises(error, match=message):
            KMeans(2).fit(tmp_path / f"{name}.npz")


def test_columns_without_numbers_are_named() -> None:
    frame = polars.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    for data in (frame.lazy(), dataset.dataset(frame.to_arrow())):
        with pytest.raises(TypeError, match="must hold numbers, but 'b' is of type"):
            KMeans(2).fit(data)
    nulls = polars.DataFrame({"a": [1.0, None, 3.0], "b": [True, True, False]})
    for data in (nulls.lazy(), dataset.dataset(nulls.to_arrow())):
        with pytest.raises(ValueError, match=r"contains NaN: the \w+ has it in row 1"):
            KMeans(2, init=np.eye(2)).fit(data)


# --- Iterators ---


def iterators(X: Array) -> dict[str, Any]:
    def generated() -> Iterator[Array]:
        yield from cuts(X)

    return {
        "generator": generated(),
        "iterator": iter(cuts(X)),
        "reader": pyarrow.RecordBatchReader.from_batches(
            table(X).schema, table(X).to_batches(max_chunksize=400)
        ),
    }


@pytest.mark.parametrize("kind", ["generator", "iterator", "reader"])
def test_one_pass_is_enough_for_predictions(kind: str) -> None:
    X = rows()
    model = KMeans(K, random_state=0).fit(table(X) if kind == "reader" else X)
    for estimator, methods in (
        (model, ["predict", "transform"]),
        (BisectingKMeans(K, random_state=0).fit(X), ["predict", "transform"]),
        (GaussianMixture(2, random_state=0).fit(X), ["predict", "predict_proba", "score_samples"]),
        (ClusterSearch(KMeans(random_state=0), [2], criterion="inertia").fit(X), ["predict"]),
    ):
        if kind == "reader" and estimator is not model:
            continue  # it was fitted to rows without names
        for method in methods:
            expected = getattr(estimator, method)(table(X) if kind == "reader" else X)
            found = getattr(estimator, method)(iterators(X)[kind])
            assert (found.dtype, found.tobytes()) == (expected.dtype, expected.tobytes())


@pytest.mark.parametrize(
    "make", [lambda: MiniBatchKMeans(K, random_state=0), lambda: GaussianMixture(K, random_state=0)]
)
def test_partial_fit_takes_a_step_for_each_block(make: Any) -> None:
    X = rows()
    blocks = np.array_split(X, 5)
    expected, found = make(), make()
    for block in blocks:
        expected.partial_fit(block)
    assert found.partial_fit(iter(blocks)) is found
    names = ["cluster_centers_", "counts_"] if hasattr(found, "counts_") else ["means_", "weights_"]
    for name in names:
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()


def test_a_block_that_is_refused_is_named_and_those_before_it_count() -> None:
    X = rows()
    expected = MiniBatchKMeans(K, random_state=0).partial_fit(X[:500]).partial_fit(X[500:900])
    model = MiniBatchKMeans(K, random_state=0)
    with pytest.raises(
        ValueError, match=r"Block 2 of the list_iterator was refused: .* 3 features"
    ):
        model.partial_fit(iter([X[:500], X[500:900], X[900:, :3]]))
    np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)

    def fails() -> Iterator[Array]:
        yield X[:500]
        raise OSError("the line is dead")

    with pytest.raises(
        ValueError, match="Block 1 of the generator raised OSError: the line is dead"
    ):
        model.predict(fails())
    with pytest.raises(ValueError, match="at least one block, but the list_iterator gave none"):
        model.predict(iter([]))
    with pytest.raises(ValueError, match="sample_weight must be None where X is a list_iterator"):
        model.partial_fit(iter([X]), sample_weight=np.ones(len(X)))


@pytest.mark.parametrize("kind", ["generator", "iterator", "reader"])
def test_several_passes_need_more_than_an_iterator(kind: str) -> None:
    X = rows()
    message = "X must be rows or a callable that returns a fresh iterator .* only once: partial_fit"
    fitted = KMeans(2, random_state=0).fit(X)
    for call in (KMeans(2).fit, MiniBatchKMeans(2).fit, GaussianMixture(2).fit, fitted.score):
        with pytest.raises(TypeError, match=message):
            call(iterators(X)[kind])


def test_open_files_are_no_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", rows())
    fitted = KMeans(2, random_state=0).fit(rows())
    with (tmp_path / "rows.npy").open("rb") as file:
        for call in (KMeans(2).fit, fitted.predict):
            with pytest.raises(TypeError, match="the path of a file, not an open file"):
                call(file)


def test_what_is_mapped_is_not_read_whole(tmp_path: Path) -> None:
    """A list of files and a stored member are maps, of which pieces are read."""
    np.savez(tmp_path / "rows.npz", rows())
    source = open_rows(tmp_path / "rows.npz")
    assert isinstance(source, ArrayLike)
    assert isinstance(source.data, np.memmap)
