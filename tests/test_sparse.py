"""Sparse rows: kernels against the NumPy reference, estimators against scikit-learn's."""

from __future__ import annotations

import copy
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.cluster
from numba import config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.fixes import parse_version

from fastclust import BisectingKMeans, KMeans, MiniBatchKMeans, k_means, kmeans_plusplus
from fastclust.kernels import reference
from fastclust.kernels.machine import parallel
from fastclust.kernels.machine.parallel import team
from fastclust.kernels.sparse import (
    BAD_INDICES,
    BAD_POINTERS,
    CANONICAL,
    UNORDERED,
    SparseLloyd,
    SparseUpdate,
    column_variances,
    make_sparse_rows,
    structure,
)
from fastclust.kernels.sparse_seeding import BLOCK_ROWS, SparseKMeansPlusPlus

# n, d, k, density: one row, empty rows, one vector of centers, several sweeps, k = n, many slices.
SHAPES = [
    (1, 1, 1, 1.0),
    (40, 9, 3, 0.1),
    (200, 30, 17, 0.3),
    (150, 300, 50, 0.05),
    (90, 64, 90, 0.3),
    (300, 40, 140, 0.5),
    (2 * BLOCK_ROWS + 1, 20, 8, 0.4),
]
FORMATS = ["csr_array", "csr_matrix", "csc_array", "coo_array", "coo_matrix", "lil_array"]
compiled_only = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="takes minutes")


def make_sparse(shape: Any, dtype: Any, index: Any = np.int32, seed: int = 0) -> Any:
    """A random CSR array."""
    n, d, _, density = shape
    rng = np.random.default_rng([seed, n, d])
    dense = rng.normal(size=(n, d)) * (rng.random((n, d)) < density)
    X = scipy.sparse.csr_array(dense.astype(dtype))
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X


