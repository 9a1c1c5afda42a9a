"""
Fifty labels, well chosen
=========================

Where labels are expensive, clusters say which rows are worth one; the others of a cluster may
share it.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import sklearn.cluster
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastclust import KMeans

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=42)
K = 50


def right(rows, labels):
    """Share of the test rows that a classifier of these rows labels rightly."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    return 100 * classifier.fit(rows, labels).score(X_test, y_test)


print(f"the first {K} rows: {right(X_train[:K], y_train[:K]):.1f} %")

# %%
# The row next to each center stands for its cluster; then for all rows of it; then for the fifth of
# them that is nearest.

for engine, kind in (("scikit-learn", sklearn.cluster.KMeans), ("fastclust", KMeans)):
    kind(K, random_state=42).fit(X_train)
    begun = perf_counter()
    kmeans = kind(K, random_state=42)
    distances = kmeans.fit_transform(X_train)
    seconds = perf_counter() - begun
    chosen = distances.argmin(axis=0)
    labels = y_train[chosen][kmeans.labels_]
    own = distances[np.arange(len(X_train)), kmeans.labels_]
    limits = np.array([np.percentile(own[kmeans.labels_ == k], 20) for k in range(K)])
    near = own <= limits[kmeans.labels_]
    print(f"{engine}: {1000 * seconds:.1f} ms")
    print(f"  rows next to centers: {right(X_train[chosen], y_train[chosen]):.1f} %")
    print(f"  labels for all rows: {right(X_train, labels):.1f} %")
    print(f"  for the nearest fifth: {right(X_train[near], labels[near]):.1f} %", end=", ")
    print(f"of whose labels {100 * np.mean(labels[near] == y_train[near]):.1f} % are right")

figure, axes = plt.subplots(5, 10, figsize=(8, 4), layout="constrained")
for place, row in zip(axes.flat, X_train[chosen], strict=True):
    place.imshow(row.reshape(8, 8), cmap="binary")
    place.set_axis_off()
plt.show()
