"""
In scikit-learn's place
=======================

A program that is not to be edited runs with fastclust by ``python -m fastclust program.py``, a
notebook by ``%load_ext fastclust``.  Both call :func:`fastclust.patch_sklearn`, which puts
fastclust's estimators where scikit-learn's are imported from.
"""

import matplotlib.pyplot as plt
import numpy as np
import sklearn.cluster
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import fastclust

# %%
# As a context manager it is undone at the end of the block.  What was imported before stays
# scikit-learn's: patch first.

with fastclust.patch_sklearn():
    from sklearn.cluster import KMeans

print("within:", issubclass(KMeans, fastclust.KMeans))
print("after: ", issubclass(sklearn.cluster.KMeans, fastclust.KMeans))

# %%
# Such an estimator is one of scikit-learn's in every respect: here distances to clusters of digits
# are the features of a classifier, and the number of clusters is searched for.

X, y = load_digits(return_X_y=True)
pipeline = make_pipeline(KMeans(random_state=0), KNeighborsClassifier(3))
search = GridSearchCV(pipeline, {"kmeans__n_clusters": [10, 30, 90]}, cv=3).fit(X, y)
for parameters, score in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    print(f"{parameters['kmeans__n_clusters']:2d} clusters: {score:.3f} of the digits recognised")

# %%
# What is fitted can be handed to a machine without fastclust: ``to_sklearn`` makes it a model of
# scikit-learn's own class, and ``from_sklearn`` does the reverse.

kmeans = search.best_estimator_["kmeans"]
model = kmeans.to_sklearn()
print(type(model).__module__, np.array_equal(model.predict(X), kmeans.predict(X)))

figure, axes = plt.subplots(6, 15, figsize=(8, 3.3), layout="constrained")
for place, center in zip(axes.flat, model.cluster_centers_, strict=False):
    place.imshow(center.reshape(8, 8), cmap="Greys")
for place in axes.flat:
    place.set_axis_off()
plt.show()
