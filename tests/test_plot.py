"""Pictures of clusters, by what they contain."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
import sklearn.cluster
import sklearn.mixture
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError

import fastclust
from fastclust import ClusterSearch, GaussianMixture, KMeans, plot, silhouette_samples

X, _ = make_blobs(300, centers=[[0, 0], [8, 0], [0, 8]], random_state=0)
KM, SK = KMeans(3, random_state=0).fit(X), sklearn.cluster.KMeans(3, random_state=0).fit(X)
GM = GaussianMixture(3, random_state=0).fit(X)
TYPES = ("full", "tied", "diag", "spherical")


@pytest.fixture(autouse=True)
def _closed() -> Any:
    yield
    plt.close("all")


def axes() -> Any:
    return plt.figure().add_subplot()


@pytest.mark.parametrize("model", [KM, SK, GM, sklearn.mixture.GaussianMixture(3).fit(X)])
def test_regions_are_what_the_model_predicts(model: Any) -> None:
    ax = axes()
    assert plot.decision_boundaries(model, X, resolution=50, ax=ax) is ax
    (picture,) = ax.images
    left, right, bottom, top = picture.get_extent()
    assert left < X[:, 0].min()
    assert top > X[:, 1].max()
    colors = np.asarray(picture.get_array())
    assert colors.shape == (50, 50, 3)
    x = left + (np.arange(50) + 0.5) / 50 * (right - left)
    y = bottom + (np.arange(50) + 0.5) / 50 * (top - bottom)
    labels = model.predict(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).reshape(50, 50)
    padded = np.pad(labels, 1, mode="edge")
    shifted = [padded[1:-1, 2:], padded[1:-1, :-2], padded[2:, 1:-1], padded[:-2, 1:-1]]
    inside = np.all([other == labels for other in shifted], axis=0)
    found = [np.unique(colors[inside & (labels == k)], axis=0) for k in range(3)]
    assert [len(own) for own in found] == [1, 1, 1]
    assert len(np.unique(np.concatenate(found), axis=0)) == 3
    edge = np.unique(colors[~inside], axis=0)
    assert len(edge) == 1
    assert edge.max() < np.concatenate(found).min()
    assert len(ax.lines[0].get_xdata()) == 300
    centers = model.cluster_centers_ if hasattr(model, "cluster_centers_") else model.means_
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), centers)
    assert (ax.get_xlim(), ax.get_ylim()) == ((left, right), (bottom, top))


def test_regions_of_a_classifier_with_names_and_of_many_rows() -> None:
    from sklearn.neighbors import NearestCentroid

    names = np.array(["a", "b", "c"])[KM.labels_]
    ax = axes()
    plot.decision_boundaries(NearestCentroid().fit(X, names), X, resolution=20, ax=ax)
    colors = np.asarray(ax.images[0].get_array()).reshape(-1, 3)
    assert len(np.unique(colors, axis=0)) == 4
    assert not ax.collections  # no centers that are known by name
    many = np.tile(X, (200, 1))
    lines = plot.decision_boundaries(KM, many, resolution=2, ax=axes()).lines
    assert 10_000 < len(lines[0].get_xdata()) <= plot.MOST_POINTS
    bare = plot.decision_boundaries(KM, X.astype(np.float32), resolution=2, points=False, ax=axes())
    assert not bare.lines
    assert not bare.collections


def test_the_current_axes_are_drawn_in_by_default() -> None:
    ax = axes()
    assert plot.centers(KM) is ax
    assert plot.silhouette_diagram(X, KM.labels_) is ax
    assert len(plt.get_fignums()) == 1


def test_a_silhouette_diagram() -> None:
    labels = np.array(["one", "two", "three"])[KM.labels_]
    ax = plot.silhouette_diagram(X, labels, ax=axes())
    values = silhouette_samples(X, labels)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["one", "three", "two"]
    assert len(ax.collections) == 3
    for name, blade in zip(("one", "three", "two"), ax.collections, strict=True):
        (path,) = blade.get_paths()
        own = values[labels == name]
        assert path.vertices[:, 0].max() == pytest.approx(own.max())
        height = np.ptp(path.vertices[:, 1])
        assert height == pytest.approx(len(own))
    assert ax.lines[0].get_xdata()[0] == pytest.approx(values.mean())


def test_the_curve_of_a_search() -> None:
    search = ClusterSearch(
        KMeans(random_state=0), range(2, 6), criterion=("gap", "inertia"), n_references=3
    ).fit(X)
    ax = plot.search_curve(search, ax=axes())
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), search.results_["gap"])
    assert ax.get_ylabel() == "gap"
    (bars,) = ax.containers
    ends = np.array(bars.lines[2][0].get_segments())[:, :, 1]
    np.testing.assert_allclose(np.ptp(ends, axis=1) / 2, search.results_["gap_error"])
    ring = ax.collections[-1].get_offsets()[0]
    assert ring[0] == search.best_n_clusters_ == 3
    assert "chosen: 3" in [text.get_text() for text in ax.get_legend().get_texts()]
    ax = plot.search_curve(search, "inertia", ax=axes())
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), search.results_["inertia"])


def test_the_curve_of_a_search_over_covariance_types() -> None:
    search = ClusterSearch(
        GaussianMixture(random_state=0), range(1, 5), criterion="bic", covariance_types=TYPES
    ).fit(X)
    ax = plot.search_curve(search, ax=axes())
    for kind, line in zip(TYPES, ax.lines, strict=False):
        own = search.results_["covariance_type"] == kind
        np.testing.assert_array_equal(line.get_ydata(), search.results_["bic"][own])
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [*TYPES, f"chosen: 3 {search.best_covariance_type_}"]


def test_contours_of_a_mixture_enclose_shares_of_the_rows() -> None:
    ax = plot.mixture_contours(GM, X, resolution=60, ax=axes())
    filled, lines, *borders = [c for c in ax.collections if hasattr(c, "levels")]
    density = GM.score_samples(X)
    shares = [(density >= level).mean() for level in lines.levels]
    np.testing.assert_allclose(sorted(shares), plot.SHARES, atol=0.01)
    assert filled.levels[-1] > density.max()
    assert len(borders) == 3
    one = plot.mixture_contours(GaussianMixture(1).fit(X), X, resolution=20, ax=axes())
    assert len([c for c in one.collections if hasattr(c, "levels")]) == 2


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("home", [fastclust, sklearn.mixture])
def test_ellipses_are_those_of_the_covariances(kind: str, home: Any) -> None:
    model = home.GaussianMixture(2, covariance_type=kind, random_state=0).fit(X * [1, 3])
    ax = plot.mixture_ellipses(model, deviations=[1.5], ax=axes())
    full = {
        "full": lambda c: c,
        "tied": lambda c: [c, c],
        "diag": lambda c: [np.diag(v) for v in c],
        "spherical": lambda c: [v * np.eye(2) for v in c],
    }[kind](model.covariances_)
    assert len(ax.patches) == 2
    for ellipse, mean, covariance in zip(ax.patches, model.means_, full, strict=True):
        knots = ellipse.get_path().vertices[:-1:3]  # others are handles of the curve
        outline = ellipse.get_patch_transform().transform(knots) - mean
        squares = np.einsum("ij,jk,ik->i", outline, np.linalg.inv(covariance), outline)
        np.testing.assert_allclose(squares, 1.5**2)


def test_components_without_weight_are_left_out() -> None:
    model = fastclust.BayesianGaussianMixture(
        n_components=8, weight_concentration_prior=1e-3, random_state=0, max_iter=300
    ).fit(X)
    some = int((model.weights_ > 0.01 * model.weights_.max()).sum())
    assert some < 8
    assert len(plot.mixture_ellipses(model, deviations=[1], ax=axes()).patches) == some
    assert len(plot.centers(model, ax=axes()).collections[0].get_offsets()) == some


def test_a_clustergram_shows_how_many_rows_go_where() -> None:
    search = ClusterSearch(KMeans(random_state=0), range(2, 5), criterion="inertia").fit(X)
    models = [sklearn.cluster.KMeans(k, random_state=0).fit(X) for k in (2, 3, 4)]
    for given in (search, models):
        ax = plot.clustergram(given, X, ax=axes())
        *flows, two, three, four = ax.collections
        assert [len(discs.get_offsets()) for discs in (two, three, four)] == [2, 3, 4]
        for flow in flows:
            assert sum(flow.get_linewidth()) == pytest.approx(14 + 0.2 * len(flow.get_segments()))
        labels = search.cluster_labels(2) if given is search else models[0].labels_
        centred = X - X.mean(axis=0)
        scores = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
        means = [scores[labels == k].mean() for k in range(2)]
        np.testing.assert_allclose(np.abs(two.get_offsets()[:, 1]), np.abs(means))
        assert ax.get_xticks().tolist() == [2, 3, 4]


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_an_image_takes_the_colors_of_its_centers(dtype: Any) -> None:
    image = np.zeros((40, 30, 3), dtype)
    image[:, :10] = 255 if dtype is np.uint8 else 1.0
    model = KMeans(2, random_state=0).fit(image.reshape(-1, 3).astype(float))
    ax = plot.image_colors(image, model, ax=axes())
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shown[:40], image / (255 if dtype is np.uint8 else 1), atol=1e-12)
    strip = shown[-1]  # dark colors first
    np.testing.assert_allclose(strip.mean(axis=1), [0.0] * 20 + [1.0] * 10, atol=1e-12)
    grey = KMeans(2, random_state=0).fit(image[..., :1].reshape(-1, 1).astype(float))
    assert plot.image_colors(image[..., 0], grey, ax=axes()).images[0].get_array().ndim == 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot.centers(KMeans()), NotFittedError, "KMeans"),
        (lambda: plot.centers(KM, ax=3), TypeError, "ax must be Axes of matplotlib or None, but"),
        (
            lambda: plot.decision_boundaries(KM, np.ones((5, 3))),
            ValueError,
            "X must have 2 columns, to be drawn, but it has 3",
        ),
        (
            lambda: plot.decision_boundaries(KMeans(2).fit(np.eye(3)), X),
            ValueError,
            "model must have 2 columns, to be drawn, but it has 3",
        ),
        (
            lambda: plot.decision_boundaries(KM, X, resolution=1),
            ValueError,
            "resolution must be at least 2, but it is 1",
        ),
        (lambda: plot.mixture_contours(KM, X), TypeError, "model must be a mixture, with score_s"),
        (lambda: plot.mixture_ellipses(KM), TypeError, "model must be a mixture, with covariances"),
        (
            lambda: plot.centers(sklearn.cluster.DBSCAN().fit(X)),
            TypeError,
            "model must have cluster_centers_ or means_, but it is a DBSCAN",
        ),
        (lambda: plot.clustergram(KM, X), TypeError, "models must be a fitted ClusterSearch or a "),
        (
            lambda: plot.clustergram([KM], X[:9]),
            ValueError,
            "X must have the 300 rows that the models were fitted to, but it has 9",
        ),
        (
            lambda: plot.image_colors(np.ones((4, 4, 3)), KM),
            ValueError,
            r"image must have 2 channels, as the model has features, but its shape is \(4, 4, 3\)",
        ),
        (
            lambda: plot.search_curve(
                ClusterSearch(KM, [2, 3], criterion="inertia").fit(X), "silhouette"
            ),
            ValueError,
            "criterion must be one of 'fit_time', 'inertia', but it is 'silhouette'",
        ),
        (lambda: plot.search_curve(ClusterSearch(KM)), NotFittedError, "ClusterSearch"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_without_matplotlib_a_sentence_says_what_is_missing() -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
import numpy as np
from fastclust import KMeans, plot
model = KMeans(2, n_init=1).fit(np.eye(2))
for call in (lambda: plot.centers(model), lambda: plot.decision_boundaries(model, np.eye(2))):
    try:
        call()
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    said = "fastclust.plot needs matplotlib: pip install fastclust[plot]\n"
    assert (done.stdout, done.returncode) == (2 * said, 0), done.stderr
