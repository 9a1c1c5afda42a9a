"""
Rows that keep coming
=====================

``partial_fit`` learns from a batch and never sees it again.  Scoring each batch *before* learning
from it shows whether the model still fits.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastclust import MiniBatchKMeans

rng = np.random.default_rng(0)
centers = rng.uniform(-8, 8, size=(6, 2))


def batches():
    """Batches of 1,000 rows; after the fortieth, everything has moved."""
    for number in range(100):
        moved = centers + (5.0 if number >= 40 else 0.0)
        yield moved[rng.integers(6, size=1_000)] + 0.5 * rng.normal(size=(1_000, 2))


# %%
# A center is the mean of all rows that it has had, so that old rows hold it back the longer the
# more they are.  The second model begins anew when rows are three times as far from its centers as
# they were over the last batches.

steady = MiniBatchKMeans(6, random_state=0)
watched = MiniBatchKMeans(6, random_state=0)
errors, recent = {"one model": [], "begun anew": []}, []
for number, batch in enumerate(batches()):
    if number:
        errors["one model"].append(-steady.score(batch) / len(batch))
        errors["begun anew"].append(-watched.score(batch) / len(batch))
        recent = [*recent[-9:], errors["begun anew"][-1]]
        if recent[-1] > 3 * np.median(recent):
            print(f"batch {number}: the data have changed")
            watched, recent = MiniBatchKMeans(6, random_state=0), []
    steady.partial_fit(batch)
    watched.partial_fit(batch)

figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
for name, values in errors.items():
    axes.plot(range(1, 100), values, label=name)
axes.set(xlabel="batch", ylabel="mean squared distance, before learning", yscale="log")
axes.legend()
plt.show()

# %%
# :meth:`~fastclust.GaussianMixture.partial_fit` does the same for mixtures.  For rows that lie in
# files, and are only too many for the memory, ``fit`` takes the files: :doc:`/guide/out_of_core`.
