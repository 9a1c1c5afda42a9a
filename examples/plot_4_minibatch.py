"""
Mini-batches, nested batches and all rows
=========================================

``MiniBatchKMeans`` moves its centers after a look at a few rows.  It is done before
:class:`~fastclust.KMeans` has looked at all rows more than a few times, and pays with a higher
inertia.  ``algorithm="nested"`` lies between the two: it begins with few rows and doubles them
whenever its centers have come to rest on those it has.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning

from fastclust import KMeans, MiniBatchKMeans

warnings.simplefilter("ignore", ConvergenceWarning)
X, _ = make_blobs(50_000, n_features=4, centers=40, cluster_std=4.0, random_state=1)
estimators = {
    "KMeans": KMeans(random_state=0),
    "nested": MiniBatchKMeans(random_state=0, algorithm="nested"),
    "mini-batches": MiniBatchKMeans(random_state=0),
}
counts = (5, 10, 20, 30, 40, 60, 80)
inertias = {name: [] for name in estimators}
for n_clusters in counts:
    for name, estimator in estimators.items():
        estimator.set_params(n_clusters=n_clusters).fit(X)
        inertias[name].append(estimator.inertia_)

# %%
# The steps of mini-batches can be counted in passes over the data.

steps = estimators["mini-batches"].n_steps_ * 1024
passes = estimators["KMeans"].n_iter_
print(
    f"k={n_clusters}: KMeans read all rows {passes} times, mini-batches {steps / len(X):.1f} times"
)

# %%
# What the difference in inertia is worth depends on what the clusters are for.

figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
for name, values in inertias.items():
    excess = 100 * (np.array(values) / inertias["KMeans"] - 1)
    axes.plot(counts, excess, "o-", label=name)
axes.set(xlabel="clusters", ylabel="inertia above that of KMeans, %")
axes.legend()
plt.show()