@pytest.fixture(params=SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def shape(request: pytest.FixtureRequest) -> Any:
    """Numbers of rows, columns and clusters, and the density."""
    return request.param


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("weighted", [False, True])
def test_passes_are_the_references(shape: Any, dtype: Any, index: Any, weighted: bool) -> None:
    n, d, k, _ = shape
    X = make_sparse(shape, dtype, index)
    weights = np.random.default_rng(1).integers(0, 4, size=n).astype(dtype)
    rows = make_sparse_rows(X, weights if weighted else None)
    weights = weights if weighted else np.ones(n)
    dense, mean = X.toarray(), np.zeros(d, dtype)
    centers = np.random.default_rng(2).normal(size=(k, d)).astype(dtype)
    new, distances = np.empty_like(centers), np.empty(n)
    eps = np.finfo(dtype).eps
    with team() as threads:
        update = SparseUpdate(rows, mean, k, threads)
        algorithm = SparseLloyd(rows, mean, k, update, threads)
        for step in range(3):
            changed = algorithm.assign(centers)
            assert step > 0 or changed == n
            squares = reference.squared_distances(dense, centers)
            own = squares[np.arange(n), algorithm.labels]
            assert (own - squares.min(axis=1)).max() <= 8 * (d + 4) * eps * squares.max()
            inertia = algorithm.own_distances(centers, distances)
            assert_allclose(distances, own, rtol=1e-12, atol=1e-12 * squares.max())
            assert_allclose(inertia, weights @ own, rtol=1e-12)
            _, n_empty = update.new_centers(algorithm.labels, centers, new)
            sums, weight = reference.sums(dense, weights, algorithm.labels, k)
            assert_allclose(update.totals.sums, sums, atol=1e-12 * max(1.0, np.abs(sums).max()))
            assert_array_equal(update.totals.weights, weight)
            assert n_empty == np.count_nonzero(weight == 0)
            centers, new = new, centers
        update.refresh(algorithm.labels, new)
        sums, weight = reference.sums(dense, weights, algorithm.labels, k)
        alive = weight > 0
        expected = sums[alive] / weight[alive, None]
        assert_allclose(new[alive], expected, rtol=4 * eps, atol=4 * eps * np.abs(sums).max())


@pytest.mark.parametrize("weighted", [False, True])
def test_seeding_is_the_references(shape: Any, dtype: Any, weighted: bool) -> None:
    n, _, k, _ = shape
    k = min(k, max(1, n // 3))  # the last rows of all are chosen among ties
    X = make_sparse(shape, dtype)
    weights = np.random.default_rng(1).integers(1, 4, size=n).astype(dtype)
    rows = make_sparse_rows(X, weights if weighted else None)
    n_trials = 2 + int(np.log(k))
    with team() as threads:
        found = SparseKMeansPlusPlus(rows, k, threads)
        for seed in range(2):  # its buffers are used again
            expected = reference.greedy_kmeans_plusplus(
                X.toarray(),
                weights if weighted else np.ones(n),
                k,
                np.random.RandomState(seed),
                n_trials,
            )
            assert_array_equal(found.choose(np.random.RandomState(seed)), expected)


def test_variances_of_columns(shape: Any, dtype: Any) -> None:
    X = make_sparse(shape, dtype)
    X.data += dtype(1000)
    expected = X.toarray().astype(np.float64).var(axis=0)
    assert_allclose(column_variances(X), expected, rtol=1e-12)


def test_a_row_has_distance_zero_to_itself(dtype: Any) -> None:
    # What relocation and k-means++ ask for; entries whose sums are never exact.
    X = make_sparse((60, 50, 60, 0.6), dtype)
    centers = X.toarray()
    distances = np.empty(60)
    with team() as threads:
        update = SparseUpdate(make_sparse_rows(X), centers[0] * 0, 60, threads)
        algorithm = SparseLloyd(make_sparse_rows(X), centers[0] * 0, 60, update, threads)
        algorithm.labels[:] = np.arange(60)
        assert algorithm.own_distances(centers, distances) == 0
    assert not distances.any()
    twice = scipy.sparse.vstack([X, X], format="csr")
    _, chosen = kmeans_plusplus(twice, 60, random_state=0)
    assert len(set(chosen % 60)) == 60


def test_ties_go_to_the_lowest_center(dtype: Any) -> None:
    X = make_sparse((50, 20, 1, 0.5), dtype)
    center = np.random.default_rng(0).normal(size=20).astype(dtype)
    for k in (2, 9, 17, 130):
        far = np.full((k, 20), 100, dtype)
        far[1 % k], far[k // 2], far[k - 1] = center, center, center
        with team() as threads:
            algorithm = SparseLloyd(
                make_sparse_rows(X),
                center * 0,
                k,
                SparseUpdate(make_sparse_rows(X), center * 0, k, threads),
                threads,
            )
            algorithm.assign(far)
        assert_array_equal(algorithm.labels, 1)


@compiled_only
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("weighted", [False, True])
def test_fit_is_scikit_learns(init: str, weighted: bool) -> None:
    X = abs(make_sparse((900, 60, 8, 0.2), np.float64))
    weights = np.random.default_rng(1).integers(0, 4, size=900) if weighted else None
    options: dict[str, Any] = {"init": init, "n_init": 3, "random_state": 2}
    theirs = sklearn.cluster.KMeans(8, **options).fit(X, sample_weight=weights)
    ours = KMeans(8, **options).fit(X, sample_weight=weights)
    assert_array_equal(ours.labels_, theirs.labels_)
    assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-12)
    assert_allclose(ours.inertia_, theirs.inertia_)
    assert ours.n_iter_ == theirs.n_iter_
    assert_array_equal(ours.predict(X), theirs.predict(X))
    assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-7)
    assert_allclose(ours.score(X, sample_weight=weights), theirs.score(X, sample_weight=weights))
    for data in (X, X.toarray()):
        assert_array_equal(ours.predict(data), ours.labels_)


@compiled_only
@pytest.mark.parametrize("name", FORMATS)
def test_formats_and_indices(name: str) -> None:
    X = make_sparse((200, 30, 5, 0.2), np.float64)
    expected = KMeans(5, random_state=0).fit(X)
    found = KMeans(5, random_state=0).fit(getattr(scipy.sparse, name)(X))
    assert found.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()
    wide = make_sparse((200, 30, 5, 0.2), np.float64, np.int64)
    found = KMeans(5, random_state=0).fit(wide)
    assert wide.indices.dtype == np.int64
    assert found.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()


@compiled_only
def test_unsorted_and_repeated_entries() -> None:
    X = make_sparse((80, 20, 4, 0.4), np.float64)
    expected = KMeans(4, random_state=0).fit(X)
    # Every entry in two halves, in reverse order.
    counts = np.diff(X.indptr)
    data, indices = [], []
    for row in range(80):
        own = slice(X.indptr[row], X.indptr[row + 1])
        data += [*(X.data[own][::-1] / 2), *(X.data[own] / 2)]
        indices += [*X.indices[own][::-1], *X.indices[own]]
    starts = np.concatenate([[0], np.cumsum(2 * counts)])
    messy = scipy.sparse.csr_array((data, np.array(indices, np.int32), starts), shape=X.shape)
    before = [part.copy() for part in (messy.data, messy.indices, messy.indptr)]
    found = KMeans(4, random_state=0).fit(messy)
    assert found.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()
    for part, was in zip((messy.data, messy.indices, messy.indptr), before, strict=True):
        assert_array_equal(part, was)


@compiled_only
def test_same_bits_for_any_number_of_threads(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X = make_sparse((4000, 200, 40, 0.1), dtype)
    weights = np.random.default_rng(0).random(4000)
    results = set()
    for n_threads in (1, 2, 5):
        monkeypatch.setattr(parallel, "effective_n_threads", lambda n=n_threads: n)
        model = KMeans(40, random_state=0, max_iter=15).fit(X, sample_weight=weights)
        parts = model.cluster_centers_, model.labels_, model.inertia_, model.predict(X)
        results.add(tuple(np.asarray(part).tobytes() for part in parts))
    assert len(results) == 1


@compiled_only
def test_empty_clusters_are_relocated_as_by_scikit_learn() -> None:
    X = abs(make_sparse((60, 10, 6, 0.5), np.float64))
    start = np.full((6, 10), 1000.0)
    start[0], start[1] = X[[0]].toarray(), X[[1]].toarray()
    options: dict[str, Any] = {"init": start, "n_init": 1}
    theirs = sklearn.cluster.KMeans(6, **options).fit(X)
    ours = KMeans(6, **options).fit(X)
    assert_array_equal(ours.labels_, theirs.labels_)
    assert_allclose(ours.cluster_centers_, theirs.cluster_centers_)


@compiled_only
def test_callable_init_receives_the_data_as_they_are() -> None:
    X = make_sparse((50, 8, 3, 0.5), np.float64)
    seen = []

    def init(data: Any, n_clusters: int, random_state: Any) -> Any:
        seen.append(data)
        return data[:n_clusters].toarray()

    k_means(X, 3, init=init, n_init=1)
    assert seen[0] is X


@compiled_only
def test_data_never_become_dense() -> None:
    n, d = 3000, 20_000
    rng = np.random.default_rng(0)
    indices = np.sort(rng.integers(d, size=(n, 5)), axis=1).astype(np.int32).ravel()
    X = scipy.sparse.csr_array((rng.random(5 * n), indices, np.arange(0, 5 * n + 1, 5)), (n, d))
    KMeans(3, random_state=0, max_iter=2).fit(X[:50])
    tracemalloc.start()
    model = KMeans(3, random_state=0, max_iter=3).fit(X)
    model.predict(X)
    model.score(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n * d  # an eighth of the dense data


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"tol": 1e-3, "max_iter": 3},
        {"init": "random", "n_init": 3},
        {"reassignment_ratio": 0.3, "batch_size": 50, "n_clusters": 30, "max_iter": 5},
        {"compute_labels": False},
    ],
)
def test_mini_batches_are_scikit_learns(dtype: Any, weighted: bool, parameters: Any) -> None:
    X = make_sparse((1500, 30, 6, 0.2), dtype)
    weights = np.random.default_rng(1).random(1500) if weighted else None
    settings: dict[str, Any] = {"n_clusters": 6, "random_state": 0, "batch_size": 200, **parameters}
    ours = MiniBatchKMeans(**settings).fit(X, sample_weight=weights)
    assert ours.cluster_centers_.dtype == dtype
    others = [MiniBatchKMeans(**settings).fit(X.toarray(), sample_weight=weights)]
    # In float32 scikit-learn's sums lose too much to end at the same step; 1.6 drew other batches.
    if dtype == np.float64 and parse_version(sklearn.__version__) >= parse_version("1.7"):
        others.append(sklearn.cluster.MiniBatchKMeans(**settings).fit(X, sample_weight=weights))
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    for other in others:
        assert_allclose(ours.cluster_centers_, other.cluster_centers_, atol=tolerance)
        assert ours.n_steps_ == other.n_steps_
        assert ours.inertia_ == pytest.approx(other.inertia_, rel=tolerance)
        if settings.get("compute_labels", True):
            assert_array_equal(ours.labels_, other.labels_)


@compiled_only
def test_sparse_mini_batches_are_the_same_bits_on_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X = make_sparse((6000, 300, 40, 0.1), np.float32)
    fits = []
    for n_threads in (1, 2, 7):
        monkeypatch.setattr(parallel, "effective_n_threads", lambda n=n_threads: n)
        fits.append(MiniBatchKMeans(40, batch_size=3000, random_state=0).fit(X))
    for other in fits[1:]:
        assert_array_equal(other.cluster_centers_, fits[0].cluster_centers_)
        assert_array_equal(other.labels_, fits[0].labels_)
        assert other.inertia_ == fits[0].inertia_


def test_partial_fits_of_sparse_and_dense_batches() -> None:
    X = make_sparse((1200, 30, 6, 0.2), np.float64)
    ours, theirs = (
        kind(6, random_state=0) for kind in (MiniBatchKMeans, sklearn.cluster.MiniBatchKMeans)
    )
    for number, first in enumerate(range(0, 1200, 300)):
        batch = X[first : first + 300]
        ours.partial_fit(batch.toarray() if number == 2 else batch)
        theirs.partial_fit(batch)
        assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-12)
        assert_array_equal(ours.labels_, theirs.labels_)
        assert ours.inertia_ == pytest.approx(theirs.inertia_)


