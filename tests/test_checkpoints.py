"""Checkpoints: of these rows and no others, whatever is in the file, wherever it is to be."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from fastclust import KMeans, MiniBatchKMeans, SampledKMeansPlusPlus
from fastclust.checkpoints import Checkpoint

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3000, 4))
WEIGHTS = RNG.integers(1, 4, len(X)).astype(float)
SPARSE = scipy.sparse.csr_array(
    np.where(RNG.random((3000, 12)) < 0.3, RNG.normal(size=(3000, 12)), 0)
)


class Killed(Exception):
    """Stands for anything that ends a fit."""


def kmeans(**parameters: Any) -> Any:
    return KMeans(**{"n_clusters": 6, "random_state": 0, "tol": 0, "max_iter": 25, **parameters})


def mini(**parameters: Any) -> Any:
    return MiniBatchKMeans(
        **{"n_clusters": 6, "random_state": 0, "batch_size": 100, "max_iter": 2, **parameters}
    )


def killed(model: Any, rows: Any, path: Path, weights: Any = None, **options: Any) -> bytes:
    """Begin a fit that ends in its seventh iteration; the checkpoint that it leaves."""
    calls: list[Any] = []

    def kill(progress: Any) -> None:
        calls.append(progress)
        if len(calls) == 7:
            raise Killed

    with pytest.raises(Killed):
        model.fit(
            rows, sample_weight=weights, callbacks=[kill], checkpoint=path, checkpoint_every=2,
            **options,
        )  # fmt: skip
    return path.read_bytes()


def assert_same(ours: Any, theirs: Any) -> None:
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    assert (ours.inertia_, ours.n_iter_) == (theirs.inertia_, theirs.n_iter_)


# --- Of these rows and no others ---


def swapped(rows: Array, i: int, j: int) -> Array:
    other = rows.copy()
    other[[i, j]] = rows[[j, i]]
    return other


def one_bit_flipped(rows: Array, place: int) -> Array:
    other = rows.copy()
    other.reshape(-1).view(np.uint8)[place] ^= 1
    return other


@pytest.mark.parametrize("make", [kmeans, mini])
def test_other_rows_are_refused(make: Any, dtype: Any, tmp_path: Path) -> None:
    """Whatever is left as it is: the means and variances, or a thousand rows of three."""
    path = tmp_path / "c"
    rows = np.round(X * 3).astype(dtype)  # sums of small integers are exact in any order
    content = killed(make(), rows, path, WEIGHTS)
    n_bytes = rows.nbytes
    others = [
        swapped(rows, 0, 1),
        swapped(rows, 11, 2998),
        rows[::-1].copy(),
        rows[:, ::-1].copy(),
        *(one_bit_flipped(rows, place) for place in (0, 8 * 5, n_bytes // 2 + 1, n_bytes - 8)),
    ]
    for other in others:
        assert (other != rows).any()
        with pytest.raises(ValueError, match=r"a different fit \(different: data\)"):
            make().fit(other, sample_weight=WEIGHTS, checkpoint=path, resume=True)
    for weights in (swapped(WEIGHTS, 0, int(np.argmax(WEIGHTS[0] != WEIGHTS))), WEIGHTS[::-1]):
        with pytest.raises(ValueError, match=r"a different fit \(different: weights\)"):
            make().fit(rows, sample_weight=weights, checkpoint=path, resume=True)
    assert path.read_bytes() == content
    resumed = make().fit(rows, sample_weight=WEIGHTS, checkpoint=path, resume=True)
    assert_same(resumed, make().fit(rows, sample_weight=WEIGHTS))


@pytest.mark.parametrize("make", [kmeans, mini])
def test_other_sparse_rows_are_refused(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "c"
    rows = SPARSE.copy()
    rows.data = np.round(rows.data * 3) + 0.5
    killed(make(), rows, path)
    moved = rows.copy()  # an entry in another column
    row = int(np.argmax(np.diff(rows.indptr) == 1))
    moved.indices[rows.indptr[row]] = (rows.indices[rows.indptr[row]] + 1) % rows.shape[1]
    longer = rows.copy()  # an entry in another row
    row = int(np.argmax((np.diff(rows.indptr)[:-1] > 0) & (np.diff(rows.indptr)[1:] == 0)))
    longer.indptr[row + 1] -= 1
    for other in (rows[::-1], rows[:, ::-1], moved, longer):
        assert (other != rows).nnz > 0
        with pytest.raises(ValueError, match=r"a different fit \(different: data\)"):
            make().fit(other, checkpoint=path, resume=True)
    wide = rows.copy()  # the same rows, with indices of another type
    wide.indices, wide.indptr = rows.indices.astype(np.int64), rows.indptr.astype(np.int64)
    assert_same(make().fit(wide, checkpoint=path, resume=True), make().fit(rows))


def test_other_starts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    inits: list[Any] = [
        X[:6],
        X[[1, 0, 2, 3, 4, 5]],
        SampledKMeansPlusPlus(500),
        SampledKMeansPlusPlus(600),
        first_rows,
        last_rows,
    ]
    for number, init in enumerate(inits):
        killed(kmeans(init=init, n_init=1), X, path)
        for other in inits[:number] + inits[number + 1 :]:
            with pytest.raises(ValueError, match=r"a different fit \(different: init\)"):
                kmeans(init=other, n_init=1).fit(X, checkpoint=path, resume=True)
        path.unlink()


def first_rows(rows: Array, n_clusters: int, random_state: Any) -> Array:
    return rows[:n_clusters]


def last_rows(rows: Array, n_clusters: int, random_state: Any) -> Array:
    return rows[-n_clusters:]


def test_a_fit_may_go_on_from_rows_elsewhere(dtype: Any, tmp_path: Path) -> None:
    """The fingerprint is that of the rows, wherever they are and however they are cut."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = X.astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    table = pyarrow.table({f"x{j}": rows[:, j] for j in range(rows.shape[1])})
    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=701)

    def blocks() -> Any:
        return (rows[start : start + 377] for start in range(0, len(rows), 377))

    places: dict[str, Any] = {
        "array": rows,
        "strided": np.asfortranarray(rows),
        "path": tmp_path / "rows.npy",
        "map": np.load(tmp_path / "rows.npy", mmap_mode="r"),
        "parquet": tmp_path / "rows.parquet",
        "blocks": blocks,
    }
    whole = kmeans(init=rows[:6]).fit(rows, sample_weight=WEIGHTS)
    names = list(places)
    for began, ended in zip(names, names[1:] + names[:1], strict=True):
        path = tmp_path / "c"
        killed(kmeans(init=rows[:6]), places[began], path, WEIGHTS)
        resumed = kmeans(init=rows[:6])
        resumed.fit(places[ended], sample_weight=WEIGHTS, checkpoint=path, resume=True)
        assert_same(resumed, whole)


