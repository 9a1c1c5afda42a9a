"""
Time stamps
===========

As numbers, 23:50 and 00:10 are far apart.  On a circle they are neighbours: an hour of the day
becomes two features, its cosine and its sine.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastclust import KMeans

# %%
# Events of a month: many around 8:00, around 17:30, and around midnight.

rng = np.random.default_rng(0)
peaks = rng.choice([8.0, 17.5, 0.0], size=30_000, p=[0.4, 0.35, 0.25])
minutes = 60 * (peaks + rng.normal(0, 1.2, size=30_000)) + 1440 * rng.integers(30, size=30_000)
stamps = np.datetime64("2026-03-01T00:00") + minutes.astype("timedelta64[m]")

hours = (stamps - stamps.astype("datetime64[D]")) / np.timedelta64(1, "h")
angles = 2 * np.pi * hours / 24
rows = np.column_stack([np.cos(angles), np.sin(angles)])

# %%
# The direction of a center is the mean time of its cluster.

line = KMeans(3, random_state=0).fit(hours.reshape(-1, 1))
circle = KMeans(3, random_state=0).fit(rows)
times = np.arctan2(*circle.cluster_centers_.T[::-1]) * 24 / (2 * np.pi) % 24


def clock(hour):
    """Hours as on a clock."""
    minutes = round(60 * hour) % 1440
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


print("on a line:  ", *sorted(clock(hour) for hour in line.cluster_centers_.ravel()))
print("on a circle:", *sorted(clock(hour) for hour in times))

# %%
# Other cycles are made the same way: the day of the week by ``2 * pi * day / 7``, with a factor
# that says how much it counts beside the hour.

figure, axes = plt.subplots(
    1, 2, figsize=(9, 4), layout="constrained", subplot_kw={"projection": "polar"}
)
for place, (name, labels) in zip(
    axes, {"on a line": line.labels_, "on a circle": circle.labels_}.items(), strict=True
):
    for cluster in range(3):
        counts, borders = np.histogram(hours[labels == cluster], bins=96, range=(0, 24))
        place.bar(2 * np.pi * borders[:-1] / 24, counts, width=2 * np.pi / 96, align="edge")
    place.set(title=name, theta_zero_location="N", theta_direction=-1, yticks=[])
    place.set_xticks(np.arange(8) * np.pi / 4, [f"{3 * hour}:00" for hour in range(8)])
plt.show()
