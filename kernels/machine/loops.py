"""What loops of launches in compiled code share: one counter, and the gates of their launches.

A loop makes its launches by :func:`.calling.call`, one after the other.  Most of them are of the
same work and open the same gate; a launch of other work beside them is made by all threads of the
loop, or by the caller alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .calling import offer_tasks
from .compiling import helper
from .parallel import SMALL_WORK, Team

Array = np.ndarray[Any, Any]


class Launch(NamedTuple):
    """By what the launches of a loop take their tasks."""

    counter: Array
    gate: Array
    n_tasks: int
    alone: Array  # the gate of the caller alone


def launch_for(team: Team, work: float, n_tasks: int) -> Launch:
    """For a loop whose launches are of so much work each."""
    return Launch(*team.open(work, n_tasks), n_tasks, team.gate)


@helper
def offer(launch, work):
    """Offer the tasks of a launch of so much work, made beside the others; its gate."""
    offer_tasks(launch.counter)
    return launch.gate if work > SMALL_WORK else launch.alone
