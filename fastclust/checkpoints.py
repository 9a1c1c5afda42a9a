"""Files from which a fit that was killed goes on, to the same bits.

A checkpoint is written beside its place, synchronised and then renamed: at any moment there is the
old one, whole, or the new one.  It begins with a line that says what it is and with a digest of the
rest.  It holds a description of the problem (data, weights, parameters) and is refused by any other
one.  What is read from it is checked like any other input before it is used: a digest says that a
file is as it was written, and not by whom.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import json
import numbers
import os
import stat
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .kernels.fingerprint import fingerprint
from .kernels.machine.files import replace_file
from .kernels.machine.parallel import Team
from .kernels.tiles import Array
from .preparation import Survey
from .rows.sources import DistantWeights
from .validation import check_bool, check_int, said

MAGIC = b"fastclust checkpoint 2\n"
PARTIAL = ".partial"  # what a file's name ends in while it is being written
LITTER_AGE = 3600.0  # seconds after which whoever has written such a file is taken for dead


def described(
    init: Any, random_state: Any, generator: np.random.RandomState, data: Survey, team: Team
) -> dict[str, Any]:
    """What of a fit's arguments is the same for all estimators, for :meth:`Checkpoint.describe`."""
    if generator.get_state(legacy=False)["bit_generator"] != "MT19937":
        raise ValueError(
            "random_state must be None, an integer or a RandomState of MT19937 where there is a "
            f"checkpoint, but it is {said(random_state)}."
        )
    seed = int(random_state) if isinstance(random_state, numbers.Integral) else "a generator"
    if callable(init):
        init = _named(init)
    weights = data.weights
    return {
        "init": init if isinstance(init, str) else fingerprint(init, team),
        "random_state": seed,
        "shape": [int(size) for size in data.X.shape],
        "dtype": np.dtype(data.X.dtype).name,
        "weights": _identity(weights, team),
        "data": data.identity,
    }


def _identity(weights: Any, team: Team) -> str:
    """What tells weights from others, empty where there are none."""
    if weights is None:
        return ""
    if isinstance(weights, DistantWeights):
        return weights.identity()
    return fingerprint(weights, team)


def _named(init: Any) -> str:
    """A callable by its name and, where it is an object, by its settings."""
    settings = {
        name: value
        for name, value in sorted(getattr(init, "__dict__", {}).items())
        if isinstance(value, str | int | float)
    }
    kind = init if hasattr(init, "__qualname__") else type(init)
    return f"{kind.__module__}.{kind.__qualname__} {settings}"


