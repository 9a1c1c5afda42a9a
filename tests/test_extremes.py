"""Data at the ends of what floats can say, and arrays of every layout."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.mixture
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning

from fastclust import (
    BayesianGaussianMixture,
    BisectingKMeans,
    GaussianMixture,
    KMeans,
    MiniBatchKMeans,
    kmeans_plusplus,
)

X, _ = make_blobs(400, 4, centers=5, random_state=0)
CLASSES = [KMeans, MiniBatchKMeans, BisectingKMeans]
each_class = pytest.mark.parametrize("kind", CLASSES)
each_mixture = pytest.mark.parametrize("kind", [GaussianMixture, BayesianGaussianMixture])
each_covariance = pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])


def fitted(kind: Any, data: Any, k: int = 5, **options: Any) -> Any:
    """A fit that must not warn of anything numerical."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        return kind(k, random_state=0, **options).fit(data)


@each_class
@pytest.mark.parametrize("scale", [2.0**100, 2.0**-100, 2.0**20])
@pytest.mark.parametrize("sparse", [False, True])
def test_scale_changes_nothing(kind: Any, scale: float, sparse: bool, dtype: Any) -> None:
    # 2^±100 squared is beyond float32; the clusters are those of the very same data.
    make = scipy.sparse.csr_array if sparse else np.asarray
    plain = X.astype(dtype)
    new = plain[::-1] + dtype(0.5)
    expected = fitted(kind, make(plain), tol=0)
    found = fitted(kind, make(plain * dtype(scale)), tol=0)
    assert_array_equal(found.labels_, expected.labels_)
    assert found.cluster_centers_.dtype == dtype
    rtol = 1e-5 if dtype == np.float32 else 1e-10
    assert_allclose(found.cluster_centers_ / dtype(scale), expected.cluster_centers_, rtol=rtol)
    assert_allclose(found.inertia_ / scale**2, expected.inertia_, rtol=rtol)
    scaled = make(new * dtype(scale))
    assert_array_equal(found.predict(scaled), expected.predict(make(new)))
    assert_allclose(found.score(scaled) / scale**2, expected.score(make(new)), rtol=rtol)


@pytest.mark.parametrize("scale", [2.0**100, 2.0**-100])
@pytest.mark.parametrize("sparse", [False, True])
def test_scale_does_not_change_what_is_drawn(scale: float, sparse: bool, dtype: Any) -> None:
    make = scipy.sparse.csr_array if sparse else np.asarray
    plain = X.astype(dtype)
    centers, rows = kmeans_plusplus(make(plain * dtype(scale)), 9, random_state=0)
    assert_array_equal(rows, kmeans_plusplus(make(plain), 9, random_state=0)[1])
    assert_array_equal(centers, plain[rows] * dtype(scale))


@pytest.mark.parametrize("scale", [2.0**100, 2.0**-100])
def test_scale_of_batches_that_are_given(scale: float, dtype: Any) -> None:
    plain = X.astype(dtype)
    expected, found = MiniBatchKMeans(5, random_state=0), MiniBatchKMeans(5, random_state=0)
    for batch in np.split(plain, 4):
        expected.partial_fit(batch)
        found.partial_fit(batch * dtype(scale))
        assert_array_equal(found.labels_, expected.labels_)
    assert_allclose(found.cluster_centers_ / scale, expected.cluster_centers_, rtol=1e-5)
    assert_array_equal(found.predict(plain * dtype(scale)), expected.predict(plain))
    with pytest.raises(ValueError, match=r"X and sample_weight must be small enough .* scale one"):
        found.partial_fit(np.full((5, 4), np.finfo(found.cluster_centers_.dtype).max))


def test_scale_of_files_that_mini_batches_read(tmp_path: Path) -> None:
    huge = X.astype(np.float32) * np.float32(2.0**100)
    np.save(tmp_path / "X.npy", np.asfortranarray(huge))
    read, held = (MiniBatchKMeans(5, random_state=0).fit(R) for R in (tmp_path / "X.npy", huge))
    assert read.cluster_centers_.dtype == np.float32
    assert_array_equal(read.cluster_centers_, held.cluster_centers_)
    assert_array_equal(read.labels_, held.labels_)
    assert read.inertia_ == held.inertia_ < np.inf


