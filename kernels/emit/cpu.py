"""What the CPU that Numba compiles for can do, and the sizes that follow: lanes, tiles, groups.

The vector width comes from ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES``, or else from this
machine: 64 bytes with AVX-512, 32 with AVX, 16 otherwise (SSE2, NEON; LLVM makes scalars of them
where a CPU has no vectors at all).
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import config

TILE_ROWS = 64
ALL_ROWS = np.uint64(2**TILE_ROWS - 1)
CACHE_LINE = 64  # bytes
WIDE, NARROW = 6, 4  # centers per group
LOW_FEATURES = 3  # up to here, the nearest center is found by code for that very number


def _cpu_features() -> frozenset[str]:
    """Features of the CPU that Numba generates code for, without the leading plus signs."""
    if config.CPU_FEATURES is not None:
        enabled = [name for name in config.CPU_FEATURES.split(",") if name.startswith("+")]
        return frozenset(name[1:] for name in enabled)
    if config.CPU_NAME == "generic":
        return frozenset()
    return frozenset(name for name, on in llvm.get_host_cpu_features().items() if on)


ARM64 = llvm.get_default_triple().startswith(("aarch64", "arm64"))
CPU_FEATURES = _cpu_features()
VECTOR_BYTES = 64 if "avx512f" in CPU_FEATURES else 32 if "avx" in CPU_FEATURES else 16
MANY_REGISTERS = VECTOR_BYTES == 64 or ARM64  # 32 vector registers, elsewhere 16
# Vectors of rows that a tile keeps in registers beside a group of centers: the accumulators
# (vectors × 6) must leave room for the operands.
ROW_VECTORS = 4 if MANY_REGISTERS else 2
# Up to so many features, the rows themselves stay there, too, and need no packed tile.
IN_REGISTERS = LOW_FEATURES if MANY_REGISTERS else 2


def lanes(dtype: Any) -> int:
    """Elements of `dtype` in one vector register."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def part_rows(dtype: Any) -> int:
    """Rows of a part of a tile: those that are in registers together."""
    return ROW_VECTORS * lanes(dtype)


def round_up(size: int, multiple: int) -> int:
    """Smallest multiple of `multiple` that is not below `size`."""
    return -(-size // multiple) * multiple


def center_groups(n_centers: int) -> tuple[int, int]:
    """Numbers of groups of 6 and of 4 that hold `n_centers` with the least padding."""
    wide, narrow = divmod(n_centers, WIDE)
    if narrow == 0:
        return wide, 0
    # 6a+4b reaches every even number from 4 on: give up a group of 6 where that wastes less.
    if narrow <= 2 and wide:
        return wide - 1, 2
    return (wide, 1) if narrow <= NARROW else (wide + 1, 0)
