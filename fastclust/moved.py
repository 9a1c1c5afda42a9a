"""Modules by the names that they had in older releases, which pickles and programs still use.

A module that is asked for by its old name is the one that has taken its place, itself: it is loaded
once, and its classes are the same under both names.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

NOW = {
    "fastclust.bayesian_mixture": "fastclust.mixtures.bayesian_mixture",
    "fastclust.columns": "fastclust.rows.columns",
    "fastclust.files": "fastclust.rows.files",
    "fastclust.mixture": "fastclust.mixtures.mixture",
    "fastclust.seeding": "fastclust.starts",
    "fastclust.sources": "fastclust.rows.sources",
}


class Moved(MetaPathFinder, Loader):
    """Finds what has moved."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module is that no other finder knows."""
        return ModuleSpec(name, self) if name in NOW else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module that there is now in the place of the new, empty one."""
        sys.modules[module.__name__] = importlib.import_module(NOW[module.__name__])


sys.meta_path.append(Moved())  # the last: it is asked only for what is not there
