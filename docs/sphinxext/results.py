"""What the benchmarks have measured, as a part of the pages: nothing is copied by hand.

``.. measured:: targets``
    The figures of ``benchmarks/results/targets.json`` with their bounds and verdicts, and the
    remarks; without a name, those of all other files there.
``.. ratios::``
    The ratios of README as a drawing, and where they come from.
``.. experiments::``
    A section for every ``docs/figures/*.json``: its table, its remarks and its figure.
``:measured:`targets memory beside X```
    One figure in its unit, by file, row and a part of its description.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from benchmarks import readme_table
from benchmarks.readme_table import OURS, RESULTS, THEIRS, Ratio, figure, load, provenance
from fastclust.__main__ import COMMANDS

from . import drawings

FIGURES = Path(__file__).resolve().parents[1] / "figures"
TITLES = {
    "fastclust-elkan": "Bounds against all distances",
    "fastclust-minibatch": "Batches against mini-batches",
    "fastclust-regimes": "Which exact algorithm wins where",
    "fastclust-roofline": "Kernels under the roof",
    "fastclust-growth": "Time against rows, features, clusters and threads",
}


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> list[str]:
    """A table in reStructuredText."""
    lines = [".. list-table::", f"   :class: fc-results {kind}".rstrip(), "   :header-rows: 1", ""]
    for row in [titles, *rows]:
        lines += [f"   {' ' if place else '*'} - {cell}" for place, cell in enumerate(row)]
    return [*lines, ""]


def amount(value: float, unit: str) -> str:
    """A number in its unit, with three significant digits; whole numbers as they are."""
    unit = unit if unit == "×" else f" {unit}"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value)}{unit}"
    return f"{value:.3g}{unit}" if abs(value) < 100 else f"{value:,.0f}{unit}"


def bullets(lines: Iterable[str]) -> list[str]:
    """Remarks as a list; they are text, not markup."""
    return [f"* {_plain(line)}" for line in lines] + [""]


def _plain(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\*`|_" else sign for sign in text)


# --- Targets ---------------------------------------------------------------------------------


def measured(document: Mapping[str, Any]) -> list[str]:
    """Figures, bounds and remarks of a file of targets."""
    rows = []
    for each in document["figures"]:
        bounds = [each["target"], each["at_least"]]
        rows.append(
            [
                _plain(each["what"]),
                amount(each["value"], each["unit"]),
                *("" if bound is None else amount(bound, each["unit"]) for bound in bounds),
                f":{_ROLES[each['verdict']]}:`{each['verdict']}`" if each["verdict"] else "",
            ]
        )
    lines = table(["what", "measured", "aim", "at least", ""], rows, "fc-numbers fc-targets")
    lines += [f"Measured on {_plain(provenance(document))}", ""]
    for remark in document.get("remarks", ()):
        lines += [re.sub("`([^`]*)`", r"``\1``", remark), ""]
    notes = {row: texts for row, texts in document["notes"].items() if texts}
    if notes:
        lines += [".. dropdown:: Behind the figures", ""]
        for row, texts in notes.items():
            lines += [f"   **{row}**", "", *(f"   {line}" for line in bullets(texts))]
    return lines


_ROLES = {"met": "same", "at least": "different", "missed": "absent"}


def cells(document: Mapping[str, Any]) -> list[str]:
    """Every fit behind the ratios: medians, iterations and inertias of both libraries."""
    rows = []
    for cell in document["details"].get("fit", {}).get("cells", []):
        runs = cell["runs"]
        rows.append(
            [
                readme_table.shape(cell),
                cell["dtype"],
                *(_milliseconds(runs, side) for side in (OURS, THEIRS)),
                " ".join(str(run["n_iter"][OURS]) for run in runs),
                " ".join(str(run["n_iter"][THEIRS]) for run in runs),
                _percent(cell["inertia_relative_difference"][OURS]),
                f"{cell['ratios'][THEIRS]:.1f}",
            ]
        )
    titles = ["data", "dtype", f"{OURS} ms", f"{THEIRS} ms"]
    titles += ["iterations", "iterations there", "inertia", "times faster"]
    return table(titles, rows, "fc-numbers") if rows else []


def _percent(difference: float) -> str:
    """A relative difference; what is rounding is nothing."""
    return "0" if abs(difference) < 1e-9 else f"{100 * difference:+.2f} %"


def _milliseconds(runs: Sequence[Mapping[str, Any]], side: str) -> str:
    """Mean over the seeds of the median."""
    medians = [sorted(run["seconds"][side])[len(run["seconds"][side]) // 2] for run in runs]
    return f"{1e3 * sum(medians) / len(medians):,.1f}"


def ratio_rows(ratios: Sequence[Ratio], what: str) -> list[str]:
    """A table of ratios, with their geometric mean."""
    rows = [[_plain(each.what), each.dtype, f"{each.value:.1f}"] for each in ratios]
    rows.append(["*geometric mean*", "", f"*{readme_table.geometric_mean(ratios):.1f}*"])
    return table([what, "dtype", "times faster"], rows, "fc-numbers")


class Measured(SphinxDirective):
    """See the module."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        shown = {"targets", "mixture_targets"}
        names = self.arguments or sorted({path.stem for path in RESULTS.glob("*.json")} - shown)
        lines: list[str] = []
        for name in names:
            self.env.note_dependency(str(RESULTS / f"{name}.json"))
            document = load(name)
            if not self.arguments:
                title = name.replace("_", " ").capitalize()
                lines += [title, "-" * len(title), ""]
            lines += measured(document)
            if name == "targets":
                lines += cells(document)
                lines += ratio_rows(readme_table.seedings(document), "k-means++ alone")
            if name == "mixture_targets":
                lines += ratio_rows(readme_table.steps(document), "one step of EM")
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


