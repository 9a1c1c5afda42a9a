"""Fitted models to and from scikit-learn's classes of the same name.

Parameters and attributes of the same name mean the same in both; what is only in one of them is in
`PAIRS`, a line for each estimator.  Private attributes that scikit-learn's methods ask for and that
nothing of ours corresponds to (a number of threads, say) are taken from a tiny fit of that very
class, so that they are those of the release that is installed.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import sklearn.cluster
import sklearn.mixture

from .rows.mapped import surviving


class Pair(NamedTuple):
    """A class of ours, scikit-learn's, and how what only one of them has is made of the other."""

    ours: Callable[[], type[Any]]
    theirs: type[Any]
    to_theirs: Callable[[Any, Any], dict[str, Any]] = lambda model, template: {}
    to_ours: Callable[[Any, Any], dict[str, Any]] = lambda model, template: {}


def _draws(model: Any) -> dict[str, Any]:
    """What further batches of `partial_fit` draw from."""
    found = getattr(model, "_random_state", None)
    return {} if found is None else {"_random_state": copy.deepcopy(found)}


def _tree_to_theirs(model: Any, template: Any) -> dict[str, Any]:
    tree = type(template._bisecting_tree)
    nodes = [tree(indices=None, center=node.center.copy(), score=0) for node in model._nodes]
    for node, own in zip(nodes, model._nodes, strict=True):
        if own.label >= 0:
            node.label = own.label
        else:
            node.left, node.right = nodes[own.left], nodes[own.right]
    return {"_bisecting_tree": nodes[0], "_X_mean": model._mean.copy()}


def _tree_to_ours(model: Any, template: Any) -> dict[str, Any]:
    node_class = type(template._nodes[0])
    waiting, nodes = [model._bisecting_tree], []
    for node in waiting:  # which grows
        left = right = -1
        if node.left is not None:
            left, right = len(waiting), len(waiting) + 1
            waiting += [node.left, node.right]
        label = getattr(node, "label", -1) if node.left is None else -1
        nodes.append(node_class(np.array(node.center).reshape(-1), left, right, label))
    zero = np.zeros_like(model.cluster_centers_[0])
    return {"_nodes": nodes, "_mean": np.array(getattr(model, "_X_mean", zero))}


def _ours(name: str) -> Callable[[], type[Any]]:
    """The class, looked up when it is needed: its module imports this one."""

    def find() -> type[Any]:
        import fastclust

        return cast(type[Any], getattr(fastclust, name))

    return find


PAIRS = {
    "KMeans": Pair(
        _ours("KMeans"),
        sklearn.cluster.KMeans,
        to_ours=lambda model, template: {"n_distances_": 0},  # none by fastclust
    ),
    "MiniBatchKMeans": Pair(
        _ours("MiniBatchKMeans"),
        sklearn.cluster.MiniBatchKMeans,
        to_theirs=lambda model, template: {
            "_counts": model.counts_.astype(model.cluster_centers_.dtype),
            **_draws(model),
        },
        to_ours=lambda model, template: {
            "counts_": model._counts.astype(np.float64),
            **_draws(model),
        },
    ),
    "BisectingKMeans": Pair(
        _ours("BisectingKMeans"),
        sklearn.cluster.BisectingKMeans,
        to_theirs=_tree_to_theirs,
        to_ours=_tree_to_ours,
    ),
    "AgglomerativeClustering": Pair(
        _ours("AgglomerativeClustering"), sklearn.cluster.AgglomerativeClustering
    ),
    "DBSCAN": Pair(_ours("DBSCAN"), sklearn.cluster.DBSCAN),
    "GaussianMixture": Pair(_ours("GaussianMixture"), sklearn.mixture.GaussianMixture),
    "BayesianGaussianMixture": Pair(
        _ours("BayesianGaussianMixture"), sklearn.mixture.BayesianGaussianMixture
    ),
}
# Values that scikit-learn does not know, and what takes their place.  All algorithms of ours give
# the same bits; where centers came from matters to none that are there.
_UNKNOWN = {"algorithm": "lloyd", "init": "k-means++"}
_KNOWN = {"algorithm": ("lloyd", "elkan"), "init": ("k-means++", "random")}
# What only some fits leave behind, under the same names in both.
_OPTIONAL = {"feature_names_in_", "distances_"}


def to_sklearn(model: Any) -> Any:
    """See :meth:`fastclust.counterpart.Interchangeable.to_sklearn`."""
    for pair in PAIRS.values():
        if isinstance(model, pair.ours()):
            return _converted(model, pair.theirs, pair.to_theirs)
    raise TypeError(f"{type(model).__name__} has no counterpart in scikit-learn.")


@surviving
def from_sklearn(estimator: Any) -> Any:
    """An estimator of scikit-learn's as the one of fastclust, with copies of its results.

    Parameters
    ----------
    estimator : estimator of scikit-learn
        KMeans, MiniBatchKMeans, BisectingKMeans, AgglomerativeClustering, DBSCAN, GaussianMixture
        or BayesianGaussianMixture, fitted or not; read from a pickle, for example.

    Returns
    -------
    model : estimator of fastclust
        With the same parameters, and fitted if `estimator` is.

    Raises
    ------
    TypeError
        Where `estimator` is of any other class.

    Examples
    --------
    >>> import numpy as np
    >>> import sklearn.cluster
    >>> from fastclust import from_sklearn
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> theirs = sklearn.cluster.KMeans(n_clusters=2, random_state=0).fit(X)
    >>> from_sklearn(theirs).predict([[0, 0], [12, 3]])
    array([1, 0], dtype=int32)
    """
    for pair in PAIRS.values():
        if type(estimator) is pair.theirs:
            return _converted(estimator, pair.ours(), pair.to_ours)
    known = ", ".join(PAIRS)
    raise TypeError(
        f"estimator must be scikit-learn's own {known}, but it is of the class "
        f"{type(estimator).__module__}.{type(estimator).__qualname__}."
    )


def _converted(model: Any, kind: type[Any], special: Callable[[Any, Any], dict[str, Any]]) -> Any:
    """`model` as an instance of `kind`."""
    parameters = model.get_params(deep=False)
    target = kind()
    known = target.get_params(deep=False)
    shared = {name: parameters[name] for name in known.keys() & parameters.keys()}
    theirs = kind.__module__.startswith("sklearn.")
    for name, known_values in _KNOWN.items() if theirs and "max_iter" in known else ():
        value = shared.get(name)
        if isinstance(value, str) and value not in known_values:
            shared[name] = _UNKNOWN[name]
    target.set_params(**shared)
    if not hasattr(model, "n_features_in_"):
        return target
    template = _tiny_fit(kind, known)
    names = vars(template).keys() - known.keys()
    results = {name: getattr(template, name) for name in names if name.startswith("_")}
    for name in vars(model).keys() & (names | _OPTIONAL):
        results[name] = copy.deepcopy(vars(model)[name])
    vars(target).update(results | special(model, template))
    return target


def _tiny_fit(kind: type[Any], known: dict[str, Any]) -> Any:
    """A fitted instance of `kind`."""
    values = {"n_clusters": 2, "n_components": 2, "random_state": 0}
    given = {name: value for name, value in values.items() if name in known}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(**given).fit([[0.0], [1.0], [5.0], [6.0]])
