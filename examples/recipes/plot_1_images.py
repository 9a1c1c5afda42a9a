"""
An image in regions
===================

Colour alone groups pixels from all over an image.  With the place of each pixel as two more
features, clusters become regions.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

from fastclust import KMeans

photo = load_sample_image("flower.jpg").astype(np.float32) / 255
height, width, _ = photo.shape

# %%
# A pixel is a row of five features.  How much the place counts is chosen here: the larger the
# factor, the rounder the regions.

y, x = np.indices((height, width), dtype=np.float32) / width
pixels = np.dstack([photo, 1.5 * x, 1.5 * y]).reshape(-1, 5)
kmeans = KMeans(n_clusters=60, random_state=0).fit(pixels)
regions = kmeans.labels_.reshape(height, width)
sizes = np.bincount(kmeans.labels_)
print(f"{len(pixels):,} pixels in {len(sizes)} regions of {sizes.min():,} to {sizes.max():,}")

# %%
# The first three features of a center are the mean colour of its region.

edges = (np.diff(regions, axis=0)[:, 1:] != 0) | (np.diff(regions, axis=1)[1:] != 0)
means = kmeans.cluster_centers_[regions, :3].clip(0, 1)
means[1:, 1:][edges] = 1

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for place, picture in zip(axes, (photo, means), strict=True):
    place.imshow(picture)
    place.set_axis_off()
plt.show()
