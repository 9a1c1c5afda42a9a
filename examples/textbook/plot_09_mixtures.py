"""
Mixtures: densities, types and anomalies
========================================

Clusters that are no balls: k-means fails, a Gaussian mixture does not.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import sklearn.mixture
from sklearn.datasets import make_blobs

from fastclust import GaussianMixture, KMeans, plot

pair, _ = make_blobs(1000, centers=((4, -4), (0, 0)), random_state=42)
one, _ = make_blobs(250, centers=1, random_state=42)
X = np.concatenate([pair @ [[0.374, 0.95], [0.732, 0.598]], one + np.array([6, -8])])
types = ("full", "tied", "diag", "spherical")

# %%
# The best that k-means can do, from a good start, and what it does alone.

good = np.array([[-1.5, 2.5], [0.5, 0], [4, 0]])
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained", sharey=True)
for place, settings in zip(axes, ({"init": good}, {"random_state": 42}), strict=True):
    model = KMeans(3, n_init=1, **settings).fit(X)
    plot.decision_boundaries(model, X, ax=place)
    place.set_title(f"inertia {model.inertia_:.1f}")
plt.show()

# %%
# Mixtures of four types of covariances, three starts each.

models = {}
for engine, home in (
    ("scikit-learn", sklearn.mixture.GaussianMixture),
    ("fastclust", GaussianMixture),
):
    for kind in types:
        settings = {"covariance_type": kind, "n_init": 3, "random_state": 42}
        home(3, **settings).fit(X[:100])
        begun = perf_counter()
        models[kind] = model = home(3, **settings).fit(X)
        seconds = perf_counter() - begun
        print(
            f"{engine:12s} {kind:9s} log likelihood {model.score(X):.5f}, BIC {model.bic(X):.1f}, "
            f"weights {np.sort(model.weights_).round(3)}, {1000 * seconds:.0f} ms"
        )

figure, axes = plt.subplots(2, 2, figsize=(10, 6.6), layout="constrained", sharex=True, sharey=True)
for place, kind in zip(axes.flat, types, strict=True):
    plot.mixture_contours(models[kind], X, ax=place)
    place.set_title(kind)
plt.show()

# %%
# A density has the integral 1; rows can be drawn from it; and where it is low, rows are anomalies.

model = models["full"]
edges = np.arange(-10, 10, 1 / 50)
grid = np.stack(np.meshgrid(edges, edges), axis=-1).reshape(-1, 2)
print(f"integral: {np.exp(model.score_samples(grid)).sum() / 50**2:.6f}")
print("drawn:", model.sample(3)[0].round(2).tolist())
density = model.score_samples(X)
low = density < np.percentile(density, 4)
print(f"{low.sum()} anomalies of {len(X)}")

figure, axes = plt.subplots(figsize=(8, 4.4), layout="constrained")
plot.mixture_ellipses(model, deviations=[1, 2, 3], ax=axes)
plot.centers(model, ax=axes)
axes.plot(*X[~low].T, ".", color="black", markersize=2)
axes.plot(*X[low].T, "*", color="#D55E00", label="anomalies")
axes.legend(frameon=False)
plt.show()