def test_sparse_mini_batches_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    X = make_sparse((2000, 30, 6, 0.2), np.float32)
    settings: dict[str, Any] = {
        "n_clusters": 6,
        "random_state": 0,
        "batch_size": 100,
        "max_iter": 2,
    }
    settings["max_no_improvement"] = None
    whole = MiniBatchKMeans(**settings).fit(X)

    def stop(progress: Any) -> None:
        if progress.iteration == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MiniBatchKMeans(**settings).fit(
            X, callbacks=[stop], checkpoint=tmp_path / "c", checkpoint_every=4
        )
    with pytest.raises(ValueError, match=r"a different fit \(different: data\)"):
        MiniBatchKMeans(**settings).fit(-X, checkpoint=tmp_path / "c", resume=True)
    resumed = MiniBatchKMeans(**settings).fit(X, checkpoint=tmp_path / "c", resume=True)
    assert_array_equal(resumed.cluster_centers_, whole.cluster_centers_)
    assert resumed.n_steps_ == whole.n_steps_


def test_nested_mini_batches_refuse_sparse_rows() -> None:
    with pytest.raises(TypeError, match="X must be a dense array, but it is a sparse csr_array"):
        MiniBatchKMeans(3, algorithm="nested").fit(make_sparse((50, 8, 3, 0.5), np.float64))


