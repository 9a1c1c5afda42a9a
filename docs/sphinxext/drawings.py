"""The directive ``drawing``: an SVG file as a part of the page.

An ``<img>`` knows nothing of the page it is on.  A drawing that is part of the page takes its
colours from the style sheet, so that one file is readable in the light and in the dark ::

    .. drawing:: tiles.svg
       :alt: What is to be seen, for those who do not see it.

       The caption.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def inline(svg: str, alt: str) -> str:
    """An SVG file as HTML, with a description in the place of its head.

    Parameters
    ----------
    svg : str
        Text of the file.
    alt : str
        What a screen reader says.

    Returns
    -------
    str
        The element, which scrolls by itself where the page is too narrow.
    """
    start = svg.index("<svg")
    head, body = re.match(r"<svg([^>]*)>(.*)", svg[start:], re.DOTALL).groups()  # type: ignore[union-attr]
    label = f'role="img" aria-label="{escape(alt, quote=True)}"'
    return f'<div class="fc-drawing"><svg{head} {label}>{body}</div>'


def figure(svg: str, alt: str, caption: list[nodes.Node]) -> list[nodes.Node]:
    """Nodes of a drawing and its caption."""
    box = nodes.container(classes=["fc-figure"])
    box += nodes.raw("", inline(svg, alt), format="html")
    if caption:
        box += nodes.container("", *caption, classes=["fc-caption"])
    return [box]


class Drawing(SphinxDirective):
    """See the module."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / "drawings" / self.arguments[0]
        self.env.note_dependency(str(path))
        if "alt" not in self.options:
            raise self.error(f"the drawing {path.name} needs an alt text")
        return figure(
            path.read_text(encoding="utf-8"), self.options["alt"], self.parse_content_to_nodes()
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("drawing", Drawing)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
