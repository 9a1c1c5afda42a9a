"""How modules may know each other: no circles, no private names of others, no endless files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import fastclust
from fastclust import kernels

FOLDERS = {
    "fastclust": Path(fastclust.__file__).parent,
    "fastclust.kernels": Path(kernels.__file__).parent,
}
MOST_LINES = 600  # of a file of kernels/
# Those that are longer, and how long: none may grow, and none is to be added.
LONGER = {
    "gaussian.py": 625,
}


def files() -> dict[str, Path]:
    """All modules, by their names; a package is called by its own."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            found[name] = path
    return found


MODULES = files()


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported(module: str, node: ast.AST) -> Iterator[tuple[str, str | None, str]]:
    """What an import of ours brings: the module it is of, the name in it if any, and the name here.

    A name that is a module itself is given as such.
    """
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name in MODULES:
                yield alias.name, None, alias.asname or alias.name
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = MODULES[module].stem == "__init__"
            parents = module.split(".")[: len(module.split(".")) - node.level + package]
            base = ".".join([*parents, *([node.module] if node.module else [])])
        for alias in node.names:
            if f"{base}.{alias.name}" in MODULES:
                yield f"{base}.{alias.name}", None, alias.asname or alias.name
            elif base in MODULES:
                yield base, alias.name, alias.asname or alias.name


def needed(module: str) -> set[str]:
    """The modules that are imported before this one is: not those that functions ask for."""
    tree = tree_of(module)
    return {of for node in tree.body for of, _, _ in imported(module, node)} - {module}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_no_module_needs_itself() -> None:
    above: list[str] = []
    done: set[str] = set()

    def visit(module: str) -> None:
        assert module not in above, " → ".join([*above[above.index(module) :], module])
        if module in done:
            return
        above.append(module)
        for other in sorted(needed(module)):
            visit(other)
        done.add(above.pop())

    for module in MODULES:
        visit(module)
    assert done == MODULES.keys()


def test_kernels_know_nothing_of_estimators_and_the_machine_no_mathematics() -> None:
    emit, machine = "fastclust.kernels.emit", "fastclust.kernels.machine"
    for module in MODULES:
        for other in needed(module):
            if module.startswith("fastclust.kernels"):
                assert other.startswith("fastclust.kernels"), f"{module} imports {other}"
            if module.startswith(emit):
                allowed = (emit, "fastclust.kernels.records")
                assert other.startswith(allowed), f"{module} imports {other}"
            if module.startswith(machine):
                allowed = (emit, machine, "fastclust.kernels.tiles")
                assert other.startswith(allowed), f"{module} imports {other}"


def test_no_module_uses_a_private_name_of_another() -> None:
    for module in MODULES:
        known = {}
        for node in ast.walk(tree_of(module)):
            for of, name, here in imported(module, node):
                if name is None:
                    known[here] = of
                else:
                    assert not is_private(name), f"{module} imports {name} of {of}"
        for node in ast.walk(tree_of(module)):
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                of = ast.unparse(node.value)
                assert of not in known, f"{module} uses {of}.{node.attr}"


def test_no_file_of_kernels_is_endless() -> None:
    folder = FOLDERS["fastclust.kernels"]
    for path in folder.rglob("*.py"):
        name = path.relative_to(folder).as_posix()
        n_lines = len(path.read_text(encoding="utf-8").splitlines())
        assert n_lines <= LONGER.get(name, MOST_LINES), f"{name} has {n_lines} lines"
