"""``fastclust roofline`` on tiny data; no time is asserted."""

import json
import sys
from functools import partial

import numpy as np
import pytest

from fastclust.__main__ import main
from fastclust.commands import calls, measuring, roofline
from fastclust.commands.roofline import Place
from fastclust.kernels.machine.parallel import team
from fastclust.kernels.machine.roof import Read, Spin

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def tiny(monkeypatch):
    """Every kernel on as few rows as there may be, and roofs of next to no work."""
    measure = partial(roofline.measure_places, read_bytes=8000, n_rounds=10)

    def places(repeats, scale, **options):
        return measure(repeats, 0.0, **options)

    monkeypatch.setattr(roofline, "measure_places", places)
    monkeypatch.setattr(measuring, "FILL_SECONDS", 0.0)


@pytest.mark.usefixtures("tiny")
def test_the_whole_command(capsys, tmp_path):
    options = ["--repeats", "1", "--output", str(tmp_path), "--note", "a remark"]
    assert main(["roofline", *options]) == 0
    found = json.loads((tmp_path / "fastclust-roofline.json").read_text(encoding="utf-8"))
    assert found["format"] == "fastclust-roofline/1"
    assert {"python", "numpy", "numba"} <= set(found["versions"])
    assert {"cpu", "cores"} <= set(found["machine"])
    assert found["notes"][-1] == "a remark"
    assert set(found["peak_flops_per_second"]) == {"float32", "float64"}
    assert found["bandwidth_bytes_per_second"] > 0
    kernels = {each["kernel"] for each in found["kernels"]}
    assert kernels == {
        "assignment",
        "Lloyd iteration",
        "seeding, 2 rounds",
        "EM sweep, full",
        "EM sweep, diag",
        "sparse assignment",
    }
    for each in found["kernels"]:
        assert set(each) == {
            "kernel", "shape", "dtype", "arithmetic", "flops", "bytes", "median_seconds",
            "flops_per_second", "flops_per_byte", "peak_flops_per_second",
            "bandwidth_bytes_per_second", "share_of_roof", "bound_by",
        }  # fmt: skip
        assert each["flops_per_byte"] == each["flops"] / each["bytes"]
        roof = min(
            each["peak_flops_per_second"],
            each["flops_per_byte"] * each["bandwidth_bytes_per_second"],
        )
        assert each["share_of_roof"] == pytest.approx(each["flops_per_second"] / roof)
    assert (tmp_path / "fastclust-roofline.png").read_bytes().startswith(PNG_SIGNATURE)
    printed = capsys.readouterr()
    assert "% of roof" in printed.out
    assert "sparse assignment" in printed.err


@pytest.mark.usefixtures("tiny")
def test_no_figure_and_no_progress(capsys, monkeypatch, tmp_path):
    for package in ("rich", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)
    options = ["--repeats", "1", "--output", str(tmp_path), "--no-figure", "--no-progress"]
    assert main(["roofline", *options]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["fastclust-roofline.json"]
    assert "assignment" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "option"), [("rich", "--no-progress"), ("matplotlib", "--no-figure")]
)
def test_a_missing_package_is_named_before_any_measurement(capsys, monkeypatch, package, option):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(roofline, "measure_places", None)  # calling it would raise
    assert main(["roofline"]) == 2
    err = capsys.readouterr().err
    assert f'pip install "fastclust[cli]", or give {option}' in err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--repeats", "none"], "argument --repeats: must be a whole number of at least 1"),
        (["--profile", "vast"], "argument --profile: invalid choice: 'vast'"),
        (["--output", __file__], "argument --output: must be a directory"),
    ],
)
def test_bad_arguments_are_named(capsys, options, complaint):
    with pytest.raises(SystemExit) as exit_:
        main(["roofline", *options])
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


def place(flops, n_bytes, seconds=1.0, dtype="float64"):
    return Place("kernel", "1×1", dtype, dtype, flops, n_bytes, seconds, peak=100.0, bandwidth=10.0)


def test_the_roof_has_two_sides():
    low, high = place(40.0, 8.0), place(40.0, 2.0)
    assert (low.intensity, low.roof, low.bound) == (5.0, 50.0, "memory")
    assert (high.intensity, high.roof, high.bound) == (20.0, 100.0, "arithmetic")
    assert place(40.0, 8.0, seconds=2.0).reached == 20.0
    assert roofline.place_row(place(40.0, 8.0, seconds=2.0))["% of roof"] == "40"


def test_the_figure_has_a_roof_for_each_type_and_a_point_for_each_kernel():
    places = [place(40.0, 8.0), place(40.0, 2.0), place(9.0, 2.0, dtype="float32")]
    axes = roofline.roofline_figure(places).get_axes()[0]
    assert len(axes.lines) == 2
    assert sum(len(points.get_offsets()) for points in axes.collections) == 3
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


@pytest.mark.parametrize(
    ("kernel", "k", "dtype", "expected"),
    [
        ("assignment", 9, "float64", "float32"),
        ("10 iterations, lloyd", 9, "float64", "float32"),
        ("Lloyd iteration", 1, "float64", "float64"),
        ("assignment", 9, "float32", "float32"),
        ("inertia", 9, "float64", "float64"),
    ],
)
def test_distances_that_are_screened_are_under_the_roof_of_float32(kernel, k, dtype, expected):
    assert kernel in calls.KERNELS
    assert calls.arithmetic(kernel, calls.Problem(100, 4, k, dtype)) == expected


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_roofs_do_what_they_count(dtype, n_threads):
    with team(n_threads) as threads:
        read = Read(80_000, threads)
        assert read() == read.n_bytes / 8 == 10_000
        spin = Spin(dtype, 1, threads)
        spin()
        # 1/2 goes to 1/2 · 1/2 + 1/2 in one round of multiply-adds.
        np.testing.assert_array_equal(spin._values, 0.75)
        assert spin.flops == 2 * spin._values.size