# --- Matrices whose arrays have been changed after they were made ---


def malformed() -> dict[str, tuple[Any, str]]:
    """Matrices that SciPy would not make, and what is said about them."""

    def changed(format: str, **arrays: Any) -> Any:
        X = scipy.sparse.csr_array(np.eye(6, 5) + np.eye(6, 5, 1)).asformat(format)
        for name, change in arrays.items():
            array = getattr(X, name).copy()
            result = change(array)
            setattr(X, name, array if result is None else result)
        return X

    def put(place: int, value: Any) -> Any:
        return lambda array: array.__setitem__(place, value)

    lengths, pointers = (
        "must be of one length and X.indptr of length",
        "must begin at 0, never fall",
    )
    columns = r"X.indices must be from 0 to 4, but they are from -?\d+ to \d+"
    cases: dict[str, tuple[Any, str]] = {
        "column too large": (changed("csr", indices=put(3, 50_000_000)), columns),
        "column one too large": (changed("csr", indices=put(-1, 5)), columns),
        "negative column": (changed("csr", indices=put(0, -1)), columns),
        "column of int64": (
            changed("csr", indices=lambda a: a.astype(np.int64) + 2**40), columns
        ),
        "falling": (changed("csr", indptr=put(2, 9)), pointers),
        "falling below zero": (changed("csr", indptr=put(2, -(2**31))), pointers),
        "not from zero": (changed("csr", indptr=put(0, 1)), pointers),
        "negative begin": (changed("csr", indptr=put(0, -5)), pointers),
        "end too large": (changed("csr", indptr=put(-1, 10**6)), pointers),
        "pointers of int64": (
            changed("csr", indptr=lambda a: np.r_[a[:-1].astype(np.int64), 2**60]), pointers
        ),
        "fewer pointers": (changed("csr", indptr=lambda a: a[:-1]), lengths),
        "more pointers": (changed("csr", indptr=lambda a: np.append(a, a[-1])), lengths),
        "no pointers": (changed("csr", indptr=lambda a: a[:0]), lengths),
        "fewer numbers": (changed("csr", data=lambda a: a[:-3]), lengths),
        "fewer columns": (changed("csr", indices=lambda a: a[:-3]), lengths),
        "numbers in a table": (changed("csr", data=lambda a: a.reshape(-1, 1)), lengths),
        "columns that are floats": (
            changed("csr", indices=lambda a: a.astype(float)), "X.indices must be a vector of int32"
        ),
        "columns in a table": (
            changed("csr", indices=lambda a: a.reshape(1, -1)), "X.indices must be a vector of int"
        ),
        "csc": (changed("csc", indices=put(3, 10**7)), "X.indices must be from 0 to 5, but"),
        "csc, falling": (changed("csc", indptr=put(2, 9)), pointers),
        "coo": (changed("coo", col=put(3, 10**7)), "X.col must be from 0 to 4, but it is from"),
        "coo, negative": (changed("coo", row=put(0, -1)), "X.row must be from 0 to 5, but it"),
        "coo, short": (changed("coo", row=lambda a: a[:-1]), "X.row must be integers, as many as"),
        "lil": (changed("lil", rows=put(0, [10**7, 10**7 + 1])), columns),
    }  # fmt: skip
    blocks = scipy.sparse.bsr_array(np.ones((6, 4)), blocksize=(2, 2))
    blocks.indices = blocks.indices + 10**7
    cases["bsr"] = (blocks, "X.indices must be from 0 to 1, but")
    return cases


