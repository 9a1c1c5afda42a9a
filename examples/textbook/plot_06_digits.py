"""
Distances to centers as features: digits
========================================

A classifier that is given distances to clusters makes fewer errors than one that is given pixels.
How many clusters is then a matter of a grid search.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import sklearn.cluster
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from fastclust import KMeans

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=42)
classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
alone = classifier.fit(X_train, y_train).score(X_test, y_test)
print(f"pixels: {100 * alone:.2f} % right")

# %%
# The search over k of a pipeline; most of its time is the classifier's.

searches = {}
for engine, kind in (("scikit-learn", sklearn.cluster.KMeans), ("fastclust", KMeans)):
    pipeline = Pipeline([("kmeans", kind(random_state=42)), ("log_reg", classifier)])
    grid = {"kmeans__n_clusters": [10, 50, 90]}
    begun = perf_counter()
    found = searches[engine] = GridSearchCV(pipeline, grid, cv=3).fit(X_train, y_train)
    seconds = perf_counter() - begun
    right = found.score(X_test, y_test)
    k = found.best_params_["kmeans__n_clusters"]
    print(f"{engine:12s} k={k}: {100 * right:.2f} % right, {seconds:.1f} s")
    begun = perf_counter()
    for k in grid["kmeans__n_clusters"]:
        kind(k, random_state=42).fit(X_train)
    print(f"{engine:12s} of which k-means: {3 * (perf_counter() - begun):.2f} s")

figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
for engine, found in searches.items():
    results = found.cv_results_
    axes.plot(grid["kmeans__n_clusters"], results["mean_test_score"], "o-", label=engine)
axes.set(xlabel="number of clusters", ylabel="share that is right")
axes.legend(frameon=False)
plt.show()
