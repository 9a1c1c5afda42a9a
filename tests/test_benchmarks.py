"""Every row of ``benchmarks/targets.py`` runs, on tiny data, and reports what it promises.

No time is asserted: what a figure should be is for the machine that measures it to say.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

# Last, so that the tests are of the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks import floor, streaming_targets, targets
from benchmarks.measuring import command, turns
from benchmarks.measuring.command import Session
from benchmarks.measuring.figures import Figure, Outcome
from benchmarks.measuring.turns import Effort
from fastclust.workloads import Workload, gaussian_blobs

TINY = Effort(divisor=1000, repeats=1, fill=0.0, seeds=(0, 1), cold=1, warm=1)


def blobs(name, dtype="float32", n_clusters=4):
    # As many rows as are left of 300 that are divided by the effort.
    make = partial(gaussian_blobs, 300 * TINY.divisor, 2, 4, dtype)
    return Workload(name, 300 * TINY.divisor, 2, n_clusters, dtype, "a few blobs", make)


@pytest.fixture
def tiny(monkeypatch):
    """The rows on tiny data, without a pause."""
    monkeypatch.setattr(command, "workloads", lambda profile: (blobs("a"), blobs("b", "float64")))
    monkeypatch.setattr(targets, "get", blobs)
    monkeypatch.setattr(targets, "SEEDINGS", (("a", 4), ("b", 100)))
    monkeypatch.setattr(turns, "PAUSE", 0)
    # Two processes that do next to nothing: compiling takes longer than all other tests together.
    monkeypatch.setattr(targets, "PROGRAMS", dict.fromkeys(targets.PROGRAMS, "pass"))


@pytest.mark.usefixtures("tiny")
def test_every_row_is_measured_and_written(tmp_path, capsys):
    path = tmp_path / "results.json"
    assert command.measure(Session(TINY, list(targets.ROWS)), path, targets.ROWS) == 0
    written = json.loads(path.read_text(encoding="utf-8"))
    printed = capsys.readouterr()
    assert set(written) == {
        "format", "date", "versions", "machine", "effort", "figures", "notes", "details", "failed",
    }  # fmt: skip
    assert written["format"] == "fastclust-targets/1"
    assert {"python", "numpy", "numba", "scikit-learn"} <= set(written["versions"])
    assert {"cpu", "cores"} <= set(written["machine"])
    assert written["failed"] == {}
    assert {figure["row"] for figure in written["figures"]} == set(targets.ROWS)
    for figure in written["figures"]:
        assert set(figure) == {
            "row", "what", "value", "unit", "target", "at_least", "lower_is_better", "verdict",
        }  # fmt: skip
        assert figure["verdict"] in ("met", "at least", "missed")
        assert figure["what"] in printed.out
    for name in targets.ROWS:
        assert f"] {name}\n" in printed.err
    cell = written["details"]["fit"]["cells"][0]
    assert set(cell["runs"][0]["seconds"]) >= {"fastclust", "scikit-learn"}
    assert cell["runs"][0]["agreement"]["fastclust"] == pytest.approx(1)
    assert cell["inertia_relative_difference"]["fastclust"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", ["fastclust", "scikit-learn"])
def test_the_first_programs_run(name):
    # In this process, where the kernels are compiled already.
    exec(compile(targets.PROGRAMS[name], name, "exec"), {})


@pytest.mark.usefixtures("tiny")
def test_the_file_names_no_folder(tmp_path):
    path = tmp_path / "results.json"
    command.measure(Session(TINY, ["small"]), path, targets.ROWS)
    text = path.read_text(encoding="utf-8")
    assert str(Path.home()) not in text
    assert str(Path(targets.__file__).parent) not in text


def test_a_row_that_fails_does_not_stop_the_others(tmp_path, capsys):
    def broken(session):
        raise FileNotFoundError("/some/folder")

    def fine(session):
        return Outcome([Figure("fine", "a number", 3.0, "×", 2, 1)])

    path = tmp_path / "results.json"
    rows = {"broken": broken, "fine": fine}
    assert command.measure(Session(TINY, list(rows)), path, rows) == 1
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["failed"] == {"broken": "FileNotFoundError"}
    assert [figure["verdict"] for figure in written["figures"]] == ["met"]
    assert "broken: not measured (FileNotFoundError)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "lower", "verdict"),
    [
        (10, False, "met"),
        (9, False, "at least"),
        (7, False, "missed"),
        (7, True, "met"),
        (9, True, "missed"),
    ],
)
def test_verdicts_are_honest(value, lower, verdict):
    bounds = (8, 8.5) if lower else (10, 8)
    assert Figure("row", "what", value, "s", *bounds, lower).verdict == verdict


def test_a_figure_without_bounds_has_no_verdict():
    assert Figure("row", "what", 1.0, "s").verdict == ""


def test_list_names_every_row(capsys):
    assert targets.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(targets.ROWS)


def test_an_unknown_row_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        targets.main(["speed"])
    assert "no row is named 'speed': they are assignment, iteration" in capsys.readouterr().err


def test_fits_to_files_are_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(turns, "PAUSE", 0)
    monkeypatch.setattr(streaming_targets, "N_ROWS", 160_000)
    path = tmp_path / "results.json"
    rows = streaming_targets.ROWS
    arguments = ["stream", "--quick", "--output", str(path)]
    assert command.main(arguments, rows=rows, output="results") == 0
    written = json.loads(path.read_text(encoding="utf-8"))
    assert [figure["row"] for figure in written["figures"]] == ["stream"]
    assert "GFLOP/s over the whole fit" in capsys.readouterr().out
    assert streaming_targets.anonymous_peak(lambda: np.ones(4_000_000).sum()) >= 0


def test_everyday_calls_are_measured_and_marked(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(floor, "LEAST", 0)
    path = tmp_path / "results.json"
    only = "predict 1, d=2 |sparse transform 1, d=20,|^fit_predict 50"
    assert floor.main(["--only", only, "--quick", "--output", str(path)]) == 0
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["failed"] == {}
    *named, mean = written["figures"]
    assert [figure["what"] for figure in named] == [
        "predict 1, d=2 k=5", "sparse transform 1, d=20,000 k=20", "fit_predict 50×4 k=3",
    ]  # fmt: skip
    values = [figure["value"] for figure in named]
    assert mean["value"] == pytest.approx(np.exp(np.mean(np.log(values))))
    printed = capsys.readouterr().out
    for figure in named:
        assert (figure["verdict"] == "missed") == (figure["value"] < 1)
        assert (f"{figure['what']}: {figure['value']:.2f}\n" in printed) == (figure["value"] < 1)


def test_the_figure_of_an_everyday_call_is_the_median_of_its_runs(monkeypatch):
    found = iter([{floor.OURS: [1.0, 9.0, 2.0], floor.THEIRS: [t] * 3} for t in (4.0, 1.0, 6.0)])
    monkeypatch.setattr(floor, "measured", lambda *arguments, **options: next(found))
    calls = {"a call": lambda engine: lambda: None}
    kept = []
    call, mean = floor.floor(Session(TINY, ["floor"]), calls, 3, kept.append).figures
    assert (call.what, call.value, mean.value) == ("a call", 2.0, 2.0)
    assert [outcome.figures[0].value for outcome in kept] == [2.0, 1.25, 2.0]


def test_everyday_calls_may_be_measured_in_parts_and_stopped(monkeypatch, tmp_path, capsys):
    found = [{floor.OURS: [1.0], floor.THEIRS: [t]} for t in (2.0, 3.0, 0.5)]

    def next_found(*arguments, **options):
        if not found:
            raise KeyboardInterrupt
        return found.pop(0)

    monkeypatch.setattr(floor, "measured", next_found)
    path = tmp_path / "results.json"

    def run(only, *options):
        status = floor.main(["--only", only, "--runs", "1", "--output", str(path), *options])
        written = json.loads(path.read_text(encoding="utf-8"))
        return status, {figure["what"]: figure["value"] for figure in written["figures"]}

    status, values = run("^fit_predict 50")
    assert (status, values.pop("geometric mean of 1"), values) == (
        0,
        2,
        {"fit_predict 50×4 k=3": 2},
    )
    status, values = run("^predict 1, d=2 ")
    assert status == 0
    assert list(values.items())[:2] == [("predict 1, d=2 k=5", 3), ("fit_predict 50×4 k=3", 2)]
    status, values = run("^predict 1")
    assert status == 130
    assert values["predict 1, d=2 k=5"] == 0.5
    assert values["fit_predict 50×4 k=3"] == 2
    found.append({floor.OURS: [1.0], floor.THEIRS: [4.0]})
    assert list(run("^predict 1, d=2 ", "--quick")[1].values()) == [4, 4]  # another effort


def test_a_pattern_that_is_no_call_is_refused(capsys):
    with pytest.raises(SystemExit):
        floor.main(["--only", "nothing like it"])
    assert "--only must match the name of a call" in capsys.readouterr().err