class Checkpoint:
    """The checkpoint of one fit, or none.

    Parameters
    ----------
    path : path-like or None
        Where it is; None is none.
    every : int
        Iterations (or steps) from one to the next.
    resume : bool
        Whether a file that is there is gone on from.

    Attributes
    ----------
    found : dict or None
        What is to be gone on from: numbers and arrays by name, which :meth:`integer`,
        :meth:`real` and :meth:`array` give once they have checked them.

    Raises
    ------
    ValueError
        Where the file is there but must not be, is no whole checkpoint, or cannot be one.
    OSError
        Where the system does not let it be read.
    """

    def __init__(self, path: Any, every: Any, resume: Any) -> None:
        self.every = check_int("checkpoint_every", every, 1)
        resume = check_bool("resume", resume)
        self.path: Path | None = None
        self.found: dict[str, Any] | None = None
        self.problem: dict[str, Any] = {}
        if path is None:
            if resume:
                raise ValueError(
                    "resume=True needs checkpoint, the path of a file, but it is None."
                )
            return
        if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
            raise TypeError(f"checkpoint must be the path of a file or None, not {said(path)}.")
        self.name = f"checkpoint={os.fspath(path)!r}"
        try:
            there = self._find(path)
        except OSError as error:
            raise self._failed("read", error) from error
        if there and not resume:
            raise ValueError(
                f"{self.name} is there already: go on from it by resume=True, or remove it."
            )
        if there:
            self.found = self._load()
        self._remove_litter()

    def _find(self, path: Any) -> bool:
        """Set the path, that of the file behind a link; whether it is there."""
        if "\0" in os.fspath(path):
            raise ValueError(f"{self.name} must be the path of a file, but has a null character.")
        self.path = Path(os.path.realpath(path))
        folder = self.path.parent
        if not folder.is_dir():
            raise ValueError(f"checkpoint must be in a folder that exists, but it is {said(path)}.")
        try:
            mode = os.stat(self.path).st_mode
        except FileNotFoundError:
            mode = None
        if mode is not None and not stat.S_ISREG(mode):
            what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise ValueError(f"{self.name} must be the path of a file, but it is {what}.")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ValueError(
                f"{self.name} must be in a folder that can be written to, but this one cannot."
            )
        return mode is not None

    def __bool__(self) -> bool:
        return self.path is not None

    def _failed(self, action: str, error: OSError) -> OSError:
        """The error of the system in a sentence, and of the same class."""
        return OSError(error.errno, f"{self.name} could not be {action}: {error.strerror}")

    def describe(self, **problem: Any) -> None:
        """Say which problem this is.

        Raises
        ------
        ValueError
            Where what was found belongs to another problem; the message says in what they differ.
        """
        self.problem = json.loads(json.dumps(problem, default=float))  # NumPy's numbers, too
        if self.found is None:
            return
        theirs = self.found["problem"]
        names = sorted(theirs.keys() | self.problem.keys())
        differ = [name for name in names if theirs.get(name) != self.problem.get(name)]
        if differ:
            raise ValueError(
                f"{self.name} belongs to a different fit (different: {', '.join(differ)})."
            )

    def due(self, iteration: int) -> bool:
        """Whether one is to be written after this iteration."""
        return self.path is not None and iteration % self.every == 0

    def write(self, values: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Replace the file by one with these values (JSON) and arrays.

        Raises
        ------
        OSError
            Where it cannot be written; the file that was there is then as it was.
        """
        assert self.path is not None
        content = io.BytesIO()
        header = json.dumps({"problem": self.problem, "values": values})
        named: dict[str, Any] = {"header": np.frombuffer(header.encode(), np.uint8), **arrays}
        np.savez(content, **named)
        payload = content.getbuffer()
        digest = hashlib.sha256(payload).hexdigest().encode()
        try:
            replace_file(self.path, (MAGIC, digest, b"\n", payload), suffix=PARTIAL, lasting=True)
        except OSError as error:
            raise self._failed("written, and what was there is as it was", error) from error

    def remove(self) -> None:
        """The fit has come to its end: there is nothing to go on from."""
        if self.path is None:
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:  # no reason to lose the fit
            warnings.warn(str(self._failed("removed", error)), RuntimeWarning, stacklevel=3)

    def _remove_litter(self) -> None:
        """Remove what was being written when a fit was killed."""
        assert self.path is not None
        pattern = glob.escape(str(self.path.with_name(self.path.name[:40]))) + f".*{PARTIAL}"
        for name in glob.glob(pattern):
            with contextlib.suppress(OSError):
                if time.time() - os.stat(name).st_mtime > LITTER_AGE:
                    os.unlink(name)

    def _load(self) -> dict[str, Any] | None:
        """What is in the file; only its digest is checked.  None where it has gone."""
        assert self.path is not None
        try:
            content = memoryview(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", error) from error
        if content[: len(MAGIC)] != MAGIC:
            raise ValueError(
                f"{self.name} is not a checkpoint of this version of fastclust; it is left as it "
                "is."
            )
        start = len(MAGIC) + 65
        payload = content[start:]
        if content[len(MAGIC) : start] != hashlib.sha256(payload).hexdigest().encode() + b"\n":
            raise ValueError(f"{self.name} is truncated or damaged; it is left as it is.")
        try:
            with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            header = json.loads(arrays.pop("header").tobytes().decode())
            found = {**header["values"], **arrays, "problem": dict(header["problem"])}
        except Exception as error:  # there is no end of what may be wrong with an archive
            raise self.wrong(f"its content cannot be read ({type(error).__name__})") from error
        return found

    def wrong(self, what: str) -> ValueError:
        """The error that what was found cannot be gone on from, and why."""
        return ValueError(f"{self.name} was not written by fastclust: {what}.")

    def integer(self, name: str, least: int, most: int) -> int:
        """A whole number of what was found."""
        assert self.found is not None
        value = self.found.get(name)
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(
                f"its {name} must be a whole number from {least} to {most}, but it is {said(value)}"
            )
        return value

    def real(self, name: str, least: float = -np.inf) -> float:
        """A finite number of what was found, not below `least`."""
        assert self.found is not None
        value: Any = self.found.get(name)
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not abs(value) <= np.finfo(np.float64).max
            or value < least
        ):
            wanted = "" if least == -np.inf else f" of at least {least}"
            raise self.wrong(f"its {name} must be a finite number{wanted}, but it is {said(value)}")
        return float(value)

    def array(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: Any,
        least: float = -np.inf,
        most: float = np.inf,
        *,
        finite: bool = True,
    ) -> Array:
        """An array of what was found, of this shape and type, with numbers in this range."""
        assert self.found is not None
        array = self.found.get(name)
        dtype = np.dtype(dtype)
        if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (shape, dtype):
            raise self.wrong(f"its {name} must be an array of shape {shape} of {dtype.name}")
        if finite and not (
            np.isfinite(array).all() and (array >= least).all() and (array <= most).all()
        ):
            wanted = "finite" if np.isinf([least, most]).all() else f"from {least} to {most}"
            raise self.wrong(f"all numbers of its {name} must be {wanted}")
        return array


def generator_state(random_state: np.random.RandomState) -> tuple[dict[str, Any], dict[str, Array]]:
    """State of a generator as values and arrays, for :meth:`Checkpoint.write`."""
    _, key, place, has_gauss, gauss = random_state.get_state()
    values = {"place": int(place), "has_gauss": int(has_gauss), "gauss": float(gauss)}
    return values, {"generator": np.asarray(key, np.uint32)}


def restore_generator(random_state: np.random.RandomState, saved: Checkpoint) -> None:
    """Bring a generator into the state of a checkpoint."""
    key = saved.array("generator", (624,), np.uint32)
    place, has_gauss = saved.integer("place", 0, len(key)), saved.integer("has_gauss", 0, 1)
    random_state.set_state(("MT19937", key, place, has_gauss, saved.real("gauss")))
