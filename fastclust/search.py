"""ClusterSearch: how many clusters?  A range of fits, their scores, and the choice among them."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, MetaEstimatorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils._param_validation import InvalidParameterError

from . import validation
from .callbacks import Listeners
from .centroids import unchanged_on_error
from .fits import Recorded
from .kernels.tiles import Array
from .kmeans import kmeans_plusplus
from .mixtures.em_loop import FusedMixture
from .persistence import Persistent
from .refinement import OFFSET
from .rows.mapped import Guarded
from .rows.sources import Source, once_by_blocks
from .scores import calinski_harabasz_score, davies_bouldin_score, simplified_silhouette_score
from .silhouette import mean_silhouettes

# Scores of labels, for rows in memory.  Higher is better, except for the second.
BY_LABELS = {
    "calinski_harabasz": calinski_harabasz_score,
    "davies_bouldin": davies_bouldin_score,
    "simplified_silhouette": simplified_silhouette_score,
}
HELD = ("silhouette", *BY_LABELS)
OF_INERTIA = ("inertia", "gap")
OF_LIKELIHOOD = ("bic", "aic", "icl")
CRITERIA = (*HELD, *OF_INERTIA, *OF_LIKELIHOOD)
STARTS = ("own", "nested", "warm")
LOW_IS_GOOD = ("davies_bouldin", *OF_LIKELIHOOD)
BLOCK = 1 << 20  # numbers of a block of posteriors


Case = tuple[Any, int]  # a covariance type, or None, and a number of clusters


class ClusterSearch(Guarded, Persistent, ClusterMixin, MetaEstimatorMixin, BaseEstimator):
    """Fits for a range of numbers of clusters, and the best of them by a criterion.

    It replaces the loop over ``n_clusters`` that fits, scores and picks.  Each fit has the bits of
    `estimator` fitted alone with the same parameters; rows are checked and converted once.

    Parameters
    ----------
    estimator : estimator
        What is fitted: anything with a parameter `n_clusters`, or `n_components` for mixtures.
    n_clusters : range, list or array of int, or int, default=range(2, 31)
        The numbers of clusters.
    criterion : str or sequence of str, default='silhouette'
        By which the best is chosen; of several, by the first, and all are computed.

        - 'silhouette', 'simplified_silhouette', 'calinski_harabasz', 'davies_bouldin': the best
          score; see the functions of these names.
        - 'inertia': the elbow of the curve, by Kneedle's rule [1]_: where the curve, both axes
          scaled to run from 0 to 1, lies farthest below the line from its first point to its last.
        - 'gap': the gap statistic [2]_, by its rule: the least k whose gap is no less than that
          of the next one less its standard error.
        - 'bic', 'aic': for mixtures, the least; 'icl' [3]_: BIC, and twice the entropy of the
          posteriors.
    covariance_types : sequence of str, default=None
        For mixtures: covariance types.  Each is fitted for each number of components; by default
        that of `estimator`.
    n_init : int, default=None
        Number of starts of each fit; by default that of `estimator`.
    n_references : int, default=10
        For 'gap': number of reference data sets, uniform in the box that the rows fill.
    reference_rows : int, default=None
        For 'gap': rows of a reference data set; by default as many as there are in `X`.  Fewer are
        quicker; their sums of squares are scaled up.
    starts : {'own', 'nested', 'warm'}, default='own'
        Where fits start.  By the last two, which are for estimators with `init`, fits are quicker,
        and no longer those of `estimator` alone; each then has a single start.

        - 'own': each as `estimator` says.
        - 'nested': one k-means++ for the largest number of clusters starts them all, each from its
          first centers.
        - 'warm': each from the centers of the one before; those with the largest error are split in
          two.
    random_state : int, RandomState instance or None, default=None
        Source of the reference data sets, of nested seeds, and of where centers that are split are
        moved to; None takes that of `estimator`.

    Attributes
    ----------
    results_ : dict of str to ndarray
        An entry for each fit: 'n_clusters', 'covariance_type' (of mixtures), 'fit_time' (seconds),
        'inertia' (where there is one), and each criterion; 'gap_error' beside 'gap'.
    estimators_ : list of estimator
        The fits, in the order of `results_`.
    chosen_by_ : str
        The criterion by which the best was chosen.
    best_index_ : int
        Which is the best.
    best_estimator_ : estimator
        The best.
    best_n_clusters_ : int
        Its number of clusters.
    best_covariance_type_ : str or None
        Its covariance type, of a mixture.
    labels_ : ndarray of shape (n_samples,)
        Its labels.
    n_features_in_ : int
        Number of columns seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `X` had names.

    References
    ----------
    .. [1] Satopää, V., Albrecht, J., Irwin, D., Raghavan, B.: Finding a "Kneedle" in a haystack.
       ICDCS Workshops 2011.
    .. [2] Tibshirani, R., Walther, G., Hastie, T.: Estimating the number of clusters in a data set
       via the gap statistic. Journal of the Royal Statistical Society B 63 (2001).
    .. [3] Biernacki, C., Celeux, G., Govaert, G.: Assessing a mixture model for clustering with the
       integrated completed likelihood. IEEE Transactions on Pattern Analysis and Machine
       Intelligence 22 (2000).

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import ClusterSearch, KMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> search = ClusterSearch(KMeans(random_state=0), range(2, 5)).fit(X)
    >>> search.best_n_clusters_
    2
    >>> search.results_["silhouette"].round(2)
    array([0.71, 0.44, 0.17])
    >>> search.predict([[0, 0], [12, 3]])
    array([1, 0], dtype=int32)
    """

    def __init__(
        self,
        estimator: Any,
        n_clusters: Sequence[int] | Array | int = range(2, 31),
        *,
        criterion: str | Sequence[str] = "silhouette",
        covariance_types: Sequence[str] | None = None,
        n_init: int | None = None,
        n_references: int = 10,
        reference_rows: int | None = None,
        starts: str = "own",
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.n_clusters = n_clusters
        self.criterion = criterion
        self.covariance_types = covariance_types
        self.n_init = n_init
        self.n_references = n_references
        self.reference_rows = reference_rows
        self.starts = starts
        self.random_state = random_state

    @property
    def reads_sparse(self) -> bool:
        """Whether `X` may be sparse: where the estimator's may, and labels need no dense rows."""
        names = (self.criterion,) if isinstance(self.criterion, str) else tuple(self.criterion)
        dense = bool(set(names) & set(HELD)) or not _is_estimator(self.estimator)
        return not dense and bool(get_tags(self.estimator).input_tags.sparse)

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, callbacks: Any = None
    ) -> Self:
        """Fit all, and choose.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or rows that are read
            Rows, as for the `fit` of the estimator; scores of labels need them as a dense array.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; only for ``criterion="inertia"``, since no other one has weights.
        callbacks : list of callable, default=None
            Each is called after every fit with a :class:`fastclust.callbacks.Progress`, whose
            iterations are the fits; True from one of them ends the search with those it has.

        Returns
        -------
        self : ClusterSearch
            The search.

        Raises
        ------
        ValueError, TypeError
            Where an argument is not what it must be; the search is then as it was before.
        """
        with unchanged_on_error(self), Listeners(callbacks) as listeners:
            self._check_parameters()
            criteria = self._checked_criteria(sample_weight)
            if set(criteria) & set(HELD):
                rows = validation.open_array(self, X, fitting=True)
            else:
                rows = validation.open_data(self, X, fitting=True)
            sizes = self._checked_numbers(rows.shape[0], criteria)
            grid = [(kind, k) for kind in self._checked_kinds() for k in sizes]
            # Rows that are read are opened anew by each fit.
            data = X if isinstance(rows, Source) else rows
            done, models, times = self._fit_all(rows, data, grid, sample_weight, listeners)
            self.estimators_ = models
            self._labels = [_labels(model, data) for model in models]
            self.results_ = {
                "n_clusters": np.array([k for _, k in done]),
                "fit_time": np.array(times),
            }
            if done[0][0] is not None:
                self.results_["covariance_type"] = np.array([kind for kind, _ in done])
            if hasattr(models[0], "inertia_"):
                self.results_["inertia"] = np.array([model.inertia_ for model in models])
            for name in criteria:
                self.results_ |= self._scored(name, rows, data)
            self._choose(criteria[0])
        return self

    def _fit_all(
        self, rows: Any, data: Any, grid: Sequence[Case], sample_weight: Any, listeners: Listeners
    ) -> tuple[list[Case], list[Any], list[float]]:
        """Cases that were fitted, in the order of `grid`, their models and seconds."""
        alike = self._begin_alike(grid)
        order = list(range(len(grid)))
        if alike:  # types of one number of components after each other: the clusters of one k
            order.sort(key=lambda place: grid[place][1])
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        found: dict[int, tuple[Any, float]] = {}
        turns = self._models(rows, [grid[place] for place in order], sample_weight)
        record, begun = Recorded(), perf_counter()
        for place, model in zip(order, turns, strict=True):
            if alike:
                record = record.rewound(grid[place][1])
                model._record = record
            model.fit(data, **weights)
            model.__dict__.pop("_record", None)
            found[place] = model, perf_counter() - begun
            if listeners and listeners.tell(
                float(rows.shape[0]),
                unit="fits",
                iteration=len(found),
                max_iter=len(grid),
                start=1,
                n_starts=1,
                shift=np.nan,
                objective=lambda model=model: float(getattr(model, "inertia_", np.nan)),
            ):
                break
            begun = perf_counter()
        places = sorted(found)
        models, times = zip(*(found[place] for place in places), strict=True)
        return [grid[place] for place in places], list(models), list(times)

    @once_by_blocks
    def predict(self, X: Any) -> Array:
        """Labels of rows by the best estimator.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to label.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Cluster of each row.
        """
        validation.check_fitted(self)
        rows = validation.open_data(self, X, fitting=False)
        labels: Array = self.best_estimator_.predict(X if isinstance(rows, Source) else rows)
        return labels

    def cluster_labels(self, n_clusters: int) -> Array:
        """Labels that the fit with so many clusters gave to the rows.

        Parameters
        ----------
        n_clusters : int
            One of those that were fitted; of several covariance types, the best is taken.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Cluster of each row.
        """
        validation.check_fitted(self)
        places = np.flatnonzero(self.results_["n_clusters"] == n_clusters)
        if not len(places):
            fitted = sorted(set(self.results_["n_clusters"].tolist()))
            raise ValueError(f"n_clusters must be one of {fitted}, but it is {n_clusters}.")
        if len(places) > 1:
            places = places[[_extreme(self.chosen_by_, self.results_[self.chosen_by_][places])]]
        labels: Array = self._labels[places[0]]
        return labels

    def results_frame(self) -> Any:
        """:attr:`results_` as a data frame of pandas.

        Returns
        -------
        frame : pandas.DataFrame
            A line for each fit.

        Raises
        ------
        ImportError
            Without pandas.
        """
        validation.check_fitted(self)
        try:
            import pandas
        except ImportError as error:
            raise ImportError("results_frame needs pandas: pip install pandas") from error
        return pandas.DataFrame(self.results_)

    # --- What is fitted -----------------------------------------------------------------------

    def _check_parameters(self) -> None:
        """What can be said of the parameters without rows, of those that are not used as well."""
        if self.n_init is not None:
            validation.check_int("n_init", self.n_init, 1)
        validation.check_int("n_references", self.n_references, 1)
        if self.reference_rows is not None:
            validation.check_int("reference_rows", self.reference_rows, 1)
        validation.check_option("starts", self.starts, STARTS)
        validation.check_seed(self.random_state)
        if self.starts != "own" and not self._takes("init"):
            raise InvalidParameterError(
                "starts must be 'own' for an estimator without init, such as "
                f"{type(self.estimator).__name__}, but it is {self.starts!r}."
            )

    def _size(self) -> str:
        """Name of the parameter that is the number of clusters."""
        known = self.estimator.get_params(deep=False) if _is_estimator(self.estimator) else {}
        for name in ("n_clusters", "n_components"):
            if name in known and hasattr(self.estimator, "fit_predict"):
                return name
        raise InvalidParameterError(
            "estimator must cluster rows and have a parameter n_clusters or n_components, but it "
            f"is {validation.said(self.estimator)}."
        )

    def _checked_criteria(self, sample_weight: Any) -> tuple[str, ...]:
        size, criterion = self._size(), self.criterion
        if not isinstance(criterion, str | Sequence):
            raise InvalidParameterError(
                f"criterion must be a name or several, not {validation.said(criterion)}."
            )
        names = (criterion,) if isinstance(criterion, str) else tuple(criterion)
        if not names:
            raise InvalidParameterError("criterion must be a name or several, but it is empty.")
        for name in names:
            validation.check_option("criterion", name, CRITERIA)
            of_mixture = hasattr(self.estimator, "bic")
            if (name in OF_LIKELIHOOD and not of_mixture) or (
                name in OF_INERTIA and size != "n_clusters"
            ):
                wanted = "a mixture" if name in OF_LIKELIHOOD else "an estimator with an inertia_"
                raise InvalidParameterError(
                    f"criterion={name!r} must have {wanted}, but estimator is a "
                    f"{type(self.estimator).__name__}."
                )
            if sample_weight is not None and name != "inertia":
                raise ValueError(
                    f"sample_weight must be None for criterion={name!r}, which has no weights."
                )
        return names

    def _checked_numbers(self, n_samples: int, criteria: tuple[str, ...]) -> list[int]:
        """The numbers of clusters, in order and each once."""
        given: Any = self.n_clusters
        if isinstance(given, numbers.Integral):
            given = [given]
        if not isinstance(given, range | list | tuple | np.ndarray) or np.ndim(given) != 1:
            raise InvalidParameterError(
                f"n_clusters must be a range or list of integers, not {validation.said(given)}."
            )
        of_labels = sorted(set(criteria) & set(HELD))
        least, most = (2, n_samples - 1) if of_labels else (1, n_samples)
        found = sorted({validation.check_int("n_clusters", k, 1) for k in given})
        if not found:
            raise InvalidParameterError("n_clusters must be one number or more, but it is empty.")
        for k in (found[0], found[-1]):
            if not least <= k <= most:
                of = f" for criterion={of_labels[0]!r}" if of_labels else ""
                raise InvalidParameterError(
                    f"n_clusters must be from {least} to {most}{of} and n_samples={n_samples}, but "
                    f"one is {k}."
                )
        return found

    def _checked_kinds(self) -> list[Any]:
        if self.covariance_types is None:
            return [getattr(self.estimator, "covariance_type", None)]
        if not self._takes("covariance_type"):
            raise InvalidParameterError(
                "covariance_types must be None for an estimator without covariance_type, but it is "
                f"{validation.said(self.covariance_types)}."
            )
        if not isinstance(self.covariance_types, list | tuple):
            raise InvalidParameterError(
                "covariance_types must be a list of names, not "
                f"{validation.said(self.covariance_types)}."
            )
        names = ("full", "tied", "diag", "spherical")
        kinds = [
            validation.check_option("covariance_types", v, names) for v in self.covariance_types
        ]
        if not kinds:
            raise InvalidParameterError(
                "covariance_types must be one name or more, but it is empty."
            )
        return kinds

    def _takes(self, name: str) -> bool:
        return _is_estimator(self.estimator) and name in self.estimator.get_params(deep=False)

    def _begin_alike(self, grid: Sequence[Case]) -> bool:
        """Whether mixtures of one number of components all start from the same clusters.

        They do, whatever their covariance types, where each draws from a copy of one generator.
        """
        if not isinstance(self.estimator, FusedMixture) or len({kind for kind, _ in grid}) < 2:
            return False
        given = clone(self.estimator).get_params(deep=False)
        return given["init_params"] == "kmeans" and given["random_state"] is not None

    def _models(self, rows: Any, grid: Sequence[Case], weights: Any) -> Iterator[Any]:
        """What is to be fitted, in turn; each is asked for when the one before is fitted."""
        size, seeds, model = self._size(), None, None
        random_state = self._generator()
        if self.starts == "nested":
            most = max(k for _, k in grid)
            seeds, _ = kmeans_plusplus(rows, most, sample_weight=weights, random_state=random_state)
        for kind, k in grid:
            parameters: dict[str, Any] = {size: k}
            if kind is not None:
                parameters["covariance_type"] = kind
            if self.n_init is not None:
                parameters["n_init"] = int(self.n_init)
            if self.starts == "warm" and model is not None:
                seeds = _split(model, k, rows, weights, random_state)
            if seeds is not None:
                parameters |= {"init": seeds[:k], "n_init": 1}
            model = clone(self.estimator).set_params(**parameters)
            yield model

    def _generator(self) -> np.random.RandomState:
        state = self.random_state
        if state is None:
            state = clone(self.estimator).get_params(deep=False).get("random_state")
        return validation.check_seed(state)

    # --- How it is judged ---------------------------------------------------------------------

    def _scored(self, name: str, rows: Any, data: Any) -> dict[str, Array]:
        """Results by one criterion, an entry for each fit."""
        if name == "inertia":
            return {}
        if name == "gap":
            return self._gaps(rows)
        if name == "silhouette":
            counted = [len(np.unique(labels)) > 1 for labels in self._labels]
            values = np.full(len(counted), np.nan)
            values[counted] = mean_silhouettes(
                rows, [labels for labels, one in zip(self._labels, counted, strict=True) if one]
            )
            return {name: values}
        if name in BY_LABELS:
            score = BY_LABELS[name]
            found = [
                score(rows, labels) if len(np.unique(labels)) > 1 else np.nan
                for labels in self._labels
            ]
        elif name == "icl":
            found = [model.bic(data) + 2 * _entropy(model, data) for model in self.estimators_]
        else:
            found = [getattr(model, name)(data) for model in self.estimators_]
        return {name: np.array(found, np.float64)}

    def _gaps(self, rows: Any) -> dict[str, Array]:
        """The gap statistic of each fit, and its standard error."""
        n_references = int(self.n_references)
        n_rows, n_columns = rows.shape
        size = n_rows
        if self.reference_rows is not None:
            size = int(self.reference_rows)
        grid = [(None, int(k)) for k in self.results_["n_clusters"]]
        most = max(k for _, k in grid)
        if size < most:
            raise InvalidParameterError(
                f"reference_rows must be at least the largest n_clusters, {most}, but it is {size}."
            )
        low, high = _box(rows)
        random_state = self._generator()
        logs = np.empty((n_references, len(self.estimators_)))
        with np.errstate(divide="ignore"):
            for line in logs:
                drawn = low + (high - low) * random_state.random_sample((size, n_columns))
                drawn = drawn.astype(rows.dtype, copy=False)
                line[:] = [m.fit(drawn).inertia_ for m in self._models(drawn, grid, None)]
            logs = np.log(logs * (n_rows / size))
            gaps = logs.mean(axis=0) - np.log(self.results_["inertia"])
        errors = logs.std(axis=0) * np.sqrt(1 + 1 / n_references)
        return {"gap": gaps, "gap_error": errors}

    def _choose(self, criterion: str) -> None:
        values, sizes = self.results_[criterion], self.results_["n_clusters"]
        self.chosen_by_ = criterion
        if criterion == "inertia":
            best = _elbow(sizes, values)
        elif criterion == "gap":
            enough = values[:-1] >= values[1:] - self.results_["gap_error"][1:]
            best = int(np.argmax(enough)) if enough.any() else len(values) - 1
        else:
            best = _extreme(criterion, values)
        self.best_index_ = best
        self.best_estimator_ = self.estimators_[best]
        self.best_n_clusters_ = int(sizes[best])
        kinds = self.results_.get("covariance_type")
        self.best_covariance_type_ = None if kinds is None else str(kinds[best])
        self.labels_ = self._labels[best]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.reads_sparse
        return tags