def test_parameters_of_numpys_types(tmp_path: Path) -> None:
    path = tmp_path / "c"
    killed(mini(n_clusters=np.int64(6), reassignment_ratio=np.float32(0.5)), X, path)
    resumed = mini(n_clusters=6, reassignment_ratio=0.5).fit(X, checkpoint=path, resume=True)
    assert_same(resumed, mini(reassignment_ratio=0.5).fit(X))


def test_generators_of_another_kind_are_refused(tmp_path: Path) -> None:
    generator = np.random.RandomState(np.random.PCG64(0))
    for make in (kmeans, mini):
        with pytest.raises(ValueError, match=r"random_state must be .* a RandomState of MT19937"):
            make(random_state=generator).fit(X, checkpoint=tmp_path / "c")


# --- Whatever is in the file ---

MUTATIONS = """
import hashlib, io, json, sys, warnings
from pathlib import Path
import numpy as np
import scipy.sparse
from fastclust import (
    BayesianGaussianMixture, BisectingKMeans, GaussianMixture, KMeans, MiniBatchKMeans,
)
from fastclust.checkpoints import MAGIC

warnings.simplefilter("ignore")
path = sys.argv[1]
rng = np.random.default_rng(0)
dense = rng.normal(size=(200, 3))
sparse = scipy.sparse.csr_array(np.where(rng.random((200, 9)) < 0.3, rng.normal(size=(200, 9)), 0))

def kmeans():
    return KMeans(4, init="random", n_init=3, random_state=0, tol=0, max_iter=40)

def mini():
    return MiniBatchKMeans(4, random_state=0, batch_size=30, max_iter=3, tol=1e-9)

def mixture():
    return GaussianMixture(
        4, n_init=3, random_state=0, tol=0, max_iter=9, init_params="random_from_data"
    )

def bayesian():
    return BayesianGaussianMixture(
        n_components=4, n_init=3, random_state=0, tol=0, max_iter=9,
        init_params="random_from_data",
    )

def cuts():
    return BisectingKMeans(4, n_init=3, random_state=0, tol=0)

class Killed(Exception):
    pass

def kill(told):
    if told.n_cuts and told.cut < 3:
        return
    if told.start == min(2, told.n_starts) and told.iteration == 4:
        raise Killed

def checkpoint(make, X):
    Path(path).unlink(missing_ok=True)
    try:
        make().fit(X, callbacks=[kill], checkpoint=path, checkpoint_every=1)
    except Killed:
        pass
    with open(path, "rb") as file:
        content = file.read()
    with np.load(io.BytesIO(content[len(MAGIC) + 65 :])) as archive:
        arrays = dict(archive)
    return json.loads(arrays.pop("header").tobytes()), arrays

def resumed(make, X, header, arrays):
    buffer = io.BytesIO()
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    np.savez(buffer, header=np.frombuffer(raw, np.uint8), **arrays)
    payload = buffer.getvalue()
    with open(path, "wb") as file:
        file.write(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\\n" + payload)
    model = make()
    try:
        model.fit(X, checkpoint=path, resume=True)
    except ValueError as error:
        assert str(error).startswith(f"checkpoint={path!r} "), error
        assert not hasattr(model, "labels_") and not hasattr(model, "means_")
        return "refused"
    labels = model.labels_ if hasattr(model, "labels_") else model.predict(X)
    assert set(labels.tolist()) <= set(range(4))
    return "fitted"

def other_arrays(array):
    yield array[:-1]
    yield np.concatenate([array, array])
    yield array[None]
    yield array.reshape(-1)[0]
    yield array[:0]
    yield np.array(["a"] * 3)
    for kind in ("i1", "u4", "i4", "i8", "f4", "f8", "c16", ">i4", ">f8"):
        if array.dtype != kind:
            yield array.astype(kind)
    whole = array.dtype.kind in "iu"
    for value in [-1, -2, 4, 624, 2**30, -(2**31)] if whole else [np.nan, np.inf, 1e308, -1.0, 0.5]:
        for place in [0, -1, array.size // 2]:
            other = array.copy()
            if array.dtype.kind != "u" or value >= 0:
                other.reshape(-1)[place] = value
                yield other

JUNK = [-1, 10**6, 10**30, 2**63, 0.5, "x", None, [], {}, True, float("nan"), float("inf")]
HEADERS = [
    b"", b"{", b"[]", b"3", b'{"values": 3}', b'{"problem": 3, "values": {}}',
    b'{"problem": {}, "values": {}}', b"\\xff", b"[" * 100000,
]

def outcomes(make, X):
    header, arrays = checkpoint(make, X)
    values = header["values"]
    assert resumed(make, X, header, arrays) == "fitted"
    results = {"header": [resumed(make, X, other, arrays) for other in HEADERS]}
    for name, array in arrays.items():
        changed = [{key: value for key, value in arrays.items() if key != name}]
        changed += [arrays | {name: other} for other in other_arrays(array)]
        results[name] = [resumed(make, X, header, other) for other in changed]
    for name in values:
        changed = [{key: value for key, value in values.items() if key != name}]
        changed += [values | {name: value} for value in JUNK]
        results[name] = [resumed(make, X, header | {"values": v}, arrays) for v in changed]
    return results

problems = {
    "kmeans dense": (kmeans, dense), "kmeans sparse": (kmeans, sparse),
    "mini dense": (mini, dense), "mini sparse": (mini, sparse),
    "cuts": (cuts, dense), "mixture": (mixture, dense), "bayesian": (bayesian, dense),
}
print(json.dumps({name: outcomes(*problem) for name, problem in problems.items()}))
"""


