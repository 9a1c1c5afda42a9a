"""Pictures of clusters: what a model has found, and why there are so many.

Every function draws in the Axes that `ax` names, or in the current ones, and returns them.  Models
may be scikit-learn's as well.  It needs matplotlib: ``pip install fastclust[plot]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from . import validation
from .kernels.tiles import Array
from .silhouette import silhouette_samples

MOST_POINTS = 20_000  # of a cloud, evenly spaced: more of them are one blot
MOST_STEPS = 500  # of the outline of a cluster in a silhouette diagram
MARGIN = 0.05  # of a picture beyond the rows, as a share of their width
LIGHT = 0.62  # of white in the colour of a region
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)  # of the rows that a contour of the density encloses
LEAST_WEIGHT = 0.01  # of the largest: a component below it is not marked
STRIP = 0.06  # of the height of an image that its colours take
ACCENT, DARK, SOFT = "#D55E00", "#222222", "#0072B2"
# Tableau's ten, which next to each other are told apart; more clusters get hues of their own.
TEN = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
    "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
)  # fmt: skip


def decision_boundaries(
    model: Any, X: Any, *, resolution: int = 1000, points: bool = True, ax: Any = None
) -> Any:
    """Regions of the plane by cluster, the lines between them, rows and centers.

    Parameters
    ----------
    model : fitted estimator
        Anything with `predict` that was fitted to two columns.
    X : array-like of shape (n_samples, 2)
        Rows, which the picture has room for.
    resolution : int, default=1000
        Places at which `predict` is asked, on each axis.
    points : bool, default=True
        Whether rows are drawn (of many, evenly spaced ones), and the centers, if `model` has some.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default the current Axes.

    Returns
    -------
    ax : matplotlib.axes.Axes
        With the picture.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not what it must be; also NotFittedError.
    ImportError
        Without matplotlib.
    """
    ax, X = _axes(ax), _plane(model, X)
    grid, extent, shape = _grid(X, validation.check_int("resolution", resolution, 2))
    regions, n_regions = _numbers(model.predict(grid))
    regions = regions.reshape(shape)
    colors = _palette(n_regions)
    image = (colors + (1 - colors) * LIGHT)[regions]
    image[_edges(regions)] = _rgb(DARK)
    ax.imshow(image, extent=extent, origin="lower", aspect="auto", zorder=0)
    if points:
        _cloud(ax, X)
        if hasattr(model, "cluster_centers_") or hasattr(model, "means_"):
            centers(model, ax=ax)
    return _framed(ax, extent)


def centers(model: Any, *, ax: Any = None) -> Any:
    """Centers of clusters, or means of components, as crosses on discs.

    Components whose weight is less than a hundredth of the largest are left out.

    Parameters
    ----------
    model : fitted estimator
        With `cluster_centers_`, or a mixture with `means_`, in the plane.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default the current Axes.

    Returns
    -------
    ax : matplotlib.axes.Axes
        With the picture.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not what it must be; also NotFittedError.
    ImportError
        Without matplotlib.
    """
    ax = _axes(ax)
    x, y = _places(model).T
    ax.scatter(x, y, marker="o", s=90, color="white", edgecolors=DARK, linewidths=0.8, zorder=10)
    ax.scatter(x, y, marker="x", s=36, color=DARK, linewidths=1.8, zorder=11)
    return ax


def silhouette_diagram(X: Any, labels: Any, *, metric: str = "euclidean", ax: Any = None) -> Any:
    """Silhouettes of the rows of each cluster in order, and their mean as a line.

    A good clustering has blades of a like size that reach beyond the line.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows.
    labels : array-like of shape (n_samples,)
        Cluster of each row.
    metric : {'euclidean', 'l2', 'cosine'}, default='euclidean'
        As for :func:`fastclust.silhouette_samples`.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default the current Axes.

    Returns
    -------
    ax : matplotlib.axes.Axes
        With the picture.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not what it must be.
    ImportError
        Without matplotlib.
    """
    ax = _axes(ax)
    values = silhouette_samples(X, labels, metric=metric)
    names, numbers = np.unique(labels, return_inverse=True)
    gap = len(values) / (12 * len(names))
    ticks, low = [], gap
    for number, color in enumerate(_palette(len(names))):
        blade = np.sort(values[numbers == number])
        height = np.linspace(low, low + len(blade), len(blade))
        few = np.unique(np.linspace(0, len(blade) - 1, MOST_STEPS).astype(int))
        ax.fill_betweenx(height[few], 0, blade[few], color=color, alpha=0.75, linewidth=1)
        ticks.append(low + len(blade) / 2)
        low += len(blade) + gap
    mean = float(values.mean(dtype=np.float64))
    ax.axvline(mean, color=ACCENT, linestyle="--", label=f"mean {mean:.3f}")
    ax.set_yticks(ticks, [str(name) for name in names])
    ax.set(xlabel="silhouette", ylabel="cluster", ylim=(0, low), xlim=(min(-0.1, values.min()), 1))
    ax.legend(loc="lower right", frameon=False)
    return _plain(ax)


def search_curve(search: Any, criterion: str | None = None, *, ax: Any = None) -> Any:
    """A criterion over the number of clusters, with the one that was chosen marked.

    Parameters
    ----------
    search : ClusterSearch
        A fitted one.
    criterion : str, default=None
        Name of an entry of ``search.results_``; by default the one by which it has chosen.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default the current Axes.

    Returns
    -------
    ax : matplotlib.axes.Axes
        With a line for each covariance type, and bars of one standard error for 'gap'.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not what it must be; also NotFittedError.
    ImportError
        Without matplotlib.
    """
    ax = _axes(ax)
    check_is_fitted(search, "results_")
    results = search.results_
    name = search.chosen_by_ if criterion is None else criterion
    drawn = [n for n in results if n not in ("n_clusters", "covariance_type", "gap_error")]
    validation.check_option("criterion", name, tuple(drawn))
    sizes, values = results["n_clusters"], results[name]
    kinds = results.get("covariance_type", np.full(len(sizes), ""))
    errors = results["gap_error"] if name == "gap" else None
    names = list(dict.fromkeys(kinds.tolist()))
    for kind, color in zip(names, _palette(len(names)), strict=True):
        own = np.flatnonzero(kinds == kind)
        style = {"marker": "o", "markersize": 4, "color": color, "label": kind or None}
        if errors is None:
            ax.plot(sizes[own], values[own], **style)
        else:
            ax.errorbar(sizes[own], values[own], errors[own], capsize=3, **style)
    best = search.best_index_
    ax.axvline(sizes[best], color=ACCENT, linestyle="--", linewidth=1, zorder=0)
    ax.scatter(
        sizes[best], values[best], s=120, facecolors="none", edgecolors=ACCENT, linewidths=2,
        zorder=5, label=f"chosen: {sizes[best]} {kinds[best]}".rstrip(),
    )  # fmt: skip
    ax.set(xlabel="number of clusters", ylabel=name.replace("_", " "))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(frameon=False)
    return _plain(ax)


def mixture_contours(
    model: Any, X: Any, *, resolution: int = 400, points: bool = True, ax: Any = None
) -> Any:
    """Density of a mixture, as lines that enclose shares of the rows, and borders of components.

    Parameters
    ----------
    model : fitted GaussianMixture or BayesianGaussianMixture
        Of two columns.
    X : array-like of shape (n_samples, 2)
        Rows: lines enclose 10, 30, 50, 70, 90 and 99 % of them.
    resolution : int, default=400
        Places at which the density is computed, on each axis.
    points : bool, default=True
        Whether rows are drawn (of many, evenly spaced ones), and the means.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default the current Axes.

    Returns
    -------
    ax : matplotlib.axes.Axes
        With the picture.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not what it must be; also NotFittedError.
    ImportError
        Without matplotlib.
    """
    ax, X = _axes(ax), _plane(model, X)
    if not hasattr(model, "score_samples"):
        raise validation.Unsupported(
            f"model must be a mixture, with score_samples, but it is a {type(model).__name__}."
        )
    grid, extent, shape = _grid(X, validation.check_int("resolution", resolution, 2))
    density = model.score_samples(grid).reshape(shape)
    levels = np.unique(np.quantile(model.score_samples(X), 1 - np.array(SHARES)))
    left, right, bottom, top = extent
    x, y = np.linspace(left, right, shape[1]), np.linspace(bottom, top, shape[0])
    most = max(float(density.max()), levels[-1]) + 1
    ax.contourf(x, y, density, levels=[*levels, most], cmap="Blues", alpha=0.8, zorder=0)
    ax.contour(x, y, density, levels=levels, colors=DARK, linewidths=0.6, linestyles="solid")
    regions, n_regions = _numbers(model.predict(grid))
    for number in range(n_regions if n_regions > 1 else 0):
        ax.contour(
            x, y, (regions == number).reshape(shape), levels=[0.5], colors=ACCENT, linewidths=1.2,
            linestyles="dashed",
        )  # fmt: skip
    if points:
        _cloud(ax, X)
        centers(model, ax=ax)
    return _framed(ax, extent)


def mixture_ellipses(model: Any, *, deviations: Sequence[float] = (1, 2), ax: Any = None) -> Any:
    """Ellipses of the components of a mixture, at so many standard deviations.

    The heavier a component, the less it lets through.

    Parameters
    ----------
    model : fitted GaussianMixture or BayesianGaussianMixture
        Of two columns, of any covariance type.
    deviations : sequence of float, default=(1, 2)
        Standard deviations; every component has an ellipse for each of them.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default the current Axes.

    Returns
    -------
    ax : matplotlib.axes.Axes
        With the picture.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not what it must be; also NotFittedError.
    ImportError
        Without matplotlib.
    """
    ax = _axes(ax)
    from matplotlib.patches import Ellipse

    means = _places(model)
    if not hasattr(model, "covariances_"):
        raise validation.Unsupported(
            f"model must be a mixture, with covariances_, but it is a {type(model).__name__}."
        )
    shown = model.weights_ >= LEAST_WEIGHT * model.weights_.max()
    colors, alphas = _palette(len(means)), 0.15 + 0.35 * model.weights_ / model.weights_.max()
    covariances = _covariances(model)[shown]
    for mean, covariance, color, alpha in zip(
        means, covariances, colors, alphas[shown], strict=True
    ):
        values, vectors = np.linalg.eigh(covariance)
        angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
        for deviation in deviations:
            width, height = 2 * deviation * np.sqrt(values)
            fill = Ellipse(mean, width, height, angle=angle, color=color, alpha=float(alpha))
            ax.add_patch(fill)
    ax.autoscale_view()
    return _plain(ax)


def clustergram(models: Any, X: Any, *, ax: Any = None) -> Any:
    """How clusters split as their number grows.

    A disc for each cluster of each fit, as large as it has rows, at the mean of its rows along
    their first principal component; lines are as wide as many rows go from one cluster to another.

    Parameters
    ----------
    models : ClusterSearch, or list of fitted estimators
        Fits with more and more clusters, to `X`.
    X : array-like of shape (n_samples, n_features)
        The rows.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default the current Axes.

    Returns
    -------
    ax : matplotlib.axes.Axes
        With the picture.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not what it must be; also NotFittedError.
    ImportError
        Without matplotlib.

    References
    ----------
    Schonlau, M.: The clustergram: a graph for visualizing hierarchical and nonhierarchical cluster
    analyses. The Stata Journal 2 (2002).
    """
    ax = _axes(ax)
    from matplotlib.collections import LineCollection

    X = check_array(X, dtype=[np.float64, np.float32])
    scores = PCA(n_components=1, random_state=0).fit_transform(X)[:, 0]
    labelings = [_numbers(labels)[0] for labels in _labelings(models, X)]
    counts = [np.bincount(labels) for labels in labelings]
    means = [np.bincount(labels, scores) / n for labels, n in zip(labelings, counts, strict=True)]
    sizes = [len(n) for n in counts]
    for i in range(len(sizes) - 1):
        flows = np.zeros((sizes[i], sizes[i + 1]))
        np.add.at(flows, (labelings[i], labelings[i + 1]), 1)
        start, end = np.nonzero(flows)
        ends = np.stack([means[i][start], means[i + 1][end]], axis=1)
        lines = np.stack([np.broadcast_to(sizes[i : i + 2], ends.shape), ends], axis=2)
        widths = 0.2 + 14 * flows[start, end] / len(X)
        ax.add_collection(LineCollection(list(lines), linewidths=widths, colors=SOFT, alpha=0.45))
    for size, n, mean in zip(sizes, counts, means, strict=True):
        ax.scatter(
            np.full(size, size), mean, s=20 + 500 * n / len(X), color=ACCENT, edgecolors="white",
            linewidths=0.8, zorder=3,
        )  # fmt: skip
    ax.set(xlabel="number of clusters", ylabel="mean of the first principal component")
    ax.set_xticks(sizes)
    ax.margins(0.08)
    return _plain(ax)


def dendrogram(model: Any, *, max_leaves: int = 30, ax: Any = None) -> Any:
    """The top of a tree of clusters, by SciPy; its clusters are coloured.

    Parameters
    ----------
    model : AgglomerativeClustering
        Fitted, with ``compute_distances=True`` or a `distance_threshold`.
    max_leaves : int, default=30
        Nodes at the bottom of the picture; a number in brackets is how many rows one of them has.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; the current axes by default.

    Returns
    -------
    ax : matplotlib.axes.Axes
        What has been drawn in.

    Raises
    ------
    ValueError
        Where the tree has no heights.
    TypeError
        Where `model` is no tree.
    """
    import scipy.cluster.hierarchy

    if not hasattr(model, "to_scipy_linkage"):
        raise validation.Unsupported(
            f"model must be an AgglomerativeClustering, but it is {validation.said(model)}."
        )
    max_leaves = validation.check_int("max_leaves", max_leaves, 2)
    ax = _axes(ax)
    table = model.to_scipy_linkage()
    # Between the last merge within clusters and the first of two of them.
    within = len(table) + 1 - model.n_clusters_
    low = table[within - 1, 2] if within else 0.0
    high = table[within, 2] if within < len(table) else 2 * table[-1, 2] + 1.0
    names = list(TEN)
    scipy.cluster.hierarchy.set_link_color_palette(names)
    try:
        scipy.cluster.hierarchy.dendrogram(
            table, p=max_leaves, truncate_mode="lastp", color_threshold=(low + high) / 2,
            above_threshold_color=DARK, ax=ax,
        )  # fmt: skip
    finally:
        scipy.cluster.hierarchy.set_link_color_palette(None)
    ax.set(ylabel="height")
    return _plain(ax)


def image_colors(image: Any, model: Any, *, ax: Any = None) -> Any:
    """An image whose pixels have the colours of their centers, with these, by share, below it.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, n_channels)
        The image: integers from 0 to 255, or floats from 0 to 1.
    model : fitted estimator
        Fitted to such pixels: a row for each, a column for each channel.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; by default the current Axes.

    Returns
    -------
    ax : matplotlib.axes.Axes
        With the picture.

    Raises
    ------
    ValueError, TypeError
        Where an argument is not what it must be; also NotFittedError.
    ImportError
        Without matplotlib.
    """
    ax = _axes(ax)
    colors = _centers(model)
    pixels = np.asarray(image)
    n_channels = 1 if pixels.ndim == 2 else pixels.shape[-1]
    if pixels.ndim not in (2, 3) or n_channels != colors.shape[1]:
        raise ValueError(
            f"image must have {colors.shape[1]} channels, as the model has features, but its shape "
            f"is {pixels.shape}."
        )
    labels = model.predict(pixels.reshape(-1, colors.shape[1]).astype(colors.dtype))
    if pixels.dtype.kind in "iu":
        colors = colors / 255
    colors = np.clip(colors, 0, 1)
    height, width = pixels.shape[:2]
    found = colors[labels].reshape(height, width, -1)
    order = np.argsort(colors.mean(axis=1))
    ends = np.cumsum(np.bincount(labels, minlength=len(colors))[order]) * width / len(labels)
    line = colors[order[np.searchsorted(ends, np.arange(width) + 0.5)]]
    strip = np.broadcast_to(line, (max(1, round(STRIP * height)), *line.shape))
    blank = np.ones((max(1, len(strip) // 3), *line.shape))
    found = np.concatenate([found, blank, strip])
    ax.imshow(found if found.shape[2] != 1 else found[..., 0], cmap="gray", vmin=0, vmax=1)
    ax.set_title(f"{len(colors)} colors")
    ax.set_axis_off()
    return ax


# --- What they share -----------------------------------------------------------------------------


def _axes(ax: Any) -> Any:
    """The Axes to draw in."""
    try:
        import matplotlib.axes
    except ImportError as error:
        raise ImportError("fastclust.plot needs matplotlib: pip install fastclust[plot]") from error
    if ax is None:
        import matplotlib.pyplot

        return matplotlib.pyplot.gca()
    if not isinstance(ax, matplotlib.axes.Axes):
        raise validation.Unsupported(
            f"ax must be Axes of matplotlib or None, but it is {validation.said(ax)}."
        )
    return ax


def _plane(model: Any, X: Any) -> Array:
    """Rows with two columns, as many as the model was fitted to."""
    check_is_fitted(model)
    X = check_array(X, dtype=[np.float64, np.float32])
    for name, n_columns in (("X", X.shape[1]), ("model", getattr(model, "n_features_in_", 2))):
        if n_columns != 2:
            raise ValueError(f"{name} must have 2 columns, to be drawn, but it has {n_columns}.")
    return X


def _centers(model: Any) -> Array:
    """Centers of clusters, or means of components."""
    check_is_fitted(model)
    for name in ("cluster_centers_", "means_"):
        if hasattr(model, name):
            return np.asarray(getattr(model, name))
    raise validation.Unsupported(
        f"model must have cluster_centers_ or means_, but it is a {type(model).__name__}."
    )


def _places(model: Any) -> Array:
    """Those that are drawn, in the plane."""
    found = _centers(model)
    if found.shape[1] != 2:
        raise ValueError(f"model must have 2 columns, to be drawn, but it has {found.shape[1]}.")
    weights = getattr(model, "weights_", None)
    return found if weights is None else found[weights >= LEAST_WEIGHT * weights.max()]


def _covariances(model: Any) -> Array:
    """Covariances of the components as matrices, whatever their type."""
    found, kind = np.asarray(model.covariances_), model.covariance_type
    k, n_features = model.means_.shape
    if kind == "full":
        return found
    if kind == "tied":
        return np.broadcast_to(found, (k, n_features, n_features))
    variances = found if kind == "diag" else np.repeat(found[:, None], n_features, axis=1)
    matrices: Array = variances[:, :, None] * np.eye(n_features)
    return matrices


def _labelings(models: Any, X: Array) -> list[Array]:
    """Labels of the rows by each fit."""
    given = getattr(models, "estimators_", models)
    if not isinstance(given, list | tuple) or not given:
        raise validation.Unsupported(
            "models must be a fitted ClusterSearch or a list of fitted estimators, but it is "
            f"{validation.said(models)}."
        )
    found = []
    for model in given:
        check_is_fitted(model)
        found.append(model.labels_ if hasattr(model, "labels_") else model.predict(X))
        if len(found[-1]) != len(X):
            raise ValueError(
                f"X must have the {len(found[-1])} rows that the models were fitted to, but it has "
                f"{len(X)}."
            )
    return found


def _numbers(labels: Any) -> tuple[Array, int]:
    """Labels as numbers from 0, and how many there may be; others than such are counted."""
    labels = np.asarray(labels)
    if labels.dtype.kind in "iu" and labels.min() >= 0:
        return labels, int(labels.max()) + 1
    names, numbers = np.unique(labels, return_inverse=True)
    return numbers, len(names)


def _grid(X: Array, resolution: int) -> tuple[Array, tuple[float, ...], tuple[int, int]]:
    """Places in the middle of the pixels of a picture of the rows; its limits and its shape."""
    low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
    room = MARGIN * (high - low)
    room[room == 0] = 1.0
    (left, bottom), (right, top) = low - room, high + room
    steps = (np.arange(resolution) + 0.5) / resolution
    grid = np.empty((resolution, resolution, 2), X.dtype)
    grid[:, :, 0] = left + (right - left) * steps
    grid[:, :, 1] = (bottom + (top - bottom) * steps)[:, None]
    return grid.reshape(-1, 2), (left, right, bottom, top), (resolution, resolution)


def _edges(regions: Array) -> Array:
    """Which pixels have a neighbour of another region."""
    found = np.zeros(regions.shape, bool)
    across = regions[:, 1:] != regions[:, :-1]
    along = regions[1:] != regions[:-1]
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= along
    found[:-1] |= along
    return found


def _cloud(ax: Any, X: Array) -> None:
    few = X[:: -(-len(X) // MOST_POINTS)]
    size = float(np.clip(60 / np.sqrt(len(few)), 0.8, 4))
    ax.plot(
        few[:, 0], few[:, 1], linestyle="none", marker=".", markersize=size, color="black",
        alpha=0.6, rasterized=True,
    )  # fmt: skip


def _rgb(color: str) -> Array:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def _palette(n_colors: int) -> Array:
    """Colours (n_colors, 3), the first ones the same for any number up to ten."""
    if n_colors <= len(TEN):
        return np.array([_rgb(color) for color in TEN[: max(n_colors, 1)]])
    from matplotlib.colors import hsv_to_rgb

    number = np.arange(n_colors)
    # Steps of the golden ratio keep hues of near numbers apart.
    hues, bright = number * 0.6180339887 % 1, 0.65 + 0.3 * (number % 3) / 2
    colors: Array = hsv_to_rgb(np.stack([hues, np.full(n_colors, 0.65), bright], axis=1))
    return colors


def _framed(ax: Any, extent: tuple[float, ...]) -> Any:
    ax.set(xlim=extent[:2], ylim=extent[2:])
    return ax


def _plain(ax: Any) -> Any:
    ax.spines[["top", "right"]].set_visible(False)
    return ax
