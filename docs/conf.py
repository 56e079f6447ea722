"""Sphinx builds these pages: `sphinx-build -W -b html docs build/docs`.

Sphinx with MyST, because it is maintained by many, reads Markdown, and makes the reference from the program itself: the
command line from click and the Python API from docstrings.
"""

from importlib.metadata import version as version_of

project = "pipeline_queue"
author = "the pipeline_queue authors"
release = version_of("pipeline-queue")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
html_theme = "furo"
html_title = "pipeline_queue"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