ENTRIES: dict[str, Any] = {
    "KMeans.fit": lambda X: KMeans(2).fit(X),
    "KMeans.fit, random": lambda X: KMeans(2, init="random").fit(X),
    "KMeans.predict": lambda X: FITTED["KMeans"].predict(X),
    "KMeans.transform": lambda X: FITTED["KMeans"].transform(X),
    "KMeans.score": lambda X: FITTED["KMeans"].score(X),
    "BisectingKMeans.fit": lambda X: BisectingKMeans(2).fit(X),
    "BisectingKMeans.predict": lambda X: FITTED["BisectingKMeans"].predict(X),
    "MiniBatchKMeans.fit": lambda X: MiniBatchKMeans(2).fit(X),
    "MiniBatchKMeans.partial_fit": lambda X: MiniBatchKMeans(2).partial_fit(X),
    "MiniBatchKMeans.partial_fit, again": lambda X: clone_fitted("MiniBatchKMeans").partial_fit(X),
    "MiniBatchKMeans.predict": lambda X: FITTED["MiniBatchKMeans"].predict(X),
    "k_means": lambda X: k_means(X, 2),
    "kmeans_plusplus": lambda X: kmeans_plusplus(X, 2),
}
FITTED: dict[str, Any] = {}


def clone_fitted(name: str) -> Any:
    return copy.deepcopy(FITTED[name])


@pytest.fixture(scope="module", autouse=True)
def fitted_models() -> None:
    rows = scipy.sparse.csr_array(np.eye(6, 5))
    for kind in (KMeans, MiniBatchKMeans, BisectingKMeans):
        FITTED[kind.__name__] = kind(2, random_state=0).fit(rows)


@pytest.mark.parametrize("entry", ENTRIES)
def test_malformed_matrices_are_refused(entry: str) -> None:
    """At every entry; in this process, as nothing follows an index before it has been checked."""
    for name, (X, message) in malformed().items():
        if entry.endswith(("predict", "transform", "score", "again")) and X.shape[1] != 5:
            continue
        with pytest.raises(ValueError, match=message):
            print(name, ENTRIES[entry](X))


