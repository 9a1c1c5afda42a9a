"""Files that are written as a whole or not at all, and files that may be trusted."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Distrusted(Exception):
    """A file or a directory that others may have written."""


def replace_file(
    path: Path, pieces: Iterable[Any], *, suffix: str, mode: int = 0o666, lasting: bool = False
) -> None:
    """Write a file beside its place and rename it: there is the old one, whole, or the new one.

    Any number of threads and processes may do so at once.  Whatever goes wrong, nothing is left.

    Parameters
    ----------
    path : Path
        Its place.
    pieces : iterable of bytes-like
        Its content.
    suffix : str
        What the name of the file ends in before it is renamed.
    mode : int
        Its permissions; the umask takes some of them.
    lasting : bool
        Whether it is there even if the machine stops right after.
    """
    # Not all of the name, which may be as long as names can be.
    temporary = path.with_name(f"{path.name[:40]}.{os.urandom(8).hex()}{suffix}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if lasting:
        _synchronise(path.parent)


def _synchronise(folder: Path) -> None:
    """Let the names in a folder last; what cannot do so with folders (Windows) is left alone."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_trusted(path: Path) -> bytes:
    """The content of a file that nobody but this user and root can have written.

    Raises
    ------
    Distrusted
        Where others may write to it or to its folder.
    OSError
        Where it cannot be read.
    """
    check_folder(path.parent)

    def opener(name: str, flags: int) -> int:  # without waiting for the other end of a pipe
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    with open(path, "rb", buffering=0, opener=opener) as file:
        # Of what has been opened, whatever the name stands for by now.
        _check(os.fstat(file.fileno()), f"a file in {str(path.parent)!r}")
        return file.read()


def check_folder(folder: Path) -> None:
    """Raise :class:`Distrusted` for a folder in which others may replace files of this user."""
    _check(os.stat(folder), repr(str(folder)))


def _check(status: os.stat_result, what: str) -> None:
    """Refuse what belongs to another user, or others may write to, as ssh does.

    With two exceptions: a group may write if the user is its only member, as on systems that give
    one to each user; and a folder may be open to all where each can replace their own files
    only, as ``/tmp`` is.  On Windows, which has no such permissions, all is trusted.
    """
    if not hasattr(os, "geteuid"):
        return
    mode = status.st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise Distrusted(f"{what} is no regular file")
    if status.st_uid not in (0, os.geteuid()):
        raise Distrusted(f"{what} belongs to another user")
    if stat.S_ISDIR(mode) and mode & stat.S_ISVTX:
        return
    by_group = mode & stat.S_IWGRP and not _is_own_group(status.st_gid)
    if mode & stat.S_IWOTH or by_group:
        raise Distrusted(f"{what} may be written to by other users")


@functools.cache
def _is_own_group(number: int) -> bool:
    """Whether a group is that of this user alone: of the same name, and without other members."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
    except KeyError:
        return False
    own = user.pw_gid == number and user.pw_name == group.gr_name
    return own and set(group.gr_mem) <= {user.pw_name}
