"""The command ``fastclust``, also ``python -m fastclust``.

``fastclust script.py`` and ``fastclust -m module`` run a program with fastclust in the place of
scikit-learn's clustering (:mod:`.acceleration`); what follows belongs to the program.
Every other command is a module in :mod:`.commands`; adding one is adding a line to `COMMANDS`.
A name may have two words; the first may be a command by itself.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from .acceleration import run_program

# Name, module and what it does.
COMMANDS = (
    (
        "compare",
        "fastclust.commands.compare",
        "time fastclust against scikit-learn on this machine and check that the clusters agree",
    ),
    (
        "compare elkan",
        "fastclust.commands.elkan",
        "time Elkan's and the other bounds against all distances, here and in scikit-learn",
    ),
    (
        "compare minibatch",
        "fastclust.commands.minibatch",
        "time batches against mini-batches over the number of clusters, here and in scikit-learn",
    ),
    (
        "compare mixtures",
        "fastclust.commands.mixtures",
        "time steps of EM of Gaussian mixtures, here and in scikit-learn",
    ),
    (
        "compare regimes",
        "fastclust.commands.regimes",
        "map which exact algorithm is the fastest over features, clusters and their separation",
    ),
    (
        "warm",
        "fastclust.commands.warm",
        "compile kernels into the cache now, as for the image of a container",
    ),
    (
        "roofline",
        "fastclust.commands.roofline",
        "measure what this machine can do at most, and each kernel's share of it",
    ),
    (
        "growth",
        "fastclust.commands.growth",
        "time kernels against rows, features, clusters and threads, and fit the exponents",
    ),
)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Returns
    -------
    argparse.ArgumentParser
        Which sets ``command``, to be called with the values it parsed.
    """
    parser = argparse.ArgumentParser(
        prog="fastclust",
        description="Exact k-means several times faster than scikit-learn's.",
        usage="%(prog)s [-h] [--version] {COMMAND | SCRIPT | -m MODULE} ...",
        epilog="SCRIPT and MODULE are Python programs, run with fastclust in the place of "
        "scikit-learn's KMeans and its relatives.",
    )
    parser.add_argument("--version", action="version", version=f"fastclust {version('fastclust')}")
    subparsers = parser.add_subparsers(
        prog="fastclust", required=True, metavar="COMMAND", title="commands"
    )
    for name, module_name, text in COMMANDS:
        module = importlib.import_module(module_name)
        subparser = subparsers.add_parser(name, help=text, description=f"{text.capitalize()}.")
        module.add_arguments(subparser)
        subparser.set_defaults(command=module.command)
    return parser


def _is_program(arguments: Sequence[str]) -> bool:
    """Whether a script or a module is to be run, not one of the commands.

    What is neither a command nor a file is left to the parser, which lists the commands.
    """
    if not arguments or arguments[0] in {name for name, _, _ in COMMANDS}:
        return False
    if arguments[0] == "-m":
        return len(arguments) > 1
    return os.path.exists(arguments[0])


def _is_missing_program(name: str) -> bool:
    """Whether `name`, which is no command, reads like that of a script."""
    return not name.startswith("-") and (name.endswith(".py") or os.path.basename(name) != name)


def _joined(arguments: list[str]) -> list[str]:
    """The arguments, with a name of two words made one of them."""
    name = " ".join(arguments[:2])
    joins = len(arguments) > 1 and name in {known for known, _, _ in COMMANDS}
    return [name, *arguments[2:]] if joins else arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        Exit status.
    """
    arguments = _joined(sys.argv[1:] if argv is None else list(argv))
    if _is_program(arguments):
        run_program(arguments)
        return 0
    if arguments and _is_missing_program(arguments[0]):
        print(f"fastclust: error: there is no file {arguments[0]!r}", file=sys.stderr)
        return 2
    try:
        args = build_parser().parse_args(arguments)
        status: int = args.command(args)
    except KeyboardInterrupt:
        # Where a sub-command has nothing to save; 130 is 128 + SIGINT, as shells have it.
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
