"""No page of the site is wider than a phone, measured in a browser; and the check of its links.

The site is built by ``python -m sphinx docs docs/_build/html``; another folder can be named in
``FASTCLUST_SITE``.  Where there is no site, or no Chromium, the widths are not measured.  The build
leaves a notebook of each example, and one of them is run here as Jupyter would run it.
"""

from __future__ import annotations

import functools
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SITE = Path(os.environ.get("FASTCLUST_SITE", ROOT / "docs" / "_build" / "html"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
PHONE = 390  # px
# For a machine without a network.
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
OPTIONS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]

# Each page is loaded into a frame as wide as a phone.  The theme lets the article scroll sideways
# as a whole, which hides from the page that it is too wide; so the article is measured as well.
MEASURE = """<!doctype html><body><script>
const pages = PAGES, found = {};
async function measure(page) {
  const frame = document.createElement("iframe");
  frame.style.cssText = "border: 0; height: 800px; width: WIDTHpx";
  frame.src = page;
  await new Promise(loaded => { frame.onload = loaded; document.body.append(frame); });
  const boxes = [...frame.contentDocument.querySelectorAll(
    "html, .bd-article-container, table.autosummary, .indextable, .fc-parameters, .fc-targets")];
  found[page] = boxes.map(box => {
    const holder = box.tagName == "TABLE" ? box.parentElement : box;
    return [box.className || "page", holder.scrollWidth, holder.clientWidth];
  });
  frame.remove();
}
async function work() { while (pages.length) await measure(pages.pop()); }
Promise.all([work(), work(), work(), work()]).then(
  () => fetch("/found", {method: "POST", body: JSON.stringify(found)}));
</script>"""


class Handler(SimpleHTTPRequestHandler):
    """The site, the page that measures, and where it sends what it has found."""

    found: queue.Queue[dict[str, list[tuple[str, int, int]]]] = queue.Queue()

    def do_GET(self) -> None:
        if self.path != "/measure":
            super().do_GET()
            return
        pages = [path.relative_to(self.directory).as_posix() for path in pages_of(self.directory)]
        body = MEASURE.replace("PAGES", json.dumps(pages)).replace("WIDTH", str(PHONE)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


def pages_of(site: str | Path) -> list[Path]:
    """All pages except those of modules' code, which are one box that scrolls."""
    left_out = {"_static", "_modules"}
    paths = Path(site).rglob("*.html")
    return sorted(path for path in paths if not left_out & set(path.relative_to(site).parts))


def too_wide(site: Path, folder: Path) -> list[str]:
    """Boxes of the pages in `site` that are wider than a phone shows; `folder` must be empty."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/measure"
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder}", "--remote-debugging-port=0", url]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        found = Handler.found.get(timeout=120)
    finally:
        browser.terminate()
        browser.wait()
        server.shutdown()
        server.server_close()
    assert len(found) == len(pages_of(site))
    return [
        f"{page}: {kind} takes {wide} px of {room}"
        for page, boxes in sorted(found.items())
        for kind, wide, room in boxes
        if wide > room + 1
    ]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_no_page_is_wider_than_a_phone(tmp_path):
    if not (SITE / "index.html").exists():
        pytest.skip("the site has not been built")
    assert too_wide(SITE, tmp_path) == []


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_a_page_that_is_too_wide_is_found(tmp_path):
    site, profile = tmp_path / "site", tmp_path / "profile"
    site.mkdir()
    wide = "<p style='width: 600px'>wide</p>"
    (site / "whole.html").write_text(f"<!doctype html>{wide}", encoding="utf-8")
    scrolls = "<div class='bd-article-container' style='overflow-x: auto'>"
    (site / "article.html").write_text(f"<!doctype html>{scrolls}{wide}</div>", encoding="utf-8")
    (site / "narrow.html").write_text("<!doctype html><p>narrow</p>", encoding="utf-8")
    assert [each.split(" takes")[0] for each in too_wide(site, profile)] == [
        "article.html: bd-article-container",
        "whole.html: page",
    ]


NOTEBOOK = ROOT / "docs" / "gallery" / "plot_1_first_fit.ipynb"
WITH_A_BAR = """
from fastclust import ProgressBar
model = KMeans(12, random_state=0).fit(X, callbacks=[ProgressBar()])
"""


@pytest.mark.skipif(not NOTEBOOK.exists(), reason="the site has not been built")
def test_a_notebook_of_the_gallery_runs_and_its_bar_ends_full():
    nbformat, nbclient = map(pytest.importorskip, ("nbformat", "nbclient"))
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, 4)
    notebook.cells.append(nbformat.v4.new_code_cell(WITH_A_BAR))
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    printed = "".join(output.get("text", "") for output in outputs)
    assert "same labels:      True" in printed
    assert "converged after" in printed.splitlines()[-1]
    assert "100%" in printed.splitlines()[-1]


def test_faults_of_a_site_are_found(tmp_path):
    pytest.importorskip("sphinx")
    sys.path.append(str(ROOT / "docs"))
    from sphinxext import finished

    icon = "<link rel='icon' href='icon.svg'>"
    (tmp_path / "icon.svg").touch()
    (tmp_path / "good.html").write_text(
        f"{icon}<a href='good.html#top'></a><a href='https://other.org/page'></a>"
        "<div class='pst-scrollable-table-container'><table></table></div>",
        encoding="utf-8",
    )
    (tmp_path / "poor.html").write_text("<a href='none.html'></a><table></table>", encoding="utf-8")
    assert list(finished.faults(tmp_path)) == [
        "poor.html links to none.html, which is not there",
        "poor.html has a table that cannot scroll in a box of its own",
        "poor.html has no icon",
    ]
    index = {
        "docnames": ["a", "b"],
        "alltitles": {"Out-of-core rows": [[1, None]]},
        "terms": {"silhouett": [0, 1], "gmm": 0},
    }
    words = {"silhouette": "b", "out-of-core": "b", "gmm": "a"}
    assert list(finished.not_found(index, words)) == []
    assert list(finished.not_found(index, {"gmm": "b", "none": "c"})) == [
        "the search for 'gmm' does not find b",
        "the search knows no page c",
    ]