def test_one_huge_row_does_not_blur_the_others(dtype: Any) -> None:
    # What centers or rows are centred by must not be the work of the huge one alone.
    plain = X.astype(dtype)
    data = np.vstack([plain, np.full((1, 4), 1e15, dtype)])
    start = np.vstack([plain[:5], data[-1:]])
    expected = np.square(X[:, None] - X[None, :5]).sum(axis=2).argmin(axis=1)
    model = KMeans(6, init=start, n_init=1, max_iter=1).fit(data)
    model.cluster_centers_ = start
    assert_array_equal(model.predict(data), [*expected, 5])
    model = MiniBatchKMeans(6, init=start, reassignment_ratio=0)
    alone = MiniBatchKMeans(5, init=start[:5], reassignment_ratio=0)
    for _ in range(3):
        model.partial_fit(data)
        alone.partial_fit(plain)
        assert_array_equal(model.labels_, [*alone.labels_, 5])
    assert_allclose(model.cluster_centers_[:5], alone.cluster_centers_, rtol=1e-5)


def test_start_and_weights_at_the_same_scale() -> None:
    single = (X * 2.0**100).astype(np.float32)
    weights = np.arange(400, dtype=np.float32)
    for init in (single[:5], lambda data, k, random_state: data[:k].copy()):
        found = KMeans(5, init=init, n_init=1).fit(single, sample_weight=weights)
        expected = KMeans(5, init=X[:5], n_init=1).fit(X, sample_weight=weights)
        assert_array_equal(found.labels_, expected.labels_)
        assert found.cluster_centers_.dtype == np.float32


@each_class
def test_denormal_numbers_are_as_good_as_zero(kind: Any, dtype: Any) -> None:
    data = X.astype(dtype)
    data[:, 2] = np.finfo(dtype).smallest_subnormal * np.arange(400)
    expected = data.copy()
    expected[:, 2] = 0
    assert_array_equal(fitted(kind, data).labels_, fitted(kind, expected).labels_)


@each_class
@pytest.mark.parametrize("value", [0.0, 1.0, -1e30])
def test_constant_columns_count_for_nothing(kind: Any, value: float, dtype: Any) -> None:
    data = X.astype(dtype)
    wide = np.hstack([data, np.full((400, 3), value, dtype)])
    expected, found = fitted(kind, data, tol=0), fitted(kind, wide, tol=0)
    assert_array_equal(found.labels_, expected.labels_)
    assert_array_equal(found.cluster_centers_[:, 4:], np.full((5, 3), value, dtype))


@each_class
def test_constant_data(kind: Any, dtype: Any) -> None:
    data = np.full((30, 3), 7.0, dtype)
    with pytest.warns(ConvergenceWarning) if kind is KMeans else warnings.catch_warnings():
        model = fitted(kind, data, 4)
    assert model.inertia_ == 0
    assert_array_equal(model.cluster_centers_, np.full((4, 3), 7.0, dtype))


def test_as_many_clusters_as_rows(dtype: Any) -> None:
    data = X[:100].astype(dtype)
    for make in (np.asarray, scipy.sparse.csr_array):
        model = fitted(KMeans, make(data), 100)
        assert sorted(model.labels_) == list(range(100))
        rtol = 1e-12 if dtype == np.float64 else 1e-5
        assert_allclose(model.cluster_centers_[model.labels_], data, rtol=rtol)
        assert model.inertia_ <= 1e-9


@each_class
def test_repeated_rows_fall_into_one_cluster(kind: Any, dtype: Any) -> None:
    data = np.repeat(X[:6].astype(dtype), 50, axis=0)
    model = fitted(kind, data, 6, init="k-means++")
    assert_array_equal(model.labels_.reshape(6, 50), model.labels_[::50, None] * [1] * np.ones(50))
    assert len(set(model.labels_)) == 6