def test_a_crafted_checkpoint_never_ends_the_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MUTATIONS, str(tmp_path / "c")]
    child = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr[-3000:]
    results: dict[str, dict[str, list[str]]] = json.loads(child.stdout)
    assert len(results) == 7
    lloyd = {"labels", "best_labels", "best_centers", "centers", "sums", "counts", "n_iter"}
    ascent = {
        f"{prefix}{name}"
        for prefix in ("", "best_")
        for name in ("n_iter", "n_bounds", "bounds", "means", "covariances")
    } | {"number", "lower_bound", "longest", "best_converged"}
    posterior = {"weight_concentration", "mean_precision", "degrees_of_freedom"}
    own = {
        "kmeans": {"weights", *lloyd},
        "mini": {"weights", "start", "monitor"},
        "cuts": {*lloyd, "tree_places", "tree_centers", "tree_scores", "tree_labels", "n_cuts"},
        "mixture": {"weights", "best_weights", *ascent},
        "bayesian": ascent | posterior | {f"best_{name}" for name in posterior},
    }
    common = {"generator", "place", "has_gauss", "gauss", "header"}
    for problem, found in results.items():
        assert common | own[problem.split()[0]] <= found.keys()
        for name, outcomes in found.items():
            assert outcomes.count("refused") >= 7, (problem, name)
        assert set(found["header"]) == {"refused"}
        for name in (
            "labels",
            "best_labels",
            "counts",
            "tree_labels",
        ):  # no number of these is one that could be
            indices = found.get(name, [])
            assert indices.count("fitted") <= (6 if name == "counts" else 0)
        for name in found.keys() & {"means", "degrees_of_freedom", "weights", "mean_precision"}:
            # Other numbers than these could be: some from 0 to 1, and for means -1.
            if problem in ("mixture", "bayesian"):
                assert found[name].count("fitted") <= 6, (problem, name)


