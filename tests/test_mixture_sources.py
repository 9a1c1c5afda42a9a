"""Mixtures of rows from files and iterators: the bits of an array, and errors with the block."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from test_sources import BROKEN, STREAMED, Broken, of_kind, rows

import fastclust
import fastclust.mixtures.chunks
import fastclust.rows.streaming
from fastclust.kernels import gaussian
from fastclust.rows.sources import Source, open_rows

Array = np.ndarray[Any, Any]
TYPES = ["full", "tied", "diag", "spherical"]
CLASSES = ["GaussianMixture", "BayesianGaussianMixture"]
FITTED = ["weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"]
SHAPE = (6000, 3)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: Any) -> None:
    """Blocks, slices and chunks so small that there are many."""
    monkeypatch.setattr(fastclust.rows.streaming, "BLOCK_BYTES", 1 << 14)
    monkeypatch.setattr(gaussian, "LEAST_SLICE_ROWS", 256)
    monkeypatch.setattr(fastclust.mixtures.chunks, "CHUNK_ROWS", 512)


def found(estimator: Any, X: Any, own: Array | None) -> list[bytes]:
    """Bytes of what a fit to `X` finds, and of all that it says about `X`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = estimator.fit_predict(X, sample_weight=own)
    parts = [getattr(estimator, name) for name in FITTED]
    parts += [labels, estimator.predict(X), estimator.predict_proba(X), estimator.score_samples(X)]
    parts += [estimator.score(X, sample_weight=own), estimator.lower_bound_, estimator.n_iter_]
    if hasattr(estimator, "bic"):
        parts += [estimator.bic(X), estimator.aic(X)]
    return [np.asarray(part).tobytes() for part in parts]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("init", ["kmeans", "k-means++", "random", "random_from_data"])
def test_same_bits_as_from_an_array(name: str, kind: str, init: str, tmp_path: Path) -> None:
    X = rows(*SHAPE)
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    estimator = getattr(fastclust, name)(
        n_components=3, covariance_type=kind, init_params=init, random_state=1, max_iter=3
    )
    for own in (None, weights):
        expected = found(estimator, X, own)
        for source in ("npy", "iterator"):
            assert found(estimator, of_kind(source, X, tmp_path), own) == expected, source


@pytest.mark.parametrize("source", ["npy by columns", "memmap", *STREAMED, "frame"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_kind_of_source(source: str, dtype: Any, tmp_path: Path) -> None:
    X = rows(2000, 30, dtype)  # covariances by lists
    estimator = fastclust.GaussianMixture(n_components=2, random_state=0, max_iter=2)
    assert found(estimator, of_kind(source, X, tmp_path), None) == found(estimator, X, None)


def test_batches_from_a_source(tmp_path: Path) -> None:
    X = rows(*SHAPE)
    whole, streamed = (fastclust.GaussianMixture(3, random_state=0) for _ in range(2))
    for _ in range(2):
        whole.partial_fit(X)
        streamed.partial_fit(of_kind("iterator", X, tmp_path))
        np.testing.assert_array_equal(streamed.means_, whole.means_)
        np.testing.assert_array_equal(streamed.covariances_, whole.covariances_)


def test_given_start_reads_once_for_the_center_and_once_for_each_step(tmp_path: Path) -> None:
    X = rows(*SHAPE)
    n_passes = 0

    def blocks() -> Any:
        nonlocal n_passes
        n_passes += 1
        return iter([X[:1000], X[1000:]])

    source = open_rows(blocks)
    assert isinstance(source, Source)
    start = {"weights_init": np.full(3, 1 / 3), "means_init": X[:3], "precisions_init": np.ones(3)}
    estimator = fastclust.GaussianMixture(
        3, covariance_type="spherical", max_iter=4, tol=0, **start
    )
    n_passes = 0
    with pytest.warns(ConvergenceWarning):
        estimator.fit(source)
    # Twice no further than the first row: for the columns, and for moments that are then replaced.
    assert n_passes == 2 + 1 + 4


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("broken", BROKEN)
def test_broken_blocks_are_named(broken: str, passes: int, name: str) -> None:
    """From the first pass after the rows have been counted, or later."""
    instead, message = BROKEN[broken]
    estimator = getattr(fastclust, name)(
        n_components=2, init_params="random", random_state=0, tol=0
    )
    with pytest.raises(ValueError, match=message):
        estimator.fit(Broken(37, instead, 1 + passes))
    assert not [attribute for attribute in vars(estimator) if attribute.endswith("_")]


def test_too_few_rows_say_so(tmp_path: Path) -> None:
    for name in CLASSES:
        for n_rows, message in ((1, "a minimum of 2 is required"), (3, "n_samples = 3")):
            estimator = getattr(fastclust, name)(n_components=4)
            with pytest.raises(ValueError, match=message):
                estimator.fit(of_kind("iterator", rows(n_rows, 2), tmp_path))
            assert not hasattr(estimator, "means_")
