"""
The same clusters on a cluster
==============================

:mod:`fastclust.dask` fits to rows that the workers of a Dask cluster hold.  Here there are two
workers in this very process; nothing but the address of the scheduler differs from a large cluster.
"""

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client, LocalCluster

import fastclust
import fastclust.dask

workers = LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
client = Client(workers)

# %%
# Rows in nine blocks of unequal size.  On a large cluster they would come from files, and no
# machine would ever see all of them; here all of them are on one as well, to compare.

rng = np.random.default_rng(0)
centers = rng.uniform(-10, 10, size=(12, 2))
rows = centers[rng.integers(12, size=30_000)] + 1.2 * rng.normal(size=(30_000, 2))
blocks = da.from_array(
    rows, chunks=((9_000, 1, 4_999, 3_000, 3_000, 2_000, 4_000, 3_000, 1_000), 2)
)

# %%
# The estimator is another one, and nothing else.  ``labels_`` is a dask array; the rest is NumPy's.

distributed = fastclust.dask.KMeans(12, random_state=0).fit(blocks)
local = fastclust.KMeans(12, random_state=0).fit(rows)
print("iterations:", distributed.n_iter_, "and", local.n_iter_)
print("same bits: ", np.array_equal(distributed.cluster_centers_, local.cluster_centers_))
print("labels:    ", distributed.labels_)

# %%
# Many centers are found sooner by k-means||, which asks all workers a dozen times in all, where
# k-means++ asks them twice for each center.

for init in ("k-means++", "k-means||"):
    model = fastclust.dask.KMeans(12, init=init, random_state=0).fit(blocks)
    print(f"{init}: sum of squares {model.inertia_:,.0f}")

# %%
# The model of one machine, to be saved or served; and what a dask collection is labelled by.

plain = distributed.to_local()
labels = distributed.predict(blocks)
print(type(plain).__name__, "of", type(plain).__module__, "and", type(labels).__name__)

figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
axes.scatter(*rows[::10].T, c=labels[::10].compute(), s=4, cmap="tab20")
axes.scatter(*plain.cluster_centers_.T, marker="x", c="black")
axes.set(title="30,000 rows on two workers", xticks=[], yticks=[])
plt.show()

client.close()
workers.close()
