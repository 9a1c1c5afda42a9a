"""silhouette_samples and silhouette_score: against the definition, scikit-learn, and themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.metrics
from conftest import make_problem
from numba import config
from numpy.testing import assert_allclose, assert_array_equal

from fastclust import silhouette_samples, silhouette_score
from fastclust.kernels import reference, silhouette
from fastclust.kernels.machine import parallel
from fastclust.validation import Unsupported

# n, d, clusters: single features, ragged tiles and chunks, nearly as many clusters as rows.
SHAPES = [
    (3, 1, 2),
    (64, 2, 3),
    (65, 3, 64),
    (130, 7, 4),
    (200, 33, 9),
    (1000, 2, 5),
    (97, 200, 50),
    (700, 300, 3),
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))


def labelled(shape: tuple[int, int, int], dtype: Any, offset: float = 0.0) -> tuple[Any, Any]:
    """Rows, and clusters of all sizes in no order."""
    n, d, k = shape
    X = make_problem((n, d, min(k, n)), dtype, offset=offset).X
    labels = np.minimum(np.random.default_rng(n).geometric(0.3, n) - 1, k - 1)
    labels[:k] = np.arange(k)
    return X, np.random.default_rng(d).permutation(labels)


@each_shape
def test_as_defined(shape: Any, dtype: Any) -> None:
    X, labels = labelled(shape, dtype)
    found = silhouette_samples(X, labels)
    assert found.dtype == dtype
    atol = 1e-12 if dtype == np.float64 else 1e-5
    assert_allclose(found, reference.silhouettes(X, labels), atol=atol)
    assert_allclose(found, sklearn.metrics.silhouette_samples(X, labels), atol=1e-5)
    assert silhouette_score(X, labels) == float(np.mean(found))


def test_far_from_the_origin() -> None:
    # Where products of rows would lose what differences keep.
    X, labels = labelled((300, 5, 4), np.float64, offset=2.0**30)
    assert_allclose(silhouette_samples(X, labels), reference.silhouettes(X, labels), atol=1e-12)


@pytest.mark.parametrize("scale", [2.0**100, 2.0**-100])
def test_scale_changes_nothing(scale: float, dtype: Any) -> None:
    X, labels = labelled((150, 4, 3), dtype)
    found = silhouette_samples(X * dtype(scale), labels)
    assert_allclose(found, silhouette_samples(X, labels), atol=1e-5)


def test_order_of_rows_and_names_of_labels_do_not_matter() -> None:
    X, labels = labelled((200, 6, 5), np.float64)
    expected = silhouette_samples(X, labels)
    order = np.random.default_rng(0).permutation(200)
    assert_allclose(silhouette_samples(X[order], labels[order]), expected[order], atol=1e-12)
    names = np.array(["ape", "bee", "cow", "dog", "eel"])[labels]
    assert_array_equal(silhouette_samples(X, names), expected)
    assert_array_equal(silhouette_samples(X.tolist(), list(names)), expected)


def silhouettes(X: Any, *labelings: Any, n_threads: int = 1) -> Any:
    """Of several labelings, by the kernel itself."""
    sizes = [np.bincount(labels) for labels in labelings]
    with parallel.team(n_threads) as threads:
        return silhouette.silhouettes(X, X.mean(axis=0), np.stack(labelings), sizes, threads)


@pytest.mark.skipif(config.DISABLE_JIT, reason="one thread")
@pytest.mark.parametrize("limit", ["", "MOST_WORK", "MOST_SUMS"])
@pytest.mark.parametrize("shape", [(1500, 9, 7), (1100, 150, 7)], ids=["9", "150"])
def test_same_bits_for_any_number_of_threads(
    limit: str, shape: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However many tiles one call of the kernel is given, and where sums find no room, too.
    if limit:
        monkeypatch.setattr(silhouette, limit, 1)
    if limit == "MOST_SUMS":
        monkeypatch.setattr(silhouette, "most_sums", lambda X: 1)
    X, labels = labelled(shape, dtype)
    results = {silhouettes(X, labels, n_threads=n).tobytes() for n in (1, 2, 7)}
    assert len(results) == 1
    expected = reference.silhouettes(X, labels)
    found = np.frombuffer(results.pop())
    assert_allclose(found, expected, atol=1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("n_features", [3, 40])
@pytest.mark.parametrize("room", [silhouette.MOST_SUMS, 7 * 400])
def test_labelings_do_not_depend_on_each_other(
    room: int, n_features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where only some of them have room beside each other, and one has none at all, too.
    monkeypatch.setattr(silhouette, "most_sums", lambda X: room)
    X, _ = labelled((400, n_features, 3), np.float64)
    labelings = [np.random.default_rng(k).permutation(np.arange(400) % k) for k in (2, 3, 5, 9, 4)]
    alone = [silhouettes(X, labels)[0] for labels in labelings]
    assert_array_equal(silhouettes(X, *labelings), alone)
    for labels, values in zip(labelings, alone, strict=True):
        assert_allclose(values, reference.silhouettes(X, labels), atol=1e-12)


@pytest.mark.parametrize("n_features", [23, 24, 130])
def test_tight_clusters_far_apart(n_features: int, dtype: Any) -> None:
    # Two of three clusters are near each other: products alone would lose what is between them.
    random = np.random.default_rng(n_features)
    centers = np.stack([np.zeros(n_features), np.full(n_features, 2.0**-14), np.ones(n_features)])
    labels = np.arange(190) % 3
    X = (centers[labels] + 2.0**-16 * random.standard_normal((190, n_features))).astype(dtype)
    X[30:60] = X[:30]  # and many rows are in one place
    expected = reference.silhouettes(X.astype(np.float64), labels)
    assert 0.1 < expected[labels == 0].mean() < 0.9
    atol = 1e-10 if dtype == np.float64 else 2e-5
    assert_allclose(silhouette_samples(X, labels), expected, atol=atol)


@pytest.mark.parametrize("n_tiles", [1, 2, 15, 16, 17, 64, 79, 500])
def test_each_pair_of_tiles_meets_once_and_no_band_plays_twice(n_tiles: int) -> None:
    met = np.zeros((n_tiles, n_tiles), np.int64)
    for games in silhouette._tournament(n_tiles, 100):
        playing = []
        for first, stop, others, end, both in games:
            assert both
            met[first:stop, others:end] += 1
            if first != others:
                met[others:end, first:stop] += 1
                playing += list(range(others, end))
            playing += list(range(first, stop))
        assert len(playing) == len(set(playing))
    assert (met == 1).all()


def test_rows_alone_and_rows_in_one_place() -> None:
    X = np.array([[0.0], [0.0], [0.0], [0.0], [5.0]])
    assert_array_equal(silhouette_samples(X, [0, 0, 1, 1, 2]), np.zeros(5))


@pytest.mark.parametrize("sample_size", [50, 150, 1000])
def test_sample_is_scikit_learns(sample_size: int) -> None:
    X, labels = labelled((200, 6, 3), np.float64)
    options: dict[str, Any] = {"sample_size": sample_size, "random_state": 3}
    expected = sklearn.metrics.silhouette_score(X, labels, **options)
    assert_allclose(silhouette_score(X, labels, **options), expected)


X, LABELS = labelled((40, 3, 4), np.float64)
NUMBER = r"Number of labels is {}. Valid values are 2 to n_samples - 1 \(inclusive\)"
BAD: dict[str, tuple[Any, Any, dict[str, Any], type[Exception], str]] = {
    "one cluster": (X, 0 * LABELS, {}, ValueError, NUMBER.format(1)),
    "all alone": (X, np.arange(40), {}, ValueError, NUMBER.format(40)),
    "nan": (X * np.nan, LABELS, {}, ValueError, "Input X contains NaN"),
    "one nan": (np.where(np.arange(3) == 2, np.nan, X), LABELS, {}, ValueError, "contains NaN"),
    "one infinity": (np.where(np.arange(3) == 1, np.inf, X), LABELS, {}, ValueError, "infinity"),
    "too few labels": (
        X,
        LABELS[1:],
        {},
        ValueError,
        r"inconsistent numbers of samples: \[40, 39\]",
    ),
    "labels with nan": (X, LABELS * np.nan, {}, ValueError, "Input y contains NaN"),
    "1-D": (X[:, 0], LABELS, {}, ValueError, "Expected 2D array, got 1D array"),
    "too large": (X * 1e200, LABELS, {}, ValueError, "scale X down"),
    "sparse": (scipy.sparse.csr_array(X), LABELS, {}, Unsupported, "X must be a dense array"),
    "manhattan": (
        X,
        LABELS,
        {"metric": "manhattan"},
        Unsupported,
        "metric must be .* it is 'manhattan'",
    ),
    "callable": (X, LABELS, {"metric": max}, Unsupported, "metric must be 'euclidean'"),
    "parameters": (X, LABELS, {"p": 3}, Unsupported, "must have no parameters.*: p"),
}
BAD_SCORE = BAD | {
    "no sample": (X, LABELS, {"sample_size": 0}, ValueError, "sample_size must be at least 1"),
    "a fraction": (X, LABELS, {"sample_size": 0.5}, TypeError, "sample_size must be an integer"),
    "seed": (X, LABELS, {"sample_size": 9, "random_state": "x"}, ValueError, "random_state must"),
}


@pytest.mark.parametrize(("data", "labels", "options", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input(
    data: Any, labels: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        silhouette_samples(data, labels, **options)


@pytest.mark.parametrize(
    ("data", "labels", "options", "error", "message"), BAD_SCORE.values(), ids=BAD_SCORE
)
def test_bad_input_of_the_score(
    data: Any, labels: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        silhouette_score(data, labels, **options)
