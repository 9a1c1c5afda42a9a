"""README and the pages say what the results, the signatures and the public names say."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.utils.fixes import parse_version

import fastclust
from fastclust.kernels.algorithms import ALGORITHMS
from fastclust.validation import Unsupported

# Last, so that the tests are of the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[1] / "docs"))

from sphinxext import signatures

from benchmarks import readme_table

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def results():
    """The two files that README is made from."""
    return readme_table.load("targets"), readme_table.load("mixture_targets")


def test_readme_and_its_figure_are_what_the_results_say(results):
    # `python benchmarks/readme_table.py` writes both.
    assert readme_table.main(["--check"]) == 0


@pytest.mark.parametrize("row", ["fit", "seeding", "steps"])
def test_other_results_make_another_readme(results, row):
    results = copy.deepcopy(results)
    text = readme_table.README.read_text(encoding="utf-8")
    cell = results[row == "steps"]["details"][row]["cells"][0]
    if row == "fit":
        cell["ratios"]["scikit-learn"] = 1234.5
    else:
        cell["ratio"] = 1234.5
    assert readme_table.readme(text, *results) != text
    assert "1234" in readme_table.drawing(*results)


def test_a_result_that_is_not_there_is_named(results):
    with pytest.raises(LookupError, match="0 figures of the row 'fit' contain 'nonsense'"):
        readme_table.figure(results[0], "fit", "nonsense")
    with pytest.raises(LookupError, match="2 figures of the row 'fit' contain"):
        readme_table.figure(results[0], "fit", "fit against")


def test_a_readme_without_marks_is_refused(results):
    with pytest.raises(ValueError, match="0 pairs of marks for 'speed'"):
        readme_table.readme("# fastclust\n", *results)


def test_lines_of_readme_keep_code_together():
    text = readme_table._wrapped("before `python benchmarks/targets.py`, after", "  ", width=20)
    assert text == "before\n  `python benchmarks/targets.py`,\n  after"


def test_the_reference_names_everything_public():
    text = (ROOT / "docs" / "reference" / "index.rst").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   ([\w.]+)$", text, re.MULTILINE))
    assert set(fastclust.__all__) - {"__version__"} <= listed


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"),
    reason="the remarks are on the newest release of scikit-learn",
)
def test_every_difference_from_scikit_learn_is_explained():
    assert signatures.forgotten(signatures.remarks()) == []


def test_differences_without_a_remark_and_remarks_on_nothing_are_found():
    known = signatures.remarks()
    del known["KMeans"]["algorithm"]
    known["KMeans"]["n_jobs"] = "There is none."
    assert {
        "KMeans: algorithm is different, and nothing is said about it",
        "KMeans: n_jobs is not there, but something is said about it",
    } <= set(signatures.forgotten(known))


def test_drawings_take_their_colours_from_the_page_and_are_shown():
    pages = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("docs/how/*.rst"))
    for path in (ROOT / "docs" / "drawings").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"#[0-9a-fA-F]{3}|(fill|stroke)=", text), path.name
        assert f".. drawing:: {path.name}" in pages


# --- Documents against each other ------------------------------------------------------------


def page(name):
    """Text of a page, in one line."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def reads(name):
    """Whether that public name takes rows from an iterator of blocks; None if it takes none."""
    public = getattr(fastclust, name)
    takes = getattr(public, "fit", public)
    if not callable(takes) or "X" not in (parameters := inspect.signature(takes).parameters):
        return None
    X = np.repeat([[0.0], [1.0], [8.0], [9.0]], 10, axis=0)
    second = {"n_clusters": 2, "labels": np.repeat([0, 1], 20)}
    arguments = {key: value for key, value in second.items() if key in parameters}
    if hasattr(public, "fit"):
        known = inspect.signature(public).parameters
        count = {key: 2 for key in ("n_components", "n_clusters") if key in known}
        kmeans = fastclust.KMeans(2, random_state=0)
        search = {"estimator": kmeans, "n_clusters": [2], "criterion": "inertia"}
        public = public(**search if name == "ClusterSearch" else count).fit
    try:
        public(lambda: iter([X[:15], X[15:]]), **arguments)
    except Unsupported:
        return False
    return True


