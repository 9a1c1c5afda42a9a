"""
Faces
=====

Forty people, ten pictures of each: clusters, a classifier, new faces, and what is no face.
The faces are drawn by a few lines of NumPy, so that nothing need be downloaded.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import sklearn.cluster
import sklearn.mixture
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import silhouette_score
from sklearn.model_selection import train_test_split

from fastclust import ClusterSearch, GaussianMixture, KMeans, plot

SIDE = 32
rng = np.random.default_rng(42)
y_, x_ = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1) * 2 - 1


def blot(x, y, wide, high):
    """A soft ellipse."""
    return np.exp(-((((x_ - x) / wide) ** 2 + ((y_ - y) / high) ** 2) ** 2))


def face(person, mood):
    """A picture of a person, described by eight numbers, in a mood of five."""
    head = 0.75 * blot(0.1 * mood[0], 0.1 * mood[1], 0.75 + 0.06 * person[0], 0.95)
    hair = 0.35 * person[1] * blot(0.1 * mood[0], -0.9, 0.8, 0.35 + 0.1 * person[2])
    for side in (-1, 1):
        x = side * (0.3 + 0.05 * person[3]) + 0.15 * mood[0]
        head = head - 0.5 * blot(x, -0.2 + 0.05 * person[4] + 0.1 * mood[1], 0.12, 0.08)
    nose = 0.2 * blot(0.18 * mood[0], 0.1 + 0.1 * mood[1], 0.06 + 0.02 * person[5], 0.25)
    mouth = 0.45 * blot(0.12 * mood[0], 0.5 + 0.04 * person[6], 0.28 + 0.05 * person[7], 0.07)
    light = 1 + 0.15 * mood[2] * x_ + 0.1 * mood[3]
    picture = (head + hair - nose - mouth * (1 + 0.3 * mood[4])) * light + 0.1
    return np.clip(picture + rng.normal(scale=0.02, size=picture.shape), 0, 1).ravel()


people = np.repeat(np.arange(40), 10)
persons = rng.normal(size=(40, 8))
images = np.array([face(persons[p], 0.5 * rng.normal(size=5)) for p in people], np.float32)
train, valid, y_train, y_valid = train_test_split(
    images, people, test_size=80, stratify=people, random_state=42
)
pca = PCA(0.99, random_state=42)
X_train, X_valid = pca.fit_transform(train), pca.transform(valid)
print(f"{SIDE * SIDE} pixels, {X_train.shape[1]} components")

# %%
# How many clusters, by silhouettes.

sizes = range(5, 150, 10)
search = ClusterSearch(KMeans(random_state=42), sizes, criterion=["silhouette", "inertia"])
search.fit(X_train)
begun = perf_counter()
search.fit(X_train)
middle = perf_counter()
scores = []
for k in sizes:
    labels = sklearn.cluster.KMeans(k, random_state=42).fit(X_train).labels_
    scores.append(silhouette_score(X_train, labels))
end = perf_counter()
print(f"fastclust: k={search.best_n_clusters_}, {middle - begun:.3f} s")
print(f"scikit-learn: k={sizes[int(np.argmax(scores))]}, {end - middle:.3f} s")
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
plot.search_curve(search, ax=axes[0])
plot.search_curve(search, "inertia", ax=axes[1])
plt.show()

# %%
# The pictures of some clusters, and whose they are.

figure, axes = plt.subplots(3, 8, figsize=(9, 4), layout="constrained")
for line, cluster in zip(axes, np.argsort(-np.bincount(search.labels_))[:3], strict=True):
    for place in line:
        place.set_axis_off()
    own = np.flatnonzero(search.labels_ == cluster)
    for place, row in zip(line, own, strict=False):
        place.imshow(train[row].reshape(SIDE, SIDE), cmap="gray", vmin=0, vmax=1)
        place.set_title(f"{y_train[row]}", fontsize=8)
plt.show()

# %%
# Who is it?  From components, from distances to centers, and from both.

distances = search.best_estimator_.transform(X_train)
of_valid = search.best_estimator_.transform(X_valid)
for name, known, asked in (
    ("components", X_train, X_valid),
    ("distances", distances, of_valid),
    ("both", np.c_[X_train, distances], np.c_[X_valid, of_valid]),
):
    forest = RandomForestClassifier(100, random_state=42).fit(known, y_train)
    print(f"{name:10s} {100 * forest.score(asked, y_valid):.1f} % right")

# %%
# A mixture of forty components: new faces are drawn from it.

for engine, home in (
    ("scikit-learn", sklearn.mixture.GaussianMixture),
    ("fastclust", GaussianMixture),
):
    home(40, random_state=42).fit(X_train)
    begun = perf_counter()
    mixture = home(40, random_state=42).fit(X_train)
    seconds = perf_counter() - begun
    print(f"{engine:12s} log likelihood {mixture.score(X_train):.2f}, {seconds:.3f} s")
drawn, _ = mixture.sample(8)

# %%
# Pictures that are turned, upside down or dark are unlikely; and components do not restore them.

some = train[:8].reshape(-1, SIDE, SIDE)
bad = np.concatenate([some[:3].transpose(0, 2, 1), some[3:6, ::-1], some[6:8] * 0.3])
bad = bad.reshape(8, -1)
for name, rows in (("as they are", train[:8]), ("changed", bad)):
    error = np.square(pca.inverse_transform(pca.transform(rows)) - rows).mean()
    likely = mixture.score_samples(pca.transform(rows)).mean()
    print(f"{name}: log density {likely:.3g}, error of the components {error:.5f}")

figure, axes = plt.subplots(3, 8, figsize=(9, 3.8), layout="constrained")
shown = (pca.inverse_transform(drawn), bad, pca.inverse_transform(pca.transform(bad)))
for line, rows, title in zip(axes, shown, ("drawn", "changed", "restored"), strict=True):
    for place, row in zip(line, rows, strict=True):
        place.imshow(row.reshape(SIDE, SIDE), cmap="gray", vmin=0, vmax=1)
        place.set_axis_off()
    line[0].set_title(title, fontsize=9)
plt.show()
