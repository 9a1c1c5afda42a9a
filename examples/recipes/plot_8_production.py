"""
A model for production
======================

What is fitted with fastclust may be used where there is only scikit-learn: the whole pipeline goes
there in one file.
"""

import pickle
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from fastclust import KMeans

X = load_digits().data
pipeline = Pipeline([("scale", StandardScaler()), ("clusters", KMeans(20, random_state=0))]).fit(X)

# %%
# ``to_sklearn`` makes a model of scikit-learn's own class.  ``labels_`` has a number for each row
# of the fit; a model that is only to predict has no need of it.

deployed = Pipeline([("scale", pipeline["scale"]), ("clusters", pipeline["clusters"].to_sklearn())])
whole = len(pickle.dumps(deployed))
del deployed["clusters"].labels_
print(f"{whole:,} bytes, {len(pickle.dumps(deployed)):,} without labels")

# %%
# Another process, which never imports fastclust, gives the same clusters.

program = """
import pickle, sys
import numpy as np
folder = sys.argv[1]
with open(folder + "/model.pickle", "rb") as file:
    model = pickle.load(file)
np.save(folder + "/labels.npy", model.predict(np.load(folder + "/rows.npy")))
print("fastclust imported:", "fastclust" in sys.modules)
"""
with TemporaryDirectory() as folder:
    Path(folder, "model.pickle").write_bytes(pickle.dumps(deployed))
    np.save(Path(folder, "rows.npy"), X)
    run = subprocess.run(
        [sys.executable, "-c", program, folder], check=True, capture_output=True, text=True
    )
    print(run.stdout.strip())
    print(
        "same clusters:", np.array_equal(np.load(Path(folder, "labels.npy")), pipeline.predict(X))
    )

# %%
# In use, watch how far rows are from their centers: rows unlike those of the fit lie farther out.
# Here the images come in upside down.

near = pipeline.transform(X).min(axis=1)
later = pipeline.transform(X[:, ::-1]).min(axis=1)
limit = np.quantile(near, 0.99)
for name, distances in (("as at the fit", near), ("upside down", later)):
    print(f"{name}: {(distances > limit).mean():.1%} beyond the limit")

figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
bins = np.linspace(0, max(near.max(), later.max()), 60)
axes.hist(near, bins, alpha=0.7, label="as at the fit")
axes.hist(later, bins, alpha=0.7, label="upside down")
axes.axvline(limit, color="black", linestyle="--")
axes.set(xlabel="distance to the nearest center", ylabel="rows")
axes.legend()
plt.show()
