"""What our pages take from Flower by name is still there: its templates' places, options and base classes."""

from __future__ import annotations

from pathlib import Path

import flower
import pytest
from flower.app import Flower
from flower.options import default_options
from flower.views import BaseHandler

from pipeline_queue.dashboard.app import _ADDED, TemplateLoader

TEMPLATES = Path(flower.__file__).parent / "templates"


@pytest.mark.parametrize(("name", "place"), [(name, place) for name, added in _ADDED.items() for place in added])
def test_the_place_where_we_add_something_occurs_once(name: str, place: str) -> None:
    assert (TEMPLATES / name).read_text().count(place) == 1


def test_the_templates_can_be_read_with_what_we_add() -> None:
    loader = TemplateLoader()
    for path in TEMPLATES.glob("*.html"):
        loader.load(path.name)
    loader.load("pipeline_page.html")


def test_options_and_methods_that_we_rely_on_exist() -> None:
    options = {"read_only", "basic_auth", "auth", "url_prefix", "xheaders"}
    assert options <= {name.replace("-", "_") for name in default_options._options}
    for owner, names in (
        (Flower, ("start_http_server", "stop")),
        (BaseHandler, ("get_current_user", "check_xsrf_cookie")),
    ):
        assert all(callable(getattr(owner, name)) for name in names)
    for name in ("js/theme.js", "js/bootstrap.bundle.min.js", "css/bootstrap.min.css", "css/flower.css", "favicon.ico"):
        assert (TEMPLATES.parent / "static" / name).is_file()
