"""Writes what README says of speed: its tables, its sentences with numbers and its figure.

::

    python benchmarks/readme_table.py [--check]

All of it is made from ``results/targets.json`` and ``results/mixture_targets.json``, which
``targets.py`` and ``mixture_targets.py`` write: measure, copy their files there, run this.  In
README the text between a pair of marks, ``<!-- measured: NAME -->`` and ``<!-- end -->``, is
replaced; the figure is ``docs/figures/ratios.svg``.  With ``--check`` nothing is written, and the
exit status is 1 if something would have been.

The pages of the documentation take their tables and their figure from the same functions.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README, FIGURE = ROOT / "README.md", ROOT / "docs" / "figures" / "ratios.svg"
OURS, THEIRS = "fastclust", "scikit-learn"

Document = Mapping[str, Any]


class Ratio(NamedTuple):
    """How many times as fast as scikit-learn something is."""

    what: str
    dtype: str
    value: float


# --- What the files say ----------------------------------------------------------------------


def load(name: str) -> dict[str, Any]:
    """A file of results, by the name of the program that wrote it."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def figure(document: Document, row: str, part: str) -> dict[str, Any]:
    """The one figure of a row whose description contains `part`.

    Raises
    ------
    LookupError
        Where there is none, or more than one.
    """
    found: list[dict[str, Any]] = [
        each for each in document["figures"] if each["row"] == row and part in each["what"]
    ]
    if len(found) != 1:
        raise LookupError(f"{len(found)} figures of the row {row!r} contain {part!r}")
    return found[0]


def shape(cell: Mapping[str, Any]) -> str:
    """Data and clusters of a cell, in words."""
    family = {"image": "photo, ", "digits": "digits, "}.get(cell["name"].split("-")[0], "")
    return f"{family}{cell['n_samples']:,}×{cell['n_features']}, k={cell['n_clusters']}"


def fits(targets: Document) -> list[Ratio]:
    """Whole fits of KMeans, the largest ratio first."""
    cells = targets["details"]["fit"]["cells"]
    return _sorted(Ratio(shape(each), each["dtype"], each["ratios"][THEIRS]) for each in cells)


def seedings(targets: Document) -> list[Ratio]:
    """k-means++ alone, the largest ratio first."""
    cells = targets["details"]["seeding"]["cells"]
    return _sorted(Ratio(shape(each), each["dtype"], each["ratio"]) for each in cells)


def steps(mixtures: Document) -> list[Ratio]:
    """Steps of EM, the largest ratio first."""
    cells = mixtures["details"]["steps"]["cells"]
    return _sorted(Ratio(each["label"], "float64", each["ratio"]) for each in cells)


def geometric_mean(ratios: Sequence[Ratio]) -> float:
    """Of the values."""
    return statistics.geometric_mean(each.value for each in ratios)


def day(document: Document) -> str:
    """When a file of results was written."""
    date = datetime.fromisoformat(document["date"])
    return f"{date.day} {date:%B %Y}"


def provenance(document: Document) -> str:
    """Machine, versions and day of a file of results, as a sentence."""
    machine, versions = document["machine"], document["versions"]
    names = ("numpy", "numba", "scikit-learn")
    packages = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    return (
        f"{machine['cores']} cores of an {machine['cpu']}, {machine['system']}, Python "
        f"{versions['python']}, {packages}; {day(document)}."
    )


def _sorted(ratios: Any) -> list[Ratio]:
    return sorted(ratios, key=lambda each: -each.value)


# --- README ----------------------------------------------------------------------------------


