"""Innermost loops of instructions, as four CPUs would run them: full width, fused, no spills."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cross_compiled
import pytest
from numba import config

# What multiplies and adds, a register of full width, and a register that was put on the stack.
FORMS = {
    "avx512": (r"vfmadd\d+p[sd]\b", r"%zmm", r"\(%rsp"),
    "avx2": (r"vfmadd\d+p[sd]\b", r"%ymm", r"\(%rsp"),
    "sse2": (r"mulp[sd]\b", r"%xmm", r"\(%rsp"),
    "neon": (r"fmla\b", r"v\d+\.(4s|2d)", r"\[sp"),
}
CENTERS = {"scores_in_tile": 6, "add_products": 4, "log_density_in_tile": 6}


def loops(assembly: str) -> list[list[str]]:
    """The loops that hold no other one, as lines."""
    lines = [line.strip() for line in assembly.splitlines()]
    places = {line.split(":")[0]: i for i, line in enumerate(lines) if re.match(r"\.L\w+:", line)}
    found = []
    for i, line in enumerate(lines):
        jump = re.match(r"(?:j\w+|b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\d+,)\s+(\.L\w+)$", line)
        start = places.get(jump.group(1), i) if jump else i
        body = lines[start + 1 : i]
        if start < i and not any(entry.split(":")[0] in places for entry in body):
            found.append(body)
    return found


@pytest.fixture(scope="module")
def code() -> dict[str, dict[str, str]]:
    """Assembly by target and instruction."""
    program = Path(cross_compiled.__file__)
    running = {
        target: subprocess.Popen(
            [sys.executable, str(program), target],
            env=cross_compiled.environment(target),
            stdout=subprocess.PIPE,
            text=True,
        )
        for target in cross_compiled.TARGETS
    }
    return {target: json.loads(process.communicate()[0]) for target, process in running.items()}


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="needs machine code")
@pytest.mark.parametrize("name", CENTERS)
@pytest.mark.parametrize("target", FORMS)
def test_inner_loops(code: dict[str, dict[str, str]], target: str, name: str) -> None:
    fused, register, spilled = FORMS[target]
    wanted = CENTERS[name] * int(code[target]["row_vectors"])
    found = []
    for loop in loops(code[target][name]):
        products = [line for line in loop if re.match(fused, line)]
        if products and len(products) % wanted == 0:  # LLVM may do several turns at once
            found.append(loop)
            assert all(re.search(register, line) for line in products)
            assert not [x for x in loop if re.search(spilled, x) and re.search(register, x)]
    assert found
