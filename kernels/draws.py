"""Draws of NumPy's generators from compiled code: the same numbers, and the generator moves on.

NumPy's bit generators tell C where their state is and by which functions it is drawn from (its
``bitgen.h``).  Whoever draws here holds the generator's lock, as NumPy's own functions do.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import config
from numba.core import types
from numba.extending import intrinsic

from .machine.compiling import helper, kernel
from .tiles import Array

_word = ir.IntType(64)
STATE, NEXT_DOUBLE = 0, 3  # slots of NumPy's `bitgen_t`

_address_in = ctypes.pythonapi.PyCapsule_GetPointer
_address_in.restype = ctypes.c_void_p
_address_in.argtypes = [ctypes.py_object, ctypes.c_char_p]


class RowDraws(NamedTuple):
    """How rows are drawn with replacement.

    `generator` is from :func:`generator_of`; `cumulative` (n_samples,) float64 are the cumulated
    probabilities of the rows, empty where all are equal.
    """

    generator: Any
    n_samples: int
    cumulative: Array


def generator_of(random_state: np.random.RandomState) -> Any:
    """The generator, as :func:`draw_rows` wants it; it must outlive the call."""
    if config.DISABLE_JIT:
        return random_state
    return _address_in(random_state._bit_generator.capsule, b"BitGenerator")


def lock_of(random_state: np.random.RandomState) -> Any:
    """The lock that is held while compiled code draws."""
    return random_state._bit_generator.lock


@intrinsic
def _next_double(typing_context: Any, generator: Any) -> Any:
    """As ``random_state.random_sample()``."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        slots = builder.inttoptr(arguments[0], _word.as_pointer())
        state, function = (
            builder.load(builder.gep(slots, [ir.Constant(_word, slot)]))
            for slot in (STATE, NEXT_DOUBLE)
        )
        kind = ir.FunctionType(ir.DoubleType(), [_word])
        return builder.call(builder.inttoptr(function, kind.as_pointer()), [state])

    return types.float64(types.int64), codegen


def _sample(generator):
    return generator.random_sample()


_uniform = _sample if config.DISABLE_JIT else _next_double


@helper
def draw_rows(draws, listed):
    """Fill `listed` with rows, by scikit-learn's draws."""
    generator, n_samples, cumulative = draws
    for i in range(len(listed)):
        uniform = _uniform(generator)
        if len(cumulative):  # as np.searchsorted(cumulative, uniform, side="right")
            low, high = 0, n_samples
            while low < high:
                middle = (low + high) // 2
                if cumulative[middle] <= uniform:
                    low = middle + 1
                else:
                    high = middle
            listed[i] = low
        else:
            listed[i] = min(np.int64(uniform * n_samples), n_samples - 1)


@kernel
def draw_batch(draws, listed):
    """As :func:`draw_rows`, from Python."""
    draw_rows(draws, listed)
