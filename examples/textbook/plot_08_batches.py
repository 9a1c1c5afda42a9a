"""
Mini-batches, files and batches by hand
=======================================

Rows that do not fit into memory, three ways: a mapped file, ``partial_fit``, and a fit that reads.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import sklearn.cluster
from sklearn.datasets import load_digits, make_blobs

from fastclust import KMeans, MiniBatchKMeans

# %%
# Digits, each a few times with some noise, in a file that is mapped.

rng = np.random.default_rng(42)
images = np.tile(load_digits().data.astype(np.float32), (10, 1))
images += rng.normal(scale=0.5, size=images.shape).astype(np.float32)
with TemporaryDirectory() as folder:
    path = Path(folder) / "digits.npy"
    np.save(path, images)
    mapped = np.load(path, mmap_mode="r")
    for engine, kind in (
        ("fastclust", MiniBatchKMeans),
        ("scikit-learn", sklearn.cluster.MiniBatchKMeans),
    ):
        for batch_size in (10, 1024):
            settings = {"batch_size": batch_size, "n_init": 3, "random_state": 42}
            kind(10, **settings).fit(mapped)
            begun = perf_counter()
            model = kind(10, **settings).fit(mapped)
            seconds = perf_counter() - begun
            print(f"{engine:12s} batches of {batch_size}: {model.inertia_:.4g}, {seconds:.3f} s")
    begun = perf_counter()
    model = KMeans(10, random_state=42).fit(path)
    print(f"all rows, read from the file: {model.inertia_:.4g}, {perf_counter() - begun:.3f} s")
    del mapped

# %%
# Batches by hand: the best of ten starts by the inertia of its last ten batches.

places = [[0.2, 2.3], [-1.5, 2.3], [-2.8, 1.8], [-2.8, 2.8], [-2.8, 1.3]]
X, _ = make_blobs(2_000, centers=places, cluster_std=[0.4, 0.3, 0.1, 0.1, 0.1], random_state=7)


def by_hand(kind):
    """A model that has seen a hundred batches."""
    rs = np.random.RandomState(42)
    best, least = None, np.inf
    for _ in range(10):
        model = kind(5, random_state=rs.randint(1000), n_init=1)
        model.partial_fit(X[rs.choice(len(X), 500, replace=False)])
        total = 0.0
        for step in range(100):
            model.partial_fit(X[rs.choice(len(X), 100, replace=False)])
            total += model.inertia_ if step >= 90 else 0.0
        if total < least:
            best, least = model, total
    return best


for engine, kind in (
    ("fastclust", MiniBatchKMeans),
    ("scikit-learn", sklearn.cluster.MiniBatchKMeans),
):
    begun = perf_counter()
    model = by_hand(kind)
    print(f"{engine:12s} score {model.score(X):.4f}, {perf_counter() - begun:.2f} s")

# %%
# Inertia and time over the number of clusters.

sizes = range(5, 101, 5)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for name, kind in (
    ("KMeans", KMeans),
    ("MiniBatchKMeans", MiniBatchKMeans),
    ("scikit-learn's KMeans", sklearn.cluster.KMeans),
):
    inertias, times = [], []
    for k in sizes:
        begun = perf_counter()
        inertias.append(kind(k, n_init=1, random_state=42).fit(X).inertia_)
        times.append(1000 * (perf_counter() - begun))
    axes[0].plot(sizes, inertias, ".-", label=name)
    axes[1].plot(sizes, times, ".-", label=name)
axes[0].set(xlabel="number of clusters", ylabel="inertia", ylim=(0, 100))
axes[1].set(xlabel="number of clusters", ylabel="ms", yscale="log")
axes[1].legend(frameon=False)
plt.show()
