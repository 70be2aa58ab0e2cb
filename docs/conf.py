"""Sphinx: sources in docs/, site in build/docs (`make docs`)."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import figures  # noqa: E402

import jnrsfm  # noqa: E402

project = "jnrsfm"
author = "the jnrsfm authors"
release = version = jnrsfm.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "docstrings",
    "mathml",
    "beyond",
    "front_doors",
    "drawings",
    "gallery",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_ext", "examples", "**/*.ipynb", "**/*.py", "**/*.zip"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # shapes and types of other libraries have no pages here
suppress_warnings = [
    "myst.header",  # a page may begin with the heading of the file that it includes
    "config.cache",  # the order of the gallery is a function
]

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "substitution"]
myst_substitutions = figures.figures()
myst_heading_anchors = 3
myst_dmath_double_inline = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "jnrsfm"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
templates_path: list[str] = []
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
