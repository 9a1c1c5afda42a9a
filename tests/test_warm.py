"""``fastclust warm``: every recipe runs, in both dtypes, and says what it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastclust
from fastclust.__main__ import main
from fastclust.commands import warm


@pytest.mark.parametrize("dtype", warm.DTYPES)
@pytest.mark.parametrize("name", list(warm.ESTIMATORS))
def test_each_recipe_runs(name: str, dtype: str) -> None:
    X = np.random.default_rng(0).normal(size=(warm.N_ROWS, warm.N_FEATURES)).astype(dtype)
    warm.ESTIMATORS[name](X)


def test_each_estimator_has_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    estimators = {
        name
        for name in fastclust.__all__
        if isinstance(getattr(fastclust, name), type) and hasattr(getattr(fastclust, name), "fit")
    }
    used = set()

    def noting(name: str, estimator: Any) -> Any:
        def make(*args: Any, **options: Any) -> Any:
            used.add(name)
            return estimator(*args, **options)

        return make

    for name in estimators:
        monkeypatch.setattr(fastclust, name, noting(name, getattr(fastclust, name)))
    X = np.random.default_rng(0).normal(size=(warm.N_ROWS, warm.N_FEATURES))
    for recipe in warm.ESTIMATORS.values():
        recipe(X)
    assert used == estimators


def test_it_runs_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[str] = []
    recipes = {name: lambda X: called.append(X.dtype.name) for name in ("kmeans", "sparse")}
    monkeypatch.setattr(warm, "ESTIMATORS", recipes)
    assert main(["warm", "--dtype", "float32", "--estimators", "kmeans", "sparse"]) == 0
    printed = capsys.readouterr()
    assert called == ["float32", "float32"]
    assert "[2/2] sparse, float32 … " in printed.err
    assert printed.out.startswith("compiled, or found in the cache, in ")
    assert main(["warm", "--no-progress"]) == 0
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit):
        main(["warm", "--dtype", "int8"])
