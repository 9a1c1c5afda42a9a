"""The directives ``parameter-tables`` and ``compared-methods``: fastclust beside scikit-learn.

All that is shown comes from :mod:`.signatures`.  A difference about which nothing is written, or
something written about what is not there any more, is a warning, and so ends a build with ``-W``.
"""

from __future__ import annotations

from typing import Any

import sklearn
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from . import signatures
from .signatures import COUNTERPARTS, Comparison, Parameter, compared, forgotten

logger = logging.getLogger(__name__)
SIGNS = {"same": "same", "added": "added", "absent": "absent", "different": "different"}


def _default(parameter: Parameter) -> str:
    """Defaults as text: one where both are the same."""
    theirs, ours = parameter.theirs, parameter.ours
    values = [f"``{value}``" for value in dict.fromkeys([theirs, ours]) if value]
    return " → ".join(values) if None not in (theirs, ours) else "".join(values)


def _table(comparison: Comparison, what: str) -> list[str]:
    """A table in reStructuredText."""
    lines = [
        ".. list-table::",
        "   :class: fc-parameters",
        "   :header-rows: 1",
        "   :widths: 22 22 14 42",
        "",
        f"   * - {what}",
        "     - default" if what == "parameter" else "     - dtype",
        "     -",
        "     - remark",
    ]
    for each in comparison.parameters:
        if what == "attribute" and each.status == "same":
            continue
        lines += [
            f"   * - ``{each.name}``",
            f"     - {_default(each)}",
            f"     - :{each.status}:`{SIGNS[each.status]}`",
            f"     - {each.remark.strip()}",
        ]
    return [*lines, ""]


def _title(comparison: Comparison) -> str:
    owner = comparison.owner
    if owner.endswith(" attributes"):
        return f"Attributes of a fitted :class:`~fastclust.{owner.split()[0]}`"
    kind = "meth" if "." in owner else "class" if owner[0].isupper() else "func"
    return f":{kind}:`fastclust.{owner}`" if kind != "meth" else f":meth:`~fastclust.{owner}`"


class ParameterTables(SphinxDirective):
    """A section for every name that both libraries have, with a table of all its parameters."""

    def run(self) -> list[nodes.Node]:
        known = signatures.remarks()
        self.env.note_dependency(str(signatures.REMARKS))
        for sentence in forgotten(known):
            logger.warning("parameters.toml: %s", sentence, location=self.get_location())
        lines = [f"Made from the signatures of scikit-learn {sklearn.__version__}.", ""]
        for name in COUNTERPARTS:
            lines += [name, "-" * len(name), ""]
            first, *others = compared(name, known)
            lines += [f":obj:`{COUNTERPARTS[name].__name__}.{name}` and {_title(first)}", ""]
            lines += _table(first, "parameter")
            for each in others:
                what = "attribute" if each.owner.endswith(" attributes") else "parameter"
                lines += [_title(each), "", *_table(each, what)]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


class StatusRoles:
    """Roles of the names of `SIGNS`: a word in a box of its own colour."""

    @staticmethod
    def make(status: str) -> Any:
        def role(name: str, raw: str, text: str, line: int, inliner: Any, *_: Any) -> Any:
            return [nodes.inline(raw, text, classes=["fc-status", f"fc-{status}"])], []

        return role


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("parameter-tables", ParameterTables)
    for status in SIGNS:
        app.add_role(status, StatusRoles.make(status))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
