"""The site: sphinx-build -W docs _site (pip install -e '.[docs]'). Notebooks are shown as they are stored."""

import re

import regcls_jax

project = "regcls_jax"
author = "the regcls_jax authors"
version = release = regcls_jax.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "sphinx_book_theme"
html_title = "regcls_jax"

nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # shapes and units say more; they stand in the docstrings
autodoc_preserve_defaults = True


def literal(app, what, name, obj, options, lines):
    """Docstrings are written to be read as they stand: `name` is code, and |p - y|, x * y and edges_ are no markup."""
    for place, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [re.sub(r"[|*]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
        lines[place] = "``".join(parts)


def links(app, docname, source):
    """Links of pages lead where they do in the repository: to files beside docs/, which the site has as downloads."""
    if docname.startswith("notebooks/"):  # JSON, whose links are whole addresses
        return
    source[0] = re.sub(r"\]\(((?:\.\./)+results/\S+\.md)\)", r"](path:\1)", source[0])
    source[0] = re.sub(r"\[([^\]]+)\]\(\S*/(notebooks/\w+)\.ipynb\)", r"{doc}`\1 </\2>`", source[0])


def setup(app):
    app.connect("autodoc-process-docstring", literal, priority=400)  # before napoleon, which writes markup
    app.connect("source-read", links)
