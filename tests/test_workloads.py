"""The named workloads are what their table says, and the same at every call."""

import doctest
import sys

import numpy as np
import pytest

from fastclust import workloads as module
from fastclust.workloads import (
    PROFILES,
    MissingExtraError,
    digit_images,
    five_blobs,
    gaussian_blobs,
    get,
    letter_features,
    photo_pixels,
    separated_blobs,
    workloads,
)

FULL = {
    "image-8": (426_400, 3, 8, "float32"),
    "image-64": (426_400, 3, 64, "float32"),
    "digits-10": (10_000, 784, 10, "float32"),
    "digits-100": (10_000, 784, 100, "float32"),
    "blobs-8d-32": (1_000_000, 8, 32, "float32"),
    "blobs-64d-100": (200_000, 64, 100, "float32"),
    "blobs-128d-1000": (50_000, 128, 1000, "float32"),
    "plane-100": (100_000, 2, 100, "float64"),
    "letters-26": (20_000, 16, 26, "float64"),
}


@pytest.mark.parametrize("workload", workloads("quick"), ids=lambda workload: workload.name)
def test_data_are_as_declared(workload):
    X = workload.make()
    assert X.shape == (workload.n_samples, workload.n_features)
    assert X.dtype == workload.dtype
    assert X.flags.c_contiguous
    assert np.isfinite(X).all()


def test_full_profile_is_the_published_one():
    found = {w.name: (w.n_samples, w.n_features, w.n_clusters, w.dtype) for w in workloads("full")}
    assert found == FULL


def test_the_largest_image_fits_the_photographs():
    assert get("image-8").make().shape == (426_400, 3)


def test_names_are_unique_and_found():
    everything = [workload for profile in PROFILES.values() for workload in profile]
    assert len({workload.name for workload in everything}) == len(everything)
    assert all(get(workload.name) is workload for workload in everything)


def test_unknown_names_are_refused_by_name():
    with pytest.raises(ValueError, match=r"'vast': the profiles are quick, full"):
        workloads("vast")
    with pytest.raises(ValueError, match=r"'image-9': the workloads are image-8-s"):
        get("image-9")


@pytest.mark.parametrize(
    "make",
    [
        lambda: photo_pixels(1000),
        lambda: digit_images(50),
        lambda: gaussian_blobs(1000, 5, 7, "float32"),
        lambda: letter_features(1000),
    ],
    ids=["photo", "digits", "blobs", "letters"],
)
def test_data_are_the_same_at_every_call(make):
    np.testing.assert_array_equal(make(), make())


def test_a_seed_gives_its_own_data():
    first = gaussian_blobs(100, 3, 4, "float64", seed=0)
    assert not np.array_equal(first, gaussian_blobs(100, 3, 4, "float64", seed=1))


def test_blobs_of_several_chunks_have_the_declared_spread(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 300)
    X = gaussian_blobs(2000, 8, 1, "float64")  # one blob: all of the variance is the noise
    np.testing.assert_allclose(X.std(axis=0), 3, rtol=0.1)


def test_value_ranges():
    pixels = photo_pixels(5000)
    assert 0 <= pixels.min() < 0.1
    assert 0.9 < pixels.max() <= 1
    for X, top in ((digit_images(200), 255), (letter_features(2000), 15)):
        assert X.min() == 0
        assert X.max() == top


def test_digits_keep_the_margin_of_mnist():
    images = digit_images(300).reshape(-1, 28, 28)
    assert images[:, 10:18, 10:18].mean() > 10 * images[:, :2, :].mean()


def test_photo_without_pillow_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r'needs Pillow: pip install "fastclust\[cli\]"'):
        photo_pixels(10)


def test_five_blobs_are_those_of_the_chapter():
    X = five_blobs()
    assert X.shape == (2000, 2)
    # The first draw of make_blobs with the chapter's arguments.
    from sklearn.datasets import make_blobs

    centers = np.array([[0.2, 2.3], [-1.5, 2.3], [-2.8, 1.8], [-2.8, 2.8], [-2.8, 1.3]])
    spreads = np.array([0.4, 0.3, 0.1, 0.1, 0.1])
    expected, _ = make_blobs(2000, centers=centers, cluster_std=spreads, random_state=7)
    np.testing.assert_array_equal(X, expected)


def test_blobs_are_as_far_apart_as_asked():
    X = separated_blobs(4000, 2, 2, 50.0)
    near = np.linalg.norm(X - X[0], axis=1) < 25.0
    gap = np.linalg.norm(X[near].mean(axis=0) - X[~near].mean(axis=0))
    assert gap == pytest.approx(100.0, abs=0.3)
    np.testing.assert_allclose(X[near].std(axis=0), 1.0, atol=0.1)
    assert separated_blobs(10, 3, 2, 1.0, "float32").dtype == np.float32


def test_examples():
    result = doctest.testmod(module)
    assert result.attempted
    assert result.failed == 0
