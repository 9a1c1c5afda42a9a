"""
A first fit, beside scikit-learn
================================

The same parameters, the same ``random_state``, the same clusters: what was
``from sklearn.cluster import KMeans`` becomes ``from fastclust import KMeans``.
"""

import matplotlib.pyplot as plt
import numpy as np
import sklearn.cluster
from sklearn.datasets import make_blobs

from fastclust import KMeans

X, _ = make_blobs(20_000, centers=12, cluster_std=0.9, random_state=3)

ours = KMeans(n_clusters=12, random_state=0).fit(X)
theirs = sklearn.cluster.KMeans(n_clusters=12, random_state=0).fit(X)

# %%
# k-means++ draws the same rows in both, and in float64 all that follows agrees up to rounding.

print("same labels:     ", np.array_equal(ours.labels_, theirs.labels_))
print("same iterations: ", ours.n_iter_ == theirs.n_iter_)
print("inertia:         ", f"{ours.inertia_:.6f} and {theirs.inertia_:.6f}")
print("farthest centers:", f"{np.abs(ours.cluster_centers_ - theirs.cluster_centers_).max():.0e}")

# %%
# A fitted model does what one of scikit-learn's does: it predicts, transforms, scores, takes its
# place in a pipeline and can be pickled.

(left, bottom), (right, top) = X.min(axis=0) - 1, X.max(axis=0) + 1
x, y = np.meshgrid(np.linspace(left, right, 400), np.linspace(bottom, top, 300))
regions = ours.predict(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)

figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
axes.pcolormesh(x, y, regions, cmap="tab20", alpha=0.35, rasterized=True)
axes.plot(*X[::10].T, ",", color="black")
axes.plot(*ours.cluster_centers_.T, "o", color="black", markersize=7)
axes.plot(*theirs.cluster_centers_.T, "+", color="white", markersize=7)
axes.set(title="fastclust's centers (dots), scikit-learn's (crosses)", xticks=[], yticks=[])
plt.show()
