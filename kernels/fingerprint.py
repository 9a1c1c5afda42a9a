"""Fingerprints: what tells the numbers of one array from those of another, as fast as it is read.

Halevi, S., Krawczyk, H.: MMH: software message authentication in the Gbit/second rates. FSE 1997;
Black, J. and others: UMAC: fast and secure message authentication. CRYPTO 1999.

The bits of the numbers are taken as words of 64.  A word is added to a key of its place in a chunk,
and the two halves of the sum are multiplied; products of a chunk are summed, twice and with other
keys, and mixed into what stands for the chunks before.  Two arrays whose bits differ anywhere, or
come in another order, have the same fingerprint with a probability of about 2⁻⁶⁴.  -0.0 is another
number than 0.0.  Keys are no secret: whoever wants to find two such arrays can.

Rows are cut into slices by their shape alone, so that a fingerprint does not depend on the number
of threads, nor on the blocks that the rows come in.

:func:`checksum` is for arrays of this process that are compared with what they were: it tells less,
but sooner.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numba import config

from .machine.compiling import helper, kernel
from .machine.parallel import Team, next_task
from .moments import moment_slice_rows
from .tiles import Array, read_only

CHUNK = 512  # words that have keys of their own
KEYS = np.random.RandomState(0).randint(0, 2**64, CHUNK + 1, np.uint64)
LOW, HALF = np.uint64(2**32 - 1), np.uint64(32)


@helper
def _mixed(x):
    """A permutation of the numbers of 64 bits in which each bit decides about all (SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@helper
def digest_words(words, start, stop, keys):
    """What stands for ``words[start:stop]``: two numbers of 64 bits."""
    first, second = np.uint64(0), np.uint64(0)
    chunk = len(keys) - 1
    for begin in range(start, stop, chunk):
        p, q = np.uint64(0), np.uint64(0)
        for t in range(min(chunk, stop - begin)):
            x, y = words[begin + t] + keys[t], words[begin + t] + keys[t + 1]
            p += (x & LOW) * (x >> HALF)
            q += (y & LOW) * (y >> HALF)
        first, second = _mixed(first + p), _mixed(second + q)
    return first, second


def digest_words_plainly(words, start, stop, keys):
    """As :func:`digest_words`, with products in NumPy and the mixing in integers of Python."""
    chunk, mask = len(keys) - 1, 2**64 - 1
    digests = [0, 0]
    for begin in range(start, stop, chunk):
        some = words[begin : min(begin + chunk, stop)]
        for which in range(2):
            sums = some + keys[which : which + len(some)]
            halves = (sums & np.uint64(2**32 - 1), sums >> np.uint64(32))
            x = (digests[which] + int((halves[0] * halves[1]).sum())) & mask
            x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
            x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
            digests[which] = x ^ (x >> 31)
    return np.uint64(digests[0]), np.uint64(digests[1])


if config.DISABLE_JIT:
    digest_words = digest_words_plainly


@kernel
def _digest_slices(counter, gate, n_tasks, slice_size, words, keys, digests):
    """Digest of each slice of words, (n_tasks, 2)."""
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start = task * slice_size
        stop = min(start + slice_size, len(words))
        digests[task, 0], digests[task, 1] = digest_words(words, start, stop, keys)


class Fingerprint:
    """Fingerprint of rows that come in blocks; see this module's docstring.

    Parameters
    ----------
    shape : tuple of int
        Numbers of rows and of columns.
    team : Team
        Threads to run on.
    """

    def __init__(self, shape: tuple[int, ...], team: Team) -> None:
        self.team = team
        self.slice_size = moment_slice_rows(*shape) * shape[1]
        self.digest = hashlib.sha256()

    def add(self, block: Array) -> None:
        """Add the next rows, C-contiguous, of numbers of 4 or 8 bytes.

        The number of rows of each block but the last is a multiple of :func:`moment_slice_rows`.
        """
        self.add_digests(slice_digests(block, self.slice_size, self.team))

    def add_digests(self, digests: bytes) -> None:
        """Add the next rows, of which somebody else has made :func:`slice_digests`."""
        self.digest.update(digests)

    def text(self) -> str:
        """The fingerprint of what has been added."""
        return self.digest.hexdigest()


def slice_digests(block: Array, slice_size: int, team: Team) -> bytes:
    """What a fingerprint is made of, for a block of slices of so many numbers."""
    numbers = read_only(block).reshape(-1)
    per_word = 8 // block.itemsize  # a slice is of whole words: its rows are even in number
    whole = numbers.size // per_word * per_word
    words = numbers[:whole].view(np.uint64)
    size = slice_size // per_word
    digests = np.empty((-(-len(words) // size), 2), np.uint64)
    team.run(_digest_slices, float(len(words)), len(digests), size, words, KEYS, digests)
    return digests.tobytes() + numbers[whole:].tobytes()


def fingerprint(array: Array, team: Team) -> str:
    """Fingerprint of an array of numbers, of their type and of its shape.

    Parameters
    ----------
    array : ndarray of shape (n,) or (n, d), C-contiguous, of numbers of 4 or 8 bytes
        What it is of.
    team : Team
        Threads to run on.
    """
    rows = array.reshape(len(array), -1) if array.size else array.reshape(0, 1)
    found = Fingerprint(rows.shape, team)
    found.add(rows)
    return f"{array.dtype.name} {array.shape} {found.text()}"


def sparse_fingerprint(X: Any, team: Team) -> str:
    """Fingerprint of a canonical CSR matrix: the same whatever integers its indices are."""
    indices = (each.astype(np.int64, copy=False) for each in (X.indices, X.indptr))
    return " ".join(fingerprint(part, team) for part in (X.data, *indices))


@kernel
def _checksum(words):
    """Two sums over 64-bit words: of the words, and of products that depend on their places.

    The second is NH, of UMAC (Black and others, CRYPTO 1999), with keys that go up in equal steps.
    """
    step, low, half = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFFFFFFFF), np.uint64(32)
    total, products = np.uint64(0), np.uint64(0)
    for i in range(len(words)):
        keyed = words[i] + np.uint64(i) * step
        total += words[i]
        products += (keyed & low) * (keyed >> half)
    return total, products


def checksum(array: Array) -> Any:
    """What tells the numbers of an array of floats from others, in one pass as fast as memory is.

    If one number changes, it changes for certain; of other changes it misses one in 2³².
    """
    if config.DISABLE_JIT:
        return array.tobytes()
    flat = np.ascontiguousarray(array).reshape(-1)
    rest = flat.size * flat.itemsize % 8 // 4  # a float32 at the end that is half a word
    words = read_only(flat[: flat.size - rest])
    if words.ctypes.data % 8:
        words = read_only(words.copy())
    return (*_checksum(words.view(np.uint64)), flat[-rest:].tobytes() if rest else b"")
