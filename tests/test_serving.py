"""Models that are asked again and again: the same labels as ever, and exact distances."""

import copy
import pickle
import threading

import numpy as np
import pytest
import scipy.sparse
from conftest import make_problem
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from fastclust import BisectingKMeans, KMeans, MiniBatchKMeans
from fastclust.centroids import assigned
from fastclust.kernels.distances import agree
from fastclust.kernels.machine.parallel import team
from fastclust.kernels.reference import squared_distances
from fastclust.kernels.serving import FEW_ROWS, DenseCenters, all_finite
from fastclust.kernels.sparse_minibatch import SparseMiniBatches
from fastclust.kernels.tiles import make_rows


def model_of(centers, kind=KMeans, **options):
    """A model with these very centers."""
    model = kind(len(centers), init=centers, n_init=1, max_iter=1, **options)
    model.fit(centers)
    model.cluster_centers_ = centers
    return model


def exact(X, centers):
    """Distances in extended precision."""
    X, centers = np.asarray(X, np.longdouble), np.asarray(centers, np.longdouble)
    return np.sqrt(((X[:, None] - centers) ** 2).sum(axis=2))


# --- Labels ----------------------------------------------------------------------------------


def test_labels_are_the_bits_of_lloyd_s_however_many_rows_come_together(shape, dtype):
    X, _, centers = make_problem(shape, dtype, offset=7.0)
    packed = DenseCenters(centers, dtype)
    model = model_of(centers)
    with team(1) as threads:
        expected = assigned(make_rows(X), packed.centred, packed.mean, threads).labels[: len(X)]
    assert_array_equal(model.predict(X), expected)
    for size in (1, 3, FEW_ROWS, FEW_ROWS + 1):
        some = min(len(X), 4 * size)
        found = [model.predict(X[first : first + size]) for first in range(0, some, size)]
        assert_array_equal(np.concatenate(found)[:some], expected[:some])
    assert_array_equal(model.predict(X[-1:]), expected[-1:])


def test_ties_go_to_the_lowest_center_for_rows_that_come_alone(dtype):
    for d in (2, 120):
        centers = np.zeros((5, d), dtype)
        centers[:, 0] = [3, 1, -1, 1, -1]
        assert_array_equal(model_of(centers).predict(np.zeros((3, d), dtype)), [1, 1, 1])


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
@pytest.mark.parametrize("sparse", [False, True])
def test_centers_may_be_set_and_written_to_between_calls(kind, sparse, dtype):
    X, _, centers = make_problem((97, 9, 7), dtype)
    rows = scipy.sparse.csr_array(X) if sparse else X
    model = model_of(centers.copy(), kind)

    def check():
        fresh = model_of(model.cluster_centers_.copy(), kind)
        expected = squared_distances(X, model.cluster_centers_)
        assert_array_equal(model.predict(rows), expected.argmin(axis=1))
        assert_array_equal(model.predict(rows[:1]), expected[:1].argmin(axis=1))
        assert_allclose(model.transform(rows), np.sqrt(expected), rtol=1e-5)
        assert model.score(rows) == fresh.score(rows)

    check()
    model.cluster_centers_[2, 3] += 1
    check()
    model.cluster_centers_[[0, 1]] = model.cluster_centers_[[1, 0]]
    check()
    model.cluster_centers_ *= -1
    check()
    model.cluster_centers_ = np.asfortranarray(centers[::-1])
    check()
    model.cluster_centers_ = centers[:4].astype(np.float64)
    check()


def test_models_that_are_copied_go_their_own_ways():
    X, _, centers = make_problem((60, 3, 5), np.float64)
    model = model_of(centers)
    before = pickle.dumps(model), set(vars(model))
    labels = model.predict(X)
    assert (pickle.dumps(model), set(vars(model))) == before
    others = [copy.deepcopy(model), pickle.loads(before[0]), clone(model).fit(centers)]
    for other in others:
        other.cluster_centers_ = centers[::-1].copy()
        assert_array_equal(other.predict(X), 4 - labels)
        assert_array_equal(model.predict(X), labels)


def test_models_that_are_gone_leave_nothing_behind():
    from fastclust.serving import _kept

    before = len(_kept)
    models = [model_of(make_problem((9, 2, 3), np.float64, seed=s).centers) for s in range(5)]
    for model in models:
        model.predict([[0.0, 0.0]])
    assert len(_kept) == before + 5
    del model, models
    assert len(_kept) == before


