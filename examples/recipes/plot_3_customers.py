"""
Customers: numbers and categories
=================================

k-means knows numbers and one distance.  A :class:`~sklearn.compose.ColumnTransformer` brings
columns of several kinds to one scale first; it is the place where you say what counts, and how
much.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from fastclust import ClusterSearch, KMeans

# %%
# Four kinds of customers, invented: who they are is what the clusters should find.

rng = np.random.default_rng(0)
kinds = rng.integers(4, size=8_000)
plans = np.array(["basic", "family", "business"])
likely = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.1, 0.1, 0.8], [0.8, 0.2, 0.0]])
customers = pd.DataFrame(
    {
        "age": rng.normal(np.array([24, 36, 50, 68])[kinds], 5),
        "spent": rng.lognormal(np.array([4.0, 6.0, 8.0, 5.0])[kinds], 0.5),
        "visits": rng.poisson(np.array([30, 8, 15, 3])[kinds]),
        "plan": plans[(likely.cumsum(axis=1)[kinds] < rng.random((8_000, 1))).sum(axis=1)],
    }
)

# %%
# Amounts and counts are spread over magnitudes: their logarithms are compared.  A category becomes
# a column for each value; two customers that differ in it are then sqrt(2) apart, and 0.7 times
# that by its weight.

skewed = make_pipeline(FunctionTransformer(np.log1p), StandardScaler())
columns = ColumnTransformer(
    [
        ("amounts", skewed, ["spent", "visits"]),
        ("others", StandardScaler(), ["age"]),
        ("plan", OneHotEncoder(sparse_output=False), ["plan"]),
    ],
    transformer_weights={"plan": 0.7},
)
rows = columns.fit_transform(customers)

# %%
# How many groups there are, the silhouette says; what they are, means in the units of the table.

search = ClusterSearch(KMeans(random_state=0), range(2, 9)).fit(rows)
model = make_pipeline(columns, KMeans(search.best_n_clusters_, random_state=0)).fit(customers)
groups = customers.groupby(model[-1].labels_)
profile = groups[["age", "spent", "visits"]].mean().round()
profile["most frequent plan"] = groups["plan"].agg(lambda plan: plan.mode()[0])
profile["customers"] = groups.size()
print(profile.to_string())

# %%
# The pipeline takes the next customer as they come.

print(model.predict(pd.DataFrame([{"age": 70, "spent": 90.0, "visits": 2, "plan": "basic"}])))

figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
axes.scatter(customers["age"], customers["spent"], s=3, c=model[-1].labels_, cmap="tab10", vmax=9)
axes.set(xlabel="age", ylabel="spent", yscale="log")
plt.show()
