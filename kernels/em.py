"""Whole steps of EM in one call: estimates, factors and densities between sweeps without Python.

A step on few rows takes microseconds, and Python between two steps takes longer.  The kernels are
those of every fit, called in the same order, so that the bits are the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .components import (
    CONSTANTS,
    KINDS,
    LEAST_COUNT,
    ORDERS,
    WEIGHTS,
    factorises,
    new_densities,
    new_parameters,
    places_of,
    references,
)
from .gaussian import MEANS, Sweep, sweep_reference, sweep_work
from .machine.calling import call, offer_tasks
from .machine.compiling import kernel
from .machine.parallel import LOOP_WORK
from .tiles import Array

GOES_ON, CONVERGED, COLLAPSED = 0, 1, 2  # how a run of steps has ended
# What a sweep is for: the means of labelled rows, the moments about these, and a step of EM.
NEAR, ABOUT, STEP = 0, 1, 2


class Calls(NamedTuple):
    """References to kernels; see :mod:`.machine.calling`."""

    sweep: Any
    fill: Any
    estimate: Any
    factorise: Any


class Problem(NamedTuple):
    """What does not change from step to step."""

    kind: int
    total: float  # weight of all rows
    tol: float
    reg_covar: float
    n_features: int
    scatter: Array  # see components.estimate
    places: Array  # see components.places_of
    ones: Array  # (k,)


@kernel
def _climb(
    calls, counter, gate, n_tasks, stage, n_steps, bound, problem, sweeps, parameters, bounds
):  # fmt: skip
    """Up to `n_steps` steps; how many, and how they end.  `bounds` are written.

    ``sweeps[stage]`` is what the first sweep is given; before STEP, labels become components.
    """
    kind, total, tol, reg_covar, d, scatter, places, ones = problem
    counts, weights, means, covariances, factors = parameters
    k, step = len(counts), 0
    while True:
        passed = sweeps[stage]
        center, kept = passed.center, passed.kept[0]
        if stage == NEAR:
            for component in range(k):
                for t in range(d):
                    means[component * d + t] = center[t]
        own, terms, known, n_places = factors, weights, WEIGHTS, len(places)
        if stage != STEP:  # round components
            own, terms, known, n_places = ones, ones, CONSTANTS, 0
        arguments = means, center, own, terms, known, places[:n_places], passed.densities
        call(calls.fill, None, arguments, ())
        offer_tasks(counter)
        call(calls.sweep, None, (counter, gate, n_tasks), passed)
        if stage == NEAR:
            for component in range(k):
                count = max(kept[component, 0], LEAST_COUNT)
                for t in range(d):
                    means[component * d + t] = center[t] + kept[component, 1 + t] / count
            stage += 1
            continue
        arguments = kind, kept, center, scatter, reg_covar, parameters
        call(calls.estimate, None, arguments, ())
        if not call(calls.factorise, False, (kind, d, covariances, factors), ()):
            return step, COLLAPSED
        if stage == ABOUT:
            for component in range(k):
                weights[component] = counts[component] / total
            stage += 1
            continue
        before, bound = bound, passed.likelihoods[0, 0] / total
        bounds[step] = bound
        step += 1
        if abs(bound - before) < tol:
            return step, CONVERGED
        if step == n_steps:
            return step, GOES_ON


class Steps:
    """Steps of EM of one mixture on rows that are held in memory.

    Parameters
    ----------
    sweep : Sweep
        On these rows.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
        As in scikit-learn.
    n_components : int
        Number of components.
    total, tol, reg_covar, scatter
        Weight of all rows; as for the mixture; as for :func:`.components.estimate`.

    Attributes
    ----------
    parameters : Parameters
        The components, before and after steps.
    serves : bool
        Whether steps can be taken here.
    """

    def __init__(
        self,
        sweep: Sweep,
        covariance_type: str,
        n_components: int,
        *,
        total: float,
        tol: float,
        reg_covar: float,
        scatter: Array,
    ) -> None:
        k, d = n_components, sweep.n_features
        self.sweep, order = sweep, ORDERS[covariance_type]
        self.parameters = new_parameters(covariance_type, k, d)
        self.problem = Problem(
            KINDS[covariance_type],
            total,
            float(tol),
            float(reg_covar),
            d,
            np.ascontiguousarray(scatter).ravel(),
            places_of(covariance_type, d),
            np.ones(k),
        )
        plain, densities = new_densities("spherical", k, d), new_densities(covariance_type, k, d)
        passed = sweep.passed(plain, MEANS), sweep.passed(plain, order)
        self.sweeps: tuple[Any, ...] = (*passed, sweep.passed(densities, order))
        self.serves = self.sweeps[STEP] is not None and factorises(covariance_type, d)
        self.work = sweep_work(k, sweep.n_samples, d, order) + float(k) * d**3
        self.most_steps = 1 + int(LOOP_WORK / self.work)

    def _calls(self) -> Calls:
        passed, problem, gate = self.sweeps[STEP], self.problem, self.sweep.team.gate
        others = references(
            self.parameters, passed.densities, problem.places, passed.kept[0], problem.scatter
        )
        return Calls(sweep_reference(passed, gate), *others)

    def run(
        self, n_steps: int, bound: float, labels: Array | None = None
    ) -> tuple[list[float], int]:
        """Take up to `n_steps` steps.

        Parameters
        ----------
        n_steps : int
            Most steps; after a tenth of a second there are no more in any case.
        bound : float
            What the next bound is compared with.
        labels : ndarray of shape (n_samples,), int32, optional
            Component of each row, from which the steps begin; else they go on from
            :attr:`parameters`.

        Returns
        -------
        bounds : list of float
            The bound of every step.
        end : {GOES_ON, CONVERGED, COLLAPSED}
            Whether there may be more steps, or why not: a covariance has collapsed.
        """
        stage, sweeps = STEP, self.sweeps
        if labels is not None:
            near, about, passed = sweeps
            sweeps = near._replace(labels=labels), about._replace(labels=labels), passed
            stage = NEAR
        n_tasks = len(sweeps[STEP].likelihoods)
        bounds = np.empty(min(n_steps, self.most_steps))
        counter, gate = self.sweep.team.open(self.work, n_tasks)
        n_steps, end = _climb(
            self._calls(), counter, gate, n_tasks, stage, len(bounds), float(bound), self.problem,
            sweeps, self.parameters, bounds,
        )  # fmt: skip
        return bounds[:n_steps].tolist(), end
