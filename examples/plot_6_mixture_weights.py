"""
A mixture fitted to counts
==========================

``fit`` of the mixtures takes ``sample_weight``: a row of weight 3 counts as the same row three
times.  Data that come as counts, such as a histogram or a detector's pixels, are thus fitted
without being spread out into single rows first.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse

from fastclust import GaussianMixture

rng = np.random.default_rng(0)
blobs = [
    rng.multivariate_normal([-2.0, 0.0], [[0.5, 0.3], [0.3, 0.6]], size=120_000),
    rng.multivariate_normal([1.5, 1.5], [[1.2, -0.6], [-0.6, 0.7]], size=60_000),
    rng.multivariate_normal([1.0, -2.0], [[0.3, 0.0], [0.0, 0.3]], size=20_000),
]
X = np.concatenate(blobs)

# %%
# A histogram of 60 × 60 cells: a row for each cell that is not empty, its count as the weight.

counts, x, y = np.histogram2d(*X.T, bins=60)
cells = np.stack(np.meshgrid(x[:-1] + x[1:], y[:-1] + y[1:], indexing="ij"), axis=-1) / 2
cells, weights = cells[counts > 0], counts[counts > 0]
print(f"{len(X):,} rows in {len(cells):,} cells")

# %%
# The same mixture comes from the cells as from the rows, up to the width of a cell.

settings = {"n_components": 3, "random_state": 0, "tol": 1e-5, "max_iter": 300}
from_rows = GaussianMixture(**settings).fit(X)
from_cells = GaussianMixture(**settings).fit(cells, sample_weight=weights)
for name, mixture in (("rows", from_rows), ("cells", from_cells)):
    order = np.argsort(mixture.weights_)
    print(f"{name:5s} weights {mixture.weights_[order].round(3)}")
    print(f"      means   {mixture.means_[order].round(2).tolist()}")

# %%
# Ellipses at two standard deviations.


def ellipses(mixture, **style):
    """An ellipse for each component."""
    for mean, covariance in zip(mixture.means_, mixture.covariances_, strict=True):
        values, vectors = np.linalg.eigh(covariance)
        angle = np.degrees(np.arctan2(*vectors[::-1, 0]))
        yield Ellipse(mean, *4 * np.sqrt(values), angle=angle, fill=False, **style)


figure, axes = plt.subplots(figsize=(7, 4.8), layout="constrained")
axes.pcolormesh(x, y, counts.T, cmap="Greys", vmax=2 * counts.max())
for ellipse in ellipses(from_rows, color="#56B4E9", linewidth=5):
    axes.add_patch(ellipse)
for ellipse in ellipses(from_cells, color="#D55E00", linewidth=2, linestyle="--"):
    axes.add_patch(ellipse)
axes.set(title="from rows (broad) and from cells (dashed)", aspect="equal")
plt.show()
