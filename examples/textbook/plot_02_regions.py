"""
Five blobs and their regions
============================

A fit, what it says of rows that it has not seen, and the lines between the clusters.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import sklearn.cluster
from sklearn.datasets import make_blobs

from fastclust import KMeans, plot

places = [[0.2, 2.3], [-1.5, 2.3], [-2.8, 1.8], [-2.8, 2.8], [-2.8, 1.3]]
X, _ = make_blobs(2_000, centers=places, cluster_std=[0.4, 0.3, 0.1, 0.1, 0.1], random_state=7)


def timed(action):
    """What `action` returns, and how long it takes when it is asked again."""
    action()
    begun = perf_counter()
    return action(), perf_counter() - begun


# %%
# ``inertia_`` is the sum of squared distances to the centers; ``transform`` has these distances, by
# which a row belongs more or less to each cluster.

for engine, kind in (("fastclust", KMeans), ("scikit-learn", sklearn.cluster.KMeans)):
    model, seconds = timed(lambda kind=kind: kind(5, random_state=42, n_init=10).fit(X))
    print(f"{engine:12s} inertia {model.inertia_:.4f}, {1000 * seconds:.1f} ms")

model = KMeans(5, random_state=42, n_init=10).fit(X)
X_new = np.array([[0, 2], [3, 2], [-3, 3], [-3, 2.5]])
print("labels:", model.predict(X_new))
print("distances:", model.transform(X_new).round(2), sep="\n")
own = model.transform(X)[np.arange(len(X)), model.labels_]
print(f"their squares: {np.sum(own**2):.4f}, score: {model.score(X):.4f}")

# %%
# A million places are asked for their cluster.

grid = np.stack(np.meshgrid(np.linspace(-4, 2, 1000), np.linspace(0, 4, 1000)), -1).reshape(-1, 2)
theirs = sklearn.cluster.KMeans(5, random_state=42, n_init=10).fit(X)
for engine, fitted in (("fastclust", model), ("scikit-learn", theirs)):
    _, seconds = timed(lambda fitted=fitted: fitted.predict(grid))
    print(f"{engine:12s} predict 1,000,000 rows: {1000 * seconds:.1f} ms")

figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
plot.decision_boundaries(model, X, ax=axes)
plt.show()
