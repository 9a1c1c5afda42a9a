"""
Bad starts, and what mends them
===============================

From a bad start k-means ends in bad clusters.  More starts help; ``refine`` mends what is wrong.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import sklearn.cluster
from sklearn.datasets import make_blobs

from fastclust import KMeans, MiniBatchKMeans, plot

places = [[0.2, 2.3], [-1.5, 2.3], [-2.8, 1.8], [-2.8, 2.8], [-2.8, 1.3]]
X, _ = make_blobs(2_000, centers=places, cluster_std=[0.4, 0.3, 0.1, 0.1, 0.1], random_state=7)

# %%
# The first steps from rows that are drawn at random.

figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained", sharey=True)
for steps, place in enumerate(axes, start=1):
    model = KMeans(5, init="random", n_init=1, max_iter=steps, tol=0, random_state=0).fit(X)
    plot.decision_boundaries(model, X, resolution=400, ax=place)
    place.set_title(f"{steps} iterations, inertia {model.inertia_:.0f}")
plt.show()


# %%
# How often the least inertia is found, and how long it takes, over 20 seeds.


def shown(name, make):
    """Print what fits of 20 seeds come to."""
    make(0).fit(X)
    begun = perf_counter()
    found = np.array([make(seed).fit(X).inertia_ for seed in range(20)])
    seconds = (perf_counter() - begun) / 20
    reached = np.sum(found < 211.6)
    print(f"{name:36s} {reached:2d} of 20, mean {found.mean():.2f}, {1000 * seconds:.1f} ms a fit")


engines = {"fastclust": KMeans, "scikit-learn": sklearn.cluster.KMeans}
for engine, kind in engines.items():
    for n_init in (1, 10):
        shown(f"{engine}, random, n_init={n_init}", lambda s, kind=kind, n=n_init: kind(
            5, init="random", n_init=n, random_state=s))  # fmt: skip
        shown(f"{engine}, k-means++, n_init={n_init}", lambda s, kind=kind, n=n_init: kind(
            5, n_init=n, random_state=s))  # fmt: skip
shown("fastclust, k-means++, refine=5", lambda s: KMeans(5, refine=5, random_state=s))
batches = {"fastclust": MiniBatchKMeans, "scikit-learn": sklearn.cluster.MiniBatchKMeans}
for engine, kind in batches.items():
    shown(f"{engine}, mini-batches", lambda s, kind=kind: kind(5, n_init=3, random_state=s))

# %%
# Who knows about where the clusters are may say so.

good = np.array([[-3, 3], [-3, 2], [-3, 1], [-1, 2], [0, 2]])
print(f"inertia from a good start: {KMeans(5, init=good, n_init=1).fit(X).inertia_:.4f}")
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained", sharey=True)
for place, refine in zip(axes, (0, 5), strict=True):
    model = KMeans(5, init="random", n_init=1, random_state=2, refine=refine).fit(X)
    plot.decision_boundaries(model, X, ax=place)
    place.set_title(f"refine={refine}: inertia {model.inertia_:.2f}")
plt.show()
