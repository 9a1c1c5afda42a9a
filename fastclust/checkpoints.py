"""Files from which a fit that was killed goes on, to the same bits.

A checkpoint is written beside its place, synchronised and then renamed: at any moment there is the
old one, whole, or the new one.  It begins with a line that says what it is and with a digest of the
rest.  It holds a description of the problem (data, weights, parameters) and is refused by any other
one.
"""

from __future__ import annotations

import hashlib
import io
import json
import numbers
import os
from pathlib import Path
from typing import Any

import numpy as np

from .kernels.tiles import Array
from .validation import check_bool, check_int, said

MAGIC = b"fastclust checkpoint 1\n"


def digest(*arrays: Any) -> str:
    """Digest of values and shapes."""
    result = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        result.update(f"{array.dtype} {array.shape};".encode() + array.tobytes())
    return result.hexdigest()


def described(init: Any, random_state: Any, X: Any, weights: Array | None) -> dict[str, Any]:
    """What of a fit's arguments is the same for all estimators, for :meth:`Checkpoint.describe`."""
    seed = int(random_state) if isinstance(random_state, numbers.Integral) else "a generator"
    if callable(init):
        init = type(init).__name__
    return {
        "init": init if isinstance(init, str) else digest(init),
        "random_state": seed,
        "shape": [int(size) for size in X.shape],
        "dtype": np.dtype(X.dtype).name,
        "weights": "" if weights is None else digest(weights),
    }


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

    Raises
    ------
    ValueError
        Where the file is there but must not be, or is no whole checkpoint.
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
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"checkpoint must be the path of a file or None, not {said(path)}.")
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise ValueError(f"checkpoint must be in a folder that exists, but it is {said(path)}.")
        if self.path.exists():
            if not resume:
                raise ValueError(
                    f"checkpoint={str(path)!r} is there already: go on from it by resume=True, or "
                    "remove it."
                )
            self.found = _load(self.path)

    def __bool__(self) -> bool:
        return self.path is not None

    def describe(self, **problem: Any) -> dict[str, Any] | None:
        """Say which problem this is; the state that was found for it, if any.

        Raises
        ------
        ValueError
            Where what was found belongs to another problem; the message says in what they differ.
        """
        self.problem = json.loads(json.dumps(problem))
        if self.found is None:
            return None
        theirs = self.found.pop("problem")
        names = sorted(theirs.keys() | self.problem.keys())
        differ = [name for name in names if theirs.get(name) != self.problem.get(name)]
        if differ:
            raise ValueError(
                f"checkpoint={str(self.path)!r} is of another fit: {', '.join(differ)} differ."
            )
        return self.found

    def due(self, iteration: int) -> bool:
        """Whether one is to be written after this iteration."""
        return self.path is not None and iteration % self.every == 0

    def write(self, values: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Replace the file by one with these values (JSON) and arrays."""
        assert self.path is not None
        content = io.BytesIO()
        header = json.dumps({"problem": self.problem, "values": values})
        named: dict[str, Any] = {"header": np.frombuffer(header.encode(), np.uint8), **arrays}
        np.savez(content, **named)
        payload = content.getvalue()
        partial = self.path.with_name(self.path.name + ".partial")
        with open(partial, "wb") as file:
            file.write(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.path)

    def remove(self) -> None:
        """The fit has come to its end: there is nothing to go on from."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _load(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        raise ValueError(
            f"checkpoint={str(path)!r} is not a checkpoint of this version of fastclust; it is "
            "left as it is."
        )
    start = len(MAGIC) + 65
    payload = content[start:]
    if content[len(MAGIC) : start] != hashlib.sha256(payload).hexdigest().encode() + b"\n":
        raise ValueError(f"checkpoint={str(path)!r} is truncated or damaged; it is left as it is.")
    with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(arrays.pop("header").tobytes().decode())
    return {"problem": header["problem"], **header["values"], **arrays}


def generator_state(random_state: np.random.RandomState) -> tuple[dict[str, Any], dict[str, Array]]:
    """State of a generator as values and arrays, for :meth:`Checkpoint.write`."""
    name, key, place, has_gauss, gauss = random_state.get_state()
    values = {"generator": [name, int(place), int(has_gauss), float(gauss)]}
    return values, {"generator_key": np.asarray(key)}


def restore_generator(random_state: np.random.RandomState, found: dict[str, Any]) -> None:
    """Bring a generator into the state of a checkpoint."""
    name, place, has_gauss, gauss = found["generator"]
    random_state.set_state((name, found["generator_key"], place, has_gauss, gauss))