def _is_estimator(value: Any) -> bool:
    return hasattr(value, "get_params") and hasattr(value, "fit") and not inspect.isclass(value)


def _blocks(rows: Any, size: int) -> Iterator[Any]:
    """Rows that are held or read, `size` at a time."""
    if isinstance(rows, Source):
        yield from rows.blocks(size)
    else:
        for first in range(0, rows.shape[0], size):
            yield rows[first : first + size]


def _split(
    model: Any, n_clusters: int, rows: Any, weights: Any, random_state: np.random.RandomState
) -> Array:
    """Centers of a fit, and more, beside those of the largest error; each halves that."""
    centers: Array = model.cluster_centers_
    k, n_features = centers.shape
    errors, done = np.zeros(k), 0
    for block in _blocks(rows, max(1, BLOCK // k)):
        distances = model.transform(block)
        labels = distances.argmin(axis=1)
        squares = np.square(distances[np.arange(len(labels)), labels], dtype=np.float64)
        if weights is not None:
            squares *= weights[done : done + len(labels)]
        errors += np.bincount(labels, squares, minlength=k)
        done += len(labels)
    width = OFFSET * np.sqrt(errors.sum() / done)
    found, halved = list(centers), list(errors)
    while len(found) < n_clusters:
        most = int(np.argmax(halved))
        halved[most] /= 2
        halved.append(halved[most])
        found.append(found[most] + width * random_state.uniform(-0.5, 0.5, n_features))
    return np.array(found, centers.dtype)


def _labels(model: Any, data: Any) -> Array:
    labels: Array = model.labels_ if hasattr(model, "labels_") else model.predict(data)
    return labels


def _box(rows: Any) -> tuple[Array, Array]:
    """Least and largest value of each column."""
    low, high = np.full(rows.shape[1], np.inf), np.full(rows.shape[1], -np.inf)
    for block in _blocks(rows, max(1, BLOCK // rows.shape[1])):
        least, most = block.min(axis=0), block.max(axis=0)
        if hasattr(least, "toarray"):
            least, most = least.toarray().ravel(), most.toarray().ravel()
        low, high = np.minimum(low, least), np.maximum(high, most)
    return low, high


def _entropy(model: Any, data: Any) -> float:
    """Sum of the entropies of the posteriors of all rows."""
    posteriors = model.predict_proba(data)
    logs = np.log(posteriors, where=posteriors > 0, out=np.zeros_like(posteriors))
    return -float((posteriors * logs).sum())


def _extreme(criterion: str, values: Array) -> int:
    """Place of the best value, the first of several."""
    if np.isnan(values).all():
        raise ValueError(
            f"criterion={criterion!r} must have a value for one of the fits, but all of them have "
            "a single cluster."
        )
    return int(np.nanargmin(values) if criterion in LOW_IS_GOOD else np.nanargmax(values))


def _elbow(sizes: Array, values: Array) -> int:
    """Place where a falling curve lies farthest below the line from its first to its last point."""
    if len(values) < 3 or values[0] <= values[-1]:
        return 0
    x = (sizes - sizes[0]) / (sizes[-1] - sizes[0])
    y = (values - values[-1]) / (values[0] - values[-1])
    return int(np.argmax(1 - x - y))
