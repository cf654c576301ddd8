"""How Sphinx builds the site from what ``python -m tools.site`` has laid out; every warning is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dfbench
import dfbench.testing

for _module in (dfbench, dfbench.testing):  # before autodoc does it its own way, with TYPE_CHECKING set
    for _name in _module.__all__:
        getattr(_module, _name)

project = "dfbench"
author = copyright = "the dfbench contributors"
version = release = dfbench.__version__
extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinx_design", "tools.mathml",
]  # fmt: skip
myst_enable_extensions = ["colon_fence", "dollarmath", "attrs_inline"]
myst_heading_anchors = 4
html_theme = "pydata_sphinx_theme"
html_title = "dfbench"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_context = {"default_mode": "auto"}
html_css_files = ["site.css"]
html_extra_path = ["_extra"]
html_show_sourcelink = False
html_copy_source = False
html_favicon = "_static/favicon.svg"
html_sidebars = {"index": [], "search": []}
_switch = json.loads((Path(__file__).parent / "version.json").read_text())  # tools.site; {}: one version
html_theme_options: dict[str, Any] = {
    "header_links_before_dropdown": 9,
    "navbar_align": "left",
    "navbar_end": ["leaderboard-link", *(["version-switcher"] if _switch else []), "theme-switcher"],
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "check_switcher": False,
    "navigation_with_keys": False,
    "back_to_top_button": False,
}
if _switch:
    version = release = _switch["version_match"]
    html_theme_options |= {"switcher": _switch, "show_version_warning_banner": True}
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autoclass_content = "class"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_google_docstring, napoleon_numpy_docstring, napoleon_use_ivar = True, False, True
copybutton_exclude = ".linenos, .gp"
suppress_warnings = ["myst.header"]  # some pages begin their parts at the third level
