"""k-means||: against NumPy, the same rows however they arrive, and awkward data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from conftest import make_problem
from numpy.testing import assert_array_equal

from fastclust import KMeans, MiniBatchKMeans, from_sklearn
from fastclust.kernels import reference, slices, update
from fastclust.kernels.machine.parallel import team
from fastclust.oversampling import OVERSAMPLING, ROUNDS, LocalPasses, choose
from fastclust.preparation import open_parts
from fastclust.rows.sources import Blocks


def chosen(X: Any, k: int, weights: Any = None, seed: int = 0) -> Any:
    """Rows that k-means|| chooses, and the next draw after it."""
    random_state = np.random.RandomState(seed)
    with team() as threads:
        found = choose(LocalPasses(open_parts(X, weights), threads), k, random_state, threads)
    return found, random_state.random_sample()


def in_blocks(X: Any) -> Blocks:
    """The same rows, block by block."""
    return Blocks(lambda: (X[first : first + 700] for first in range(0, len(X), 700)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(200, 4, 5), (1000, 2, 8), (640, 33, 24), (201, 131, 3)])
def test_candidates_and_choice_are_those_of_numpy(shape: Any, weighted: bool) -> None:
    n, _, k = shape
    X, weights, _ = make_problem(shape, np.float64)
    found = chosen(X, k, weights if weighted else None, seed=3)
    random_state = np.random.RandomState(3)
    weights = weights if weighted else np.ones(n)
    assert OVERSAMPLING == 2
    candidates, own = reference.oversampled(X, weights, k, random_state, ROUNDS)
    assert ROUNDS * k < len(candidates) <= 2 * ROUNDS * k + 1
    expected = reference.greedy_kmeans_plusplus(
        X[candidates], own, k, random_state, 2 + int(np.log(k))
    )
    assert_array_equal(found[0], candidates[expected])
    assert found[1] == random_state.random_sample()


@pytest.mark.parametrize("weighted", [False, True])
def test_the_same_rows_however_they_arrive(
    weighted: bool, dtype: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(update, "SLICE_WORK", 100)  # many slices
    monkeypatch.setattr(slices, "SLICE_ELEMENTS", 300)
    X, weights, _ = make_problem((3000, 3, 40), dtype)
    own = weights if weighted else None
    expected, after = chosen(X, 40, own)
    assert len(np.unique(expected)) == 40
    np.save(tmp_path / "rows.npy", X)
    for rows in (np.load(tmp_path / "rows.npy", mmap_mode="r"), in_blocks(X)):
        found, then = chosen(rows, 40, own)
        assert_array_equal(found, expected)
        assert then == after
    with team(1) as alone:
        passes = LocalPasses(open_parts(X, own), alone)
        assert_array_equal(choose(passes, 40, np.random.RandomState(0), alone), expected)
    model = KMeans(40, init="k-means||", max_iter=3, random_state=0)
    fits = [model.fit(rows, sample_weight=own).inertia_ for rows in (X, in_blocks(X))]
    assert fits[0] == fits[1]


@pytest.mark.parametrize("weighted", [False, True])
def test_sparse_rows_are_chosen_as_dense_ones(weighted: bool) -> None:
    X = scipy.sparse.random(900, 30, 0.2, format="csr", random_state=0)
    weights = make_problem((900, 1, 1), np.float64).weights if weighted else None
    found, after = chosen(X, 12, weights)
    expected, then = chosen(X.toarray(), 12, weights)
    assert_array_equal(found, expected)
    assert after == then


def test_rows_of_no_weight_are_never_drawn(dtype: Any) -> None:
    X, weights, _ = make_problem((500, 3, 40), dtype)
    weights[::2] = 0
    found, _ = chosen(X, 40, weights)
    assert np.all(found % 2 == 1)
    assert len(set(found)) == 40


@pytest.mark.parametrize("sparse", [False, True])
def test_fewer_distinct_rows_than_centers(sparse: bool, dtype: Any) -> None:
    X = np.repeat(np.array([[0.1, 1.0], [5.0, 5.3], [0.0, 7.0]]), 40, axis=0).astype(dtype)
    found, _ = chosen(scipy.sparse.csr_array(X) if sparse else X, 5)
    assert len(np.unique(X[found[:3]], axis=0)) == 3
    assert found[3] == found[4]


def test_all_rows_can_be_chosen(dtype: Any) -> None:
    X, _, _ = make_problem((97, 8, 97), dtype)
    assert sorted(chosen(X, 97)[0]) == list(range(97))
    assert len(chosen(X, 1)[0]) == 1


def test_clusters_are_as_good_as_those_of_kmeans_plusplus() -> None:
    rng = np.random.default_rng(0)
    X = 4 * rng.normal(size=(50, 16))[rng.integers(50, size=4000)] + rng.normal(size=(4000, 16))
    sums = {
        init: np.mean([KMeans(50, init=init, random_state=s).fit(X).inertia_ for s in range(5)])
        for init in ("k-means++", "k-means||")
    }
    assert sums["k-means||"] < 1.03 * sums["k-means++"]


def test_mini_batches_and_scikit_learn() -> None:
    X, weights, _ = make_problem((2000, 5, 8), np.float64)
    model = MiniBatchKMeans(8, init="k-means||", random_state=0).fit(X, sample_weight=weights)
    assert model.inertia_ < 1.2 * KMeans(8, random_state=0).fit(X, sample_weight=weights).inertia_
    ours = KMeans(8, init="k-means||", random_state=0).fit(X)
    theirs = ours.to_sklearn()  # which does not know the name
    assert theirs.init == "k-means++"
    assert_array_equal(theirs.predict(X), ours.labels_)
    assert from_sklearn(theirs).init == "k-means++"
    start = X[:8]
    assert KMeans(8, init=start).fit(X).to_sklearn().init is start
