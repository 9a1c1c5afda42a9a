"""
Elkan, Hamerly and all distances
================================

The triangle inequality proves many distances needless.  fastclust counts those that it did compute
(``n_distances_``), so that what bounds spare can be seen without a clock.  The results are the same
bits for all algorithms.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs

from fastclust import KMeans, kmeans_plusplus

n_clusters = 250
X, _ = make_blobs(20_000, n_features=8, centers=250, cluster_std=2.0, random_state=0)
start, _ = kmeans_plusplus(X, n_clusters, random_state=0)


def fit(algorithm, max_iter=300):
    """k-means from the same start."""
    kmeans = KMeans(n_clusters, init=start, max_iter=max_iter, tol=0, algorithm=algorithm)
    return kmeans.fit(X)


names = ("lloyd", "hamerly", "elkan", "auto")
fitted = {name: fit(name) for name in names}
everything = fitted["lloyd"].n_distances_
for name, kmeans in fitted.items():
    share = kmeans.n_distances_ / everything
    same = np.array_equal(kmeans.cluster_centers_, fitted["lloyd"].cluster_centers_)
    print(f"{name:8s} {share:6.1%} of the distances, same bits as lloyd: {same}")

# %%
# ``elkan`` keeps a bound for every center only where a row's distances are expensive.  Here, with 8
# features, it is Hamerly's algorithm: the counts are equal, and below one line lies on the other.
#
# Bounds spare little as long as the centers move far, and most of the distances later on.  A fit
# that is cut off after `t` iterations tells how many had been computed until then.

iterations = np.arange(1, fitted["lloyd"].n_iter_ + 1, 3)
figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
styles = {"lloyd": "-", "hamerly": "-", "elkan": "--"}  # two may coincide
for name, style in styles.items():
    counts = [fit(name, int(t)).n_distances_ for t in iterations]
    axes.plot(iterations, counts, style, label=name)
axes.set(xlabel="iterations", ylabel="distances computed so far", yscale="log")
axes.legend()
plt.show()

# %%
# Fewer distances are not less time: where rows are short, a distance costs less than the look at
# its bound.  ``algorithm="auto"``, the default, weighs the two in every iteration.  See
# :doc:`/guide/algorithms`, and :doc:`/benchmarks/experiments` for the times.
