"""The page of `results --html` in a real browser: its script runs without a complaint and does what its controls say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.reporting.page import render_page
from pipeline_queue.reporting.results import Row
from tests.browser import Browser, running_browser
from tests.conftest import new_cluster, wait_until, write_folder
from tests.unit.test_results_page import HOSTILE

ARROW_UP, ARROW_DOWN, ESCAPE = "\ue013", "\ue015", "\ue00c"

PIPELINE = """\
pipeline:
  parameters:
    - {name: lr, type: float}
    - {name: optimizer, type: string}
    - {name: note, type: string, default: "<b>same</b>"}
  steps:
    - train:
        run: train.py
        args: --lr ${{ parameters.lr }} --optimizer ${{ parameters.optimizer }} --note ${{ parameters.note }}
"""
SCRIPT = """\
import argparse, json, sys
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--optimizer")
parser.add_argument("--note")
options = parser.parse_args()
if options.lr == 1:
    sys.exit("diverged")
bonus = 5 if options.optimizer == "adam" else 0
with open("metrics.json", "w") as file:
    json.dump({"accuracy": options.lr * 100 + bonus, "loss": 1 - options.lr}, file)
"""


@pytest.fixture(scope="module")
def made_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a sweep that real workers executed: lr 0.01, 0.02 and 0.5 by two optimizers, and two runs that failed."""
    folder = tmp_path_factory.mktemp("sweep")
    write_folder(folder / "project", pipeline_yaml=PIPELINE, train_py=SCRIPT)
    page = folder / "results.html"
    with new_cluster(folder) as cluster:
        cluster.start_worker()
        shell = cluster.shell(folder / "project")
        points = ("-p", "lr=0.02,0.01,1,0.5", "-p", "optimizer=sgd,adam")
        shell("sweep", "pipeline.yaml", *points, exit_code=1)
        shell("results", "last", "--html", str(page))
    return page


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(shared_browser: Browser) -> Iterator[Browser]:
    """Whatever a test does to a page, nothing may complain on the console."""
    yield shared_browser
    assert shared_browser.complaints() == []


@pytest.fixture
def page(browser: Browser, made_page: Path) -> Browser:
    """The browser with the sweep's page, drawn."""
    browser.open(made_page.as_uri())
    wait_until(lambda: browser.count("#body tr") == 8, "the table shows every run")
    return browser


def _column(browser: Browser, name: str) -> list[str]:
    """What the table shows below this head, from top to bottom."""
    heads = [re.sub(" [▲▼]$", "", head) for head in browser.texts("#head th")]
    return browser.texts(f"#body td:nth-child({heads.index(name) + 1})")


def _shows(browser: Browser, name: str, expected: list[str]) -> None:
    wait_until(lambda: _column(browser, name) == expected, f"{name} reads {expected}, not {_column(browser, name)}")


def _press_head(browser: Browser, name: str) -> None:
    heads = [re.sub(" [▲▼]$", "", head) for head in browser.texts("#head th")]
    browser.click(f"#head th:nth-child({heads.index(name) + 1}) button")


def _choose(browser: Browser, field: str, value: str) -> None:
    browser.click(f"#{field} option[value='{value}']")


def _sorted_by(browser: Browser) -> list[tuple[str, str]]:
    script = (
        "return [...document.querySelectorAll('#head th[aria-sort]')].map((one) => [one.textContent, one.ariaSort])"
    )
    return [(text, order) for text, order in browser.run(script)]


def test_the_page_shows_every_run_with_its_values(page: Browser) -> None:
    assert page.texts("#head th") == ["index", "state", "lr", "optimizer", "accuracy", "loss", "seconds"]
    assert _column(page, "lr") == ["0.02", "0.02", "0.01", "0.01", "1", "1", "0.5", "0.5"]
    assert _column(page, "accuracy") == ["2", "7", "1", "6", "–", "–", "50", "55"]
    assert _column(page, "state") == [*["succeeded"] * 4, *["failed"] * 2, *["succeeded"] * 2]
    assert page.texts("#summary") == ["8 runs · 6 succeeded · 2 failed · best accuracy 55 in run 7"]
    assert page.run("return document.querySelector('#body tr.best').dataset.index") == "7"
    assert page.texts("#constant") == ["The same in all runs: note=<b>same</b>"] and page.count("b") == 0
    assert page.count("#parallel svg .axis") == 3 and page.count("#scatter svg") == 1


def test_a_head_sorts_and_sorts_the_other_way_when_pressed_again(page: Browser) -> None:
    _press_head(page, "lr")
    _shows(page, "lr", ["0.01", "0.01", "0.02", "0.02", "0.5", "0.5", "1", "1"])
    assert _sorted_by(page) == [("lr ▲", "ascending")]
    _press_head(page, "lr")
    _shows(page, "lr", ["1", "1", "0.5", "0.5", "0.02", "0.02", "0.01", "0.01"])
    assert _sorted_by(page) == [("lr ▼", "descending")]
    _press_head(page, "accuracy")
    # The highest is the best here; runs without a value stay at the end both ways.
    _shows(page, "accuracy", ["55", "50", "7", "6", "2", "1", "–", "–"])
    _press_head(page, "accuracy")
    _shows(page, "accuracy", ["1", "2", "6", "7", "50", "55", "–", "–"])