@each_class
@pytest.mark.parametrize("offset", [2.0**30, -(2.0**40)])
def test_far_from_the_origin(kind: Any, offset: float) -> None:
    steps = np.round(X * 1024) / 1024  # exact at the offset
    expected, found = fitted(kind, steps, tol=0), fitted(kind, steps + offset, tol=0)
    assert_array_equal(found.labels_, expected.labels_)
    assert_array_equal(found.predict(steps + offset), expected.labels_)
    assert_allclose(found.inertia_, expected.inertia_, rtol=1e-6)


@each_class
def test_too_large_for_squares(kind: Any) -> None:
    for make in (np.asarray, scipy.sparse.csr_array):
        with pytest.raises(ValueError, match=r"X must have columns whose squares .* scale X down"):
            fitted(kind, make(X * 1e200))
        with pytest.raises(ValueError, match=r"X must have columns whose squares .* scale X down"):
            kmeans_plusplus(make(X * 1e200), 5, random_state=0)


@each_class
def test_weights_that_overflow(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"sample_weight must add up to a finite .*1e\+308"):
        kind(5, random_state=0).fit(X, sample_weight=np.full(400, 1e308))
    with pytest.raises(ValueError, match=r"X and sample_weight must be small enough .* scale one"):
        kind(5, random_state=0).fit(X * 1e10, sample_weight=np.full(400, 1e300))
    light = kind(5, random_state=0).fit(X, sample_weight=np.full(400, 1e-300))
    assert_array_equal(light.labels_, fitted(kind, X).labels_)


# --- Mixtures ---


