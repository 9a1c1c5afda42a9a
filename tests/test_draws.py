"""Draws in compiled code are those of NumPy's generators, which move on as if they had drawn."""

import numpy as np
import pytest

from fastclust.kernels.draws import RowDraws, draw_batch, generator_of, lock_of


@pytest.mark.parametrize("generator", [np.random.MT19937, np.random.PCG64])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_are_those_that_numpy_draws(generator, weighted):
    made, numpys = (np.random.RandomState(generator(3)) for _ in range(2))
    n_samples, cumulative = 700, np.empty(0)
    if weighted:
        weights = np.random.default_rng(0).integers(0, 3, n_samples) * 1.0
        cumulative = np.cumsum(weights / weights.sum())
        cumulative /= cumulative[-1]
    draws = RowDraws(generator_of(made), n_samples, cumulative)
    for size in (1, 1000, 64):
        listed = np.empty(size, np.int64)
        with lock_of(made):
            draw_batch(draws, listed)
        uniforms = numpys.random_sample(size)
        wanted = (uniforms * n_samples).astype(np.int64)
        if weighted:
            wanted = np.searchsorted(cumulative, uniforms, side="right")
            assert (weights[listed] > 0).all()
        np.testing.assert_array_equal(listed, wanted)
    assert made.randint(2**31) == numpys.randint(2**31)
