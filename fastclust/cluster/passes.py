"""How many rows a slice has in each pass of a fit, by which rows are given to workers."""

from __future__ import annotations

from collections.abc import Callable

from ..kernels.gaussian import sweep_rows
from ..kernels.moments import moment_slice_rows
from ..kernels.seeding import rows_per_block
from ..kernels.update import slice_rows
from ..mixtures.chunks import chunk_rows

# Of the pass that takes most of the time, and of all others.
Sizes = Callable[[int, int], tuple[int, list[int]]]


def kmeans_sizes(n_clusters: int) -> Sizes:
    """Of :class:`fastclust.KMeans`."""

    def sizes(n_samples: int, n_features: int) -> tuple[int, list[int]]:
        others = [
            slice_rows(n_samples, n_features, 1),
            moment_slice_rows(n_samples, n_features),
            rows_per_block(n_features),
        ]
        return slice_rows(n_samples, n_features, n_clusters), others

    return sizes


def mixture_sizes(n_components: int, drawn: bool = False) -> Sizes:
    """Of mixtures, and of the k-means that they begin with, or of responsibilities `drawn`."""

    def sizes(n_samples: int, n_features: int) -> tuple[int, list[int]]:
        main, others = kmeans_sizes(n_components)(n_samples, n_features)
        if drawn:
            others.append(chunk_rows(n_features, n_components))
        return sweep_rows(n_samples, n_features), [main, *others]

    return sizes
