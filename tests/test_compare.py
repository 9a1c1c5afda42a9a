"""``fastclust compare`` on tiny data, with scikit-learn standing in for every engine."""

import io
import json
import math
import re
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn.cluster import KMeans

from fastclust.__main__ import main
from fastclust.commands import compare as module
from fastclust.commands import comparison_text as text_module
from fastclust.commands import engines as engines_module
from fastclust.commands import measuring, options, progress
from fastclust.commands.comparison import Cell, Result, compare, geometric_means, measure
from fastclust.commands.comparison_figure import Segmentation
from fastclust.commands.drawing import duration
from fastclust.commands.engines import Competitor
from fastclust.commands.measuring import inertia
from fastclust.workloads import MissingExtraError, Workload, gaussian_blobs, workloads

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def tiny(name="tiny", dtype="float32", n_clusters=4):
    make = partial(gaussian_blobs, 200, 3, 4, dtype)
    return Workload(name, 200, 3, n_clusters, dtype, "a few blobs", make)


def sklearn_fit(X, n_clusters, seed, **kwargs):
    return KMeans(n_clusters, n_init=1, random_state=seed, **kwargs).fit(X)


def engines(*others):
    names = ("fastclust", "scikit-learn")
    return [*(Competitor(name, sklearn_fit) for name in names), *others]