def test_the_filter_keeps_the_runs_that_have_all_its_words(page: Browser) -> None:
    page.write("#filter", "ADAM lr=0.0")
    _shows(page, "accuracy", ["7", "6"])
    assert page.texts("#count") == ["2 of 8 runs"]
    page.click("#clear")
    _shows(page, "index", [str(index) for index in range(8)])
    assert page.texts("#count") == [""] and page.run("return document.getElementById('clear').disabled") is True
    page.write("#filter", "nothing has this")
    _shows(page, "index", [])


def test_limits_on_an_axis_keep_the_runs_that_pass_there(page: Browser) -> None:
    page.run("document.querySelector('.axis[aria-label=\"Limits of accuracy\"]').focus()")
    page.press(ARROW_UP)
    _shows(page, "accuracy", ["50", "55"])
    page.press(ESCAPE)
    _shows(page, "index", [str(index) for index in range(8)])
    page.press(ARROW_DOWN)
    _shows(page, "accuracy", ["2", "7", "1", "6"])
    page.run("document.querySelector('.axis[aria-label=\"Limits of optimizer\"]').focus()")
    page.press(ARROW_DOWN)
    _shows(page, "accuracy", ["7", "6"])


def test_another_metric_brings_its_own_best_run(page: Browser) -> None:
    _choose(page, "metric", "loss")
    best = "return document.querySelector('#body tr.best').dataset.index"
    wait_until(lambda: page.run(best) == "6", "the lowest loss is the best")
    assert page.run("return document.getElementById('direction').value") == "low"
    assert page.count(".axis[aria-label='Limits of loss']") == 1
    assert page.texts("#legend span:not(.ramp)") == ["loss 0.5", "0.99"]
    _choose(page, "direction", "high")
    wait_until(lambda: page.run(best) == "2", "the highest loss is the best")
    assert page.texts("#summary")[0].endswith("best loss 0.99 in run 2")


def test_the_plot_goes_across_what_is_chosen(page: Browser) -> None:
    scatter = "return document.querySelector('#scatter svg').getAttribute('aria-label')"
    assert page.run(scatter) == "accuracy against lr; the table below has the values"
    assert page.texts("#scatter-note") == ["not drawn for want of a value: 2"]
    _choose(page, "x", "optimizer")
    _choose(page, "y", "loss")
    assert page.run(scatter) == "loss against optimizer; the table below has the values"
    assert page.run("return document.getElementById('x-log').disabled") is True


def test_a_run_under_the_focus_is_described_and_arrow_keys_go_on(page: Browser) -> None:
    page.run("document.querySelector('#body tr').focus()")
    assert page.texts("#readout") == ["run 0 succeeded: accuracy=2  loss=0.98  lr=0.02  optimizer=sgd"]
    page.press(ARROW_DOWN)
    assert page.texts("#readout") == ["run 1 succeeded: accuracy=7  loss=0.98  lr=0.02  optimizer=adam"]
    assert page.run("return document.querySelector('#body tr.lit').dataset.index") == "1"


def _row(index: int, parameters: dict[str, Any], metrics: dict[str, Any]) -> Row:
    return Row(f"train-7k3m9q2x.{index}", index, "succeeded", parameters, metrics, 2.0)


def test_a_long_table_is_shown_a_hundred_rows_at_a_time(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "many.html"
    path.write_text(render_page([_row(index, {"n": index}, {"loss": 1 / (index + 1)}) for index in range(250)], "many"))
    browser.open(path.as_uri())
    wait_until(lambda: browser.count("#body tr") == 100, "the first hundred are shown")
    assert browser.texts("#more") == ["Show more (150 left)"]
    browser.click("#more")
    wait_until(lambda: browser.count("#body tr") == 200, "a hundred more are shown")
    browser.click("#more")
    wait_until(lambda: browser.count("#body tr") == 250, "all are shown")
    assert browser.run("return document.getElementById('more').hidden") is True


@pytest.mark.parametrize("rows", [0, 1])
def test_a_page_of_no_runs_or_one_is_drawn(browser: Browser, tmp_path: Path, rows: int) -> None:
    path = tmp_path / "few.html"
    path.write_text(render_page([_row(index, {"n": 1}, {"loss": 1.0}) for index in range(rows)], "few"))
    browser.open(path.as_uri())
    wait_until(lambda: browser.texts("#summary")[0].startswith("1 run ·" if rows else "0 runs"), "the page is drawn")
    wait_until(lambda: browser.count("#body tr") == rows, "the table is drawn")


def test_hostile_values_are_shown_as_they_are_and_never_run(browser: Browser, tmp_path: Path) -> None:
    texts = [text for text in HOSTILE if text]
    path = tmp_path / "hostile.html"
    rows = [_row(index, {"text": text, f"{index}{text}": index}, {text: 0.5}) for index, text in enumerate(texts)]
    path.write_text(render_page(rows, "".join(texts)), encoding="utf-8")
    browser.open(path.as_uri())
    wait_until(lambda: browser.count("#body tr") == len(texts), "every row is shown")
    assert _column(browser, "text") == texts
    assert browser.count("img, iframe, #body script, svg[onload]") == 0
