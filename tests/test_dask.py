"""Fits on a Dask cluster of two worker processes: the bits of one machine, and clear errors."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import fastclust

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
pandas = pytest.importorskip("pandas")

import dask.array as da  # noqa: E402
import dask.dataframe as dd  # noqa: E402

from fastclust.dask import BayesianGaussianMixture, GaussianMixture, KMeans  # noqa: E402

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster) as found,
    ):
        yield found


def rows() -> Array:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(5000, 3)) + 4 * rng.integers(0, 3, (5000, 1))).astype(np.float32)


X = rows()
WEIGHTS = np.random.default_rng(1).random(len(X)).astype(np.float32)
LOCAL = fastclust.KMeans(4, random_state=1, max_iter=8)


def kmeans(**options: Any) -> Any:
    return KMeans(4, random_state=1, max_iter=8, **options)


def assert_same(found: Any, weights: Array | None = None) -> None:
    local = clone(LOCAL).fit(X, sample_weight=weights)
    assert found.cluster_centers_.tobytes() == local.cluster_centers_.tobytes()
    assert found.inertia_ == local.inertia_
    assert found.labels_.compute().tobytes() == local.labels_.tobytes()


def frame() -> Any:
    return pandas.DataFrame(X, columns=list("abc"))


def test_arrays(client: Any) -> None:
    found = kmeans().fit(da.from_array(X, chunks=(1700, 3)))
    assert_same(found)
    assert found.labels_.chunks == ((1700, 1700, 1600),)
    blocks, weights = da.from_array(X, chunks=((1, 4000, 999), (2, 1))), da.from_array(WEIGHTS)
    with pytest.warns(RuntimeWarning, match="columns"):
        found = kmeans().fit(blocks, sample_weight=weights.rechunk(500))
    assert_same(found, WEIGHTS)


def test_frames_of_unknown_length(client: Any) -> None:
    data = dd.from_pandas(frame(), npartitions=3)
    data = dd.concat([data.partitions[:1], data.partitions[:1][data.a > 1e9], data.partitions[1:]])
    found = kmeans().fit(data)
    assert_same(found)
    assert found.feature_names_in_.tolist() == ["a", "b", "c"]
    assert found.predict(data).compute().tobytes() == found.labels_.compute().tobytes()


def test_blocks_and_files(client: Any, tmp_path: Path) -> None:
    parts = np.split(X, [10, 2000])
    assert_same(kmeans(client=client).fit([dask.delayed(part) for part in parts]))
    assert_same(kmeans().fit(client.scatter(parts)))
    for number, part in enumerate(parts):
        pandas.DataFrame(part, columns=list("abc")).to_parquet(tmp_path / f"{number}.parquet")
    assert_same(kmeans().fit(tmp_path, sample_weight=WEIGHTS), WEIGHTS)


def test_what_a_model_can_be_asked(client: Any) -> None:
    blocks = da.from_array(X, chunks=(1700, 3))
    found = kmeans().fit(blocks)
    local = clone(LOCAL).fit(X)
    assert found.predict(blocks).compute().tobytes() == local.predict(X).tobytes()
    assert found.transform(blocks).compute().tobytes() == local.transform(X).tobytes()
    assert found.predict(X[:9]).tobytes() == local.predict(X[:9]).tobytes()
    assert float(found.score(blocks)) == pytest.approx(local.score(X))
    plain = found.to_local()
    assert type(plain) is fastclust.KMeans
    assert pickle.loads(pickle.dumps(plain)).predict(X).tobytes() == local.predict(X).tobytes()
    plain.to_sklearn()
    assert clone(found).get_params() == found.get_params()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", [GaussianMixture, BayesianGaussianMixture])
def test_mixtures(client: Any, kind: Any) -> None:
    blocks, weights = da.from_array(X, chunks=(1700, 3)), da.from_array(WEIGHTS, chunks=500)
    found = kind(n_components=3, random_state=0, max_iter=3).fit(blocks, sample_weight=weights)
    local = getattr(fastclust, kind.__name__)(n_components=3, random_state=0, max_iter=3)
    local.fit(X, sample_weight=WEIGHTS)
    assert found.means_.tobytes() == local.means_.tobytes()
    assert found.covariances_.tobytes() == local.covariances_.tobytes()
    assert found.predict_proba(blocks).compute().tobytes() == local.predict_proba(X).tobytes()
    assert found.predict(blocks).compute().tobytes() == local.predict(X).tobytes()
    assert float(found.score(blocks)) == pytest.approx(local.score(X))
    assert type(found.to_local()) is type(local)


def test_errors(client: Any) -> None:
    bad = X.copy()
    bad[4100, 1] = np.nan
    with pytest.raises(ValueError, match="NaN: block 8 of the dask array"):
        kmeans().fit(da.from_array(bad, chunks=(500, 3)))
    with pytest.raises(TypeError, match="must be a dask array or dataframe"):
        kmeans().fit(X)
    with pytest.raises(ValueError, match="refine must be 0"):
        kmeans(refine=2).fit(da.from_array(X))
    with pytest.raises(ValueError, match="sample_weight"):
        kmeans().fit(da.from_array(X), sample_weight=da.from_array(WEIGHTS[:-1]))


def test_a_worker_that_is_killed(client: Any) -> None:
    """Its rows are computed anew, and the bits stay the same."""
    killed: list[str] = []

    def kill(progress: Any) -> None:
        if progress.iteration == 3:
            killed.append(next(iter(client.nthreads())))
            client.run(_exit, workers=[killed[0]], on_error="ignore")

    found = kmeans().fit(da.from_array(X, chunks=(1700, 3)), callbacks=[kill])
    assert killed
    assert killed[0] not in client.nthreads()
    assert_same(found)


def _exit() -> None:
    import os

    os._exit(1)
