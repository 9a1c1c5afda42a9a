"""The cache of compiled kernels: never stale, never in the way, safe to fill from anywhere.

Most tests compile a kernel of one line from a module of their own; its cache works like any other.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import importlib.util
import itertools
import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numba import config

import fastclust
from fastclust import KMeans
from fastclust.kernels.machine import compiling, files, stamps

pytestmark = pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")

KERNELS = Path(compiling.__file__).parents[1]
PACKAGE = Path(fastclust.__file__).parent

TINY = '''
"""A kernel that compiles in no time."""
from fastclust.kernels.machine.compiling import kernel

@kernel
def doubled(values):
    total = 0.0
    for value in values:
        total += 2 * value
    return total
'''


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache directory of this test, empty; warnings about it have not been given yet."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(config, "CACHE_DIR", str(folder))
    compiling._warn_once.cache_clear()
    return folder


@pytest.fixture
def load(tmp_path: Path) -> Callable[[], ModuleType]:
    """Import the tiny module afresh, as a new process would: with nothing compiled."""
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    names = (f"tiny{number}" for number in itertools.count())

    def import_it() -> ModuleType:
        spec = importlib.util.spec_from_file_location(next(names), path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return import_it


def use(module: ModuleType) -> tuple[float, list[str]]:
    """Call the kernel once: what it returns, and the warnings that it gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = module.doubled(np.arange(4.0))
    assert all(warning.category is RuntimeWarning for warning in caught)
    return result, [str(warning.message) for warning in caught]


def was_cached(module: ModuleType) -> bool:
    """Whether the one call of :func:`use` found its machine code in the cache."""
    stats = module.doubled.stats
    hits, misses = sum(stats.cache_hits.values()), sum(stats.cache_misses.values())
    assert hits + misses <= 1
    return bool(hits)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.nbc"))


# --- A cache that works ---


def test_second_process_does_not_compile(cache: Path, load: Callable[[], ModuleType]) -> None:
    first, second = load(), load()
    assert use(first) == (12.0, [])
    assert not was_cached(first)
    assert len(entries(cache)) == 1
    assert use(second) == (12.0, [])
    assert was_cached(second)


def test_a_compilation_is_told_of_once(
    cache: Path, load: Callable[[], ModuleType], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="fastclust")
    compiling._tell_of_compilation.cache_clear()
    module = load()
    assert module.doubled(np.ones(3)) == 6
    assert module.doubled(np.ones(3, np.float32)) == 6
    (record,) = caplog.records
    assert record.name == "fastclust"
    assert record.message.startswith("compiling kernels")
    compiling._tell_of_compilation.cache_clear()
    assert load().doubled(np.ones(3)) == 6  # from the cache
    assert len(caplog.records) == 1


def test_no_other_files_are_left(cache: Path, load: Callable[[], ModuleType]) -> None:
    use(load())
    assert [path for path in cache.rglob("*") if path.is_file()] == entries(cache)


def test_cached_kernel_is_compiled_into_a_caller(
    cache: Path, load: Callable[[], ModuleType]
) -> None:
    use(load())
    module = load()

    @compiling.kernel
    def quadrupled(values: Any) -> float:
        return 2 * doubled(values)

    doubled = module.doubled
    assert quadrupled(np.arange(4.0)) == 24.0
    assert was_cached(module)


@pytest.mark.parametrize("on", [False, True])
def test_collector_is_left_as_it_was(on: bool, cache: Path, load: Callable[[], ModuleType]) -> None:
    use(load())
    module = load()
    try:
        if not on:
            gc.disable()
        use(module)
        assert gc.isenabled() is on
    finally:
        gc.enable()
    assert was_cached(module)


# Both functions have an environment of their own; that of NumPy's zeros is a third.
SCRATCH = """
import numpy as np
from fastclust.kernels.machine.compiling import helper, kernel

@helper
def told(number):
    print("told", number)
    return number

@kernel
def counted(values):
    scratch = np.zeros(len(values))
    for number in range(len(values)):
        scratch[number] = number
    if len(values) > 4:
        raise ValueError("at most four")
    return told(scratch.sum())
"""

