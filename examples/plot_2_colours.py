"""
An image in few colours
=======================

The pixels of a photograph are rows with three features.  k-means finds the colours that represent
them best; every pixel then takes the colour of its center.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from fastclust import KMeans

photo = load_sample_image("china.jpg")
pixels = photo.reshape(-1, 3).astype(np.float32) / 255
print(f"{len(pixels):,} pixels in {len(np.unique(pixels, axis=0)):,} colours")

# %%
# float32 rows stay float32: they are read where they lie, and so are the centers of that dtype.
# All pixels are clustered; there is no need to take a sample of them first.

palettes = {k: KMeans(n_clusters=k, random_state=0).fit(pixels) for k in (4, 16, 64)}
for k, kmeans in palettes.items():
    error = np.sqrt(kmeans.inertia_ / pixels.size)
    print(f"{k:2d} colours: {kmeans.n_iter_:3d} iterations, mean error of a channel {error:.3f}")

# %%
# ``cluster_centers_`` is the palette, and ``labels_`` the picture.

figure, axes = plt.subplots(2, 2, figsize=(8, 5.6), layout="constrained")
axes[0, 0].imshow(photo)
axes[0, 0].set_title("as it was")
for place, (k, kmeans) in zip(axes.flat[1:], palettes.items(), strict=True):
    place.imshow(kmeans.cluster_centers_.clip(0, 1)[kmeans.labels_].reshape(photo.shape))
    place.set_title(f"{k} colours")
for place in axes.flat:
    place.set_axis_off()
plt.show()
