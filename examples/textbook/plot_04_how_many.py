"""
How many clusters: elbows and silhouettes
=========================================

One search in place of the loop over the number of clusters.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import sklearn.cluster
import sklearn.metrics
from sklearn.datasets import make_blobs

from fastclust import ClusterSearch, KMeans, plot

places = [[0.2, 2.3], [-1.5, 2.3], [-2.8, 1.8], [-2.8, 2.8], [-2.8, 1.3]]
X, _ = make_blobs(2_000, centers=places, cluster_std=[0.4, 0.3, 0.1, 0.1, 0.1], random_state=7)

# %%
# The loop, and the search, which takes the distances between rows once for all of its silhouettes.


def loop():
    """Silhouettes and inertias by scikit-learn."""
    models = [sklearn.cluster.KMeans(k, n_init=10, random_state=42).fit(X) for k in range(2, 9)]
    scores = [sklearn.metrics.silhouette_score(X, model.labels_) for model in models]
    return np.array(scores), np.array([model.inertia_ for model in models])


search = ClusterSearch(
    KMeans(n_init=10, random_state=42), range(2, 9), criterion=["silhouette", "inertia"]
)
search.fit(X)
begun = perf_counter()
search.fit(X)
middle = perf_counter()
scores, inertias = loop()
end = perf_counter()
print("k           ", *search.results_["n_clusters"], sep="\t")
print("silhouette  ", *search.results_["silhouette"].round(4), sep="\t")
print("scikit-learn", *scores.round(4), sep="\t")
print("inertia     ", *search.results_["inertia"].round(1), sep="\t")
print("scikit-learn", *inertias.round(1), sep="\t")
print(f"fastclust {middle - begun:.3f} s, scikit-learn {end - middle:.3f} s")

# %%
# By both, four clusters look best; five are as good, and two of the four blades say why.

figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
plot.search_curve(search, ax=axes[0])
plot.search_curve(search, "inertia", ax=axes[1])
plt.show()

figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained", sharex=True)
for k, place in zip((3, 4, 5, 6), axes.flat, strict=True):
    plot.silhouette_diagram(X, search.cluster_labels(k), ax=place)
    place.set_title(f"k={k}")
plt.show()

# %%
# How clusters split as there are more of them; and too few and too many in the plane.

figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
plot.clustergram(search, X, ax=axes[0])
for k, place in zip((3, 8), axes[1:], strict=True):
    plot.decision_boundaries(search.estimators_[k - 2], X, ax=place)
    place.set_title(f"k={k}")
plt.show()
