"""What a user writes, checked by mypy and run, against fastclust as it is installed.

``.ci/run`` does both from another directory with the wheel that it built from the sdist: the types
must be those of the public interface, and not ``Any``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import numpy as np

import fastclust
from fastclust import (
    BayesianGaussianMixture,
    BisectingKMeans,
    GaussianMixture,
    KMeans,
    MiniBatchKMeans,
    ProgressBar,
    SampledKMeansPlusPlus,
    from_sklearn,
    k_means,
    kmeans_plusplus,
)

Array = np.ndarray[Any, Any]
X = np.random.default_rng(0).normal(size=(300, 3))

assert_type(fastclust.__version__, str)
assert_type(KMeans(3, random_state=0).fit(X), KMeans)
assert_type(KMeans(3, init=SampledKMeansPlusPlus(), n_init=1), KMeans)
model = KMeans(3, random_state=0).fit(X, sample_weight=np.ones(300))
assert_type(model.labels_, Array)
assert_type(model.cluster_centers_, Array)
assert_type(model.predict(X), Array)
assert_type(model.fit_predict(X), Array)
assert_type(model.transform(X), Array)
assert_type(model.score(X), float)
assert_type(kmeans_plusplus(X, 3, random_state=0), tuple[Array, Array])
centers, labels, inertia = k_means(X, 3, random_state=0)[:3]
assert np.array_equal(labels, from_sklearn(model.to_sklearn()).predict(X))
assert_type(MiniBatchKMeans(3, random_state=0).fit(X), MiniBatchKMeans)
assert_type(BisectingKMeans(3, random_state=0).fit(X).predict(X), Array)
mixture = GaussianMixture(n_components=2, random_state=0).fit(X)
assert_type(mixture, GaussianMixture)
assert_type(mixture.predict_proba(X), Array)
assert_type(mixture.means_, Array)
assert_type(mixture.converged_, bool)
assert_type(BayesianGaussianMixture(n_components=2, tol=1.0).fit(X).score(X), float)
print(f"fastclust {fastclust.__version__}, {fastclust.__file__}")

# What a checker must refuse; where it does not, it says that the comment is not needed.
if TYPE_CHECKING:
    KMeans(algorithm="ekan")  # type: ignore[arg-type]
    MiniBatchKMeans(algorithm="lloyd")  # type: ignore[arg-type]
    GaussianMixture(covariance_type="round")  # type: ignore[arg-type]
    KMeans(n_init="many")  # type: ignore[arg-type]
    KMeans().fit(X, callbacks=ProgressBar())  # type: ignore[arg-type]
KMeans(3, random_state=0).fit(X, callbacks=[lambda progress: progress.iteration == 2])
