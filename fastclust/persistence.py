"""Pickles that say which releases they are of, as scikit-learn's do.

scikit-learn records its version in the pickles of its own classes alone.  Those of fastclust record
fastclust's, and scikit-learn's where the class is built on one of scikit-learn's.  A pickle of
another release is read with scikit-learn's ``InconsistentVersionWarning``; parameters that it does
not know yet have their defaults, by which they leave everything as it was.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from importlib.metadata import version
from typing import Any, ClassVar

from sklearn.exceptions import InconsistentVersionWarning

installed = functools.cache(version)


class Persistent:
    """What all estimators of fastclust put into their pickles, and how these are read."""

    _built_on: ClassVar[tuple[str, ...]] = ("fastclust",)  # distributions, whose versions matter

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()  # a dictionary in BaseEstimator
        return {**state, "_versions": {name: installed(name) for name in self._built_on}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        written = state.pop("_versions", {})
        for name in self._built_on:
            if written.get(name) != installed(name):
                warnings.warn(
                    InconsistentVersionWarning(
                        estimator_name=f"{type(self).__name__} ({name})",
                        current_sklearn_version=installed(name),
                        original_sklearn_version=written.get(name, "unknown"),
                    ),
                    stacklevel=2,
                )
        parameters = inspect.signature(type(self).__init__).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        missing = {name: value for name, value in defaults.items() if name not in state}
        super().__setstate__(state | missing)  # type: ignore[misc]
