"""Every row of ``benchmarks/optima_targets.py`` runs, on tiny data, and reports what it promises.

No time is asserted: what a figure should be is for the machine that measures it to say.
"""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

# Last, so that the tests are of the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks import optima_targets
from benchmarks.measuring import turns
from benchmarks.measuring.figures import THEIRS
from benchmarks.measuring.turns import Effort

RNG = np.random.default_rng(0)


def make_files(tmp_path, monkeypatch):
    """Files in the formats of the public ones, of 60 rows each."""
    tables = {name: RNG.normal(size=(60, 2)).round(6) for name in optima_targets.PUBLIC}
    problems = {}
    for name, (file, _, known) in optima_targets.PUBLIC.items():
        problems[name] = (file, 3, known)
        path = tmp_path / file
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as packed:
                text = "\n".join(",".join(map(str, row)) for row in tables[name].tolist())
                packed.writestr(f"{path.stem}.csv", text)
        elif path.suffix == ".txt":
            np.savetxt(path, tables[name], header="60 2 0", comments="", fmt="%.6f")
        else:
            np.savetxt(path, tables[name], delimiter=",", fmt="%.6f")
    monkeypatch.setattr(optima_targets, "PUBLIC", problems)
    for name, problem in optima_targets.public_problems(tmp_path):
        np.testing.assert_allclose(problem.X, tables[name])
    return tmp_path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of public problems; all is measured on tiny data, on one thread."""
    for module in (turns, optima_targets):
        monkeypatch.setattr(module, "PAUSE", 0)
    tiny = Effort(divisor=1000, repeats=1, fill=0.0, seeds=(0,))
    monkeypatch.setattr(optima_targets, "QUICK", tiny)
    # Threads of three libraries that wait for each other would take longer than what they compute.
    with threadpoolctl.threadpool_limits(1):
        yield make_files(tmp_path, monkeypatch)


def test_every_row_is_measured_and_rows_from_before_are_kept(folder, capsys):
    path = folder / "results.json"
    order = ["refine", *optima_targets.ROWS]

    def run(*rows):
        options = ["--quick", "--output", str(path), "--problems", str(folder)]
        assert optima_targets.main([*rows, *options]) == 0
        return json.loads(path.read_text(encoding="utf-8"))

    one = run("blobs")
    assert list(one["details"]) == ["blobs"]
    assert [figure["verdict"] for figure in one["figures"]] == ["met"]
    whole = run(*order[:1], *order[1:2], *order[3:])
    assert whole["failed"] == {}
    assert list(whole["details"]) == order
    assert list(dict.fromkeys(figure["row"] for figure in whole["figures"])) == order
    assert whole["details"]["blobs"] == one["details"]["blobs"]
    for row in ("refine", "kinds"):
        assert len(whole["details"][row]) == len(whole["notes"][row]) == 4
    printed = capsys.readouterr().out
    assert all(figure["what"] in printed for figure in whole["figures"])
    # Another effort is no part of the same table.
    path.write_text(json.dumps(whole | {"effort": {}}), encoding="utf-8")
    assert list(run("blobs")["details"]) == ["blobs"]


def test_figures_are_those_of_the_cells():
    def side(inertia, seconds):
        return {"inertia": inertia, "cpu_seconds": seconds}

    def cell(best, fine):
        return {
            "best": best,
            THEIRS: side([110.0, 112.0], [4.0, 4.0]),
            "refine=5": side([101.0, 103.0], [1.0, 1.0]),
            "refine=20": side([100.0, fine], [2.0, 2.0]),
        }

    figures = optima_targets.figures_of("refine", {"a": cell(100, 100), "b": cell(100, 140)}, True)
    values = [round(figure.value, 6) for figure in figures]
    assert values == [2, 4, 100, 10, 2, 50]


def test_list_names_every_row(capsys):
    assert optima_targets.main(["--list", "--problems", "."]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["refine", *optima_targets.ROWS]
    assert all(len(line.split()) > 3 for line in lines)