def speed(targets: Document, mixtures: Document) -> str:
    """The part of README about what is fast, in Markdown."""
    one, two = fits(targets), seedings(targets)
    three = steps(mixtures)
    lines = [
        f"Ratios to scikit-learn {targets['versions']['scikit-learn']}, the two timed in turn, "
        f"medians, {len(targets['effort']['seeds'])} seeds each; k-means++, `n_init=1`, fits to "
        f"convergence; mean inertias are {_inertias(targets)}. {provenance(targets)} Made by "
        "`python benchmarks/targets.py`; all of it, misses included, is in "
        "`benchmarks/results/targets.json`.",
        *targets.get("remarks", ()),
    ]
    table = [
        "| fit | dtype | times faster | k-means++ alone | times faster |",
        "|---|---|---|---|---|",
    ]
    left = [f"{each.what} | {each.dtype} | {each.value:.1f}" for each in one]
    right = [f"{each.what} | {each.value:.1f}" for each in two]
    left.append(f"geometric mean | | {geometric_mean(one):.1f}")
    right.append(f"geometric mean | {geometric_mean(two):.1f}")
    table += [f"| {a} | {b} |" for a, b in zip_longest(left, right, fillvalue="|")]
    passes = figure(targets, "assignment", "share of the multiply-add peak")
    gflops = targets["details"]["assignment"]["gflops"]
    memory = targets["details"]["memory"]["megabytes"]
    of_memory = figure(targets, "memory", "beside X, ")["what"].split("beside X, ")[1]
    more = (
        f"A step of EM is {geometric_mean(three):.0f} times faster, the geometric mean of "
        f"{len(three)} shapes, and between {three[-1].value:.1f} and {three[0].value:.0f} times "
        f"(`python benchmarks/mixture_targets.py`, {day(mixtures)}). "
        f"One {passes['what'].split(':')[0]}, runs at {passes['value']:.0f} % of the machine's "
        f"multiply-add peak ({gflops:.0f} GFLOP/s). "
        f"A fit to {of_memory} takes {memory[OURS]:.0f} MB beside the data; scikit-learn takes "
        f"{memory[THEIRS]:.0f} MB."
    )
    picture = f"![Times as fast as scikit-learn, by shape of the data]({_relative(FIGURE)})"
    paragraphs = [_wrapped(" ".join(lines)), "\n".join(table), _wrapped(more), picture]
    return "\n\n".join(paragraphs)


def limits(targets: Document, mixtures: Document) -> str:
    """The limits that are numbers, as items of a list in Markdown."""
    warm = figure(targets, "start", "kernels in the cache")["value"]
    cold = figure(targets, "start", "nothing compiled")["value"]
    lowest = ", ".join(
        f"{kind} {each['value']:.1f} ({each['what'].split(': ')[1]})"
        for kind, each in (
            ("a fit", figure(targets, "fit", "the lowest")),
            ("k-means++", figure(targets, "seeding", "the lowest")),
            ("a step of EM", figure(mixtures, "steps", "the lowest")),
            ("scoring by a mixture", figure(mixtures, "score", "the lowest")),
        )
    )
    items = [
        f"The first fit of a process costs {warm:.1f} s more than scikit-learn's, and the very "
        f"first one on a machine, with each dtype, {cold:.0f} s of compilation, which are cached.",
        f"Times faster where it is least: {lowest}.",
    ]
    return "\n".join(_wrapped(f"- {item}", "  ") for item in items)


BLOCKS = {"speed": speed, "limits": limits}


