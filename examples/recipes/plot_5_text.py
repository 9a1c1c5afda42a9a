"""
Text
====

Counts of words are rows of many thousands of features, nearly all zero.  A truncated SVD of them
keeps what goes together in some tens of features, and vectors of length 1 are compared by cosine.
"""

import inspect

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from fastclust import KMeans

# %%
# The texts are NumPy's own descriptions of its functions, from four of its modules.

modules = (np.fft, np.linalg, np.polynomial.polynomial, np.random)
texts, sources = [], []
for place, module in enumerate(modules):
    for name, function in inspect.getmembers(module, callable):
        text = inspect.getdoc(function) or ""
        if not name.startswith("_") and not inspect.isclass(function) and len(text) > 200:
            texts.append(text)
            sources.append(place)
print(f"{len(texts)} texts")

# %%
# ``TfidfVectorizer`` gives a sparse matrix, ``TruncatedSVD`` a dense one of 10 columns.

words = TfidfVectorizer(token_pattern=r"[a-z]{3,}", stop_words="english", max_df=0.5, min_df=3)
svd = TruncatedSVD(10, random_state=0)
model = make_pipeline(words, svd, Normalizer(), KMeans(4, random_state=0, refine=5)).fit(texts)
labels = model[-1].labels_

# %%
# A center leads back to words: those that weigh most in its direction.

weights = model[-1].cluster_centers_ @ svd.components_
names = words.get_feature_names_out()
for cluster, weight in enumerate(weights):
    print(f"{cluster}: {', '.join(names[np.argsort(weight)[:-8:-1]])}")

# %%
# A new text goes through the same steps.

print(model.predict(["Draw samples from a normal distribution with this seed."]))

counts = np.zeros((4, 4), dtype=int)
np.add.at(counts, (sources, labels), 1)
figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
axes.imshow(counts, cmap="Blues")
for (row, column), count in np.ndenumerate(counts):
    axes.text(column, row, count, ha="center", color="white" if count > 25 else "black")
axes.set(xlabel="cluster", xticks=range(4), ylabel="module")
axes.set_yticks(range(4), [module.__name__.split(".")[-1] for module in modules])
plt.show()
