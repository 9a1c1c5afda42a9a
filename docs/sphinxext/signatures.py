"""What differs between the signatures of scikit-learn and of fastclust; knows nothing of Sphinx.

The two libraries are asked, not a list.  What a program cannot find out, such as what a value
means, is in ``parameters.toml`` beside the pages: a remark for a parameter, by owner and name.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import sklearn.cluster
import sklearn.mixture

import fastclust

REMARKS = Path(__file__).resolve().parents[1] / "parameters.toml"
# Everything of fastclust's that has the name of something of scikit-learn's, and where that is;
# what is used most comes first.
_FIRST = ("KMeans", "MiniBatchKMeans", "BisectingKMeans", "k_means", "kmeans_plusplus")
COUNTERPARTS: Mapping[str, ModuleType] = {
    name: module
    for module in (sklearn.cluster, sklearn.mixture)
    for name in dict.fromkeys([*_FIRST, "GaussianMixture", *fastclust.__all__])
    if hasattr(module, name)
}
# Methods whose parameters are compared; others have the same in all estimators of scikit-learn.
_GENERATED = ("get_params", "set_params", "set_output", "get_metadata_routing")


@dataclass(frozen=True)
class Parameter:
    """One parameter, or one attribute, in the two libraries.

    Attributes
    ----------
    name : str
        Its name.
    theirs, ours : str or None
        Default, as code; "" where there is none, and None where there is no such parameter.
    remark : str
        What must be known beside that; reStructuredText.
    """

    name: str
    theirs: str | None
    ours: str | None
    remark: str = ""

    @property
    def status(self) -> str:
        """``"added"``, ``"absent"``, ``"different"`` or ``"same"``."""
        if self.theirs is None:
            return "added"
        if self.ours is None:
            return "absent"
        return "different" if self.remark or self.theirs != self.ours else "same"


@dataclass(frozen=True)
class Comparison:
    """A function, a constructor or a method: its name, and its parameters in order."""

    owner: str
    parameters: tuple[Parameter, ...]


def remarks(path: Path = REMARKS) -> dict[str, dict[str, str]]:
    """The remarks written by hand, by owner and by parameter."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def compared(name: str, known: Mapping[str, Mapping[str, str]]) -> list[Comparison]:
    """Everything about one name of fastclust's that can be compared.

    Parameters
    ----------
    name : str
        One of `COUNTERPARTS`.
    known : mapping
        The remarks.

    Returns
    -------
    list of Comparison
        The constructor (or the function) first, then the methods with a parameter that differs,
        and last, as ``"name attributes"``, the attributes of a fit where one differs.
    """
    theirs, ours = getattr(COUNTERPARTS[name], name), getattr(fastclust, name)
    result = [_signatures(name, theirs, ours, known)]
    if not inspect.isclass(ours):
        return result
    for method in _methods(theirs) | _methods(ours):
        both = getattr(theirs, method, None), getattr(ours, method, None)
        result.append(_signatures(f"{name}.{method}", *both, known))
    result.append(_attributes(f"{name} attributes", theirs, ours, known))
    return [result[0], *(each for each in result[1:] if _differs(each))]


def forgotten(known: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What is wrong with the remarks: differences without one, and remarks on nothing.

    Parameters
    ----------
    known : mapping
        The remarks.

    Returns
    -------
    list of str
        A sentence each.
    """
    found = {each.owner: each for name in COUNTERPARTS for each in compared(name, known)}
    missing = [
        f"{owner}: {parameter.name} is {parameter.status}, and nothing is said about it"
        for owner, each in found.items()
        for parameter in each.parameters
        if parameter.status != "same" and not parameter.remark
    ]
    stale = [
        f"{owner}: {name} is not there, but something is said about it"
        for owner, texts in known.items()
        for name in texts
        if owner not in found or name not in {each.name for each in found[owner].parameters}
    ]
    return missing + stale


def _differs(comparison: Comparison) -> bool:
    return any(each.status != "same" for each in comparison.parameters)


def _methods(kind: type) -> dict[str, None]:
    """Names of public methods; in a dict, for its order."""
    names = {
        name: None
        for name, value in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and "_request" not in name and name not in _GENERATED
    }
    # A method that only some settings have is a property-like object.
    return names | ({"partial_fit": None} if hasattr(kind, "partial_fit") else {})


def _defaults(function: Any) -> dict[str, str]:
    if function is None:
        return {}
    return {
        name: "" if parameter.default is parameter.empty else repr(parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    }


def _signatures(
    owner: str, theirs: Any, ours: Any, known: Mapping[str, Mapping[str, str]]
) -> Comparison:
    texts = known.get(owner, {})
    one, other = _defaults(theirs), _defaults(ours)
    return Comparison(
        owner,
        tuple(
            Parameter(name, one.get(name), other.get(name), texts.get(name, ""))
            for name in dict.fromkeys([*other, *one])
        ),
    )


def _attributes(
    owner: str, theirs: Any, ours: Any, known: Mapping[str, Mapping[str, str]]
) -> Comparison:
    """What a fit leaves behind, and the dtypes of the arrays among it."""
    X = np.random.RandomState(0).normal(size=(30, 2))
    values = {"n_clusters": 2, "n_components": 2, "random_state": 0}
    given = {name: value for name, value in values.items() if name in _defaults(ours)}
    one, other = (_fitted(kind(**given).fit(X)) for kind in (theirs, ours))
    texts = known.get(owner, {})
    return Comparison(
        owner,
        tuple(
            Parameter(name, one.get(name), other.get(name), texts.get(name, ""))
            for name in sorted(one.keys() | other.keys())
        ),
    )


def _fitted(estimator: Any) -> dict[str, str]:
    names = [name for name in dir(estimator) if name.endswith("_") and not name.startswith("_")]
    values = {name: getattr(estimator, name) for name in names}
    return {
        name: str(value.dtype) if isinstance(value, np.ndarray) else ""
        for name, value in values.items()
    }
