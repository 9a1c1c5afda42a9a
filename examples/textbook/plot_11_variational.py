"""
Variational mixtures and their priors
=====================================

``BayesianGaussianMixture`` leaves components that it does not need without weight.
"""

import warnings
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import sklearn.mixture
from sklearn.datasets import make_blobs, make_moons
from sklearn.exceptions import ConvergenceWarning

from fastclust import BayesianGaussianMixture, plot

warnings.simplefilter("ignore", ConvergenceWarning)
pair, _ = make_blobs(1000, centers=((4, -4), (0, 0)), random_state=42)
one, _ = make_blobs(250, centers=1, random_state=42)
X = np.concatenate([pair @ [[0.374, 0.95], [0.732, 0.598]], one + np.array([6, -8])])

# %%
# Ten components may be used; three are.

homes = {
    "scikit-learn": sklearn.mixture.BayesianGaussianMixture,
    "fastclust": BayesianGaussianMixture,
}
for engine, home in homes.items():
    home(n_components=10, random_state=42).fit(X[:100])
    begun = perf_counter()
    model = home(n_components=10, random_state=42).fit(X)
    seconds = perf_counter() - begun
    print(f"{engine:12s} weights {model.weights_.round(2)}, {seconds:.2f} s")

# %%
# With few rows, the prior of the weights decides how many components are used.

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for place, prior in zip(axes, (0.01, 10_000), strict=True):
    for engine, home in homes.items():
        settings = {"weight_concentration_prior": prior, "max_iter": 300, "random_state": 42}
        few = home(n_components=10, **settings).fit(X[:73])
        print(f"prior {prior}: {engine:12s} {few.weights_.round(2)}")
    plot.mixture_contours(few, X[:73], ax=place)
    place.set_title(f"weight_concentration_prior={prior}")
plt.show()

# %%
# Moons are no ellipses: eight components or so make up for it, and the density is still of use.

moons, _ = make_moons(1000, noise=0.05, random_state=42)
model = BayesianGaussianMixture(n_components=10, random_state=42).fit(moons)
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
plot.mixture_contours(model, moons, ax=axes)
plt.show()