USE_SCRATCH = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import scratch
print(scratch.counted(np.zeros(4)), sum(scratch.counted.stats.cache_hits.values()))
print("numba.np.arrayobj" in sys.modules)
try:
    scratch.counted(np.zeros(5))
except ValueError as error:
    print(error)
"""


def test_cached_kernel_needs_no_modules_of_what_it_is_made_of(tmp_path: Path) -> None:
    (tmp_path / "scratch.py").write_text(SCRATCH)
    cache = str(tmp_path / "cache")
    outputs = [
        run_script(USE_SCRATCH, str(tmp_path), NUMBA_CACHE_DIR=cache).splitlines() for _ in range(2)
    ]
    assert outputs[0] == ["told 6.0", "6.0 0", "True", "at most four"]
    assert outputs[1] == ["told 6.0", "6.0 1", "False", "at most four"]


# --- A cache that is damaged ---


def signed(*parts: Any) -> bytes:
    """An entry of these parts, with the digest that it must have."""
    rest = pickle.dumps(parts)
    return hashlib.sha256(rest).digest() + rest


def parts_of(content: bytes) -> Any:
    return pickle.loads(content[compiling.DIGEST_SIZE :])


def payload_replaced(content: bytes) -> bytes:
    stamp, key, _ = parts_of(content)
    return signed(stamp, key, ("not", "machine code"))


def stamp_replaced(content: bytes) -> bytes:
    stamp, key, data = parts_of(content)
    return signed(stamp[::-1], key, data)


def key_replaced(content: bytes) -> bytes:
    stamp, key, data = parts_of(content)
    return signed(stamp, key[::-1], data)


UNREADABLE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut short": lambda content: content[: len(content) // 2],
    "last byte missing": lambda content: content[:-1],
    "garbage": lambda content: b"\xff\x00garbage" * 100,
    "no digest": lambda content: content[compiling.DIGEST_SIZE :],
    "another pickle": lambda content: signed(42),
    "another payload": payload_replaced,
}
FOREIGN: dict[str, Callable[[bytes], bytes]] = {
    "another stamp": stamp_replaced,
    "another key": key_replaced,
}


@pytest.mark.parametrize("damage", UNREADABLE | FOREIGN)
def test_damaged_entry_is_compiled_again_and_replaced(
    damage: str, cache: Path, load: Callable[[], ModuleType]
) -> None:
    use(load())
    (entry,) = entries(cache)
    entry.write_bytes((UNREADABLE | FOREIGN)[damage](entry.read_bytes()))

    meets_damage = load()
    result, messages = use(meets_damage)
    assert result == 12.0
    assert not was_cached(meets_damage)
    # Entries that are whole but of something else are not an error.
    assert len(messages) == (damage in UNREADABLE)
    assert all("could not read its cache" in message for message in messages)

    afterwards = load()
    assert use(afterwards) == (12.0, [])
    assert was_cached(afterwards)


FLIP_BITS = """
import sys, warnings
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import numpy as np
from fastclust.kernels.machine import compiling
import tiny
compiling._warn_once = warnings.warn
(entry,) = Path(sys.argv[2]).rglob("*.nbc")
content = entry.read_bytes()
places = np.random.default_rng(0).integers(0, 8 * len(content), 6)
for place in [0, 240, *places.tolist(), 8 * len(content) - 1]:
    damaged = bytearray(content)
    damaged[place // 8] ^= 1 << place % 8
    entry.write_bytes(damaged)
    fresh = compiling.kernel(tiny.doubled.py_func)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert fresh(np.arange(4.0)) == 12.0
    assert not fresh.stats.cache_hits, place
    assert ["could not read its cache" in str(warning.message) for warning in caught] == [True]
    again = compiling.kernel(tiny.doubled.py_func)
    assert again(np.arange(4.0)) == 12.0
    assert again.stats.cache_hits  # it has been replaced
print("survived")
"""


def test_one_bit_that_flips_means_a_compilation(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(TINY)
    use_it = "import sys; sys.path.insert(0, sys.argv[1]); import tiny, numpy\n"
    cache = str(tmp_path / "cache")
    run_script(use_it + "tiny.doubled(numpy.arange(4.0))", str(tmp_path), NUMBA_CACHE_DIR=cache)
    assert run_script(FLIP_BITS, str(tmp_path), cache, NUMBA_CACHE_DIR=cache) == "survived\n"


def test_nothing_is_unpickled_before_it_has_been_checked(
    cache: Path, load: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All flips of a bit in a byte here and there: seen without a look at what is in the pickle."""
    module = load()
    use(module)
    (entry,) = entries(cache)
    content = entry.read_bytes()
    cached = module.doubled._cache._cache_file
    monkeypatch.setattr(cached, "_path", lambda _: entry)
    monkeypatch.setattr(pickle, "loads", lambda _: pytest.fail("unpickled"))
    for place in range(0, len(content), 97):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            entry.write_bytes(damaged)
            with pytest.raises(ValueError, match="an entry is damaged"):
                cached.load(None)


# --- A cache that others can write, or share ---

posix_only = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX")


@posix_only
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o000, 0o077])
def test_entries_can_be_read_by_others_and_written_by_none(
    mask: int, cache: Path, load: Callable[[], ModuleType]
) -> None:
    before = os.umask(0o022)
    try:
        module = load()  # makes the folder
        os.umask(mask)
        use(module)
    finally:
        os.umask(before)
    (entry,) = entries(cache)
    assert stat.S_IMODE(entry.stat().st_mode) == 0o644 & ~mask
    after = load()
    assert use(after) == (12.0, [])
    assert was_cached(after)


