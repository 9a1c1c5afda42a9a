"""exp and log of vectors of float64, without the instructions of AVX-512."""

from __future__ import annotations

import numpy as np

from .instructions import emits
from .language import fma, loop

# exp(r) - 1 - r over r², |r| <= log(2) / 2: Chebyshev fit, 1.3e-17 from the truth.
EXP_COEFFICIENTS = (
    0.5000000000000001,
    0.16666666666666669,
    0.04166666666662413,
    0.008333333333330062,
    0.0013888888917213717,
    0.00019841269863053618,
    2.4801521295954376e-05,
    2.7557268459997064e-06,
    2.7620088445409746e-07,
    2.510038549551032e-08,
)
# log(1 + f) by s = f / (2 + f), as in fdlibm's e_log.c (Sun Microsystems, 1993).
LOG_COEFFICIENTS = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
# log(2) in two parts; products of the first with integers below 2**20 are exact.
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LEAST_EXPONENT = -708.0  # below it exp is taken for zero; the smallest normal number is exp(-708.4)
# Adding 1.5 · 2**52 rounds to an integer and leaves it in the low bits.
MAGIC = 6755399441055744.0


def _polynomial(coefficients, x):
    value = x.kind(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = fma(value, x, coefficient)
    return value


def exp(x):
    """``exp(x)`` for x from -708 to 708, to about an ulp."""
    kind = x.kind
    shifted = fma(x, 1.4426950408889634, MAGIC)
    n = shifted - MAGIC
    r = fma(n, -LN2_HIGH, x)
    r = fma(n, -LN2_LOW, r)
    square = r * r
    mantissa = fma(_polynomial(EXP_COEFFICIENTS, r), square, r) + 1.0
    exponent = shifted.bits_as(kind.integers) << 52
    return (mantissa.bits_as(kind.integers) + exponent).bits_as(kind)


def log(x):
    """``log(x)`` for positive normal x, to about an ulp."""
    kind = x.kind
    bits = x.bits_as(kind.integers)
    # Subtracting sqrt(1/2) brings the exponent of everything from there to sqrt(2) to zero.
    exponent = bits - 0x3FE6A09E667F3BCD >> 52
    mantissa = bits - (exponent << 52)
    magic = kind(MAGIC)
    k = (exponent + magic.bits_as(kind.integers)).bits_as(kind) - magic
    f = mantissa.bits_as(kind) - 1.0
    s = f / (f + 2.0)
    z = s * s
    r = _polynomial(LOG_COEFFICIENTS, z) * z
    half = f * f * 0.5
    inner = fma(k, LN2_LOW, s * (half + r))
    return k * LN2_HIGH - ((half - inner) - f)


def _each(function, values, count):
    @loop(count // values.lanes)
    def _(i):
        place = i * values.lanes
        values.store(place, function(values.load(place)))


@emits(doubles="values")
def exp_of(values, count):
    """Replace `count` numbers, whole vectors of them and aligned, by their exponentials."""
    _each(exp, values, count)


@exp_of.twin
def _(values, count):
    values[:count] = np.exp(values[:count])


@emits(doubles="values")
def log_of(values, count):
    """Replace `count` positive numbers, whole vectors of them and aligned, by their logarithms."""
    _each(log, values, count)


@log_of.twin
def _(values, count):
    values[:count] = np.log(values[:count])
