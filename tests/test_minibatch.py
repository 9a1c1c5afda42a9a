"""MiniBatchKMeans against scikit-learn's, its kernel against NumPy, and the nested algorithm."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
import sklearn.cluster
from conftest import make_problem
from scipy.spatial.distance import cdist
from sklearn.datasets import make_blobs
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.fixes import parse_version

from fastclust import KMeans, MiniBatchKMeans
from fastclust.kernels.batch_rules import MORE, Rules
from fastclust.kernels.machine import parallel
from fastclust.kernels.machine.parallel import team
from fastclust.kernels.minibatch import MiniBatches
from fastclust.kernels.tiles import padded_vector, read_only

# Before 1.7 scikit-learn drew batches without regard to weights, by other draws.
draws_alike = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.7"), reason="batches are drawn otherwise"
)
BLOBS = np.array([[0.2, 2.3], [-1.5, 2.3], [-2.8, 1.8], [-2.8, 2.8], [-2.8, 1.3]])


def blobs(n: int, d: int, k: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    """Overlapping blobs, and weights with zeros among them."""
    X, _ = make_blobs(n, d, centers=k, cluster_std=3.0, random_state=seed)
    weights = np.random.RandomState(seed).randint(0, 4, n)
    return X.astype(dtype), weights.astype(dtype)


FITS: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "default": ((2000, 2, 5), {}),
    "starts": ((3000, 7, 20), {"n_init": 3, "batch_size": 300}),
    "random": ((500, 3, 8), {"init": "random", "batch_size": 64, "tol": 1e-2}),
    "never stops": ((900, 5, 12), {"batch_size": 100, "max_no_improvement": None, "max_iter": 3}),
    "reassigns": ((3000, 6, 60), {"batch_size": 100, "reassignment_ratio": 0.5, "max_iter": 4}),
    "more clusters than half a batch": (
        (400, 3, 30),
        {"batch_size": 40, "max_iter": 5, "reassignment_ratio": 0.9},
    ),
    "no labels": ((3000, 7, 20), {"batch_size": 300, "compute_labels": False}),
    "by features": ((600, 131, 7), {"batch_size": 150}),
    "all rows": ((90, 4, 3), {}),
    "callable": ((500, 3, 4), {"init": lambda X, k, random_state: X[:k], "batch_size": 70}),
}


@draws_alike
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", FITS)
def test_fit_is_scikit_learns(name: str, weighted: bool) -> None:
    shape, parameters = FITS[name]
    X, weights = blobs(*shape)
    theirs = sklearn.cluster.MiniBatchKMeans(shape[2], random_state=3, **parameters)
    ours = MiniBatchKMeans(shape[2], random_state=3, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for each in (theirs, ours):
            each.fit(X, sample_weight=weights if weighted else None)
    assert (ours.n_steps_, ours.n_iter_) == (theirs.n_steps_, theirs.n_iter_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-9)
    np.testing.assert_allclose(ours.counts_, theirs._counts)
    np.testing.assert_allclose(ours.inertia_, theirs.inertia_)
    if ours.compute_labels:
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    else:
        assert not hasattr(ours, "labels_")


@draws_alike
def test_float32_follows_the_run_in_float64() -> None:
    X, _ = blobs(3000, 7, 20)
    ours = MiniBatchKMeans(20, random_state=0).fit(X.astype(np.float32))
    theirs = sklearn.cluster.MiniBatchKMeans(20, random_state=0).fit(X.astype(np.float32))
    assert ours.cluster_centers_.dtype == np.float32
    np.testing.assert_allclose(ours.inertia_, theirs.inertia_, rtol=0.01)


@draws_alike
@pytest.mark.parametrize("parameters", [{}, {"tol": 1e-2, "max_no_improvement": None}])
def test_verbose_lines_are_scikit_learns(parameters: Any, capsys: Any) -> None:
    X, _ = blobs(1500, 3, 8)
    said = []
    for Estimator in (sklearn.cluster.MiniBatchKMeans, MiniBatchKMeans):
        Estimator(8, n_init=2, batch_size=99, random_state=0, verbose=1, **parameters).fit(X)
        lines = capsys.readouterr().out.splitlines()
        # Words alone: the last digits of numbers depend on the order of sums.
        said.append([[w for w in line.split() if not w[0].isdigit()] for line in lines])
    assert said[0] == said[1]
    assert len(said[0]) > 6


@draws_alike
def test_a_generator_is_left_as_scikit_learn_leaves_it() -> None:
    X, weights = blobs(2000, 3, 30)
    generators = [np.random.RandomState(5) for _ in range(2)]
    for Estimator, generator in zip(
        (sklearn.cluster.MiniBatchKMeans, MiniBatchKMeans), generators, strict=True
    ):
        Estimator(30, random_state=generator, batch_size=64).fit(X, sample_weight=weights)
    assert generators[0].randint(2**31) == generators[1].randint(2**31)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(2000, 2, 5), (4000, 70, 100), (3000, 7, 30), (1000, 130, 8)])
def test_partial_fit_is_scikit_learns(shape: Any, weighted: bool) -> None:
    X, weights = blobs(*shape)
    theirs = sklearn.cluster.MiniBatchKMeans(shape[2], random_state=0, n_init=3)
    ours = MiniBatchKMeans(shape[2], random_state=0, n_init=3)
    step = len(X) // 10
    for start in range(0, len(X), step):
        rows = slice(start, start + step)
        own = weights[rows] if weighted else None
        theirs.partial_fit(X[rows], sample_weight=own)
        ours.partial_fit(X[rows], sample_weight=own)
        np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-9)
        np.testing.assert_array_equal(ours.labels_, theirs.labels_)
        np.testing.assert_allclose(ours.inertia_, theirs.inertia_)
        np.testing.assert_allclose(ours._counts, theirs._counts)
    assert ours.n_steps_ == theirs.n_steps_ == 10


def test_what_partial_fit_keeps_is_not_seen() -> None:
    """Batches of other shapes, centers set by hand, pickles: all as if it kept nothing."""
    X, _ = blobs(900, 3, 4)
    model = MiniBatchKMeans(4, random_state=0).partial_fit(X[:300]).partial_fit(X[300:600])
    labels = model.labels_.copy()
    again = pickle.loads(pickle.dumps(model))
    assert not hasattr(again, "_kept")
    assert hasattr(model, "_kept")
    for each in (model, again):
        each.cluster_centers_ = each.cluster_centers_[::-1].copy()
        each.counts_ = each.counts_[::-1].copy()
        before = each.cluster_centers_
        first = each.partial_fit(X[600:]).labels_
        assert (before != each.cluster_centers_).any()
        kept = first.copy()
        each.partial_fit(X[:77]).partial_fit(X[300:600])
        np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(model.cluster_centers_, again.cluster_centers_)
    np.testing.assert_array_equal(model.labels_, model.predict(X[300:600]))
    assert len(labels) == 300


def test_partial_fit_goes_on_after_fit_and_in_another_dtype() -> None:
    X, _ = blobs(600, 3, 4)
    theirs = sklearn.cluster.MiniBatchKMeans(4, random_state=0, batch_size=600).fit(X)
    ours = MiniBatchKMeans(4, random_state=0, batch_size=600).fit(X)
    ours.cluster_centers_ = theirs.cluster_centers_.copy()  # whatever the draws of that version
    ours.counts_ = theirs._counts.copy()
    before = ours.n_steps_
    ours.partial_fit(X[:50].astype(np.float32))
    theirs.partial_fit(X[:50].astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_)
    assert ours.n_steps_ == before + 1


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_step_is_what_numpy_makes_of_it(shape: Any, dtype: Any, offset: float) -> None:
    n, d, k = shape
    X, weights, start = make_problem(shape, dtype, offset=offset)
    rng = np.random.RandomState(0)
    batch = rng.randint(0, n, 2 * n + 1)
    own_weights = weights[batch]
    counts = rng.randint(0, 3, k).astype(float)
    shift = padded_vector(start.mean(axis=0, dtype=np.float64), dtype)
    exact = start.astype(np.float64) - shift[:d]
    rules = Rules(0.0, 0.1, -1, 0.0, 10 * k, len(batch))
    for relabels in (False, True):
        with team(2) as threads:
            steps = MiniBatches(
                read_only(X), shift, exact.copy(), counts.copy(), len(batch), rules, threads,
                relabels=relabels,
            )  # fmt: skip
            made, status = steps.run(batch[None], own_weights, follow=True)
        assert (made, status) == (1, MORE)
        centred = (X - shift[:d]).astype(np.float64)[batch]
        distances = cdist(centred, exact.astype(dtype).astype(np.float64), "sqeuclidean")
        labels = steps.labels[: len(batch)]
        slack = (1e-4 if dtype == np.float32 else 1e-11) * (1 + distances.max())
        best = distances.min(axis=1)
        assert (distances[np.arange(len(batch)), labels] <= best + slack).all()
        np.testing.assert_allclose(
            steps.inertias.sum(), (best * own_weights).sum(), rtol=1e-4, atol=slack * len(batch)
        )
        member = (labels[:, None] == np.arange(k)) * own_weights[:, None].astype(np.float64)
        total = counts + member.sum(axis=0)
        expected = exact * counts[:, None] + member.T @ centred
        expected = np.where(total[:, None] > 0, expected / np.maximum(total, 1)[:, None], exact)
        np.testing.assert_allclose(steps.running.weights, total)
        np.testing.assert_allclose(steps.running.exact, expected, rtol=1e-5, atol=slack)
        if relabels:
            again, inertia = steps.relabel(batch, own_weights)
            distances = cdist(centred, steps.running.exact, "sqeuclidean")
            best = distances.min(axis=1)
            assert (distances[np.arange(len(batch)), again] <= best + slack).all()
            np.testing.assert_allclose(
                inertia, (best * own_weights).sum(), rtol=1e-4, atol=slack * len(batch)
            )


def test_labels_that_cannot_have_changed_are_kept_and_the_others_are_not() -> None:
    """Centers at rest, and one that has moved far: relabelling must find either."""
    X, _ = blobs(512, 6, 9)
    model = MiniBatchKMeans(9, random_state=0).fit(X)
    model.counts_ = np.full(9, 1e12)
    model.partial_fit(X)
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    model.counts_ = np.full(9, 1e-3)
    model.partial_fit(X[::-1].copy())
    np.testing.assert_array_equal(model.labels_, model.predict(X[::-1]))


def test_light_centers_are_reassigned_to_rows_of_the_batch() -> None:
    X, _ = blobs(300, 3, 4)
    far = np.vstack([X[:3], [[1e3, 1e3, 1e3]]])
    model = MiniBatchKMeans(4, init=far, n_init=1, batch_size=300, random_state=0).partial_fit(X)
    assert np.isclose(model.cluster_centers_[3], X, rtol=0, atol=1e-9).all(axis=1).any()
    assert model.counts_[3] == model.counts_[:3].min()
    stays = MiniBatchKMeans(4, init=far, n_init=1, reassignment_ratio=0).partial_fit(X)
    np.testing.assert_allclose(stays.cluster_centers_[3], far[3])


@pytest.mark.parametrize("shape", [(4000, 70, 100), (1000, 800, 20), (2000, 2, 5)])
@pytest.mark.parametrize("algorithm", ["minibatch", "nested"])
def test_threads_do_not_change_a_bit(shape: Any, algorithm: str, monkeypatch: Any) -> None:
    X, weights = blobs(*shape, dtype=np.float32)
    fits = []
    for n_threads in (1, 2, 5):
        monkeypatch.setattr(parallel, "effective_n_threads", lambda n=n_threads: n)
        model = MiniBatchKMeans(
            shape[2], random_state=0, algorithm=algorithm, batch_size=900, max_iter=3
        )
        fits.append(model.fit(X, sample_weight=weights))
        if algorithm == "minibatch":
            for start in range(0, 900, 300):
                model.partial_fit(X[start : start + 300])
    for other in fits[1:]:
        np.testing.assert_array_equal(fits[0].cluster_centers_, other.cluster_centers_)
        np.testing.assert_array_equal(fits[0].labels_, other.labels_)
        assert fits[0].inertia_ == other.inertia_


def test_far_from_the_origin_float32_still_finds_the_clusters() -> None:
    X, _ = make_blobs(2000, centers=BLOBS, cluster_std=0.05, random_state=7)
    near = MiniBatchKMeans(5, random_state=0, n_init=5).fit(X.astype(np.float32))
    far = MiniBatchKMeans(5, random_state=0, n_init=5).fit((X + 1000).astype(np.float32))
    np.testing.assert_allclose(far.inertia_, near.inertia_, rtol=0.01)


@pytest.mark.parametrize("weighted", [False, True])
def test_nested_batches_come_close_to_kmeans(weighted: bool, dtype: Any) -> None:
    excess = []
    for seed in range(4):
        X, weights = blobs(20000, 4, 12, seed, dtype)
        own = weights if weighted else None
        same = {"n_clusters": 12, "init": X[:12], "random_state": 0}
        ordinary = MiniBatchKMeans(**same).fit(X, sample_weight=own)
        nested = MiniBatchKMeans(**same, algorithm="nested").fit(X, sample_weight=own)
        assert nested.inertia_ < ordinary.inertia_
        settled = KMeans(12, init=nested.cluster_centers_).fit(X, sample_weight=own)
        excess.append(nested.inertia_ / settled.inertia_)
    assert np.median(excess) < 1.02
    assert nested.cluster_centers_.dtype == dtype
    np.testing.assert_array_equal(nested.labels_, nested.predict(X))
    estimate = MiniBatchKMeans(**same, algorithm="nested", compute_labels=False)
    estimate.fit(X, sample_weight=own)
    np.testing.assert_allclose(estimate.inertia_, nested.inertia_, rtol=0.05)


def test_nested_batches_of_all_rows_are_kmeans() -> None:
    """Every row counts once: at the end centers are means, and stay where KMeans would leave."""
    X, _ = blobs(3000, 3, 6)
    nested = MiniBatchKMeans(
        6, random_state=0, batch_size=100, algorithm="nested", max_no_improvement=None
    ).fit(X)
    assert nested.counts_.sum() == len(X)
    again = KMeans(6, init=nested.cluster_centers_, max_iter=1).fit(X)
    assert nested.inertia_ < 1.005 * again.inertia_
    whole = MiniBatchKMeans(6, random_state=0, batch_size=3000, algorithm="nested").fit(X)
    assert whole.counts_.sum() == len(X)


def test_nested_batches_report_their_steps_and_end_in_time(capsys: Any) -> None:
    X, _ = blobs(3000, 3, 6)
    model = MiniBatchKMeans(
        6, random_state=0, batch_size=100, algorithm="nested", verbose=1, max_iter=1
    ).fit(X)
    assert capsys.readouterr().out.count("Nested step") == model.n_steps_
    assert model.n_iter_ == 1


def test_the_chapters_loop(tmp_path: Path) -> None:
    """``partial_fit`` on batches out of a memory map, the best of three starts."""
    X, _ = make_blobs(2000, centers=BLOBS, cluster_std=[0.4, 0.3, 0.1, 0.1, 0.1], random_state=7)
    mapped = np.memmap(tmp_path / "X.dat", X.dtype, "w+", shape=X.shape)
    mapped[:] = X

    def best_of_three(Estimator: Any) -> Any:
        rng = np.random.RandomState(42)
        best, least = None, np.inf
        for _ in range(3):
            model = Estimator(n_clusters=5, init_size=500, n_init=3, random_state=0)
            model.partial_fit(mapped[rng.choice(len(mapped), 500, replace=False)])
            total = 0.0
            for i in range(100):
                model.partial_fit(mapped[rng.choice(len(mapped), 100, replace=False)])
                total += model.inertia_ if i >= 90 else 0.0
            if total < least:
                best, least = model, total
        assert best is not None
        return best.score(mapped)

    np.testing.assert_allclose(
        best_of_three(MiniBatchKMeans), best_of_three(sklearn.cluster.MiniBatchKMeans)
    )


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "batch_size": ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
    "batch_size type": ({"batch_size": 3.0}, TypeError, "batch_size must be an integer"),
    "init_size": ({"init_size": 0}, ValueError, "init_size must be at least 1"),
    "patience": ({"max_no_improvement": -1}, ValueError, "max_no_improvement must be at least 0"),
    "ratio": ({"reassignment_ratio": -0.1}, ValueError, "reassignment_ratio must be finite"),
    "tol": ({"tol": np.nan}, ValueError, "tol must be finite and not negative"),
    "labels": ({"compute_labels": 1}, TypeError, "compute_labels must be True or False"),
    "algorithm": ({"algorithm": "lloyd"}, ValueError, "algorithm must be one of 'minibatch', 'n"),
    "n_clusters": ({"n_clusters": 99}, ValueError, "n_samples=40 should be >= n_clusters=99"),
    "init": ({"init": np.zeros((2, 3))}, ValueError, "does not match the number of clusters 3"),
}


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", BAD)
def test_bad_parameters_are_refused(name: str, method: str) -> None:
    parameters, error, message = BAD[name]
    X, _ = blobs(40, 3, 3)
    model = MiniBatchKMeans(**{"n_clusters": 3, **parameters})
    with pytest.raises(error, match=message):
        getattr(model, method)(X)
    assert not [name for name in vars(model) if name.endswith("_")]


def test_bad_batches_leave_the_estimator_as_it_was() -> None:
    X, _ = blobs(40, 3, 3)
    model = MiniBatchKMeans(3, random_state=0).partial_fit(X)
    before = model.cluster_centers_.copy(), model.counts_.copy(), model.n_steps_
    for bad in (np.full_like(X, np.nan), X[:, :2], X[:0], np.full_like(X, np.inf)):
        with pytest.raises(ValueError, match=r"NaN|features|sample|infinity"):
            model.partial_fit(bad)
    with pytest.raises(ValueError, match="must not be negative"):
        model.partial_fit(X, sample_weight=np.full(40, -1.0))
    with pytest.raises(AttributeError) as refusal:
        model.set_params(algorithm="nested").partial_fit(X)
    assert "algorithm='nested' needs all rows at once" in str(refusal.value.__cause__)
    assert (model.cluster_centers_ == before[0]).all()
    assert (model.counts_ == before[1]).all()
    assert model.n_steps_ == before[2]


@pytest.mark.parametrize("compute_labels", [True, False])
@pytest.mark.parametrize("n_features", [3, 200])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_number_is_found_before_anything_is_drawn(
    bad: float, n_features: int, compute_labels: bool
) -> None:
    rng = np.random.default_rng(0)
    good = rng.normal(size=(300, n_features)).astype(np.float32)
    model, other = (
        MiniBatchKMeans(20, random_state=0, compute_labels=compute_labels).partial_fit(good)
        for _ in range(2)
    )
    spoiled, weights = good.copy(), np.ones(300)
    spoiled[299, -1], weights[299] = bad, 0
    for given in (None, weights):
        with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
            model.partial_fit(spoiled, sample_weight=given)
    for _ in range(12):  # reassignments, which draw, among them
        model.partial_fit(good)
        other.partial_fit(good)
    np.testing.assert_array_equal(model.cluster_centers_, other.cluster_centers_)
    np.testing.assert_array_equal(model.counts_, other.counts_)


def test_finite_rows_whose_lengths_overflow_are_not_refused() -> None:
    X = np.array([[1e20, 0], [-1e20, 0]], np.float32)
    model = MiniBatchKMeans(2, init=X, n_init=1).partial_fit(X).partial_fit(X)
    assert model.n_steps_ == 2


def test_init_size_and_single_start_warn_as_in_scikit_learn() -> None:
    X, _ = blobs(100, 3, 3)
    with pytest.warns(RuntimeWarning, match=r"init_size=10 should be larger than n_clusters=20"):
        model = MiniBatchKMeans(20, init_size=10).fit(X)
    assert model._init_size == 60
    with pytest.warns(RuntimeWarning, match="only one init in MiniBatchKMeans instead of n_init=2"):
        MiniBatchKMeans(3, init=X[:3], n_init=2).fit(X)


def expected_failures(estimator: Any) -> dict[str, str]:
    """Checks that scikit-learn's own estimator does not pass either."""
    check, reason = "check_sample_weight_equivalence_on", "draws depend on the number of rows"
    return {f"{check}_dense_data": reason, f"{check}_sparse_data": reason}


@parametrize_with_checks(
    [MiniBatchKMeans(n_clusters=3), MiniBatchKMeans(n_clusters=3, algorithm="nested")],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)
