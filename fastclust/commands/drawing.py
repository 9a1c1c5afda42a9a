"""What all figures share."""

from __future__ import annotations

import math

# Okabe and Ito's palette, told apart in every common form of colour blindness and in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def duration(seconds: float) -> str:
    """A duration with three significant digits, in the unit that reads best.

    Parameters
    ----------
    seconds : float
        The duration.

    Returns
    -------
    str
        Number and unit.

    Examples
    --------
    >>> duration(0.0123)
    '12.3 ms'
    """
    value, unit = (seconds * 1e3, "ms") if seconds < 1 else (seconds, "s")
    decimals = min(max(0, 2 - math.floor(math.log10(value))), 3)
    return f"{value:.{decimals}f} {unit}"
