"""Every row of ``benchmarks/mixture_targets.py`` runs, on tiny data, and reports what it promises.

No time is asserted: what a figure should be is for the machine that measures it to say.
"""

import json
import sys
from pathlib import Path

import pytest

# Last, so that the tests are of the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks import mixture_targets
from benchmarks.measuring import command, turns
from benchmarks.measuring.command import Session
from benchmarks.measuring.turns import Effort
from benchmarks.mixture_targets import Steps

TINY = Effort(divisor=1000, repeats=1, fill=0.0, seeds=(0,))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_row_is_measured_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(turns, "PAUSE", 0)
    monkeypatch.setattr(mixture_targets, "SHAPES", ((300_000, 2, 3), (100_000, 5, 2)))
    path = tmp_path / "results.json"
    rows = mixture_targets.ROWS
    assert command.measure(Session(TINY, list(rows)), path, rows) == 0
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["failed"] == {}
    assert {figure["row"] for figure in written["figures"]} == set(rows)
    assert len(written["details"]["steps"]["cells"]) == 8
    assert len(written["details"]["score"]["cells"]) == 16
    printed = capsys.readouterr()
    for figure in written["figures"]:
        assert figure["verdict"] in ("met", "at least", "missed")
        assert figure["what"] in printed.out
    # What is not a matter of time is as it must be, whatever the machine.
    for figure in written["figures"]:
        if figure["row"] == "bits" or figure["unit"] == "millionths":
            assert figure["verdict"] == "met"


def test_a_step_is_a_difference_of_fits():
    seconds = {"short": {"fastclust": [1.0, 3.0, 2.0]}, "long": {"fastclust": [4.0, 4.0, 9.0]}}
    assert Steps("", seconds, {}).step("fastclust") == (4.0 - 2.0) / mixture_targets.STEPS


def test_a_step_that_is_lost_in_the_noise_is_not_understated():
    seconds = {"short": {"fastclust": [2.0]}, "long": {"fastclust": [1.0]}}
    assert Steps("", seconds, {}).step("fastclust") == 1.0 / (1 + mixture_targets.STEPS)


def test_list_names_every_row(capsys):
    assert command.main(["--list"], rows=mixture_targets.ROWS, output="results") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(mixture_targets.ROWS)
