"""The named clustering problems on which fastclust is timed.

There is one table of them, so that ``fastclust compare``, the repository's benchmarks and the
numbers in its documentation all speak of the same data. Every workload is either bundled with
scikit-learn or drawn from a fixed seed: nothing is downloaded, and two machines time the same
values.

The ``full`` profile spans the shapes that decide a k-means engine's speed: few features (the
inner loop is memory traffic and the arg-min), many features (it is a matrix product), few and
many clusters, single and double precision. The ``quick`` profile holds smaller members of the
same families, named with a trailing ``-s``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

_SEED = 0
# Rows per step of the generators: bounds their temporaries to a few MB at any n_samples.
_CHUNK = 1 << 15


class MissingExtraError(ImportError):
    """A package of an optional extra is needed and absent; the message says how to get it."""


# The blobs of `five_blobs`.
FIVE_CENTERS = ((0.2, 2.3), (-1.5, 2.3), (-2.8, 1.8), (-2.8, 2.8), (-2.8, 1.3))
FIVE_SPREADS = (0.4, 0.3, 0.1, 0.1, 0.1)
FIVE_SEED = 7


@dataclass(frozen=True)
class Workload:
    """A data set and the number of clusters to look for in it.

    Attributes
    ----------
    name : str
        Unique over all profiles; what ``--only`` takes.
    n_samples, n_features : int
        Shape of the data.
    n_clusters : int
        Number of clusters to fit.
    dtype : str
        ``"float32"`` or ``"float64"``.
    description : str
        What the data are, in a few words.
    make : callable
        Builds the data: a C-contiguous array of that shape and dtype, equal at every call.
    """

    name: str
    n_samples: int
    n_features: int
    n_clusters: int
    dtype: str
    description: str
    make: Callable[[], FloatArray]


def photo_pixels(n_samples: int) -> FloatArray:
    """Colours of the pixels of scikit-learn's two sample photographs.

    The pixels of ``china.jpg`` are followed by those of ``flower.jpg``; evenly spaced ones are
    kept and the rest is cut off.

    Parameters
    ----------
    n_samples : int
        Number of pixels, at most the 546,560 of the two photographs.

    Returns
    -------
    ndarray of shape (n_samples, 3), float64
        Red, green and blue in [0, 1].

    Raises
    ------
    MissingExtraError
        Without Pillow, with which scikit-learn reads the photographs.
    """
    photos = [photo(name).reshape(-1, 3) for name in ("china.jpg", "flower.jpg")]
    pixels = np.concatenate(photos)
    return np.ascontiguousarray(pixels[:: len(pixels) // n_samples][:n_samples])


def photo(name: str) -> npt.NDArray[np.float64]:
    """One of scikit-learn's sample photographs.

    Parameters
    ----------
    name : {"china.jpg", "flower.jpg"}
        Which one.

    Returns
    -------
    ndarray of shape (427, 640, 3), float64
        Red, green and blue in [0, 1].

    Raises
    ------
    MissingExtraError
        Without Pillow, with which scikit-learn reads the photographs.
    """
    from sklearn.datasets import load_sample_image

    try:
        image = load_sample_image(name)
    except ImportError as error:
        raise MissingExtraError(
            'reading scikit-learn\'s sample photographs needs Pillow: pip install "fastclust[cli]"'
        ) from error
    return image / 255.0


def digit_images(n_samples: int, seed: int = _SEED) -> FloatArray:
    """Handwritten digits in MNIST's layout, from the 8×8 digits bundled with scikit-learn.

    Each image is one of the 1,797 digits enlarged to 20×20, set in a frame of 28×28 up to two
    pixels off its middle, with noise: no two are equal, and as in MNIST most of the 784 features
    are close to 0 and the others strongly correlated.

    Parameters
    ----------
    n_samples : int
        Number of images.
    seed : int
        Seed of the choice of digits, of the shifts and of the noise.

    Returns
    -------
    ndarray of shape (n_samples, 784), float64
        Grey levels from 0 to 255.
    """
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    digits = load_digits().images.astype(np.float32) * np.float32(255 / 16)
    digits = zoom(digits, (1, 2.5, 2.5), order=1)
    side = digits.shape[1]
    rng = np.random.default_rng(seed)
    which = rng.integers(len(digits), size=n_samples)
    shifts = rng.integers(2, 7, size=(n_samples, 2))  # 4 would be the middle
    frames = np.zeros((n_samples, 28, 28), dtype=np.float32)
    for frame, digit, (top, left) in zip(frames, which, shifts, strict=True):
        frame[top : top + side, left : left + side] = digits[digit]
    for start in range(0, n_samples, _CHUNK):
        part = frames[start : start + _CHUNK]
        part += 8 * rng.standard_normal(part.shape, dtype=np.float32)
    return frames.clip(0, 255, out=frames).reshape(n_samples, 784).astype(np.float64)


def gaussian_blobs(
    n_samples: int, n_features: int, n_blobs: int, dtype: str, seed: int = _SEED
) -> FloatArray:
    """Overlapping spherical Gaussian blobs.

    Centers are uniform in [-10, 10]. The distance between them grows as the square root of the
    number of features while the spread along the line which joins two of them does not, so that
    with a fixed spread Lloyd's algorithm would stop after a handful of iterations in 64
    dimensions. The spread is therefore 3 √(n_features / 8), which keeps the overlap, and with
    it a realistic number of iterations, in any dimension.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of the data.
    n_blobs : int
        Number of blobs, all of the same expected weight.
    dtype : {"float32", "float64"}
        Data type, in which the noise is drawn as well.
    seed : int
        Seed of the centers, of their choice and of the noise.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        The samples, in random order.
    """
    rng = np.random.default_rng(seed)
    centers = rng.uniform(-10, 10, size=(n_blobs, n_features)).astype(dtype)
    X = np.empty((n_samples, n_features), dtype=dtype)
    spread = X.dtype.type(3 * np.sqrt(n_features / 8))
    for start in range(0, n_samples, _CHUNK):
        part = X[start : start + _CHUNK]
        rng.standard_normal(dtype=X.dtype.type, out=part)
        part *= spread
        part += centers[rng.integers(n_blobs, size=len(part))]
    return X


def letter_features(n_samples: int, seed: int = _SEED) -> FloatArray:
    """Features in overlapping classes, of the range of UCI's letter recognition data.

    Not rounded to whole numbers as those are: ties between whole numbers are broken by rounding
    alone, which no two programs share.

    Parameters
    ----------
    n_samples : int
        Number of samples.
    seed : int
        Seed of the classes and of the samples.

    Returns
    -------
    ndarray of shape (n_samples, 16), float64
        Numbers from 0 to 15, from 26 classes.
    """
    rng = np.random.default_rng(seed)
    classes = rng.uniform(4, 11, size=(26, 16))
    X = classes[rng.integers(26, size=n_samples)]
    X += 2.5 * rng.standard_normal(X.shape)
    return X.clip(0, 15, out=X)


def five_blobs(n_samples: int = 2000) -> FloatArray:
    """A textbook's five blobs in the plane; three are small and close to each other.

    Parameters
    ----------
    n_samples : int
        Number of rows.

    Returns
    -------
    ndarray of shape (n_samples, 2), float64
        The rows.

    References
    ----------
    Géron, A.: Hands-On Machine Learning with Scikit-Learn, Keras, and TensorFlow, chapter 9.
    """
    from sklearn.datasets import make_blobs

    X, _ = make_blobs(
        n_samples, centers=FIVE_CENTERS, cluster_std=FIVE_SPREADS, random_state=FIVE_SEED
    )
    return X


def separated_blobs(
    n_samples: int, n_features: int, n_blobs: int, separation: float, dtype: str = "float64"
) -> FloatArray:
    """Spherical blobs of a given distance from one another.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of the data.
    n_blobs : int
        Number of blobs, at least two, with centers uniform in a cube.
    separation : float
        Mean distance of a center from the nearest other, in twice the standard deviation of a blob
        along an axis: with 1 neighbours overlap much, with 4 next to no row is nearer to another
        center.
    dtype : {"float32", "float64"}
        Data type.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        The rows, in random order and the same at every call.

    Examples
    --------
    >>> separated_blobs(100, 3, 5, 4.0).shape
    (100, 3)
    """
    from scipy.spatial import KDTree

    rng = np.random.default_rng(0)
    centers = rng.uniform(size=(n_blobs, n_features))
    gaps = KDTree(centers).query(centers, k=2)[0][:, 1]
    # Divided by the spread rather than multiplied by it: blobs have unit variance.
    centers *= 2.0 * separation / gaps.mean()
    X = rng.standard_normal((n_samples, n_features), dtype=np.dtype(dtype).type)
    X += centers[rng.integers(n_blobs, size=n_samples)].astype(dtype)
    return X


def _image(name: str, n_samples: int, n_clusters: int, dtype: str) -> Workload:
    make = partial(_as_type, photo_pixels, n_samples, dtype)
    return Workload(name, n_samples, 3, n_clusters, dtype, "pixels of two photographs", make)


def _digits(name: str, n_samples: int, n_clusters: int, dtype: str) -> Workload:
    make = partial(_as_type, digit_images, n_samples, dtype)
    return Workload(name, n_samples, 784, n_clusters, dtype, "images of digits", make)


def _as_type(make: Callable[[int], FloatArray], n_samples: int, dtype: str) -> FloatArray:
    return make(n_samples).astype(dtype, copy=False)


def _blobs(name: str, n_samples: int, n_features: int, n_clusters: int, dtype: str) -> Workload:
    make = partial(gaussian_blobs, n_samples, n_features, n_clusters, dtype)
    text = f"overlapping Gaussian blobs in {n_features} dimensions"
    return Workload(name, n_samples, n_features, n_clusters, dtype, text, make)


def _letters(name: str, n_samples: int) -> Workload:
    make = partial(letter_features, n_samples)
    return Workload(name, n_samples, 16, 26, "float64", "overlapping letter shapes", make)


def five_blobs_workload(n_clusters: int = 5) -> Workload:
    """`five_blobs` as a workload.

    Parameters
    ----------
    n_clusters : int
        Number of clusters to look for.

    Returns
    -------
    Workload
        The workload, of 2,000 rows.
    """
    return Workload("five-blobs", 2000, 2, n_clusters, "float64", "a textbook's blobs", five_blobs)


def separated_workload(n_samples: int, n_features: int, k: int, separation: float) -> Workload:
    """`separated_blobs` as a workload, with as many clusters as blobs.

    Parameters
    ----------
    n_samples, n_features, k : int
        Shape of the data and number of clusters.
    separation : float
        As for `separated_blobs`.

    Returns
    -------
    Workload
        The workload.
    """
    make = partial(separated_blobs, n_samples, n_features, k, separation)
    text = f"Gaussian blobs, separation {separation:g}"
    return Workload(f"blobs-{n_features}d-{k}", n_samples, n_features, k, "float64", text, make)


PROFILES: dict[str, tuple[Workload, ...]] = {
    "quick": (
        # In float64 the draws of k-means++ are the same as scikit-learn's, and so are the clusters.
        _image("image-8-s", 200_000, 8, "float64"),
        _image("image-64-s", 150_000, 64, "float64"),
        _digits("digits-10-s", 5_000, 10, "float64"),
        _blobs("blobs-8d-32-s", 250_000, 8, 32, "float64"),
        _blobs("blobs-64d-100-s", 40_000, 64, 100, "float64"),
        _blobs("plane-100-s", 50_000, 2, 100, "float64"),
        _letters("letters-26-s", 10_000),
    ),
    "full": (
        _image("image-8", 426_400, 8, "float32"),
        _image("image-64", 426_400, 64, "float32"),
        _digits("digits-10", 10_000, 10, "float32"),
        _digits("digits-100", 10_000, 100, "float32"),
        _blobs("blobs-8d-32", 1_000_000, 8, 32, "float32"),
        _blobs("blobs-64d-100", 200_000, 64, 100, "float32"),
        _blobs("blobs-128d-1000", 50_000, 128, 1000, "float32"),
        _blobs("plane-100", 100_000, 2, 100, "float64"),
        _letters("letters-26", 20_000),
    ),
}

# Members of the quick profile once more, for engines that take nothing but float32.
SINGLE = (
    _image("image-8-s32", 200_000, 8, "float32"),
    _digits("digits-10-s32", 5_000, 10, "float32"),
    _blobs("blobs-64d-100-s32", 40_000, 64, 100, "float32"),
)


def workloads(profile: str) -> tuple[Workload, ...]:
    """All workloads of a profile.

    Parameters
    ----------
    profile : {"quick", "full"}
        ``"quick"`` takes seconds and ``"full"`` minutes.

    Returns
    -------
    tuple of Workload
        In the order in which they are run and shown.

    Raises
    ------
    ValueError
        If no profile has that name.
    """
    if profile not in PROFILES:
        raise ValueError(f"no profile is named {profile!r}: the profiles are {', '.join(PROFILES)}")
    return PROFILES[profile]


def get(name: str) -> Workload:
    """The workload of that name, from either profile.

    Parameters
    ----------
    name : str
        Name of a workload.

    Returns
    -------
    Workload
        The one so named.

    Raises
    ------
    ValueError
        If none has that name.
    """
    named = {each.name: each for members in (*PROFILES.values(), SINGLE) for each in members}
    if name not in named:
        raise ValueError(f"no workload is named {name!r}: the workloads are {', '.join(named)}")
    return named[name]
