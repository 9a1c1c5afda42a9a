"""
Embeddings, by cosine
=====================

What an embedding means is in its direction; its length often tells only how long the text was or
how often the word occurs.  On vectors of length 1, k-means groups by direction: the squared
distance of two of them is ``2 - 2 * cosine``.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from fastclust import KMeans, silhouette_score

# %%
# Vectors of 64 features around 12 directions, with lengths from below 1 to above 10.

rng = np.random.default_rng(0)
topics = rng.integers(12, size=20_000)
directions = rng.normal(size=(12, 64))
vectors = directions[topics] + 1.2 * rng.normal(size=(20_000, 64))
vectors *= rng.lognormal(1.0, 0.8, size=(20_000, 1)) / np.linalg.norm(
    vectors, axis=1, keepdims=True
)
vectors = vectors.astype(np.float32)

# %%
# With :class:`~sklearn.preprocessing.Normalizer` in a pipeline, vectors that are predicted later
# are normalised as well.

plain = KMeans(12, random_state=0, refine=5).fit(vectors)
cosine = make_pipeline(Normalizer(), KMeans(12, random_state=0, refine=5)).fit(vectors)
labels = {"as they are": plain.labels_, "of length 1": cosine[-1].labels_}
for name, found in labels.items():
    agreement = adjusted_rand_score(topics, found)
    score = silhouette_score(vectors, found, metric="cosine")
    print(f"{name}: agreement with the topics {agreement:.2f}, silhouette by cosine {score:.2f}")

# %%
# Where lengths differ, k-means on the vectors as they are separates long ones from short ones.

lengths = np.linalg.norm(vectors, axis=1)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
for place, (name, found) in zip(axes, labels.items(), strict=True):
    place.boxplot([lengths[found == cluster] for cluster in range(12)], showfliers=False)
    place.set(title=name, xlabel="cluster", xticks=[])
axes[0].set_ylabel("length of the vectors")
plt.show()
