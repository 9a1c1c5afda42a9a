"""What machine code depends on: a digest of a kernel's own file and of all that it is made of.

A kernel is mostly made of code from other files (tiles, vector instructions).  Those are the files
of this package that its own file imports, and that these import in turn: a change to any of them
is another stamp.  Files that have nothing to do with a kernel leave its machine code as it is.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

_FROM = re.compile(rb"^[ \t]*from (\.+)([\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)
_NAME = re.compile(rb"\w+")


class Sources:
    """The files of a package, as they are now.

    Parameters
    ----------
    folder : Path
        Of the package.

    Attributes
    ----------
    contents : dict of str to bytes
        The files, by their paths within the folder, with slashes.
    """

    def __init__(self, folder: Path) -> None:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
        self.contents = {name: (folder / name).read_bytes() for name in names}
        self._digests = {name: hashlib.sha256(self.contents[name]).digest() for name in names}
        self._imported: dict[str, set[str]] = {}

    def imported(self, name: str) -> set[str]:
        """The files that a file names in its imports, those of packages included."""
        found = self._imported.get(name)
        if found is None:
            found = self._imported[name] = set()
            for dots, module, names in _FROM.findall(self.contents[name]):
                place = name.split("/")[: -len(dots)] + module.decode().split(".")
                place = [part for part in place if part]
                inside = [[*place, each.decode()] for each in _NAME.findall(names)]
                for parts in (place, *inside):
                    packages = ["/".join([*parts[:n], "__init__"]) for n in range(len(parts) + 1)]
                    found.update(f"{each}.py" for each in ("/".join(parts), *packages))
            found.intersection_update(self.contents)
        return found

    def reached(self, name: str) -> set[str]:
        """A file and all that it imports, directly or not."""
        found, waiting = {name}, [name]
        while waiting:
            new = self.imported(waiting.pop()) - found
            found |= new
            waiting += new
        return found

    def stamp(self, name: str) -> str:
        """Digest of a file and all that it imports; of the whole package if it is no part of it."""
        digest = hashlib.sha256(numba.__version__.encode())
        for each in sorted(self.reached(name) if name in self.contents else self.contents):
            digest.update(f"\0{each}\0".encode() + self._digests[each])
        return digest.hexdigest()


_FOLDER = Path(__file__).parents[1]  # of all kernels
# Read now: by the first call, an upgrade may have replaced the files that are imported here.
_SOURCES = Sources(_FOLDER)


@functools.cache
def _stamp_of_file(file: str) -> str:
    path = Path(file)
    inside = path.is_relative_to(_FOLDER)
    return _SOURCES.stamp(path.relative_to(_FOLDER).as_posix() if inside else file)


def source_stamp(function: Callable[..., Any]) -> str:
    """Stamp of the machine code of a kernel."""
    return _stamp_of_file(function.__code__.co_filename)
