"""
The colours of a flower
=======================

A picture with ten, eight, six, four and two colours.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import sklearn.cluster
from sklearn.datasets import load_sample_image

from fastclust import KMeans, plot

image = load_sample_image("flower.jpg")[::2, ::2] / 255
pixels = image.reshape(-1, 3)
print(f"{len(pixels):,} pixels, {len(np.unique(pixels, axis=0)):,} colours")

# %%
# All pixels are clustered.

models = {}
for engine, kind in (("scikit-learn", sklearn.cluster.KMeans), ("fastclust", KMeans)):
    kind(2, random_state=42).fit(pixels)
    begun = perf_counter()
    models[engine] = [kind(k, random_state=42).fit(pixels) for k in (10, 8, 6, 4, 2)]
    seconds = perf_counter() - begun
    found = ", ".join(f"{model.inertia_:.1f}" for model in models[engine])
    print(f"{engine:12s} inertias {found}; {seconds:.2f} s")

figure, axes = plt.subplots(2, 3, figsize=(10, 5.4), layout="constrained")
axes[0, 0].imshow(image)
axes[0, 0].set_title("as it was")
axes[0, 0].set_axis_off()
for model, place in zip(models["fastclust"], axes.flat[1:], strict=True):
    plot.image_colors(image, model, ax=place)
plt.show()