def test_a_model_may_be_asked_by_several_threads_while_another_changes():
    X, _, centers = make_problem((200, 4, 6), np.float64)
    model, other = model_of(centers), model_of(centers.copy())
    expected = model.predict(X), model.transform(X)
    wrong = []

    def ask(size):
        for turn in range(100):
            first = turn % (len(X) - size)
            here = slice(first, first + size)
            other.cluster_centers_ = centers + turn
            if not (
                np.array_equal(model.predict(X[here]), expected[0][here])
                and np.array_equal(model.transform(X[here]), expected[1][here])
            ):
                wrong.append(size)

    threads = [threading.Thread(target=ask, args=(size,)) for size in (1, 1, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- Rows that are refused ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("n", [1, 500])
def test_numbers_that_are_not_finite_are_refused(method, value, n, dtype):
    _, _, centers = make_problem((30, 5, 4), dtype)
    model = model_of(centers)
    X = np.ones((n, 5), dtype)
    for place in [(0, 0), (n - 1, 4), (n // 2, 2)]:
        bad = X.copy()
        bad[place] = value
        for rows in (bad, np.asfortranarray(bad), scipy.sparse.csr_matrix(bad)):
            with pytest.raises(ValueError, match="Input X contains"):
                getattr(model, method)(rows)
    assert np.isfinite(getattr(model, method)(X)).all()


def test_all_numbers_are_looked_at():
    with team() as threads:
        for size in (1, 65_536, 65_537, 200_000):
            values = np.ones(size)
            assert all_finite(values, threads)
            values[-1] = np.nan
            assert not all_finite(values, threads)


@pytest.mark.parametrize("X", [np.ones((2, 3)), np.ones(4), np.ones((0, 4))])
def test_rows_of_another_shape_are_refused(X):
    model = model_of(make_problem((30, 4, 4), np.float64).centers)
    for rows in [X] + [scipy.sparse.csr_matrix(X)] * (X.ndim == 2):
        with pytest.raises(ValueError, match=r"features|2D array|minimum of 1"):
            model.predict(rows)


# --- Distances ---------------------------------------------------------------------------------


def test_distances_are_exact_and_smallest_for_the_label(shape, dtype):
    X, _, centers = make_problem(shape, dtype, duplicates=True)
    model = model_of(centers)
    found = model.transform(X)
    assert found.dtype == dtype
    labels, expected = model.predict(X), exact(X, centers)
    rounding = 2 * np.finfo(dtype).eps + X.shape[1] * np.finfo(np.float64).eps
    # That of the label gives way, where scores in the rows' precision cannot tell two centers.
    moved = ~np.isclose(found, expected.astype(float), rtol=rounding, atol=0)
    moved[np.arange(len(X)), labels] = False
    assert not moved.any()
    assert_allclose(found, expected, rtol=np.sqrt(np.finfo(dtype).eps))
    # But not by more than that: two centers beside one row, far from the mean, are told in float64.
    squares = expected.astype(float) ** 2
    missed = squares[np.arange(len(X)), labels] - squares.min(axis=1)
    lengths = ((X - centers.mean(axis=0)) ** 2).sum(axis=1)
    others = found.argmin(axis=1) != labels
    assert (missed <= (X.shape[1] + 6) * np.finfo(dtype).eps * 9 * lengths)[others].all()
    assert dtype == np.float32 or not others.any()
    for size in (1, 3, 5, 65):
        assert model.transform(X[:size]).tobytes() == found[:size].tobytes()
    assert_array_equal(model.transform(centers).diagonal(), np.zeros(len(centers)))


@pytest.mark.parametrize("offset", [1e9, 1e12])
def test_distances_far_from_zero_are_those_of_differences(offset, dtype):
    X = (np.random.default_rng(0).normal(size=(300, 3)) * 1000 + offset).astype(dtype)
    model = KMeans(8, random_state=0).fit(X)
    found = model.transform(X)
    assert_allclose(found, exact(X, model.cluster_centers_), rtol=4 * np.finfo(dtype).eps)
    assert_array_equal(found.argmin(axis=1), model.predict(X))


def test_squares_that_leave_float32_do_not_spoil_its_distances():
    for scale in (1e-30, 1e30):
        centers = np.array([[0, 1], [3, 1], [0, 0]], np.float32) * np.float32(scale)
        found = model_of(centers).transform(centers)
        assert_allclose(found, exact(centers, centers), rtol=1e-6)


def test_the_smallest_distance_is_the_label_s_where_rounding_decides():
    rng = np.random.default_rng(0)
    for seed in range(20):
        X = rng.integers(0, 4, size=(200, 3)).astype(float)
        centers = X[rng.permutation(200)[:9]] + rng.integers(0, 3, size=(9, 3)) / 3
        model = model_of(centers, random_state=seed)
        for rows in (X, scipy.sparse.csr_array(X)):
            found = model.transform(rows)
            labels = model.predict(rows)
            assert_array_equal(found.argmin(axis=1), labels)
            assert_allclose(found, exact(X, centers), rtol=1e-7, atol=1e-15)
            # Labels that nobody asked for would have changed nothing.
            agreed = found.copy()
            agree(np.ones(len(X), np.bool_), labels.take, X.dtype, agreed)
            assert agreed.tobytes() == found.tobytes()


def test_sparse_distances_are_exact(shape, dtype):
    n, d, k = shape
    index = np.int64 if n % 2 else np.int32
    rng = np.random.default_rng([n, d, k])
    X = np.where(rng.random((n, d)) < 0.3, rng.normal(size=(n, d)), 0).astype(dtype)
    centers = X[rng.permutation(n)[:k]] * dtype(0.9)
    centers[: k // 2] += rng.normal(size=(k // 2, d)).astype(dtype)
    rows = scipy.sparse.csr_array(X)
    rows.indices, rows.indptr = rows.indices.astype(index), rows.indptr.astype(index)
    model = model_of(centers)
    found = model.transform(rows)
    assert found.dtype == dtype
    rounding = 2 * np.finfo(dtype).eps + d * np.finfo(np.float64).eps
    assert_allclose(found, exact(X, centers), rtol=rounding, atol=1e-150)
    away = np.diff(np.sort(exact(X, centers), axis=1)[:, :2]).min(axis=1, initial=1) > 1e-4
    assert_array_equal(found.argmin(axis=1)[away], model.predict(rows)[away])


def test_sparse_duplicates_are_summed():
    X = scipy.sparse.csr_matrix(([1.0, 1.0, 2.0], [0, 0, 1], [0, 2, 3]), (2, 3))
    model = model_of(np.array([[1.0, 0, 0], [0, 2.0, 0]]))
    assert_array_equal(model.transform(X), [[1, np.sqrt(8)], [np.sqrt(5), 0]])


def test_a_huge_column_does_not_blur_the_others_of_sparse_rows():
    # What centers have where a row has no entry is the rest of a norm of 10¹⁸.
    rng = np.random.default_rng(0)
    X = np.where(rng.random((50, 40)) < 0.2, rng.normal(size=(50, 40)), 0)
    X[:, 0] = 1e9 + np.arange(50) % 3
    centers = X[:10] + rng.normal(size=(10, 40)) * 0.1
    found = model_of(centers).transform(scipy.sparse.csr_matrix(X))
    assert_allclose(found, exact(X, centers), rtol=1e-14)


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans, BisectingKMeans])
def test_all_estimators_transform_alike(kind, tmp_path):
    X, _, _ = make_problem((300, 6, 5), np.float64, offset=1e6)
    model = kind(5, random_state=0)
    found = model.fit_transform(X)
    assert_allclose(found, exact(X, model.cluster_centers_), rtol=1e-14)
    assert model.transform(lambda: iter([X[:100], X[100:]])).tobytes() == found.tobytes()
    np.save(tmp_path / "rows.npy", X)
    assert model.transform(tmp_path / "rows.npy").tobytes() == found.tobytes()
    if kind is not BisectingKMeans:  # whose labels need not be the nearest centers
        assert_array_equal(found.argmin(axis=1), model.labels_)
    own = found[np.arange(len(X)), model.predict(X)]
    assert -model.score(X) == pytest.approx((own**2).sum())


def test_distances_are_the_same_bits_for_any_number_of_threads():
    X, _, centers = make_problem((3000, 33, 64), np.float64)
    model = model_of(centers)
    found = []
    for count in (1, 2, 5):
        with team(count) as threads:
            from fastclust.preparation import open_once
            from fastclust.serving import Centers

            out = np.empty((len(X), len(centers)))
            own = Centers(centers)
            own.distances(open_once(X), lambda few: model.predict(X[few]), threads, out)
            found.append(out.tobytes())
    assert found == [model.transform(X).tobytes()] * 3


# --- Batches of sparse rows ----------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.01, 0.5])
def test_a_batch_with_few_columns_moves_centers_to_the_same_bits(monkeypatch, dtype, ratio):
    rng = np.random.default_rng(0)
    batches = [
        scipy.sparse.random(30, 3000, 0.003, "csr", dtype=dtype, random_state=rng) for _ in range(6)
    ]
    batches[3] = scipy.sparse.csr_matrix((30, 3000), dtype=dtype)  # without an entry
    batches[2].indices[:2] = 7  # in one row, summed
    weights = rng.integers(0, 3, size=30).astype(dtype)

    def run():
        model = MiniBatchKMeans(8, random_state=0, reassignment_ratio=ratio)
        for batch in batches:
            model.partial_fit(batch).partial_fit(batch, sample_weight=weights)
        return [model.cluster_centers_, model.counts_, model.labels_, model.inertia_]

    found = run()
    monkeypatch.setattr("fastclust.minibatch.FewColumns", SparseMiniBatches)
    for part, expected in zip(found, run(), strict=True):
        assert np.asarray(part).tobytes() == np.asarray(expected).tobytes()


@pytest.mark.parametrize("n_features", [5, 3000])
def test_a_batch_leaves_centers_that_somebody_holds_alone(n_features, dtype):
    X = scipy.sparse.random(30, n_features, 0.3, "csr", dtype=dtype, random_state=0)
    X = X if n_features == 5 else X.multiply(np.arange(n_features) % 100 == 0).tocsr()
    model = MiniBatchKMeans(4, random_state=0).partial_fit(X)
    before = model.cluster_centers_
    held = before.copy()
    model.partial_fit(X[:10])
    assert_array_equal(before, held)
    assert (model.cluster_centers_ != held).any()


@pytest.mark.parametrize("algorithm", [KMeans, MiniBatchKMeans])
@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
def test_a_fit_leaves_the_centers_it_starts_from_alone(algorithm, kind, dtype):
    X = np.random.default_rng(0).random((200, 6)).astype(dtype)
    init = X[:4].copy()
    algorithm(4, init=init, n_init=1, random_state=0).fit(kind(X))
    assert (init == X[:4]).all()
