"""A finished site is looked at: its links lead somewhere, and its search finds what it must.

This is done without a browser, whenever the site is built; what is wrong ends the build.  The
widths of the pages, for which a browser is needed, are measured by ``tests/test_site.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import snowballstemmer
from sphinx.application import Sphinx
from sphinx.errors import SphinxError

# Words that a reader looks for, and a page that each of them must find.
WORDS = {
    "gmm": "guide/estimators",
    "out-of-core": "guide/out_of_core",
    "gpu": "guide/limits",
    "silhouette": "guide/how_many",
    "cosine": "gallery/recipes/plot_2_embeddings",
}
_LINKS = {"href", "src"}


class _Page(HTMLParser):
    """What a page links to, and its tables that nothing lets scroll."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.bare_tables = 0
        self._before = ""  # class of the element that was opened last

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [value for name, value in attrs if name in _LINKS and value]
        kind = values.get("class") or ""
        # Tables of names are lines, one below the other, where the screen is narrow.
        lines = any(name in kind for name in ("indextable", "autosummary"))
        self.bare_tables += tag == "table" and not lines and "scrollable" not in self._before
        self._before = kind


def faults(site: Path) -> Iterator[str]:
    """What is wrong with the pages of a site that was built.

    Parameters
    ----------
    site : Path
        Its folder.

    Yields
    ------
    str
        A sentence.
    """
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site)
        if "_static" in name.parts:
            continue
        page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
        for link in sorted(set(page.links)):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not parts.path:
                continue
            if not (path.parent / unquote(parts.path)).exists():
                yield f"{name} links to {link}, which is not there"
        if page.bare_tables:
            yield f"{name} has a table that cannot scroll in a box of its own"
        if not any("icon" in link for link in page.links):
            yield f"{name} has no icon"


def search_index(site: Path) -> dict[str, Any]:
    """What the pages' search looks words up in."""
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    return dict(json.loads(text.removeprefix("Search.setIndex(").removesuffix(")")))


def not_found(index: Mapping[str, Any], words: Mapping[str, str] = WORDS) -> Iterator[str]:
    """Words that do not find the page that they must find.

    As the search does, a word is looked for in the text, by its stem, and in titles, as it is.

    Parameters
    ----------
    index : mapping
        What :func:`search_index` gives.
    words : mapping
        A page for each word.

    Yields
    ------
    str
        A sentence.
    """
    stem = snowballstemmer.stemmer("english").stemWord
    for word, page in words.items():
        if page not in index["docnames"]:
            yield f"the search knows no page {page}"
            continue
        number = index["docnames"].index(page)
        titles = [
            title
            for title, places in index["alltitles"].items()
            if word in title.lower() and number in [place[0] for place in places]
        ]
        pages = index["terms"].get(stem(word), [])
        if not titles and number not in ([pages] if isinstance(pages, int) else pages):
            yield f"the search for {word!r} does not find {page}"


def _look(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.name == "html":
        site = Path(app.outdir)
        found = [*faults(site), *not_found(search_index(site))]
        if found:
            raise SphinxError("\n".join(found))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("build-finished", _look, priority=900)  # when everything is written
    return {"parallel_read_safe": True, "parallel_write_safe": True}
