"""``fastclust growth`` on tiny data; no time is asserted."""

import doctest
import json
import sys
from dataclasses import replace

import pytest

from fastclust.__main__ import main
from fastclust.commands import growth, measuring
from fastclust.commands.calls import Problem
from fastclust.commands.growth import Curve, Grid, Scaling

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TINY = Grid(
    Problem(300, 3, 4),
    {"n_samples": (200, 400), "n_features": (2, 3), "n_clusters": (2, 4)},
    Problem(1200, 3, 4),
)


@pytest.fixture
def tiny(monkeypatch):
    """A grid of next to nothing, each point timed once."""
    monkeypatch.setattr(growth, "GRIDS", {"quick": TINY})
    monkeypatch.setattr(measuring, "FILL_SECONDS", 0.0)


@pytest.mark.usefixtures("tiny")
def test_the_whole_command(capsys, tmp_path):
    options = ["--repeats", "1", "--output", str(tmp_path), "--threads", "3", "--note", "a remark"]
    assert main(["growth", *options]) == 0
    found = json.loads((tmp_path / "fastclust-growth.json").read_text(encoding="utf-8"))
    assert found["format"] == "fastclust-growth/1"
    assert {"cpu", "cores"} <= set(found["machine"])
    assert found["notes"][-1] == "a remark"
    pairs = {(each["kernel"], each["against"]) for each in found["curves"]}
    assert pairs == {
        (kernel, axis)
        for kernel in growth.KERNELS
        for axis in growth.AXES
        if (kernel, axis) != ("seeding, 2 rounds", "n_clusters")
    }
    for curve in found["curves"]:
        assert len(curve["median_seconds"]) == len(curve["problems"]) == 2
        varied = [problem[curve["against"]] for problem in curve["problems"]]
        assert varied == list(TINY.values[curve["against"]])
    assert [each["n_threads"] for each in found["threads"]] == [2, 3] * len(growth.KERNELS)
    for each in found["threads"]:
        assert each["speed_up"] == each["one_thread_median_seconds"] / each["median_seconds"]
        assert each["efficiency"] == each["speed_up"] / each["n_threads"]
    assert (tmp_path / "fastclust-growth.png").read_bytes().startswith(PNG_SIGNATURE)
    printed = capsys.readouterr()
    assert "exponent" in printed.out
    assert "efficiency" in printed.out
    assert "EM sweep, full, on 3 threads" in printed.err


@pytest.mark.usefixtures("tiny")
def test_one_thread_without_figure_or_progress(capsys, monkeypatch, tmp_path):
    for package in ("rich", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)
    options = ["--repeats", "1", "--output", str(tmp_path), "--threads", "1"]
    assert main(["growth", *options, "--no-figure", "--no-progress"]) == 0
    found = json.loads((tmp_path / "fastclust-growth.json").read_text(encoding="utf-8"))
    assert found["threads"] == []
    printed = capsys.readouterr()
    assert "efficiency" not in printed.out
    assert "against" not in printed.err


def curve(seconds, at=(1, 2, 4, 8)):
    problems = tuple(Problem(value, 1, 1) for value in at)
    return Curve("a kernel", "n_samples", problems, seconds, tuple(float(each) for each in at))


def test_exponents():
    assert doctest.testmod(growth).failed == 0
    steady = curve((1.0, 4.0, 16.0, 64.0))
    assert steady.exponent == pytest.approx(2)
    assert steady.operations_exponent == pytest.approx(1)
    # A fixed cost below, in proportion above.
    late = curve((1.0, 1.0, 1.0, 2.0))
    assert late.upper_exponent == pytest.approx(1)
    assert 0 < late.exponent < 1
    assert curve((1.0, 2.0), at=(3, 6)).upper_exponent == pytest.approx(1)


def test_efficiency():
    scaling = Scaling("a kernel", Problem(1, 1, 1), 4, one=6.0, seconds=2.0)
    assert (scaling.speed_up, scaling.efficiency) == (3.0, 0.75)
    assert growth.scaling_row(scaling)["efficiency"] == "75 %"


def test_the_figure_has_a_panel_for_each_axis_and_one_for_threads():
    scaled = [Scaling("EM sweep, full", Problem(1, 1, 1), 2, 3.0, 2.0)]
    measured = [replace(curve((1.0, 2.0, 4.0, 8.0)), kernel="EM sweep, full")]
    panels = growth.growth_figure(measured, scaled).get_axes()
    assert [len(axes.lines) for axes in panels] == [1, 0, 0, 4]
    assert [axes.get_xlabel() for axes in panels] == ["rows", "features", "clusters", "threads"]
    efficiencies = {line.get_label(): list(line.get_ydata()) for line in panels[-1].lines}
    assert efficiencies["EM sweep, full"] == [100.0, 75.0]
    assert efficiencies["Lloyd iteration"] == [100.0]