def test_no_check_follows_what_it_checks() -> None:
    """Every number of indices and pointers, put to what it may not be, against a slow check."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 4, 12)
    indptr = np.r_[0, np.cumsum(sizes)].astype(np.int32)
    indices = np.concatenate([rng.choice(6, size, replace=False) for size in sizes])

    def expected(indices: Any, indptr: Any) -> int:
        indptr = indptr.astype(np.int64)
        if indptr[0] != 0 or (np.diff(indptr) < 0).any() or indptr[-1] > len(indices):
            return BAD_POINTERS
        inside = indices[: indptr[-1]]
        if ((inside < 0) | (inside >= 6)).any():
            return BAD_INDICES
        rows = np.split(inside, indptr[1:-1])
        return CANONICAL if all((np.diff(row) > 0).all() for row in rows) else UNORDERED

    seen = set()
    for index in (np.int32, np.int64):
        for array in (0, 1):
            for place in range((len(indices), len(indptr))[array]):
                for value in (-(2**31), -1, 0, 1, 5, 6, 2**31 - 1):
                    arrays = [indices.astype(index), indptr.astype(index)]
                    arrays[array][place] = value
                    seen.add(expected(*arrays))
                    assert structure(*arrays, 6) == expected(*arrays)
        rows = [np.sort(row) for row in np.split(indices, indptr[1:-1])]
        ordered = np.concatenate(rows).astype(index)
        assert structure(ordered, indptr, 6) == expected(ordered, indptr) == CANONICAL
        seen.add(CANONICAL)
    assert seen == {CANONICAL, UNORDERED, BAD_POINTERS, BAD_INDICES}


@pytest.mark.parametrize("entry", ["fit", "predict", "score", "transform"])
def test_what_scipy_remembers_of_the_order_is_not_believed(entry: str) -> None:
    """Of a matrix that was in order before its columns were changed."""
    dense = np.round(np.random.default_rng(0).normal(size=(60, 5)) * 4)
    X = scipy.sparse.csr_array(dense)
    assert X.has_canonical_format
    for row in range(60):  # the columns of each row the other way round
        own = slice(X.indptr[row], X.indptr[row + 1])
        X.indices[own], X.data[own] = X.indices[own][::-1].copy(), X.data[own][::-1].copy()
    twice = scipy.sparse.csr_array(dense)
    assert twice.has_canonical_format
    twice.indptr = twice.indptr * 2  # each number in two halves, which only exact sums make whole
    twice.indices, twice.data = np.repeat(twice.indices, 2), np.repeat(twice.data / 2, 2)
    model = KMeans(4, random_state=0).fit(scipy.sparse.csr_array(dense))
    for other in [X] if entry == "transform" else [X, twice]:
        before = [array.copy() for array in (other.data, other.indices, other.indptr)]
        if entry == "fit":
            ours = KMeans(4, random_state=0).fit(other)
            assert_array_equal(ours.labels_, model.labels_)
            assert_array_equal(ours.cluster_centers_, model.cluster_centers_)
        else:
            ours, expected = (getattr(model, entry)(rows) for rows in (other, dense))
            assert_allclose(ours, expected, rtol=1e-7)
        for array, old in zip((other.data, other.indices, other.indptr), before, strict=True):
            assert_array_equal(array, old)


def test_room_behind_the_last_row_is_not_read() -> None:
    dense = np.round(np.random.default_rng(0).normal(size=(60, 5)) * 4)
    X, roomy = scipy.sparse.csr_array(dense), scipy.sparse.csr_array(dense)
    roomy.data = np.r_[X.data, np.full(9, 1e6)]
    roomy.indices = np.r_[X.indices, np.full(9, 3, np.int32)]
    strided = scipy.sparse.csr_array(dense)
    strided.data, strided.indices = np.repeat(X.data, 2)[::2], np.repeat(X.indices, 2)[::2]
    assert not strided.indices.flags.c_contiguous
    for other in (roomy, strided):
        for kind in (KMeans, MiniBatchKMeans, BisectingKMeans):
            ours, expected = (kind(4, random_state=0).fit(rows) for rows in (other, X))
            assert_array_equal(ours.labels_, expected.labels_)
            assert_array_equal(ours.cluster_centers_, expected.cluster_centers_)
            assert_array_equal(ours.predict(other), expected.predict(X))
    assert len(roomy.data) == len(X.data) + 9