def assert_refused(load: Callable[[], ModuleType], reason: str, *, cached_after: bool) -> None:
    """A kernel is compiled, with one warning; also if it is asked for a second time."""
    compiling._warn_once.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = load()
        assert module.doubled(np.arange(4.0)) == 12.0
        assert not module.doubled.stats.cache_hits
        again = load()
        assert again.doubled(np.arange(4.0)) == 12.0
        assert bool(again.doubled.stats.cache_hits) is cached_after
    assert [warning.category for warning in caught] == [RuntimeWarning]
    message = str(caught[0].message)
    assert reason in message
    assert "Set NUMBA_CACHE_DIR to a directory that is yours alone" in message


@posix_only
@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_an_entry_that_others_may_write_is_replaced(
    mode: int, cache: Path, load: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_is_own_group", lambda _: False)
    use(load())
    (entry,) = entries(cache)
    entry.write_bytes(b"whatever")  # is not even looked at
    entry.chmod(mode)
    assert_refused(load, "may be written to by other users", cached_after=True)
    assert stat.S_IMODE(entry.stat().st_mode) == 0o644


@posix_only
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_folder_that_others_may_write_is_not_used(
    mode: int, cache: Path, load: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one is, here that beside the module; and nothing is, if there is no other."""
    monkeypatch.setattr(files, "_is_own_group", lambda _: False)
    use(load())
    (entry,) = entries(cache)
    content = entry.read_bytes()
    entry.parent.chmod(mode)
    assert_refused(load, "may be written to by other users", cached_after=True)
    assert entry.read_bytes() == content
    assert entries(cache) == [entry]
    # It becomes so between the import and the first call.
    entry.parent.chmod(0o755)
    modules = [load(), load()]
    entry.parent.chmod(mode)
    compiling._warn_once.cache_clear()
    assert len(use(modules[0])[1]) == 1
    assert use(modules[1]) == (12.0, [])
    assert not was_cached(modules[1])


@posix_only
def test_a_group_of_ones_own_and_a_folder_like_tmp_are_trusted(
    cache: Path, load: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_is_own_group", lambda _: True)
    use(load())
    (entry,) = entries(cache)
    for mode in (0o775, 0o1777):
        entry.parent.chmod(mode)
        entry.chmod(0o664)
        module = load()
        assert use(module) == (12.0, [])
        assert was_cached(module)


@posix_only
def test_what_belongs_to_others_is_not_used(
    cache: Path, load: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(load())
    (entry,) = entries(cache)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    if mine == 0:  # root's entries are everybody's
        module = load()
        assert use(module) == (12.0, [])
        assert was_cached(module)
        os.chown(entry, 12345, -1)
        assert_refused(load, "belongs to another user", cached_after=True)
        os.chown(entry.parent, 12345, -1)
    assert_refused(load, "belongs to another user", cached_after=True)


@posix_only
def test_own_groups_are_those_of_one_member(monkeypatch: pytest.MonkeyPatch) -> None:
    import grp
    import pwd

    user = SimpleNamespace(pw_name="ada", pw_gid=1001)
    monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
    cases = [
        (1001, "ada", [], True),
        (1001, "ada", ["ada"], True),
        (1001, "ada", ["ada", "bob"], False),
        (1001, "lab", [], False),
        (1002, "ada", [], False),
    ]
    for number, name, members, own in cases:
        group = SimpleNamespace(gr_name=name, gr_mem=members)
        monkeypatch.setattr(grp, "getgrgid", lambda _, group=group: group)
        assert files._is_own_group.__wrapped__(number) is own

    def unknown(_: int) -> Any:
        raise KeyError("no such user")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert not files._is_own_group.__wrapped__(1001)


@posix_only
def test_links_and_pipes(cache: Path, load: Callable[[], ModuleType], tmp_path: Path) -> None:
    use(load())
    (entry,) = entries(cache)
    folder = entry.parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    module = load()
    assert use(module) == (12.0, [])
    assert was_cached(module)
    entry.unlink()
    os.mkfifo(entry)  # nobody will ever write to it
    assert_refused(load, "is no regular file", cached_after=True)


def test_without_permissions_all_is_trusted(
    cache: Path, load: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    monkeypatch.delattr(os, "geteuid", raising=False)
    use(load())
    (entry,) = entries(cache)
    entry.chmod(0o666)
    module = load()
    assert use(module) == (12.0, [])
    assert was_cached(module)


def test_stale_entries_of_others_stay(
    cache: Path, load: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load()
    use(module)
    (entry,) = entries(cache)
    base = module.doubled._cache._cache_file._base
    stale = entry.with_name(f"{base}.0123456789ab.nbc")
    entry.unlink()
    stale.touch()

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert use(load()) == (12.0, [])
    assert entries(cache) == sorted([entry, stale])


# --- A cache that cannot be written ---


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No place for a cache, not even for root: files stand where directories would have to."""
    obstacle = tmp_path / "file"
    obstacle.touch()
    (tmp_path / "__pycache__").touch()
    monkeypatch.setattr(config, "CACHE_DIR", str(obstacle / "cache"))
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(obstacle / "home"))
    compiling._warn_once.cache_clear()


@pytest.mark.usefixtures("no_cache")
def test_kernel_without_any_cache(load: Callable[[], ModuleType]) -> None:
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR") as caught:
        module = load()
    assert len(caught) == 1
    assert use(module) == (12.0, [])
    assert use(load()) == (12.0, [])  # and no second warning for the next kernel


def test_cache_that_vanishes_is_made_again(cache: Path, load: Callable[[], ModuleType]) -> None:
    module, after_it = load(), load()
    shutil.rmtree(cache)
    assert use(module) == (12.0, [])
    assert use(after_it) == (12.0, [])
    assert was_cached(after_it)


def test_cache_that_becomes_unusable(cache: Path, load: Callable[[], ModuleType]) -> None:
    module, another = load(), load()
    shutil.rmtree(cache)
    cache.touch()
    result, messages = use(module)
    assert result == 12.0
    # Neither reading nor writing is possible; each is said once and not again.
    assert len(messages) == 2
    assert "could not read its cache" in messages[0]
    assert "could not write its cache" in messages[1]
    assert use(another) == (12.0, [])


def test_full_disk(
    cache: Path, load: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    module = load()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        result, messages = use(module)
    assert result == 12.0
    assert len(messages) == 1
    assert [path for path in cache.rglob("*") if path.is_file()] == []  # no litter
    again = load()
    assert use(again) == (12.0, [])
    assert not was_cached(again)


def run_script(script: str, *arguments: str, **environment: str) -> str:
    """Run `script` in a new process and return what it prints; its errors are shown."""
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        # Without the current folder on the path: a checkout there would come before a copy.
        env={**os.environ, "PYTHONSAFEPATH": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def copy_package(folder: Path) -> Path:
    """Copy the package without its caches; the folder of its kernels."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "fastclust", ignore=ignore)
    kernels = folder / "fastclust" / "kernels"
    # In a source checkout the kernels lie beside the package.
    shutil.copytree(KERNELS, kernels, ignore=ignore, dirs_exist_ok=True)
    return kernels


# Sparse rows take the kernels that are compiled soonest.
FIT_WITHOUT_CACHE = """
import json, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy as np
    import scipy.sparse
    import fastclust
    X = np.random.RandomState(0).standard_normal((500, 5))
    model = fastclust.KMeans(4, init=X[:4]).fit(scipy.sparse.csr_array(X))
print(json.dumps({
    "file": fastclust.__file__,
    "warnings": [[w.category.__name__, str(w.message)] for w in caught],
    "labels": model.labels_.tolist(),
    "centers": model.cluster_centers_.tobytes().hex(),
}))
"""


@pytest.mark.usefixtures("no_cache")
def test_fit_without_any_cache_gives_one_warning(tmp_path: Path) -> None:
    kernels = copy_package(tmp_path)
    (kernels / "__pycache__").touch()
    output = run_script(
        FIT_WITHOUT_CACHE, PYTHONPATH=str(tmp_path), NUMBA_CACHE_DIR=str(config.CACHE_DIR)
    )
    result = json.loads(output)
    assert Path(result["file"]).is_relative_to(tmp_path)
    ours = [(name, text) for name, text in result["warnings"] if "fastclust" in text]
    assert [name for name, _ in ours] == ["RuntimeWarning"]
    assert "Set NUMBA_CACHE_DIR to a writable directory" in ours[0][1]

    X = np.random.RandomState(0).standard_normal((500, 5))
    model = KMeans(4, init=X[:4]).fit(scipy.sparse.csr_array(X))
    assert result["labels"] == model.labels_.tolist()
    assert result["centers"] == model.cluster_centers_.tobytes().hex()


# --- An installation that cannot be written ---

USE_READ_ONLY = """
import json, sys, warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from fastclust.kernels import tiny
    result = tiny.doubled(np.arange(4.0))
written = []
for folder in sys.argv[1:]:
    try:
        open(f"{folder}/obstacle", "w").close()
        written.append(folder)
    except PermissionError:
        pass
hits = sum(tiny.doubled.stats.cache_hits.values())
print(json.dumps([written, result, hits, [str(warning.message) for warning in caught]]))
"""


def without_roots_privilege() -> None:
    """Let permissions count for root, too, in this process and what it becomes (Linux)."""
    pr_capbset_drop, cap_dac_override = 24, 1
    ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0)


@pytest.fixture
def read_only(tmp_path: Path) -> Callable[[str], tuple[int, list[str]]]:
    """Call a kernel of an installation nobody may write to: hits of the cache, and warnings."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs the permissions of Linux")
    kernels = copy_package(tmp_path / "site")
    (kernels / "tiny.py").write_text(TINY)
    (tmp_path / "site" / "fastclust" / "__init__.py").write_text("")
    for folder in [kernels, kernels.parent, kernels.parent.parent]:
        folder.chmod(0o555)

    def use_it(home: str, *others: Path) -> tuple[int, list[str]]:
        variables = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
        places = {"PYTHONPATH": str(tmp_path / "site"), "HOME": home, "XDG_CACHE_HOME": home}
        finished = subprocess.run(
            [sys.executable, "-c", USE_READ_ONLY, str(kernels), *map(str, others)],
            env=variables | places | {"PYTHONSAFEPATH": "1"},
            preexec_fn=without_roots_privilege if os.geteuid() == 0 else None,
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, finished.stderr
        written, result, hits, messages = json.loads(finished.stdout)
        assert written == []  # or nothing is tested here
        assert result == 12.0
        return hits, messages

    return use_it


def test_cache_of_a_read_only_installation(
    read_only: Callable[..., tuple[int, list[str]]], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert read_only(str(home)) == (0, [])
    assert len(entries(home)) == 1
    assert read_only(str(home)) == (1, [])


def test_read_only_installation_and_home(
    read_only: Callable[..., tuple[int, list[str]]], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    hits, messages = read_only(str(home), home)
    assert hits == 0
    (message,) = messages
    assert "Set NUMBA_CACHE_DIR to a writable directory" in message


# --- A cache that is stale ---


def stamps_in(kernels: Path) -> dict[str, str]:
    """The stamp of each file."""
    sources = stamps.Sources(kernels)
    return {name: sources.stamp(name) for name in sources.contents}


def test_a_file_changes_the_stamps_of_what_is_made_of_it(tmp_path: Path) -> None:
    kernels = copy_package(tmp_path)
    before = stamps_in(kernels)
    assert before == stamps_in(KERNELS)
    for path in sorted(kernels.rglob("*.py")):
        source = path.read_bytes()
        path.write_bytes(source + b"#")
        after = stamps_in(kernels)
        changed = {name for name in before if after[name] != before[name]}
        assert path.relative_to(kernels).as_posix() in changed
        path.write_bytes(source)
        if path.name in ("cpu.py", "language.py", "tiles.py"):
            assert {"lloyd.py", "gaussian.py", "hamerly.py", "starts.py"} <= changed
        if path.name == "hamerly.py":
            assert "elkan.py" in changed
            assert not changed & {"lloyd.py", "gaussian.py", "tiles.py"}


IMPORTS_OF_IT = """
import importlib, json, sys
sys.path.insert(0, sys.argv[2])
importlib.import_module("fastclust.kernels." + sys.argv[1])
print(json.dumps([
    module.__file__ for name, module in sys.modules.items() if name.startswith("fastclust.kernels.")
]))
"""


@pytest.mark.parametrize("module", ["starts", "gaussian", "elkan", "minibatch", "silhouette"])
def test_stamps_know_all_that_is_imported(module: str, tmp_path: Path) -> None:
    kernels = copy_package(tmp_path)
    (tmp_path / "fastclust" / "__init__.py").write_text("")  # the kernels alone
    loaded = json.loads(run_script(IMPORTS_OF_IT, module, str(tmp_path)))
    names = {Path(file).relative_to(kernels).as_posix() for file in loaded}
    assert names <= stamps.Sources(kernels).reached(f"{module}.py")
    assert len(names) > 10


def test_a_kernel_from_elsewhere_depends_on_every_file(tmp_path: Path) -> None:
    kernels = copy_package(tmp_path)

    def stamp() -> str:
        return stamps.Sources(kernels).stamp("/elsewhere.py")

    found = [stamp()]
    for path in sorted(kernels.rglob("*.py")):
        path.write_bytes(path.read_bytes() + b"#")
        found.append(stamp())
    (kernels / "another.py").touch()
    found.append(stamp())
    (kernels / "another.py").rename(kernels / "emit" / "another.py")
    found.append(stamp())
    assert len(set(found)) == len(found)


# The kernel's own file stays as it is: what changes is a number that it takes from another file.
READS_ANOTHER_FILE = """
from fastclust.kernels.machine.compiling import kernel
from fastclust.kernels.emit.cpu import NUMBER

@kernel
def doubled(values):
    return NUMBER * len(values)
"""

USE_IT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import reader
from fastclust.kernels.machine.stamps import source_stamp
changed, upgrade = sys.argv[2:]
with open(changed, "a") as file:
    file.write(upgrade)
result = reader.doubled(np.zeros(10))
stats = reader.doubled.stats
print(json.dumps([source_stamp(reader.doubled.py_func), result, sum(stats.cache_hits.values())]))
"""


@pytest.fixture
def outcome(tmp_path: Path) -> Callable[..., tuple[str, int, int]]:
    """Append to a copy of emit/cpu.py and call the kernel in a new process: stamp, result, hits."""
    changed = copy_package(tmp_path) / "emit" / "cpu.py"
    (tmp_path / "fastclust" / "__init__.py").write_text("")  # the kernels alone: no scikit-learn
    (tmp_path / "reader.py").write_text(READS_ANOTHER_FILE)
    source, folder = changed.read_text(), tmp_path / "cache"

    def use_it(appended: str, after_import: str = "") -> tuple[str, int, int]:
        changed.write_text(source + appended)
        output = run_script(
            USE_IT,
            str(tmp_path),
            str(changed),
            after_import,
            PYTHONPATH=str(tmp_path),
            NUMBA_CACHE_DIR=str(folder),
        )
        stamp, result, hits = json.loads(output)
        return stamp, result, hits

    return use_it


def test_one_byte_elsewhere_makes_an_entry_stale(
    tmp_path: Path, outcome: Callable[..., tuple[str, int, int]]
) -> None:
    first, *rest = outcome("\nNUMBER = 1  # a\n")
    assert rest == [10, 0]
    assert outcome("\nNUMBER = 1  # a\n") == (first, 10, 1)
    (entry,) = entries(tmp_path / "cache")

    second, *rest = outcome("\nNUMBER = 1  # b\n")
    assert second != first
    assert rest == [10, 0]
    assert entry not in entries(tmp_path / "cache")  # nobody can use it any more

    third, *rest = outcome("\nNUMBER = 2  # b\n")
    assert third not in {first, second}
    assert rest == [20, 0]
    assert len(entries(tmp_path / "cache")) == 1


def test_upgrade_between_import_and_first_call(
    outcome: Callable[..., tuple[str, int, int]],
) -> None:
    # A process that has imported the old files must not compile them under the name of the new.
    old, new = "\nNUMBER = 1\n", "\nNUMBER = 2\n"
    assert outcome(old, after_import=new)[1] == 10
    assert outcome(old + new)[1] == 20


# --- A cache that several processes fill ---

FILL = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
import several
values = [np.linspace(0, 1, 1000).astype(dtype) for dtype in ("float64", "float32", "int64")]
open(os.path.join(sys.argv[1], f"ready{sys.argv[2]}"), "w").close()
while not os.path.exists(os.path.join(sys.argv[1], "go")):
    time.sleep(0.001)
print([kernel(array).hex() for array in values for kernel in several.KERNELS])
"""

SEVERAL = (
    "from fastclust.kernels.machine.compiling import kernel\n"
    + "".join(
        f"""
@kernel
def sum{power}(values):
    total = 0.0
    for value in values:
        total += (value + 0.1) ** {power}
    return total
"""
        for power in (1, 2, 3)
    )
    + "\nKERNELS = (sum1, sum2, sum3)\n"
)


N_PROCESSES = 3


def test_processes_fill_one_cache(tmp_path: Path) -> None:
    copy_package(tmp_path)
    (tmp_path / "fastclust" / "__init__.py").write_text("")
    (tmp_path / "several.py").write_text(SEVERAL)
    folder = tmp_path / "cache"
    environment = {
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": str(tmp_path),
        "NUMBA_CACHE_DIR": str(folder),
        "PYTHONWARNINGS": "error::RuntimeWarning",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FILL, str(tmp_path), str(number)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(N_PROCESSES)
    ]
    try:
        while len(list(tmp_path.glob("ready*"))) < N_PROCESSES:
            if any(process.poll() is not None for process in processes):
                break  # it has failed, and says why below
            time.sleep(0.01)
        (tmp_path / "go").touch()
        results = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, results, strict=True):
        assert process.returncode == 0, errors
    assert len({output for output, _ in results}) == 1
    assert len(entries(folder)) == 9
    assert [path for path in folder.rglob("*") if path.is_file()] == [
        path for path in folder.rglob("*") if path.suffix == ".nbc"
    ]
    late = run_script(FILL, str(tmp_path), "late", **environment)
    assert late == results[0][0]
