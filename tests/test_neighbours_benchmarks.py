"""Rows of the benchmarks of DBSCAN and of trees of clusters run, on tiny data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import threadpoolctl

from benchmarks import linkage_targets, neighbours_targets
from benchmarks.measuring import turns
from benchmarks.measuring.turns import Effort


@pytest.mark.parametrize(
    ("script", "left_out"), [(neighbours_targets, {"memory"}), (linkage_targets, {"memory"})]
)
def test_rows_are_measured(
    script: Any, left_out: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (turns, script):
        monkeypatch.setattr(module, "PAUSE", 0, raising=False)
    tiny = Effort(divisor=100, repeats=1, fill=0.0, seeds=(0,))
    monkeypatch.setattr(script, "QUICK", tiny)
    rows = [row for row in script.ROWS if row not in left_out]
    path = tmp_path / "results.json"
    # Threads of several libraries that wait for each other take longer than what they compute.
    with threadpoolctl.threadpool_limits(1):
        assert script.main([*rows, "--quick", "--output", str(path)]) == 0
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["failed"] == {}
    assert list(dict.fromkeys(figure["row"] for figure in found["figures"])) == rows
    shares = [f["value"] for f in found["figures"] if "label" in f["what"] and f["unit"] == ""]
    assert all(value in (1, 10) for value in shares)
