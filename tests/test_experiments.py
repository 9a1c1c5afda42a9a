"""``fastclust compare elkan``, ``minibatch`` and ``regimes`` on tiny data; no time is asserted."""

import doctest
import json
import sys
from functools import partial

import numpy as np
import pytest

import fastclust
from fastclust.__main__ import main
from fastclust.commands import (
    drawing,
    elkan,
    experiments,
    measuring,
    minibatch,
    mixtures,
    regimes,
    tables,
)
from fastclust.commands.experiments import Run, Trial
from fastclust.commands.measuring import Timed, in_turn
from fastclust.workloads import Workload, gaussian_blobs

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def tiny(name="tiny", n_clusters=4):
    make = partial(gaussian_blobs, 300, 3, 4, "float64")
    return Workload(name, 300, 3, n_clusters, "float64", "a few blobs", make)


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Run an experiment once, into ``tmp_path``, and return its JSON."""
    monkeypatch.setattr(measuring, "FILL_SECONDS", 0.0)
    monkeypatch.setattr(elkan, "elkan_workloads", lambda profile: [tiny(), tiny("other")])
    monkeypatch.setattr(minibatch, "large_workload", lambda rows: tiny("large"))

    def run(name, *options):
        options = ("--repeats", "1", "--output", str(tmp_path), *options)
        assert main(["compare", name, *options]) == 0
        path = tmp_path / f"fastclust-{name}.json"
        return json.loads(path.read_text(encoding="utf-8"))

    return run


def runs(**medians):
    return {f"fastclust {name}": Run((seconds,), 3, 10.0, 100) for name, seconds in medians.items()}


def check_document(found, name, objective="inertia"):
    assert found["format"] == f"fastclust-{name}/1"
    assert {"python", "numpy", "numba", "scikit-learn", "fastclust"} <= set(found["versions"])
    assert set(found["machine"]) == {"cpu", "cores", "numba_threads", "openmp_threads", "system"}
    assert (found["repeats"], found["profile"]) == (1, "quick")
    for trial in found["trials"]:
        assert set(trial) == {"name", "n_samples", "n_features", "n_clusters", "dtype", "runs"}
        for run in trial["runs"].values():
            assert set(run) == {"seconds", "median_seconds", "n_iter", objective, "n_distances"}
            assert len(run["seconds"]) == 1
            assert run["median_seconds"] == run["seconds"][0] > 0


# --- Shared ---


def test_actions_are_called_in_turn_and_the_first_call_is_not_timed():
    calls = []
    sides = {name: Timed(partial(calls.append, name)) for name in "ab"}
    seconds = in_turn(sides, 60)  # enough turns that no more follow to fill the time
    assert calls == ["a", "b"] * 61
    assert {name: len(of) for name, of in seconds.items()} == {"a": 60, "b": 60}
    assert sides["a"].result is None


def test_short_fits_are_repeated_for_longer():
    seconds = in_turn({"nothing": Timed(lambda: None)}, 1)
    assert len(seconds["nothing"]) == measuring.MOST_TURNS


@pytest.mark.parametrize("module", [tables, drawing])
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert result.failed == 0


def test_text_is_aligned_left_and_numbers_right():
    rows = [{"name": "a", "k": "1"}, {"name": "long", "k": "100"}]
    head, rule, first, second = tables.aligned({"name": True, "k": False}, rows).splitlines()
    assert (head, rule) == ("name   k", "---- ---")
    assert (first, second) == ("a      1", "long 100")


@pytest.mark.parametrize("name", ["elkan", "minibatch", "mixtures", "regimes"])
@pytest.mark.parametrize(
    ("package", "option"), [("rich", "--no-progress"), ("matplotlib", "--no-figure")]
)
def test_a_missing_package_is_named_before_any_fit(capsys, monkeypatch, name, package, option):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(experiments, "measure", None)  # calling it would raise
    assert main(["compare", name]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"fastclust compare {name}: error: ")
    assert f'pip install "fastclust[cli]", or give {option}' in err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["elkan", "--profile", "vast"], "argument --profile: invalid choice: 'vast'"),
        (["elkan", "--repeats", "0"], "argument --repeats: must be a whole number of at least 1"),
        (["minibatch", "--clusters", "0"], "argument --clusters: must be a whole number of at l"),
        (["minibatch", "--data", "image-9"], "argument --data: no workload is named 'image-9'"),
        (["regimes", "--clusters", "1"], "argument --clusters: must be a whole number of at le"),
        (["regimes", "--separations", "0"], "argument --separations: must be a number greater"),
        (["regimes", "--separations", "far"], "must be a number greater than 0, not 'far'"),
        (["regimes", "--output", __file__], "argument --output: must be a directory"),
        (["minibatch", "--large", "--data", "letters-26"], "not allowed with argument --large"),
        (["elkans"], "unrecognized arguments: elkans"),
    ],
)
def test_bad_arguments_are_named(capsys, options, complaint):
    with pytest.raises(SystemExit) as exit_:
        main(["compare", *options])
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (["minibatch", "--clusters", "3", "2001"], "2001 are more than the 2000 rows"),
        (["regimes", "--samples", "50", "--clusters", "51"], "51 are more than the 50 rows"),
    ],
)
def test_more_clusters_than_rows(capsys, options, rows):
    assert main(["compare", *options]) == 2
    assert f"argument --clusters: {rows}" in capsys.readouterr().err


@pytest.mark.parametrize(("n_finished", "line"), [(0, "no results so far"), (1, "results so far")])
def test_an_interrupt_shows_what_is_there(command, capsys, monkeypatch, tmp_path, n_finished, line):
    whole = experiments.trials

    def interrupted(experiment, workloads, *args):
        yield from whole(experiment, workloads[:n_finished], *args)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "trials", interrupted)
    assert main(["compare", "elkan", "--repeats", "1", "--output", str(tmp_path)]) == 130
    out = capsys.readouterr().out
    assert out.startswith(f"interrupted: {line}\n")
    assert ("tiny" in out) == bool(n_finished)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["fastclust-elkan.json", "fastclust-elkan.png"][: 2 * n_finished]
    if n_finished:
        found = json.loads((tmp_path / written[0]).read_text(encoding="utf-8"))
        assert len(found["trials"]) == 1
        assert found["notes"][-1].startswith("interrupted: ")


# --- Elkan ---


def test_elkan(command, capsys, tmp_path):
    found = command("elkan", "--note", "a remark")
    check_document(found, "elkan")
    assert found["shared_start"] is True
    assert found["notes"][-1] == "a remark"
    assert [trial["name"] for trial in found["trials"]] == ["tiny", "other"]
    results = found["trials"][0]["runs"]
    assert [name for name in results if name.startswith("scikit")] == [
        "scikit-learn lloyd",
        "scikit-learn elkan",
    ]
    # The same start and the same way, so that speeds are what is compared.
    assert len({run["n_iter"] for run in results.values()}) == 1
    inertias = [run["inertia"] for run in results.values()]
    assert max(inertias) == pytest.approx(min(inertias), rel=1e-12)
    ours = {name: run for name, run in results.items() if name.startswith("fastclust")}
    assert len({run["inertia"] for run in ours.values()}) == 1
    everything = 300 * 4
    assert ours["fastclust lloyd"]["n_distances"] % everything == 0
    assert all(run["n_distances"] > 0 for run in ours.values())
    assert results["scikit-learn elkan"]["n_distances"] is None
    assert (tmp_path / "fastclust-elkan.png").read_bytes().startswith(PNG_SIGNATURE)
    printed = capsys.readouterr()
    assert "a remark" in printed.out
    assert "[2/2] other" in printed.err
    assert "not all runs ended in the same clusters" not in printed.out


def test_elkan_without_figure_or_progress(command, monkeypatch, tmp_path):
    for package in ("rich", "matplotlib"):
        monkeypatch.setitem(sys.modules, package, None)
    command("elkan", "--no-figure", "--no-progress")
    assert [path.name for path in tmp_path.iterdir()] == ["fastclust-elkan.json"]


def test_runs_that_end_elsewhere_are_named():
    two = runs(lloyd=1.0, elkan=2.0) | {"scikit-learn elkan": Run((4.0,), 3, 11.0, None)}
    lines = elkan.elkan_remarks([Trial(tiny(), two)])
    assert lines[-1] == "tiny: not all runs ended in the same clusters"


@pytest.mark.parametrize(
    ("elkan_seconds", "hamerly_seconds", "verdict"),
    [
        (0.5, 2.0, "bounds pay (elkan, 2.00× as fast as lloyd)"),
        (4.0, 0.8, "bounds pay (hamerly, 1.25× as fast as lloyd)"),
        (1.25, 2.0, "bounds do not pay (elkan, 0.80× as fast as lloyd)"),
    ],
)
def test_the_remarks_say_where_bounds_pay(elkan_seconds, hamerly_seconds, verdict):
    found = runs(lloyd=1.0, elkan=elkan_seconds, hamerly=hamerly_seconds, auto=0.1)
    assert f"tiny: {verdict}" in elkan.elkan_remarks([Trial(tiny(), found)])


def test_there_are_data_where_bounds_pay_and_where_they_cannot():
    """By the distances that they compute, which no clock decides about."""
    shares = {}
    for workload in elkan.elkan_workloads("quick"):
        X, k = workload.make()[:3000], min(workload.n_clusters, 60)
        start = fastclust.kmeans_plusplus(X, k, random_state=0)[0]
        counts = {
            name: fastclust.KMeans(k, init=start, n_init=1, algorithm=name).fit(X).n_distances_
            for name in ("lloyd", "hamerly")
        }
        shares[workload.name] = counts["hamerly"] / counts["lloyd"]
    assert shares["noise-64d-100"] > 0.8
    assert shares["blobs-16d-256"] < 0.5


def test_ratios_of_the_elkan_table():
    two = runs(lloyd=1.0, elkan=2.0) | {
        "scikit-learn lloyd": Run((3.0,), 3, 10.0, None),
        "scikit-learn elkan": Run((8.0,), 3, 10.0, None),
    }
    rows = elkan.elkan_rows(Trial(tiny(), two))
    assert [row["vs lloyd"] for row in rows] == ["1.00", "0.50", "1.00", "0.38"]
    assert [row["vs sk elkan"] for row in rows] == ["8.00", "4.00", "2.67", "1.00"]
    assert [row["workload"] for row in rows] == ["tiny", "", "", ""]


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_workloads_begin_with_the_chapters_and_have_names_of_their_own(profile):
    chosen = elkan.elkan_workloads(profile)
    assert chosen[0].name == "five-blobs"
    assert len({workload.name for workload in chosen}) == len(chosen)


# --- Mini-batches ---


def test_minibatch(command, capsys, tmp_path):
    found = command("minibatch", "--clusters", "5", "1", "5")
    check_document(found, "minibatch")
    assert found["shared_start"] is False
    assert [(trial["name"], trial["n_clusters"]) for trial in found["trials"]] == [
        ("five-blobs k=1", 1),
        ("five-blobs k=5", 5),
        ("large k=1", 1),
        ("large k=5", 5),
    ]
    results = found["trials"][1]["runs"]
    assert list(results) == [
        "fastclust batch",
        "fastclust mini-batch",
        "scikit-learn batch",
        "scikit-learn mini-batch",
    ]
    # The same draws: the same clusters.
    for variant in ("batch", "mini-batch"):
        pair = [
            results[f"{engine} {variant}"]["inertia"] for engine in ("fastclust", "scikit-learn")
        ]
        assert pair[0] == pytest.approx(pair[1], rel=1e-9)
    assert (tmp_path / "fastclust-minibatch.png").read_bytes().startswith(PNG_SIGNATURE)
    printed = capsys.readouterr().out
    assert "times batch" in printed
    assert "large: scikit-learn's mini-batches are faster " in printed


def test_a_million_rows_are_the_only_ones(monkeypatch):
    (side,) = minibatch.sides("quick", None, True)
    assert (side.base.n_samples, side.clusters) == (1_000_000, minibatch.LARGE)
    few, many = minibatch.sides("quick", None, False)
    assert (few.base.n_samples, many.base.n_samples) == (2000, 100_000)


@pytest.mark.parametrize(("name", "settings"), [("batch", (10, None)), ("mini-batch", (3, 100))])
@pytest.mark.parametrize("engine", ["fastclust", "scikit-learn"])
def test_the_chapters_rows_are_fitted_with_its_settings(engine, name, settings):
    side = minibatch.sides("quick", None, False)[0]
    (entrant,) = [each for each in side.entrants if each.name == f"{engine} {name}"]
    fitted = entrant.fit(side.base.make()[:300], 3, None)
    assert (fitted.n_init, getattr(fitted, "batch_size", None)) == settings


@pytest.mark.parametrize(
    ("seconds", "k"),
    [
        ([(1, 2), (3, 2), (9, 2)], 3),  # of batches and of mini-batches
        ([(3, 2), (1, 2), (9, 2)], 5),
        ([(3, 2), (3, 2), (3, 2)], 2),
        ([(9, 2), (9, 2), (1, 2)], None),
        ([(9, 2), (9, 2), (2, 2)], None),
    ],
)
def test_where_the_lines_cross(seconds, k):
    found = [
        Trial(tiny(f"a k={n}", n), runs(**{"batch": batch, "mini-batch": mini}))
        for n, (batch, mini) in zip((2, 3, 5), seconds, strict=True)
    ]
    assert minibatch.crossing(found, "fastclust") == k
    drawing = minibatch.minibatch_figure(found, {"a": "n_init=1"})
    drawn = [text.get_text() for text in drawing.get_axes()[1].texts]
    assert drawn == ([f" mini-batches pay from k={k}"] if k in (3, 5) else [])


def test_minibatch_data_are_made_once():
    made = []
    base = Workload("few", 9, 1, 1, "float64", "", lambda: made.append(1) or np.eye(9, 1))
    for workload in minibatch.minibatch_workloads(base, (2, 1)):
        workload.make()
    assert len(made) == 1


def test_all_numbers_of_clusters_of_the_chapter():
    assert tuple(range(1, 101)) == minibatch.FULL
    assert set(minibatch.QUICK) < set(minibatch.FULL)


# --- Mixtures ---


def test_mixtures(command, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(mixtures, "SHAPES", ((4000, 3, 4),))
    found = command("mixtures")
    check_document(found, "mixtures", "lower_bound")
    assert [trial["name"] for trial in found["trials"]] == [f"3d {kind}" for kind in mixtures.TYPES]
    for trial in found["trials"]:
        assert list(trial["runs"]) == [
            "fastclust 1", "fastclust 5", "scikit-learn 1", "scikit-learn 5",
        ]  # fmt: skip
        for n_steps in (1, 5):
            ours, theirs = (trial["runs"][f"{e} {n_steps}"] for e in ("fastclust", "scikit-learn"))
            assert (ours["n_iter"], theirs["n_iter"]) == (n_steps, n_steps)
            assert ours["lower_bound"] == pytest.approx(theirs["lower_bound"], rel=1e-9)
    assert (tmp_path / "fastclust-mixtures.png").read_bytes().startswith(PNG_SIGNATURE)
    printed = capsys.readouterr().out
    assert "(geometric mean of 4)" in printed
    assert "the likelihoods differ" not in printed


def steps(ours, theirs, bounds=(-5.0, -5.0)):
    pairs = {"fastclust": ours, "scikit-learn": theirs}
    return Trial(
        tiny("3d full"),
        {
            f"{engine} {n}": Run((seconds,), n, bound, None)
            for (engine, pair), bound in zip(pairs.items(), bounds, strict=True)
            for n, seconds in zip((1, 5), pair, strict=True)
        },
    )


def test_a_step_is_the_difference_of_two_fits():
    trial = steps((1.0, 3.0), (2.0, 22.0))
    assert mixtures.step_seconds(trial, "fastclust") == 0.5
    assert mixtures.step_ratio(trial) == 10.0
    assert mixtures.step_seconds(steps((1.0, 0.5), (1.0, 2.0)), "fastclust") == 0.1
    row = mixtures.mixture_rows(trial)[0]
    assert (row["times faster"], row["fastclust"]) == ("10.0", "500 ms")
    assert mixtures.mixture_figure([trial]).get_axes()[0].texts[0].get_text() == "10.0×"


def test_likelihoods_that_differ_are_named():
    lines = mixtures.mixture_remarks([steps((1.0, 3.0), (2.0, 22.0), (-5.0, -5.1))])
    assert lines[-1] == "3d full: the likelihoods differ: -5 and -5.1"


# --- Regimes ---


def test_regimes(command, capsys, tmp_path):
    grid = [
        "--samples",
        "200",
        "--features",
        "2",
        "5",
        "--clusters",
        "3",
        "--separations",
        "1",
        "4",
    ]
    found = command("regimes", *grid)
    check_document(found, "regimes")
    assert [trial["name"] for trial in found["trials"]] == [
        "d=2 k=3 s=1",
        "d=5 k=3 s=1",
        "d=2 k=3 s=4",
        "d=5 k=3 s=4",
    ]
    for trial in found["trials"]:
        assert len({run["inertia"] for run in trial["runs"].values()}) == 1
        assert set(trial["runs"]) == {f"fastclust {name}" for name in elkan.OURS}
    assert any(note.startswith("cells won: ") for note in found["notes"])
    assert (tmp_path / "fastclust-regimes.png").read_bytes().startswith(PNG_SIGNATURE)
    assert "winner" in capsys.readouterr().out


def regime(**medians):
    return Trial(tiny("d=3 k=4 s=2"), runs(**medians))


def test_the_winner_is_the_fastest_that_can_be_chosen():
    trial = regime(lloyd=6.0, elkan=2.0, hamerly=3.0, auto=1.0)
    assert regimes.winner(trial) == "elkan"
    assert regimes.lead(trial) == 3.0
    assert regimes.auto_excess(trial) == 0.5
    assert regimes.regimes_rows(trial)[0]["separation"] == "2"


def test_the_map_holds_every_cell():
    trial = regime(lloyd=6.0, elkan=2.0, hamerly=3.0, auto=1.0)
    drawing = regimes.regimes_figure([trial])
    panel = drawing.get_axes()[0]
    assert [text.get_text() for text in panel.texts] == ["elkan\n3.0×"]
    assert panel.get_title() == "separation 2"
