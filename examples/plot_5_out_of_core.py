"""
Rows on disk, a bar, and a fit that is killed
=============================================

``fit`` takes the path of a ``.npy`` file.  Its rows are read where they lie, and the clusters are
the same bits as from an array in memory.  While it runs it can show how far it is, and leave a
checkpoint behind from which a fit that was killed goes on.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np

from fastclust import KMeans, ProgressBar, SampledKMeansPlusPlus

folder = TemporaryDirectory()
path, checkpoint = Path(folder.name) / "rows.npy", Path(folder.name) / "fit.checkpoint"

# %%
# The file is written block by block, as one that is larger than the memory would be.

rng = np.random.default_rng(0)
centers = rng.uniform(-10, 10, size=(25, 6))
rows = np.lib.format.open_memmap(path, "w+", np.float32, shape=(200_000, 6))
for block in np.split(rows, 20):
    block[:] = centers[rng.integers(25, size=len(block))] + 2.5 * rng.normal(size=block.shape)
rows.flush()
print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")

# %%
# k-means++ reads all rows once for each center.  From a disk a sample of them is as good a start,
# and is read once.

kmeans = KMeans(25, init=SampledKMeansPlusPlus(20_000), n_init=1, random_state=0)

# %%
# A callback is called after every iteration.  This one notes what happens, and after a while plays
# the part of a power cut.

shifts = []


def power_cut(progress):
    """Note how far the centers have moved; raise at iteration 12."""
    shifts.append(progress.shift)
    if len(shifts) == 12:
        raise KeyboardInterrupt


bar = ProgressBar(file=sys.stderr)
try:
    kmeans.fit(path, callbacks=[bar, power_cut], checkpoint=checkpoint, checkpoint_every=5)
except KeyboardInterrupt:
    print(f"killed in iteration {len(shifts)}; there is a checkpoint: {checkpoint.exists()}")

# %%
# With ``resume=True`` it goes on from the checkpoint, which was written after iteration 10, and
# ends where an uninterrupted fit to an array in memory ends: bit for bit.

kmeans.fit(
    path,
    callbacks=[ProgressBar(file=sys.stderr), lambda progress: shifts.append(progress.shift)],
    checkpoint=checkpoint,
    checkpoint_every=5,
    resume=True,
)
whole = KMeans(25, init=SampledKMeansPlusPlus(20_000), n_init=1, random_state=0).fit(np.array(rows))
print("iterations:", kmeans.n_iter_, "and", whole.n_iter_)
print("same bits: ", np.array_equal(kmeans.cluster_centers_, whole.cluster_centers_))

# %%
# The movement of the centers, as the two fits reported it: two iterations were made twice.

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(range(1, 13), shifts[:12], "o-", label="until it was killed")
axes.plot(range(11, 11 + len(shifts) - 12), shifts[12:], ".-", label="resumed")
axes.set(xlabel="iteration", ylabel="squared movement of the centers", yscale="log")
axes.legend()
plt.show()
del rows, whole
folder.cleanup()