def fitted_mixture(kind: Any, data: Any, covariance: str, k: int = 5, **options: Any) -> Any:
    """A fit that must not warn of anything numerical, and finite in everything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("error", RuntimeWarning)
        model = kind(n_components=k, covariance_type=covariance, random_state=0, **options).fit(
            data
        )
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert np.isfinite(getattr(model, name)).all(), name
    assert np.isfinite(model.lower_bound_)
    assert np.isfinite(model.score_samples(data)).all()
    assert_allclose(model.weights_.sum(), 1, rtol=1e-6)
    return model


@each_mixture
@each_covariance
@pytest.mark.parametrize("scale", [2.0**100, 2.0**-100])
def test_scale_moves_the_density_alone(
    kind: Any, covariance: str, scale: float, dtype: Any
) -> None:
    # Covariances are then beyond float32, which scikit-learn's mixtures come to grief on.
    plain, options = X.astype(dtype), {"reg_covar": 1e-3, "tol": 0.0, "max_iter": 5}
    expected = fitted_mixture(kind, plain, covariance, **options)
    options["reg_covar"] *= scale**2
    found = fitted_mixture(kind, plain * dtype(scale), covariance, **options)
    assert_array_equal(found.predict(plain * dtype(scale)), expected.predict(plain))
    rtol = 1e-4 if dtype == np.float32 else 1e-9
    assert_allclose(np.asarray(found.means_, float) / scale, expected.means_, rtol=rtol)
    spread = np.abs(expected.covariances_).max()
    assert_allclose(found.covariances_ / scale**2, expected.covariances_, atol=rtol * spread)
    # Every density by the factor that volumes have changed by.
    moved = found.score(plain * dtype(scale)) + 4 * np.log(scale)
    assert_allclose(moved, expected.score(plain), rtol=rtol)
    assert found.means_.dtype == np.float64
    assert expected.means_.dtype == dtype


@each_mixture
@each_covariance
@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_extreme_scale_where_scikit_learn_has_an_answer(
    kind: Any, covariance: str, scale: float
) -> None:
    data = X * scale
    found = fitted_mixture(kind, data, covariance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = getattr(sklearn.mixture, kind.__name__)(
            n_components=5, covariance_type=covariance, random_state=0
        ).fit(data)
    assert_allclose(found.lower_bound_, np.sum(theirs.lower_bound_), rtol=1e-6)
    assert_allclose(found.score_samples(data), theirs.score_samples(data), rtol=1e-6)


@each_mixture
@each_covariance
@pytest.mark.parametrize("value", [0.0, "denormal", 1.0, 1e6])
def test_mixture_with_constant_columns(kind: Any, covariance: str, value: Any, dtype: Any) -> None:
    data = X.astype(dtype)
    column = np.full(400, 0 if value == "denormal" else value, dtype)
    if value == "denormal":
        column = np.finfo(dtype).smallest_subnormal * np.arange(400)
    wide = np.column_stack([data, column]).astype(dtype)
    found = fitted_mixture(kind, wide, covariance)
    assert_allclose(found.means_[:, 4], column[0], rtol=1e-6, atol=1e-30)
    expected = fitted_mixture(kind, np.column_stack([data, 0 * column]), covariance)
    assert_array_equal(found.predict(wide), expected.predict(np.column_stack([data, 0 * column])))
    assert_allclose(found.lower_bound_, expected.lower_bound_, rtol=1e-5)


@each_covariance
def test_mixture_with_a_column_of_one_huge_number(covariance: str, dtype: Any) -> None:
    # The mean of such a column has an error of 1e14, which must not pass for a variance.
    wide = np.column_stack([X, np.full(400, -1e30)]).astype(dtype)
    found = fitted_mixture(GaussianMixture, wide, covariance)
    expected = fitted_mixture(GaussianMixture, wide * [1, 1, 1, 1, 0], covariance)
    assert_array_equal(found.predict(wide), expected.predict(wide * [1, 1, 1, 1, 0]))
    assert_allclose(found.lower_bound_, expected.lower_bound_, rtol=1e-5)


@pytest.mark.parametrize("covariance", ["diag", "spherical"])
def test_mixture_with_one_huge_row(covariance: str, dtype: Any) -> None:
    data = np.vstack([X, np.full((1, 4), 1e30)]).astype(dtype)
    found = fitted_mixture(GaussianMixture, data, covariance, k=2)
    alone = fitted_mixture(GaussianMixture, X.astype(dtype), covariance, k=1)
    labels = found.predict(data)
    assert (labels[:400] == labels[0]).all()
    assert labels[400] != labels[0]
    assert_allclose(found.means_[labels[0]], alone.means_[0], rtol=1e-5)
    assert_allclose(found.covariances_[labels[0]], alone.covariances_[0], rtol=1e-5)


@each_mixture
@each_covariance
def test_mixture_of_constant_and_of_repeated_rows(kind: Any, covariance: str, dtype: Any) -> None:
    constant = np.full((30, 3), 7.0, dtype)
    model = fitted_mixture(kind, constant, covariance)
    assert len(set(model.predict(constant))) == 1
    assert_allclose(model.means_[model.predict(constant)[0]], 7.0, rtol=1e-5)
    model = fitted_mixture(kind, np.repeat(X[:5].astype(dtype), 50, axis=0), covariance)
    labels = model.predict(np.repeat(X[:5].astype(dtype), 50, axis=0)).reshape(5, 50)
    assert (labels == labels[:, :1]).all()


@each_covariance
def test_mixture_of_as_many_components_as_rows(covariance: str, dtype: Any) -> None:
    data = X[:20].astype(dtype)
    model = fitted_mixture(GaussianMixture, data, covariance, k=20)
    assert sorted(model.predict(data)) == list(range(20))
    assert_allclose(model.means_[model.predict(data)], data, rtol=1e-5)
    fitted_mixture(BayesianGaussianMixture, data, covariance, k=20)


@each_mixture
@each_covariance
@pytest.mark.parametrize("offset", [2.0**20, -(2.0**30)])
def test_mixture_far_from_the_origin(kind: Any, covariance: str, offset: float) -> None:
    steps = np.round(X * 1024) / 1024  # exact at the offset
    # Tied covariances of single rows depend on where the origin is, as scikit-learn's do.
    options = {"init_params": "kmeans", "tol": 0.0, "max_iter": 5}
    expected = fitted_mixture(kind, steps, covariance, **options)
    found = fitted_mixture(kind, steps + offset, covariance, **options)
    assert_array_equal(found.predict(steps + offset), expected.predict(steps))
    assert_allclose(found.covariances_, expected.covariances_, rtol=1e-4, atol=1e-5)
    assert_allclose(found.lower_bound_, expected.lower_bound_, rtol=1e-6)


@each_mixture
@each_covariance
@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
def test_mixture_of_what_is_too_large_for_squares(kind: Any, covariance: str, init: str) -> None:
    model = kind(n_components=5, covariance_type=covariance, init_params=init, random_state=0)
    with pytest.raises(ValueError, match=r"X must have columns whose squares .* scale X down"):
        model.fit(X * 1e200)


# --- Layouts ---


def unaligned(data: Any) -> Any:
    """The same numbers one byte off."""
    raw = np.empty(data.nbytes + 1, np.uint8)
    view = raw[1:].view(data.dtype).reshape(data.shape)
    view[:] = data
    assert not view.flags.aligned
    return view


def read_only(data: Any) -> Any:
    """A copy that cannot be written to."""
    data = data.copy()
    data.flags.writeable = False
    return data


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "Fortran": np.asfortranarray,
    "columns of a wider array": lambda data: np.hstack([data, data])[:, :4],
    "every other row": lambda data: np.repeat(data, 2, axis=0)[::2],
    "rows backwards": lambda data: data[::-1].copy()[::-1],
    "columns backwards": lambda data: data[:, ::-1].copy()[:, ::-1],
    "other byte order": lambda data: data.astype(data.dtype.newbyteorder()),
    "unaligned": unaligned,
    "read-only": read_only,
    "a list": lambda data: data.astype(np.float64).tolist(),
    "objects": lambda data: data.astype(object),
    "a subclass": lambda data: data.view(np.recarray),
    "not contiguous and read-only": lambda data: read_only(np.asfortranarray(data)),
}


@each_class
@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_of_data(kind: Any, name: str, dtype: Any) -> None:
    plain = np.round(X * 64).astype(dtype)  # float32 and float64 then hold the same numbers
    data = LAYOUTS[name](plain)
    found, expected = fitted(kind, data), fitted(kind, plain)
    assert_array_equal(found.labels_, expected.labels_)
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    assert_allclose(found.cluster_centers_, expected.cluster_centers_, rtol=rtol)
    assert_array_equal(found.predict(data), expected.labels_)
    assert_allclose(found.transform(data), expected.transform(plain), rtol=1e-4, atol=1e-2)
    assert_array_equal(np.asarray(data, dtype), plain)


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_of_weights_and_start(name: str) -> None:
    weights = np.arange(400.0) % 7 + 1
    start = X[:5]
    if name in ("Fortran", "rows backwards", "other byte order", "unaligned", "read-only"):
        weights = LAYOUTS[name](weights)
    expected = KMeans(5, init=start, n_init=1).fit(X, sample_weight=np.arange(400.0) % 7 + 1)
    found = KMeans(5, init=LAYOUTS[name](start), n_init=1).fit(X, sample_weight=weights)
    assert found.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()


@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
def test_sparse_parts_that_are_read_only(part: str) -> None:
    data = scipy.sparse.csr_array(X)
    expected = fitted(KMeans, data)
    getattr(data, part).flags.writeable = False
    assert_array_equal(fitted(KMeans, data).labels_, expected.labels_)


# --- Processes ---

WORKERS = """
import multiprocessing, sys
import numpy as np
from fastclust import KMeans

def bits(seed):
    data = np.random.RandomState(0).rand(20_000, 8)
    return KMeans(10, random_state=seed).fit(data).cluster_centers_.tobytes()

if __name__ == "__main__":
    expected = [bits(seed) for seed in range(4)]  # with helpers in the parent, too
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert pool.map(bits, range(4)) == expected
    print("same")
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_workers_of_every_kind(method: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(WORKERS)
    output = subprocess.check_output(
        [sys.executable, "program.py", method], cwd=tmp_path, text=True, timeout=300
    )
    assert output.strip() == "same"
