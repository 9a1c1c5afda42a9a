"""
A tree of clusters
==================

Agglomerative clustering begins with single rows, and merges the two nearest clusters again and
again.  The tree shows how many clusters there are: where far merges follow near ones.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_blobs

from fastclust import AgglomerativeClustering, plot

X, _ = make_blobs(1_500, centers=4, cluster_std=0.8, random_state=3)
tree = AgglomerativeClustering(4, compute_distances=True).fit(X)
print("the last heights:", tree.distances_[-6:].round(1))

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
plot.dendrogram(tree, max_leaves=16, ax=left)
left.tick_params(axis="x", rotation=90)
right.scatter(*X.T, c=tree.labels_, cmap="tab10", vmin=0, vmax=9, s=5)
right.set_title("4 clusters")
plt.show()