# --- Wherever it is to be ---


def test_many_writers_of_one_path(tmp_path: Path) -> None:
    """Each comes to its end, and what any of them leaves is whole."""
    path, errors = tmp_path / "c", []

    def write(number: int) -> None:
        try:
            own = Checkpoint(path, 1, True)
            own.describe(problem=0)
            for turn in range(25):
                own.write({"turn": turn}, {"numbers": np.full(3000, number)})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = Checkpoint(path, 1, True).found
    assert found is not None
    assert len(set(found["numbers"].tolist())) == 1
    assert os.listdir(tmp_path) == ["c"]


def test_three_fits_with_one_path(tmp_path: Path) -> None:
    models = [kmeans(n_init=4) for _ in range(3)]
    errors = []

    def fit(model: Any) -> None:
        try:
            model.fit(X, checkpoint=tmp_path / "c", checkpoint_every=1, resume=True)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fit, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    whole = kmeans(n_init=4).fit(X)
    for model in models:
        assert_same(model, whole)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("function", ["fsync", "replace", "open", "fdopen"])
@pytest.mark.parametrize("make", [kmeans, mini])
def test_a_full_disk(
    make: Any, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c"
    content = killed(make(), X, path)

    def fail(name: Any, *arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    model = make()
    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(OSError, match=r"could not be written.*: No space left on") as caught:
            model.fit(X, checkpoint=path, checkpoint_every=2, resume=True)
    assert caught.value.errno == errno.ENOSPC
    assert f"checkpoint={str(path)!r}" in str(caught.value)
    assert not hasattr(model, "labels_")
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["c"]
    assert_same(model.fit(X, checkpoint=path, resume=True), make().fit(X))


def test_paths_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = kmeans()
    cases: list[tuple[Any, Any, str]] = [
        (tmp_path, ValueError, "must be the path of a file, but it is a directory"),
        ("", ValueError, "checkpoint='' must be the path of a file, but it is a directory"),
        (tmp_path / "a\0b", ValueError, "must be the path of a file, but has a null character"),
        (os.fsencode(tmp_path / "c"), TypeError, "checkpoint must be the path of a file or None"),
        (tmp_path / ("n" * 300), OSError, "checkpoint='.*' could not be read: File name too long"),
    ]
    (tmp_path / "file").touch()
    cases.append((tmp_path / "file" / "c", ValueError, "checkpoint must be in a folder that ex"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        cases.append(
            (
                tmp_path / "pipe",
                ValueError,
                "checkpoint='.*pipe' must be the path of a file, but it is no reg",
            )
        )
    for path, kind, message in cases:
        with pytest.raises(kind, match=message):
            model.fit(X, checkpoint=path, resume=True)
    monkeypatch.setattr(os, "access", lambda *_: False)  # as it is for anybody but root
    with pytest.raises(ValueError, match="must be in a folder that can be written to"):
        model.fit(X, checkpoint=tmp_path / "c")
    assert not hasattr(model, "labels_")


def test_names_as_long_as_they_can_be(tmp_path: Path) -> None:
    for name in ("n" * 255, "ü" * 127):
        path = tmp_path / name
        killed(kmeans(), X, path)
        assert_same(kmeans().fit(X, checkpoint=path, resume=True), kmeans().fit(X))


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    content = killed(kmeans(), X, path)

    def refuse(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(PermissionError, match=r"checkpoint='.*' could not be read: Perm"):
            kmeans().fit(X, checkpoint=path, resume=True)
    assert path.read_bytes() == content

    def removed_meanwhile(file: Path) -> bytes:
        file.unlink()
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", removed_meanwhile)
        assert_same(kmeans().fit(X, checkpoint=path, resume=True), kmeans().fit(X))


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links")
def test_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link, target = tmp_path / "link", tmp_path / "disk" / "c"
    link.symlink_to(target)
    killed(kmeans(), X, link)
    assert link.is_symlink()
    assert target.is_file()
    assert_same(kmeans().fit(X, checkpoint=link, resume=True), kmeans().fit(X))
    assert link.is_symlink()
    assert not target.exists()


def test_another_folder_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is that of the beginning of the fit."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    model = kmeans()
    model.fit(X, callbacks=[lambda _: os.chdir(tmp_path / "b")], checkpoint="c", checkpoint_every=1)
    assert_same(model, kmeans().fit(X))
    assert os.listdir(tmp_path / "a") == os.listdir(tmp_path / "b") == []


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"checkpoint='.*' could not be written"):
        kmeans().fit(
            X, callbacks=[lambda told: folder.rmdir() if told.iteration == 1 else None],
            checkpoint=folder / "c", checkpoint_every=2,
        )  # fmt: skip


def test_a_checkpoint_that_stays_is_no_reason_to_lose_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    model = kmeans()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail)
        with pytest.warns(RuntimeWarning, match=r"checkpoint='.*' could not be removed: Permis"):
            model.fit(X, checkpoint=tmp_path / "c", checkpoint_every=2)
    assert_same(model, kmeans().fit(X))


def test_what_a_killed_fit_was_writing_is_removed_later(tmp_path: Path) -> None:
    long_ago, just_now = tmp_path / "c.0123.partial", tmp_path / "c.4567.partial"
    other = tmp_path / "d.0123.partial"
    for file in (long_ago, just_now, other):
        file.touch()
    for file in (long_ago, other):
        os.utime(file, (0, time.time() - 4000))
    kmeans().fit(X, checkpoint=tmp_path / "c")
    assert sorted(os.listdir(tmp_path)) == [just_now.name, other.name]


def test_permissions_are_those_of_any_file(tmp_path: Path) -> None:
    killed(kmeans(), X, tmp_path / "c")
    (tmp_path / "any").touch()
    modes = {(tmp_path / name).stat().st_mode for name in ("c", "any")}
    assert len(modes) == 1
