"""The examples in docstrings and on the pages of the documentation run and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import fastclust

DOCS = Path(__file__).resolve().parents[1] / "docs"
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fastclust.__path__, "fastclust.")
    if module.name != "fastclust.__main__"
)
CLASSES = {name for name in fastclust.__all__ if name[0].isupper()}
# Pages that Sphinx makes of the examples and of the docstrings are not ours.
PAGES = sorted(
    path.relative_to(DOCS).as_posix()
    for path in DOCS.rglob("*.rst")
    if not {"_build", "gallery", "generated", "_templates"} & set(path.parts)
)


@pytest.fixture(autouse=True)
def _no_log_of_the_drop_in(monkeypatch):
    monkeypatch.setattr("fastclust.acceleration._said", True)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


# What a ProgressBar shows depends on the time.
@pytest.mark.parametrize("name", sorted(CLASSES - {"ProgressBar"}))
def test_every_class_has_an_example(name: str) -> None:
    examples = doctest.DocTestFinder(recurse=False).find(getattr(fastclust, name))
    assert examples[0].examples


@pytest.mark.parametrize("name", PAGES)
def test_pages(name: str) -> None:
    assert doctest.testfile(str(DOCS / name), module_relative=False).failed == 0


def test_pages_have_examples() -> None:
    parser = doctest.DocTestParser()
    found = [parser.get_examples((DOCS / name).read_text(encoding="utf-8")) for name in PAGES]
    assert sum(map(len, found)) >= 80
