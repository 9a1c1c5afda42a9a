"""
How many components: BIC and AIC
================================

One search over the number of components and the type of their covariances.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import sklearn.mixture
from sklearn.datasets import make_blobs

from fastclust import ClusterSearch, GaussianMixture, plot

pair, _ = make_blobs(1000, centers=((4, -4), (0, 0)), random_state=42)
one, _ = make_blobs(250, centers=1, random_state=42)
X = np.concatenate([pair @ [[0.374, 0.95], [0.732, 0.598]], one + np.array([6, -8])])
types = ["full", "tied", "diag", "spherical"]

# %%
# BIC by hand, to see what it is: likelihood against the number of parameters.

model = GaussianMixture(3, n_init=5, random_state=42).fit(X)
n_parameters = 2 + 3 * 2 + 3 * 3  # weights that sum to one, means, symmetric matrices
likelihood = model.score(X) * len(X)
by_hand = np.log(len(X)) * n_parameters - 2 * likelihood
print(f"BIC {model.bic(X):.3f}, by hand {by_hand:.3f}; AIC {model.aic(X):.3f}")

# %%
# The search, and the loop that it replaces.

search = ClusterSearch(
    GaussianMixture(n_init=2, random_state=42),
    range(1, 6),
    criterion=["bic", "aic"],
    covariance_types=types,
)
search.fit(X)
begun = perf_counter()
search.fit(X)
middle = perf_counter()
theirs = {}
for kind in types:
    for k in range(1, 6):
        fitted = sklearn.mixture.GaussianMixture(
            k, covariance_type=kind, n_init=2, random_state=42
        ).fit(X)
        theirs[k, kind] = fitted.bic(X)
end = perf_counter()
best = min(theirs, key=theirs.get)
print(f"fastclust: {search.best_n_clusters_} {search.best_covariance_type_}, ", end="")
print(f"BIC {search.results_['bic'].min():.2f}, {middle - begun:.2f} s")
print(f"scikit-learn: {best[0]} {best[1]}, BIC {theirs[best]:.2f}, {end - middle:.2f} s")

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
plot.search_curve(search, ax=axes[0])
plot.search_curve(search, "aic", ax=axes[1])
plt.show()
