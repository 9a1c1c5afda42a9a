"""
Clusters of any shape, and noise
================================

k-means cuts space into convex cells; :class:`fastclust.DBSCAN` follows the rows wherever they are
dense, and calls noise what lies between.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from fastclust import DBSCAN, KMeans

moons, _ = make_moons(1_000, noise=0.05, random_state=0)
noise = np.random.default_rng(0).uniform([-2.0, -1.5], [3.0, 2.0], size=(100, 2))
X = np.concatenate([moons, noise])

# %%
# ``eps`` is how far neighbours may be apart, ``min_samples`` how many of them make a core sample.

model = DBSCAN(eps=0.12, min_samples=8).fit(X)
print(f"{model.labels_.max() + 1} clusters, {np.sum(model.labels_ < 0)} rows of noise")

# %%
# The two moons are whole, where k-means has cut both.

kmeans = KMeans(2, random_state=0).fit(X)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
for axis, title, labels in zip(
    axes, ("KMeans", "DBSCAN"), (kmeans.labels_, model.labels_), strict=True
):
    axis.scatter(*X.T, c=np.where(labels < 0, "0.75", np.array(["C0", "C1"])[labels % 2]), s=6)
    axis.set_title(title)
figure.tight_layout()

# %%
# New rows belong to the cluster of the nearest core sample, if one is near enough.

print(model.predict([[0.0, 1.0], [1.0, -0.5], [2.5, 1.5]]))
