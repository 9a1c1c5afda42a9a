"""Every row of ``benchmarks/bounds_targets.py`` runs, on tiny data, and reports what it promises.

No time is asserted: what a figure should be is for the machine that measures it to say.
"""

import json
import sys
from pathlib import Path

import pytest

# Last, so that the tests are of the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks import bounds_targets
from benchmarks.bounds_targets import clustered
from benchmarks.measuring import command, turns
from benchmarks.measuring.command import Session
from benchmarks.measuring.turns import Effort

TINY = Effort(divisor=1, repeats=1, fill=0.0, seeds=(0,))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_row_is_measured_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(turns, "PAUSE", 0)
    cells = (clustered(300, 2, 7, 2.0), clustered(200, 5, 3, 1.0, "float32"))
    own = (*cells, clustered(100, 3, 4, 2.0), clustered(100, 3, 5, 2.0))
    monkeypatch.setattr(bounds_targets, "OWN_CELLS", own)
    for name in ("ELKAN_CELLS", "TUNED_CELLS", "HELD_OUT_CELLS", "PEER_CELLS"):
        monkeypatch.setattr(bounds_targets, name, cells)
    path = tmp_path / "results.json"
    rows = bounds_targets.ROWS
    assert command.measure(Session(TINY, list(rows)), path, rows) == 0
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["failed"] == {}
    assert {figure["row"] for figure in written["figures"]} == set(rows)
    printed = capsys.readouterr()
    for figure in written["figures"]:
        assert figure["what"] in printed.out
        if "same bits" in figure["what"]:
            assert figure["verdict"] == "met"
    for name in ("iterations", "fits", "auto", "auto_held_out"):
        for cell in written["details"][name]["cells"]:
            assert cell["best"] in bounds_targets.SINGLE
            assert set(cell["medians"]) == {*bounds_targets.SINGLE, "auto"}


def test_the_cells_are_those_that_were_promised():
    cells = bounds_targets.TUNED_CELLS, bounds_targets.HELD_OUT_CELLS
    assert [len({w.name for w in each}) for each in cells] == [20, 10]
    assert len(bounds_targets.PEER_CELLS) == 10
    assert [w.n_features for w in bounds_targets.OWN_CELLS] == [2, 8, 32, 128]
    assert all(w.n_clusters >= 500 for w in bounds_targets.OWN_CELLS)