def cell(name, subject_seconds, reference_seconds, n_iter=5, agreement=1.0):
    return Cell(
        tiny(name),
        {
            "fastclust": Result(subject_seconds, n_iter, 101.0, agreement),
            "scikit-learn": Result(reference_seconds, 5, 100.0, 1.0),
        },
    )


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Run ``fastclust compare`` with the stand-ins, on a tiny workload, into ``tmp_path``."""
    monkeypatch.setattr(module, "competitors", lambda peers: (engines(), []))
    monkeypatch.setattr(module, "workloads", lambda profile: (tiny(), tiny("small", "float64")))
    monkeypatch.setattr(module, "segment", partial(module.segment, step=16))

    def run(*options):
        return main(["compare", "--repeats", "1", "--output", str(tmp_path / "out"), *options])

    return run


# --- Measuring ---


def test_inertia_is_the_sum_over_nearest_centers(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(57, 3)).astype(np.float32)
    centers = rng.normal(size=(5, 3))
    differences = X[:, None, :].astype(np.float64) - centers
    expected = (differences**2).sum(axis=2).min(axis=1).sum()
    assert inertia(X, centers) == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr(measuring, "_MAX_DISTANCES", 50)  # several parts, the last one shorter
    assert inertia(X, centers) == pytest.approx(expected, rel=1e-12)


def test_inertia_keeps_its_digits_far_from_the_origin():
    X = np.array([[1e8], [1e8 + 1], [1e8 + 2]])
    assert inertia(X, X[1:2]) == 2.0


def test_competitors_are_timed_in_turn_after_a_warm_up():
    calls = []

    def recording(name):
        def fit(X, n_clusters, seed):
            calls.append(name)
            return sklearn_fit(X, n_clusters, seed)

        return Competitor(name, fit)

    result = measure(tiny(), [recording("a"), recording("b")], repeats=2)
    assert calls == ["a", "b"] * 3
    assert [len(result.results[name].seconds) for name in "ab"] == [2, 2]


def test_equal_engines_agree_exactly():
    (result,) = compare([tiny()], engines(), repeats=1)
    ours, theirs = result.results["fastclust"], result.results["scikit-learn"]
    assert (ours.n_iter, ours.inertia, ours.agreement) == (theirs.n_iter, theirs.inertia, 1.0)
    assert result.excess("fastclust") == 0


def test_another_partition_is_seen():
    def coarse(X, n_clusters, seed):
        return sklearn_fit(X, 2, seed)

    found = measure(tiny(), [Competitor("a", coarse), Competitor("b", sklearn_fit)], repeats=1)
    assert found.results["a"].agreement < 0.9
    assert found.excess("a") > 0.01


def test_a_paced_competitor_gets_the_subjects_iterations_and_only_its_dtypes():
    paces = []

    def fit(X, n_clusters, seed, n_iter):
        paces.append(n_iter)
        return sklearn_fit(X, n_clusters, seed)

    paced = Competitor("paced", fit, frozenset({"float32"}), paced=True)
    single, double = compare([tiny(), tiny("double", "float64")], engines(paced), repeats=1)
    assert paces == [single.results["fastclust"].n_iter] * 2
    assert single.peers == ["scikit-learn", "paced"]
    assert double.peers == ["scikit-learn"]


def test_ratios_are_of_medians_and_means_geometric():
    cells = [cell("a", (1.0, 2.0, 9.0), (4.0, 4.0, 4.0)), cell("b", (1.0,), (8.0,))]
    assert cells[0].ratio("scikit-learn") == 2.0
    assert cells[0].excess("fastclust") == pytest.approx(0.01)
    ((name, (mean, count)),) = geometric_means(cells).items()
    assert (name, count) == ("scikit-learn", 2)
    assert mean == pytest.approx(4.0)


def test_default_competitors_name_what_is_missing(monkeypatch):
    monkeypatch.setattr(engines_module, "estimator_fit", lambda name: importing(name, sklearn_fit))
    monkeypatch.setitem(sys.modules, "sklearnex", None)
    monkeypatch.setitem(sys.modules, "faiss", None)
    entrants, missing = engines_module.competitors(peers=True)
    assert [entrant.name for entrant in entrants] == ["fastclust", "scikit-learn"]
    assert [line.split()[0] for line in missing] == ["scikit-learn-intelex", "faiss"]
    assert engines_module.competitors(peers=False)[1] == []


def importing(name, fit):
    if name.startswith("sklearnex"):
        raise ImportError(name)
    return fit


def test_faiss_takes_part():
    pytest.importorskip("faiss")
    faiss = Competitor("faiss", engines_module._faiss_fit(), frozenset({"float32"}), paced=True)
    result = measure(tiny(), engines(faiss), repeats=1).results["faiss"]
    assert 0 < result.inertia < math.inf


def test_estimator_fit_passes_the_seed():
    X = tiny().make()
    fitted = engines_module.estimator_fit("sklearn.cluster")(X, 4, 3)
    np.testing.assert_array_equal(fitted.labels_, sklearn_fit(X, 4, 3).labels_)


# --- Text ---


def test_plain_table_is_aligned_and_narrow():
    cells = [cell("blobs-128d-1000", (0.5,), (4.25,)), cell("b", (100.0,), (50.0,))]
    head, rule, *lines = text_module.plain_table(cells).splitlines()
    assert head.split() == list(text_module.COLUMNS)
    assert len(lines) == 4
    assert max(map(len, [head, rule, *lines])) <= text_module.WIDTH
    assert lines[0].split()[:5] == ["blobs-128d-1000", "200×3", "4", "float32", "fastclust"]
    assert lines[1].split() == ["scikit-learn", "4.2500", "8.50", "5", "1.0000e+02", "0", "1"]
    assert lines[0].index("fastclust") == lines[1].index("scikit-learn") == head.index("engine")
    assert "+1e-02" in lines[0]


@pytest.mark.parametrize(("width", "n_columns"), [(100, 11), (80, 9)])
def test_rich_table_fits_the_terminal(width, n_columns):
    from rich.console import Console

    # The longest entries of the full profile.
    widest = Workload("blobs-128d-1000", 1_000_000, 8, 1000, "float32", "", tiny().make)
    results = cell("", (12.5,), (118.75,), n_iter=300, agreement=0.9).results
    table = text_module.terminal_table([Cell(widest, results)], width)
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    text = captured.get()
    assert len(table.columns) == n_columns
    assert "blobs-128d-1000" in text
    assert "9.50" in text
    assert "…" not in text
    assert len(text.splitlines()) == 4


def test_summary_is_one_line_with_every_peer():
    assert text_module.summary([cell("a", (1.0,), (3.0,))]) == (
        "geometric mean of the ratios: scikit-learn 3.00 (1 workload)"
    )
    cells = [cell("a", (1.0,), (4.0,)), cell("b", (1.0,), (1.0,))]
    assert text_module.summary(cells).endswith("scikit-learn 2.00 (2 workloads)")


def test_unequal_work_is_marked_and_set_apart():
    same = cell("same", (1.0,), (2.0,))
    longer = cell("longer", (1.0,), (8.0,), n_iter=6)
    elsewhere = cell("elsewhere", (1.0,), (8.0,), agreement=0.9)
    assert text_module.remarks([same]) == []
    first, second, third = text_module.remarks([same, longer, elsewhere])
    assert first.startswith("* fastclust and scikit-learn")
    assert second.endswith(": longer, elsewhere")
    assert third == "  geometric mean without these: scikit-learn 2.00"
    assert len(text_module.remarks([longer])) == 2
    assert module.like_for_like([longer]) is None
    text = text_module.plain_table([same, longer])
    assert "8.00*" in text
    assert "2.00*" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0000456, "0.046 ms"),
        (0.0123, "12.3 ms"),
        (0.5, "500 ms"),
        (1.5, "1.50 s"),
        (1234, "1234 s"),
    ],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


# --- The command ---


def test_the_whole_command(command, capsys, tmp_path):
    assert command() == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("geometric mean of the ratios: scikit-learn")
    assert "tiny" in out
    assert "small" in out
    assert "[1/2] tiny" in err
    assert (tmp_path / "out" / "fastclust-compare.png").read_bytes().startswith(PNG_SIGNATURE)
    found = json.loads((tmp_path / "out" / "fastclust-compare.json").read_text(encoding="utf-8"))
    check_document(found)


def check_document(found):
    assert found["format"] == "fastclust-compare/1"
    assert {"python", "numpy", "numba", "scikit-learn", "fastclust"} <= set(found["versions"])
    assert set(found["machine"]) == {
        "cpu",
        "cores",
        "numba_threads",
        "openmp_threads",
        "system",
    }
    assert found["fit"] == {"init": "k-means++", "n_init": 1, "random_state": 0}
    assert (found["repeats"], found["subject"], found["reference"]) == (
        1,
        "fastclust",
        "scikit-learn",
    )
    first = found["workloads"][0]
    assert [first[key] for key in ("name", "n_samples", "n_features", "n_clusters", "dtype")] == [
        "tiny",
        200,
        3,
        4,
        "float32",
    ]
    result = first["results"]["fastclust"]
    assert result["adjusted_rand_index"] == 1.0
    assert result["inertia_relative_difference"] == 0.0
    assert len(result["seconds"]) == 1
    assert result["median_seconds"] == result["seconds"][0] > 0
    assert first["ratios"]["scikit-learn"] > 0
    assert first["same_work"] == {"scikit-learn": True}
    assert found["geometric_means"]["scikit-learn"] > 0


def test_no_figure_and_no_progress(command, capsys, tmp_path, monkeypatch):
    for package in ("rich", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)
    assert command("--no-figure", "--no-progress") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fastclust-compare.json"]
    assert "[1/2]" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "option"), [("rich", "--no-progress"), ("matplotlib", "--no-figure")]
)
def test_a_missing_package_is_named_before_any_fit(command, capsys, monkeypatch, package, option):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(module, "compare", None)  # calling it would raise
    assert command() == 2
    err = capsys.readouterr().err
    assert package in err
    assert f'pip install "fastclust[cli]", or give {option}' in err
    assert err.count("\n") == 1


def test_a_workload_that_lacks_a_package_ends_the_command(command, capsys, monkeypatch):
    def make():
        raise MissingExtraError("reading it needs Pillow")

    broken = Workload("broken", 1, 1, 1, "float32", "", make)
    monkeypatch.setattr(module, "workloads", lambda profile: (broken,))
    assert command() == 2
    assert capsys.readouterr().err.endswith("error: reading it needs Pillow\n")


@pytest.mark.parametrize(("n_finished", "line"), [(0, "no results so far"), (1, "results so far")])
def test_an_interrupt_shows_what_is_there(command, capsys, monkeypatch, tmp_path, n_finished, line):
    def interrupted(chosen, *args):
        yield from compare(chosen[:n_finished], *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "compare", interrupted)
    assert command() == 130
    out = capsys.readouterr().out
    assert out.startswith(f"interrupted: {line}\n")
    assert ("tiny" in out) == bool(n_finished)
    assert "small" not in out
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["fastclust-compare.json", "fastclust-compare.png"][: 2 * n_finished]
    if n_finished:
        found = json.loads((tmp_path / "out" / written[0]).read_text(encoding="utf-8"))
        assert [each["name"] for each in found["workloads"]] == ["tiny"]
        assert any(note.startswith("interrupted: ") for note in found["notes"])


def test_an_interrupt_elsewhere_has_the_same_status(monkeypatch):
    def listing():
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "listing", listing)
    assert main(["compare", "--list"]) == 130


def test_list_names_every_workload(capsys):
    assert main(["compare", "--list"]) == 0
    out = capsys.readouterr().out
    for profile in ("quick", "full"):
        assert f"{profile}:\n" in out
        for workload in workloads(profile):
            assert f"  {workload.name} " in out
    assert max(map(len, out.splitlines())) <= text_module.WIDTH


def test_only_runs_each_named_workload_once(command, monkeypatch, tmp_path):
    chosen = {name: tiny(name) for name in ("a", "b")}
    monkeypatch.setattr(options, "get", chosen.__getitem__)
    assert command("--only", "b", "a", "b", "--no-figure") == 0
    found = json.loads((tmp_path / "out" / "fastclust-compare.json").read_text(encoding="utf-8"))
    assert [workload["name"] for workload in found["workloads"]] == ["b", "a"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--only", "image-9"], "argument --only: no workload is named 'image-9'"),
        (["--repeats", "0"], "argument --repeats: must be a whole number of at least 1, not '0'"),
        (["--repeats", "two"], "argument --repeats: must be a whole number of at least 1"),
        (["--profile", "vast"], "argument --profile: invalid choice: 'vast'"),
        (["--output", __file__], "argument --output: must be a directory"),
    ],
)
def test_bad_arguments_are_named(capsys, options, complaint):
    with pytest.raises(SystemExit) as exit_:
        main(["compare", *options])
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


def test_an_output_that_cannot_be_made(capsys, tmp_path):
    (tmp_path / "file").touch()
    assert main(["compare", "--output", str(tmp_path / "file" / "below")]) == 2
    assert "error" in capsys.readouterr().err


def test_version_and_no_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith("fastclust ")
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_the_bar_shows_workload_and_step_up_to_the_end():
    from rich.console import Console

    chosen = [tiny("first"), tiny("second")]
    screen = io.StringIO()
    bar = progress._bar(chosen, Console(force_terminal=True, width=100, file=screen))
    report = next(bar)
    for workload in chosen:
        for share in (0.0, 0.5, 1.0):
            report(workload, "warm-up", share)
    shown = screen.getvalue()
    percents = [int(found) for found in re.findall(r"(\d+)%", shown)]
    assert "first           warm-up" in shown
    assert "second          warm-up" in shown
    assert percents == sorted(percents)
    assert {25, 50, 75, 100} <= set(percents)
    bar.close()


def test_the_figure_holds_every_bar_and_both_pictures():
    gray = np.zeros((4, 6, 3), dtype=np.float32)
    images = {"fastclust": gray, "scikit-learn": gray}
    cells = [cell("a", (0.1,), (0.2,)), cell("b", (0.001,), (0.03,), n_iter=7)]
    drawing = module.figure(cells, Segmentation(images, 8, 0.5))
    bars, *pictures = drawing.get_axes()
    assert len(bars.patches) == 4
    assert {"2.0×", "30.0×*"} <= {text.get_text().strip() for text in bars.texts}
    assert "different work" in bars.get_xlabel()
    assert [axes.get_title() for axes in pictures] == list(images)
    assert "the clusters differ" in drawing.subfigs[1].get_suptitle()


def test_an_inexact_agreement_is_never_shown_as_the_same():
    assert [text_module.agreement_text(each) for each in (1.0, 0.99999, 0.9996)] == [
        "1",
        "<1",
        "0.9996",
    ]
    gray = np.zeros((4, 6, 3), dtype=np.float32)
    images = {"fastclust": gray, "scikit-learn": gray}
    for agreement, words in ((1.0, "the same clusters"), (0.9996, "up to ties"), (0.9, "differ")):
        drawing = module.figure([cell("a", (1.0,), (2.0,))], Segmentation(images, 8, agreement))
        title = drawing.subfigs[1].get_suptitle()
        assert words in title
        assert title.endswith("the same clusters") == (agreement == 1)


def test_ties_are_named_where_nothing_else_differs():
    tied = cell("tied", (1.0,), (2.0,), agreement=0.9996)
    tied.results["fastclust"] = replace(tied.results["fastclust"], inertia=100.0)
    first, second = text_module.remarks([tied])
    assert first.startswith("ARI just below 1")
    assert second.endswith(": tied")
    assert text_module.remarks([cell("elsewhere", (1.0,), (2.0,), agreement=0.9996)]) == []


@pytest.mark.parametrize("width", [40, 50, 60, 70])
def test_a_narrow_terminal_cuts_no_number(width):
    from rich.console import Console

    table = text_module.terminal_table([cell("blobs", (12.5,), (118.75,))], width)
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    assert "…" not in captured.get()
    assert "118.7500" in captured.get()
    assert "9.50" in captured.get()


def test_an_engine_without_a_workload_is_said_to_take_no_part():
    faiss = Competitor("faiss", sklearn_fit, frozenset({"float32"}), True, "faiss: a note")
    assert engines_module.engine_notes([faiss], {"float32", "float64"}) == ["faiss: a note"]
    (line,) = engines_module.engine_notes([faiss], {"float64"})
    assert line == "faiss takes no part: it needs float32, which no workload here is"


def test_peers_get_workloads_of_their_type(command, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SINGLE", (tiny("single"),))
    assert command("--peers", "--no-figure") == 0
    found = json.loads((tmp_path / "out" / "fastclust-compare.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in found["workloads"]] == ["tiny", "small", "single"]


def test_a_busy_machine_is_named():
    steady, wild = (1.0, 1.01, 1.02, 1.0), (1.0, 2.0, 1.5, 3.0)
    assert measuring.busy({"a": steady, "b": steady, "c": steady, "d": wild}) == []
    (line,) = measuring.busy({"a": steady, "b": wild})
    assert "1 of 2 fits" in line
    assert "most: b" in line
    assert measuring.busy({"once": (1.0,)}) == []
