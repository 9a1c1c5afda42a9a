"""
Anomalies
=========

A mixture is a density: what is improbable under it is unusual.  The distance to the nearest center
of k-means says less, since it knows no widths.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import average_precision_score

from fastclust import GaussianMixture, KMeans

# %%
# Two features of a machine that runs in two ways, one narrow and one wide; one row in a hundred is
# something else.

rng = np.random.default_rng(0)
usual = np.concatenate(
    [
        rng.multivariate_normal([0, 0], [[0.05, 0.0], [0.0, 0.05]], size=15_000),
        rng.multivariate_normal([5, 2], [[2.0, 1.5], [1.5, 1.6]], size=14_700),
    ]
)
X = np.concatenate([usual, rng.uniform([-2, -4], [10, 8], size=(300, 2))])
strange = np.arange(len(X)) >= len(usual)

# %%
# ``score_samples`` is the logarithm of the density.

mixture = GaussianMixture(2, random_state=0).fit(X)
kmeans = KMeans(2, random_state=0).fit(X)
scores = {
    "density of a mixture": -mixture.score_samples(X),
    "distance to a center": kmeans.transform(X).min(axis=1),
}
for name, score in scores.items():
    print(f"{name}: average precision {average_precision_score(strange, score):.2f}")

# %%
# The threshold is a decision: here the one per cent of rows that are the least probable.  For new
# rows it stays what it was.

threshold = np.quantile(scores["density of a mixture"], 0.99)
new = np.array([[0.1, 0.2], [0.0, 4.0], [7.0, 3.5]])
print(-mixture.score_samples(new) > threshold)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", sharey=True)
for place, (name, score) in zip(axes, scores.items(), strict=True):
    flagged = score > np.quantile(score, 0.99)
    place.plot(*X[~flagged][::5].T, ",", color="gray")
    place.plot(*X[flagged].T, ".", color="#D55E00", markersize=3)
    place.set(title=name)
plt.show()