def readme(text: str, targets: Document, mixtures: Document) -> str:
    """README with the text between its marks made anew.

    Raises
    ------
    ValueError
        Where a pair of marks is missing.
    """
    for name, write in BLOCKS.items():
        pattern = re.compile(rf"(<!-- measured: {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        body = write(targets, mixtures)
        text, count = pattern.subn(lambda match, body=body: match[1] + body + match[2], text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"README has {count} pairs of marks for {name!r}, and must have one")
    return text


def _inertias(targets: Document) -> str:
    """How near the inertias of the two libraries are, in words."""
    texts = []
    for dtype in ("float64", "float32"):
        differences = [
            abs(each["inertia_relative_difference"][OURS])
            for each in targets["details"]["fit"]["cells"]
            if each["dtype"] == dtype
        ]
        most = max(differences, default=0.0)
        how = "equal up to rounding" if most < 1e-9 else f"at most {100 * most:.1f} % apart"
        texts.append(f"{how} in {dtype}")
    return " and ".join(texts)


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _wrapped(text: str, indent: str = "", width: int = 100) -> str:
    """Lines of at most `width` characters; what stands in backquotes is kept whole."""
    lines = [""]
    for word in re.findall(r"(?:[^\s`]|`[^`]*`)+", text):
        if lines[-1].strip() and len(lines[-1]) + 1 + len(word) > width:
            lines.append(indent)
        lines[-1] += word if not lines[-1].strip() else f" {word}"
    return "\n".join(lines)


# --- The figure ------------------------------------------------------------------------------

WIDTH, LABELS, BAR, GAP = 540, 222, 15, 6
STYLE = """
  <style>
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }
    .fc-head { font-weight: 600; }
    .fc-faint { fill: #59636e; }
    .fc-bar { fill: #0072b2; }
    .fc-grid { stroke: #d1d9e0; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      .fc-faint { fill: #9198a1; }
      .fc-bar { fill: #56b4e9; }
      .fc-grid { stroke: #3d444d; }
    }
  </style>"""


def drawing(targets: Document, mixtures: Document, *, standalone: bool = True) -> str:
    """All ratios as bars on a logarithmic scale that begins at 1: an SVG file.

    Parameters
    ----------
    targets, mixtures : dict
        The files of results.
    standalone : bool
        Whether it brings its own style, which follows the reader's choice of light and dark;
        otherwise a page that it is part of has styles for its classes.
    """
    groups = {
        "KMeans, whole fits": [each._replace(what=_with_dtype(each)) for each in fits(targets)],
        "k-means++ alone": seedings(targets),
        "GaussianMixture, one step of EM": steps(mixtures),
    }
    top = max(each.value for ratios in groups.values() for each in ratios)
    scale = (WIDTH - LABELS - 36) / math.log(top)
    body, y = [], 8
    for title, ratios in groups.items():
        y += 14
        body.append(_text(0, y, title, "fc-head"))
        y += 8
        for each in ratios:
            length = scale * math.log(each.value)
            middle = y + BAR - 3
            body += [
                _text(LABELS - 8, middle, each.what, anchor="end"),
                f'<rect class="fc-bar" x="{LABELS}" y="{y}" width="{length:.1f}" '
                f'height="{BAR}" rx="2"/>',
                _text(LABELS + length + 5, middle, _short(each.value)),
            ]
            y += BAR + GAP
        y += 10
    ticks = [tick for tick in (1, 3, 10, 30, 100, 300) if tick <= top]
    lines = []
    for tick in ticks:
        x = LABELS + scale * math.log(tick)
        lines.append(f'<path class="fc-grid" d="M{x:.1f} 8V{y}"/>')
        body.append(_text(x, y + 14, f"{tick}×", "fc-faint", "middle"))
    body.append(_text(0, y + 14, "times as fast as scikit-learn:", "fc-faint"))
    kind, style = ("", STYLE) if standalone else (' class="fc-chart"', "")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg"{kind} viewBox="0 0 {WIDTH} {y + 22}" '
        f'width="{WIDTH}">{style}\n' + "\n".join(lines + body) + "\n</svg>\n"
    )


def _with_dtype(ratio: Ratio) -> str:
    return f"{ratio.what}, {ratio.dtype.replace('float', 'f')}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    attributes = f' class="{kind}"' if kind else ""
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}"{attributes}>'
        f"{escape(text, quote=False)}</text>"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing, say what is not as it should be"
    )
    args = parser.parse_args(argv)
    targets, mixtures = load("targets"), load("mixture_targets")
    wanted = {
        README: readme(README.read_text(encoding="utf-8"), targets, mixtures),
        FIGURE: drawing(targets, mixtures),
    }
    status = 0
    for path, text in wanted.items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if args.check:
            print(f"{_relative(path)} is not what the results say", file=sys.stderr)
            status = 1
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {_relative(path)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
