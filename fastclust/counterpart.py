"""The way from an estimator to scikit-learn's of the same name, imported by whoever goes it."""

from __future__ import annotations

from typing import Any


class Interchangeable:
    """What all estimators of fastclust can: become scikit-learn's."""

    def to_sklearn(self) -> Any:
        """The same model as an estimator of scikit-learn's own class, with copies of its results.

        Its pickles can be read where there is no fastclust, and tools that look at the class of a
        model know it.

        Returns
        -------
        estimator : estimator of scikit-learn
            Fitted if this one is.  Parameters are the same; where this one has a value that
            scikit-learn does not know, it has scikit-learn's default.
        """
        # All of scikit-learn's clustering; a fit needs nothing of it.
        from .interchange import to_sklearn

        return to_sklearn(self)
