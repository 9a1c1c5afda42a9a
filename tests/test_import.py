"""The package imports what a program asks for, when it asks for it."""

from __future__ import annotations

import ast
import gc
import subprocess
import sys
from pathlib import Path

import pytest

import fastclust

PROGRAM = """
import gc, importlib, sys
import fastclust

assert "numba" not in sys.modules
if {off}:
    gc.disable()
assert set(fastclust.__all__) <= set(dir(fastclust))
assert fastclust.KMeans.__module__ == "fastclust.kmeans"
assert "fastclust.mixtures.mixture" not in sys.modules
assert "fastclust.mixture" not in sys.modules
assert "sklearn.cluster" not in sys.modules
assert gc.isenabled() is not {off}
assert fastclust.callbacks.Progress.__module__ == "fastclust.callbacks"
from fastclust import *
assert GaussianMixture is fastclust.mixtures.mixture.GaussianMixture
from fastclust import moved
for old, now in moved.NOW.items():
    assert importlib.import_module(old) is importlib.import_module(now)
    assert sys.modules[now].__spec__.name == now
assert fastclust.mixture is fastclust.mixtures.mixture
"""


@pytest.mark.parametrize("off", [False, True])
def test_modules_are_imported_when_asked_for(off: bool) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM.format(off=off)], check=True)


def test_the_names_for_type_checkers_are_those_that_are_found() -> None:
    tree = ast.parse(Path(fastclust.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    declared = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == fastclust._HOMES
    assert {*declared, "__version__"} == set(fastclust.__all__)
    for name, module in declared.items():
        assert getattr(fastclust, name) is vars(sys.modules[f"fastclust.{module}"])[name]


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fastclust' has no attribute 'KMedians'"):
        _ = fastclust.KMedians
    assert gc.isenabled()


def test_only_public_names_are_listed() -> None:
    listed = [name for name in dir(fastclust) if not name.startswith("__")]
    assert listed == sorted(name for name in fastclust.__all__ if not name.startswith("__"))
