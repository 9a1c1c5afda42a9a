"""README and the pages say what the results, the signatures and the public names say."""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path

import pytest
import sklearn
from sklearn.utils.fixes import parse_version

import fastclust

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
