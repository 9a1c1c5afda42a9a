"""The commands of ``fastclust`` that measure, and what they share.

Every command is a module with two functions::

    add_arguments(parser: argparse.ArgumentParser) -> None
    command(args: argparse.Namespace) -> int

The first declares its options, the second runs it with their values and returns the exit status:
0; 2 if something needed is missing or options do not fit together; 130 if it was interrupted.
`fastclust.__main__.COMMANDS` lists them.

Packages that only some options need, or that are slow to import, are imported where they are
used: ``--help``, ``--list`` and the errors stay quick, and rich and matplotlib, of the extra
``cli``, are optional.
"""
