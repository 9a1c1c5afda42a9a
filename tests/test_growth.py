"""``fastclust growth`` on tiny data; no time is asserted."""

import doctest
import json
import sys
from dataclasses import replace

import pytest

from fastclust.__main__ import main
from fastclust.commands import growth, measuring, scaling
from fastclust.commands.calls import Iterations, Problem, make_task
from fastclust.commands.growth import Curve, Grid, Scaling
from fastclust.commands.scaling import Counted, Machine, count, expected
from fastclust.kernels.machine.parallel import Team, team

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
    for name, value in {"READ_BYTES": 8000, "N_ROUNDS": 2, "LAUNCHES": 3}.items():
        monkeypatch.setattr(scaling, name, value)


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
        assert each["shares_cores"] == (each["n_threads"] > found["machine"]["cores"])
        assert each["allowed_speed_up"] > 0
    assert [each["n_threads"] for each in found["machines"]] == [1, 2, 3]
    for each in found["machines"]:
        assert min(each["launch"], each["bandwidth"], *each["peaks"].values()) > 0
    assert [each["kernel"] for each in found["expected"]] == list(growth.KERNELS)
    assert all(list(each["seconds"]) == ["8", "16", "64"] for each in found["expected"])
    assert (tmp_path / "fastclust-growth.png").read_bytes().startswith(PNG_SIGNATURE)
    printed = capsys.readouterr()
    assert "exponent" in printed.out
    assert "efficiency" in printed.out
    for title in ("launch", "GFLOP/s float32", "GB/s", "machine allows", "64 cores"):
        assert title in printed.out
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


def test_threads_that_share_cores_say_so():
    alone = Scaling("a kernel", Problem(1, 1, 1), 2, 4.0, 2.0, allowed=1.6, n_cores=2)
    shared = replace(alone, n_threads=64)
    assert not alone.shares_cores
    row = growth.scaling_row(alone)
    assert (row["threads"], row["efficiency"]) == ("2", "100 %")
    assert (row["machine allows"], row["share of that"]) == ("1.60", "125 %")
    row = growth.scaling_row(shared)
    assert row["threads"] == "64 on 2 cores"
    assert {row[title] for title in ("efficiency", "machine allows", "share of that")} == {"-"}
    machine = Machine(64, 1e-5, {"float32": 1e9, "float64": 1e9}, 1e9)
    row = growth.machine_row(machine, 2)
    assert (row["threads"], row["launch, µs"]) == ("64 on 2 cores", "10.0")
    panels = growth.growth_figure([], [shared]).get_axes()
    assert all(len(line.get_xdata()) == 1 for line in panels[-1].lines)


def test_the_roof_is_the_lower_one():
    task = replace(make_task("column moments", Problem(64, 2, 1), Team(0)), flops=6.0, n_bytes=3.0)
    machine = Machine(1, 1e-6, {"float32": 1.0, task.arithmetic: 5.0}, bandwidth=2.0)
    assert machine.roof(task) == 4.0
    assert replace(machine, bandwidth=9.0).roof(task) == 5.0


def test_the_model_counts_what_kernels_do(monkeypatch):
    """Tasks and bytes that kernels have, and the multiply-adds that they say they have."""
    assert doctest.testmod(scaling).failed == 0
    problem = Problem(30_000, 3, 4)
    launches = []

    def run(self, function, work, n_tasks, *arguments):
        launches.append((work, n_tasks))
        return plain(self, function, work, n_tasks, *arguments)

    def offer(self, work, n_tasks):  # to launches that follow one another in compiled code
        offers.append((work, n_tasks))
        return opened(self, work, n_tasks)

    offers = []
    plain, opened = Team.run, Team.open
    for kernel, dtype in growth.KERNELS.items():
        own = problem._replace(dtype=dtype)
        with team(1) as threads:
            task = make_task(kernel, own, threads)
            launches.clear()
            offers.clear()
            monkeypatch.setattr(Team, "run", run)
            monkeypatch.setattr(Team, "open", offer)
            task.action()
            monkeypatch.undo()
        counted = count(kernel, own)
        launch = counted.work, counted.n_tasks
        assert (launches or offers * counted.n_launches) == [launch] * counted.n_launches, kernel
    with team(1) as threads:
        fit = Iterations(problem.make(), problem.n_clusters, threads)
    counted = count("Lloyd iteration", problem)
    assert counted.merged == fit.update.piles.records[1:, : problem.n_clusters].nbytes
    large = Problem(30_000, 200, 200)
    assert count("Lloyd iteration", large).merged == 0  # owners sum them, in row order


def test_the_model():
    counted = Counted(1, 1e12, n_tasks=512, kept=1_000_000, serial=1e-5)
    times = [expected(counted, 0.1, n) for n in (1, 2, 8, 64)]
    assert times == sorted(times, reverse=True)
    assert times[0] == pytest.approx(0.1)
    assert 0.1 / times[-1] < 64
    # What does not pay for two threads is expected to run on one.
    little = Counted(1, 1000.0, n_tasks=1, kept=0, serial=0.0)
    assert expected(little, 1e-5, 64) == pytest.approx(1e-5)
