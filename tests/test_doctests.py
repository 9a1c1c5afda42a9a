"""The examples in the public docstrings run and print what they say."""

from __future__ import annotations

import doctest

import fastclust.kmeans


def test_examples() -> None:
    result = doctest.testmod(fastclust.kmeans)
    assert result.attempted >= 12
    assert result.failed == 0
