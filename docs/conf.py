"""How Sphinx builds this site: ``python -m sphinx -W --keep-going docs docs/_build/html``.

Nothing is downloaded.  Tables of parameters and of results are made while it builds, by the modules
in ``sphinxext/``, from the signatures and from the JSON files that the benchmarks write.
"""

from __future__ import annotations

import inspect
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Last, so that the fastclust that is documented is the installed one.
sys.path += [str(HERE), str(HERE.parent)]

project = "fastclust"
author = "The fastclust developers"
copyright = "the fastclust developers, BSD-3-Clause"
installed = metadata("fastclust")
release = version = installed["Version"]
# Where the repository is says pyproject.toml, as ``Repository`` in ``[project.urls]``.
urls = dict(each.split(", ", 1) for each in installed.get_all("Project-URL", []))
repository = urls.get("Repository")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxext.drawings",
    "sphinxext.parameters",
    "sphinxext.results",
    "sphinxext.command_line",
    "sphinxext.finished",
]
exclude_patterns = ["_build", "_templates", "gallery/**/*.ipynb"]
templates_path = ["_templates"]
# A name of scikit-learn's that its inventory lacks is a warning; others may name what has no page.
nitpicky = True
nitpick_ignore_regex = [(".*", r"(?!sklearn\.).*")]
default_role = "py:obj"
highlight_language = "python"
myst_heading_anchors = 3

# Names of scikit-learn's lead to its pages.  The inventory is a file here, of the names that are
# used: nothing is downloaded.
intersphinx_mapping = {
    "sklearn": ("https://scikit-learn.org/stable/", str(HERE / "inventories" / "scikit-learn.inv"))
}

# --- Reference -------------------------------------------------------------------------------

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc has them, with shapes
numpydoc_show_class_members = False  # the template lists them
numpydoc_class_members_toctree = False


def own_methods(name: str) -> list[str]:
    """Public methods of a class of fastclust's that are documented here, in the order of use.

    Those that scikit-learn's base classes generate (``set_output``, ``get_params``, ...) are left
    to its own documentation, to which their texts refer.
    """
    import fastclust

    found = fastclust
    for part in name.removeprefix("fastclust.").split("."):
        found = getattr(found, part)
    kind: Any = found
    names = [
        each
        for base in reversed(kind.__mro__)
        for each, value in vars(base).items()
        if base.__module__.startswith("fastclust")
        and not each.startswith("_")
        and inspect.isfunction(value)
        and "_request" not in each
    ]
    order = ["fit", "partial_fit", "fit_predict", "fit_transform", "predict", "transform"]
    return sorted(dict.fromkeys(names), key=lambda each: (each not in order, each))


autosummary_context = {"own_methods": own_methods}
suppress_warnings = ["config.cache"]  # that function can not be cached

# --- Gallery ---------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 1e9,  # a time of the machine that builds the site tells a reader nothing
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "reset_modules": ("matplotlib",),
    "image_srcset": ["2x"],
    "backreferences_dir": None,
    "plot_gallery": "True",
}

# --- Pages -----------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = f"fastclust {version}"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["fastclust.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": html_title},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher", "navbar-icon-links"],
    "icon_links": [
        {"name": "Repository", "url": repository, "icon": "fa-solid fa-code-branch"},
    ]
    if repository
    else [],
    "header_links_before_dropdown": 8,
    "show_nav_level": 2,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {
    "install": [],
    "first_fit": [],
    "migrating": [],
    "changelog": [],
    "contributing": [],
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