def test_documents_name_what_reads_files():
    taken = {name: reads(name) for name in fastclust.__all__}
    text = page("docs/guide/out_of_core.rst")
    named = re.search("Rows that are not in memory are taken by (.*?)[.] ", text).group(1)
    assert set(re.findall(r"fastclust\.(\w+)", named)) == {name for name in taken if taken[name]}
    others, end, _ = text.split(named)[1].partition(" take what is read in place")
    assert end
    only_in_place = set(re.findall(r"fastclust\.(\w+)", others))
    assert only_in_place == {name for name in taken if taken[name] is False}

    text = page("README.md")
    claim = re.search(r"\*\*Data larger than memory\*\*: (.*?) take ", text).group(1)
    mixtures = {name for name in taken if name.endswith("Mixture")}
    claimed = set(re.findall(r"`(\w+)`", claim)) | (mixtures if "the mixtures" in claim else set())
    estimators = {name for name in taken if taken[name] and name[0].isupper()}
    assert claimed == estimators - {"ClusterSearch"}  # whose estimator is one of them


def test_documents_name_every_algorithm():
    names = set(ALGORITHMS) - {"full", "exponion"}  # old names
    table = page("docs/guide/algorithms.rst")
    assert set(re.findall(r'[*] - ``"(\w+)"``', table)) == names
    text = page("README.md")
    listed = re.search(r"`algorithm=(\"hamerly\".*?) as Lloyd's|`algorithm=(.*?)Lloyd's", text)
    assert set(re.findall(r'"(\w+)"', listed.group())) == names - {"lloyd"}
    # What scikit-learn has is not among what is new.
    added = signatures.remarks()["KMeans"]["algorithm"].split("All give")[0]
    assert set(re.findall(r"'(\w+)'", added)) == set(ALGORITHMS) - {"elkan"}
    for owner in (fastclust.KMeans, fastclust.BisectingKMeans):
        choices = re.search(r"algorithm : \{(.*?)\}", inspect.getdoc(owner)).group(1)
        assert set(re.findall(r"'(\w+)'", choices)) == set(ALGORITHMS), owner


def test_the_guide_names_every_criterion():
    choices = importlib.import_module("fastclust.search").CRITERIA
    listed = re.findall(r'[*] - ((?:``"\w+"``(?:, )?)+)', page("docs/guide/how_many.rst"))
    assert set(re.findall(r'"(\w+)"', " ".join(listed))) == set(choices)


def test_every_extra_is_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = re.findall(r"[*] - ``(\w+)``", page("docs/install.rst"))
    assert set(listed) == set(project["optional-dependencies"]) - {"test"}  # is in README


def documented():
    """Everything public whose docstring may state defaults: its name, and the function."""
    for name in fastclust.__all__:
        public = getattr(fastclust, name)
        if callable(public):
            yield name, public, public
        if inspect.isclass(public):
            for method, function in inspect.getmembers(public, inspect.isfunction):
                if not method.startswith("_") and function.__module__.startswith("fastclust"):
                    yield f"{name}.{method}", function, function


def test_docstrings_state_the_defaults_of_the_signatures():
    wrong, n_stated = [], 0
    for name, owner, function in documented():
        parameters = inspect.signature(function).parameters
        head = (inspect.getdoc(owner) or "").split("\nReturns\n")[0].split("\nAttributes\n")[0]
        for names, stated in re.findall(r"^(\w[\w, ]*) : .*?default=(.*)$", head, re.MULTILINE):
            try:
                value = ast.literal_eval(stated)
            except (ValueError, SyntaxError):
                continue  # described in words
            for parameter in names.split(", "):
                n_stated += 1
                if parameter not in parameters or parameters[parameter].default != value:
                    wrong.append(f"{name}({parameter}={stated})")
    assert wrong == []
    assert n_stated > 80


def test_the_inventory_of_scikit_learn_names_what_is_there():
    lines = (ROOT / "docs/inventories/scikit-learn.inv").read_text(encoding="utf-8").splitlines()
    for line in lines[3:]:
        name, kind, where = line.split()
        if kind == "mod":
            importlib.import_module(name)
            assert where == f"api/{name}.html"
            continue
        owner = name.rpartition(".")[0] if kind == "method" else name
        module, _, last = owner.rpartition(".")
        public = getattr(importlib.import_module(module), last)
        assert callable(getattr(public, name.rpartition(".")[2]) if kind == "method" else public)
        assert inspect.isclass(public) == (kind != "function")
        # One function is public in scikit-learn and has no page there.
        lacks_page = name == "sklearn.cluster.linkage_tree"
        assert where == (f"api/{module}.html" if lacks_page else f"modules/generated/{owner}.html")
