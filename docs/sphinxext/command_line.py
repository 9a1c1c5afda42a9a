"""The directive ``command-line``: what ``fastclust --help`` and its commands say."""

from __future__ import annotations

import argparse
import os
from typing import Any
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from fastclust.__main__ import COMMANDS, build_parser


class CommandLine(SphinxDirective):
    """A section with the help of each command, as a terminal of 80 columns shows it."""

    def run(self) -> list[nodes.Node]:
        with mock.patch.dict(os.environ, COLUMNS="80", NO_COLOR="1"):
            parser = build_parser()
            lines = [".. code-block:: text", "", *_indented(parser.format_help()), ""]
            for name, _, _ in COMMANDS:
                title = f"fastclust {name}"
                lines += [title, "-" * len(title), "", ".. code-block:: text", ""]
                lines += [*_indented(_commands(parser)[name].format_help()), ""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    action = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


def _indented(text: str) -> list[str]:
    return [f"   {line}" for line in text.splitlines()]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