class Ratios(SphinxDirective):
    """See the module."""

    def run(self) -> list[nodes.Node]:
        targets, mixtures = load("targets"), load("mixture_targets")
        for name in ("targets", "mixture_targets"):
            self.env.note_dependency(str(RESULTS / f"{name}.json"))
        svg = readme_table.drawing(targets, mixtures, standalone=False)
        text = (
            f"Times as fast as scikit-learn {targets['versions']['scikit-learn']}: rows × features,"
            f" k clusters or components. {_plain(provenance(targets))}"
            f"  Mixtures: {readme_table.day(mixtures)}."
        )
        caption = self.parse_text_to_nodes(text)
        alt = "Bars of the ratios that the tables below list."
        return drawings.figure(svg, alt, caption)


class MeasuredRole(SphinxRole):
    """See the module."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        name, row, part = " ".join(self.text.split()).split(" ", 2)
        self.env.note_dependency(str(RESULTS / f"{name}.json"))
        try:
            found = figure(load(name), row, part)
        except LookupError as error:
            message = self.inliner.reporter.warning(str(error), line=self.lineno)
            return [], [message]
        return [nodes.Text(amount(found["value"], found["unit"]).replace(" ", " "))], []


# --- Experiments -----------------------------------------------------------------------------


def experiment(path: Path) -> list[str]:
    """The section of one file of an experiment."""
    document = json.loads(path.read_text(encoding="utf-8"))
    title = TITLES.get(path.stem, path.stem.removeprefix("fastclust-").capitalize())
    lines = [title, "-" * len(title), ""]
    command = path.stem.removeprefix("fastclust-")
    known = [name for name, _, _ in COMMANDS if name.split()[-1] == command]
    if known:
        lines += [f"``fastclust {known[0]}``, profile ``{document['profile']}``.", ""]
    picture = path.with_suffix(".png")
    if picture.exists():
        lines += [".. container:: fc-png", "", f"   .. image:: /figures/{picture.name}"]
        lines += [f"      :alt: {title}, as a figure", ""]
    lines += bullets(document.get("notes", ()))
    lines += [f"Measured on {_plain(provenance(document))}", ""]
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            body = _TABLES.get(key, _records)(value)
            lines += [f".. dropdown:: All numbers: {key}", "", *(f"   {each}" for each in body)]
    return lines


def _trials(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each entrant of each trial."""
    rows = []
    for trial in trials:
        size = f"{trial['n_samples']:,}×{trial['n_features']}, k={trial['n_clusters']}"
        for name, run in trial["runs"].items():
            distances = run["n_distances"]
            rows.append(
                [
                    _plain(trial["name"]),
                    size,
                    name,
                    f"{1e3 * run['median_seconds']:,.2f}",
                    str(run["n_iter"]),
                    "" if distances is None else f"{distances:,}",
                    f"{run['inertia']:,.6g}",
                ]
            )
    titles = ["data", "size", "entrant", "ms", "iterations", "distances", "inertia"]
    return table(titles, rows, "fc-numbers")


def _kernels(kernels: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each kernel of a roofline."""
    rows = [
        [
            each["kernel"],
            each["shape"],
            each["dtype"],
            each.get("arithmetic", each["dtype"]),
            f"{1e3 * each['median_seconds']:,.2f}",
            f"{each['flops_per_second'] / 1e9:,.1f}",
            f"{each['flops_per_byte']:,.1f}",
            f"{100 * each['share_of_roof']:.0f} %",
            each["bound_by"],
        ]
        for each in kernels
    ]
    titles = [
        "kernel", "shape", "dtype", "computed in", "ms", "GFLOP/s", "FLOP/byte", "of the roof",
        "bound by",
    ]  # fmt: skip
    return table(titles, rows, "fc-numbers")


def _records(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each of any records, with what in them is a number or a text."""
    names = [name for name, value in records[0].items() if isinstance(value, str | int | float)]
    rows = [
        [
            _plain(f"{each[name]:.4g}" if isinstance(each[name], float) else str(each[name]))
            for name in names
        ]
        for each in records
    ]
    return table([name.replace("_", " ") for name in names], rows, "fc-numbers")


_TABLES = {"trials": _trials, "kernels": _kernels}


class Experiments(SphinxDirective):
    """See the module."""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for path in sorted(FIGURES.glob("*.json")):
            self.env.note_dependency(str(path))
            lines += experiment(path)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("measured", Measured)
    app.add_directive("ratios", Ratios)
    app.add_directive("experiments", Experiments)
    app.add_role("measured", MeasuredRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
