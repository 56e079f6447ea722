"""The page of `results --html` in a real browser: its script runs without a complaint and does what its controls say."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pipeline_queue.reporting.page import page_data, render_page
from pipeline_queue.reporting.results import Row
from tests.browser import Browser, running_browser
from tests.conftest import new_cluster, wait_until, write_folder
from tests.unit.test_page_modules import PAGES
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
    wait_until(lambda: browser.count("#runs tbody tr") == 8, "the table shows every run")
    return browser


def _column(browser: Browser, name: str) -> list[str]:
    """What the table shows below this head, from top to bottom."""
    heads = [re.sub(" [▲▼]$", "", head) for head in browser.texts("#runs th")]
    return browser.texts(f"#runs td:nth-child({heads.index(name) + 1})")


def _shows(browser: Browser, name: str, expected: list[str]) -> None:
    wait_until(lambda: _column(browser, name) == expected, f"{name} reads {expected}, not {_column(browser, name)}")


def _press_head(browser: Browser, name: str) -> None:
    heads = [re.sub(" [▲▼]$", "", head) for head in browser.texts("#runs th")]
    browser.click(f"#runs th:nth-child({heads.index(name) + 1}) button")


def _choose(browser: Browser, field: str, value: str) -> None:
    browser.click(f".{field} option[value='{value}']")


def _sorted_by(browser: Browser) -> list[tuple[str, str]]:
    script = (
        "return [...document.querySelectorAll('#runs th[aria-sort]')].map((one) => [one.textContent, one.ariaSort])"
    )
    return [(text, order) for text, order in browser.run(script)]


def test_the_page_shows_every_run_with_its_values(page: Browser) -> None:
    assert page.texts("#runs th") == ["index", "state", "lr", "optimizer", "accuracy", "loss", "seconds"]
    assert _column(page, "lr") == ["0.02", "0.02", "0.01", "0.01", "1", "1", "0.5", "0.5"]
    assert _column(page, "accuracy") == ["2", "7", "1", "6", "–", "–", "50", "55"]
    assert _column(page, "state") == [*["succeeded"] * 4, *["failed"] * 2, *["succeeded"] * 2]
    assert page.texts("#summary") == ["8 runs · 6 succeeded · 2 failed · best accuracy 55 in run 7"]
    assert page.run("return document.querySelector('#runs tbody tr.best').dataset.index") == "7"
    assert page.texts(".constant") == ["The same in all runs: note=<b>same</b>"] and page.count("b") == 0
    assert page.count("#parallel .axis") == 3 and page.count("#scatter svg") == 1


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
    page.write(".search", "ADAM lr=0.0")
    _shows(page, "accuracy", ["7", "6"])
    assert page.texts(".count") == ["2 of 8 runs"]
    page.click(".clear")
    _shows(page, "index", [str(index) for index in range(8)])
    assert page.texts(".count") == [""] and page.run("return document.querySelector('.clear').disabled") is True
    page.write(".search", "nothing has this")
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
    best = "return document.querySelector('#runs tbody tr.best').dataset.index"
    wait_until(lambda: page.run(best) == "6", "the lowest loss is the best")
    assert page.run("return document.querySelector('.direction').value") == "low"
    assert page.count(".axis[aria-label='Limits of loss']") == 1
    assert page.texts(".legend span:not(.ramp)") == ["loss 0.5", "0.99"]
    _choose(page, "direction", "high")
    wait_until(lambda: page.run(best) == "2", "the highest loss is the best")
    assert page.texts("#summary")[0].endswith("best loss 0.99 in run 2")


def test_the_plot_goes_across_what_is_chosen(page: Browser) -> None:
    scatter = "return document.querySelector('#scatter svg').getAttribute('aria-label')"
    assert page.run(scatter) == "accuracy against lr; the table below has the values"
    assert page.texts("#scatter .note") == ["not drawn for want of a value: 2"]
    _choose(page, "across", "optimizer")
    _choose(page, "up", "loss")
    assert page.run(scatter) == "loss against optimizer; the table below has the values"
    assert page.run("return document.querySelector('.across-log').disabled") is True


def test_a_run_under_the_focus_is_described_and_arrow_keys_go_on(page: Browser) -> None:
    page.run("document.querySelector('#runs tbody tr').focus()")
    assert page.texts(".readout") == ["run 0 succeeded: accuracy=2  loss=0.98  lr=0.02  optimizer=sgd"]
    page.press(ARROW_DOWN)
    assert page.texts(".readout") == ["run 1 succeeded: accuracy=7  loss=0.98  lr=0.02  optimizer=adam"]
    assert page.run("return document.querySelector('#runs tbody tr.lit').dataset.index") == "1"


def _row(index: int, parameters: dict[str, Any], metrics: dict[str, Any]) -> Row:
    return Row(f"train-7k3m9q2x.{index}", index, "succeeded", parameters, metrics, 2.0)


def test_a_long_table_is_shown_a_hundred_rows_at_a_time(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "many.html"
    path.write_text(render_page([_row(index, {"n": index}, {"loss": 1 / (index + 1)}) for index in range(250)], "many"))
    browser.open(path.as_uri())
    wait_until(lambda: browser.count("#runs tbody tr") == 100, "the first hundred are shown")
    assert browser.texts(".more") == ["Show more (150 left)"]
    browser.click(".more")
    wait_until(lambda: browser.count("#runs tbody tr") == 200, "a hundred more are shown")
    browser.click(".more")
    wait_until(lambda: browser.count("#runs tbody tr") == 250, "all are shown")
    assert browser.run("return document.querySelector('.more').hidden") is True


@pytest.mark.parametrize("rows", [0, 1])
def test_a_page_of_no_runs_or_one_is_drawn(browser: Browser, tmp_path: Path, rows: int) -> None:
    path = tmp_path / "few.html"
    path.write_text(render_page([_row(index, {"n": 1}, {"loss": 1.0}) for index in range(rows)], "few"))
    browser.open(path.as_uri())
    wait_until(lambda: browser.texts("#summary")[0].startswith("1 run ·" if rows else "0 runs"), "the page is drawn")
    wait_until(lambda: browser.count("#runs tbody tr") == rows, "the table is drawn")


def test_hostile_values_are_shown_as_they_are_and_never_run(browser: Browser, tmp_path: Path) -> None:
    texts = [text for text in HOSTILE if text]
    path = tmp_path / "hostile.html"
    rows = [_row(index, {"text": text, f"{index}{text}": index}, {text: 0.5}) for index, text in enumerate(texts)]
    path.write_text(render_page(rows, "".join(texts)), encoding="utf-8")
    browser.open(path.as_uri())
    wait_until(lambda: browser.count("#runs tbody tr") == len(texts), "every row is shown")
    assert _column(browser, "text") == texts
    assert browser.count("img, iframe, #runs script, svg[onload]") == 0


def test_a_heat_map_has_the_mean_of_each_cell_and_marks_cells_without_a_value(page: Browser) -> None:
    assert page.run("return document.querySelector('.heat').disabled") is True
    _choose(page, "up", "optimizer")
    assert page.run("return document.querySelector('input.heat').checked") is True
    assert page.texts("table.heat th[scope=col]") == ["optimizer \\ lr", "0.01", "0.02", "0.5", "1"]
    rows = "return [...document.querySelectorAll('table.heat tr')].slice(1).map((row) => [...row.children].map((one) => one.textContent))"
    assert page.run(rows) == [["sgd", "1", "2", "50", "✕ failed"], ["adam", "6", "7", "55", "✕ failed"]]
    assert page.count("table.heat td.hatched") == 2 and page.count("#scatter .plot[hidden]") == 1
    _choose(page, "metric", "loss")
    wait_until(
        lambda: page.run(rows)[0] == ["sgd", "0.99", "0.98", "0.5", "✕ failed"], "the cells show the other metric"
    )
    page.click("input.heat")
    assert page.count("#scatter .scroll[hidden]") == 1 and page.count("#scatter .plot:not([hidden]) svg") == 1


def test_the_history_names_the_best_and_follows_the_filter(page: Browser) -> None:
    assert page.texts("#history .summary") == [
        "8 runs in the order of their index; the line is the best so far. It improved 3 times; the best is accuracy 55 in run 7, "
        "number 8 of 8."
    ]
    page.write(".search", "sgd")
    expected = (
        "4 runs in the order of their index; the line is the best so far. It improved 1 time; the best is accuracy 50"
    )
    wait_until(
        lambda: page.texts("#history .summary")[0].startswith(expected), "the history has the runs that are left"
    )
    page.write(".search", " lr=1")
    wait_until(
        lambda: page.texts("#history .summary") == ["None of these runs has a value."], "failed runs have no best"
    )


def test_too_few_runs_say_nothing_about_parameters(page: Browser) -> None:
    assert page.texts("#importance .sentence") == [
        "Too few runs: 6 with a value of accuracy, of the 20 that this takes."
    ]
    assert page.count("#importance table") == 0


def test_every_field_that_the_script_makes_has_a_label(page: Browser) -> None:
    fields = "return [...document.querySelectorAll('input, select')].map((one) => one.labels.length)"
    assert page.run(fields) == [1] * 8


def _importance(browser: Browser, values: list[Any], results: Sequence[float | None]) -> dict[str, Any]:
    """What the page's own function finds for one parameter with these values."""
    kinds = {"run": "own", "index": "own", "state": "own", "seconds": "own", "p": "changed", "score": "metric"}
    rows = [
        ["r", at, "succeeded", 1, value, result] for at, (value, result) in enumerate(zip(values, results, strict=True))
    ]
    columns = [{"name": name, "kind": kind} for name, kind in kinds.items()]
    data = {"columns": columns, "rows": rows, "metric": "score", "sort": [], "title": ""}
    found: dict[str, Any] = browser.run("return importanceOf(makeModel(arguments[0]))", data)
    return found


def _eta_squared(groups: list[Any], results: list[float]) -> float:
    mean = sum(results) / len(results)
    parts: dict[Any, list[float]] = {}
    for group, result in zip(groups, results, strict=True):
        parts.setdefault(group, []).append(result)
    between = sum(len(part) * (sum(part) / len(part) - mean) ** 2 for part in parts.values())
    return between / sum((result - mean) ** 2 for result in results)


def test_importance_is_eta_squared_with_the_sign_of_the_ranks(page: Browser) -> None:
    chance = random.Random(7)
    noise = [chance.random() for _ in range(80)]
    words = [chance.choice(["adam", "sgd", "lion"]) for _ in range(80)]
    [share] = _importance(page, words, noise)["shares"]
    assert share["share"] == pytest.approx(_eta_squared(words, noise)) and share["rho"] is None
    assert share["groups"] == 3 and share["chance"] == pytest.approx(2 / 79)
    # Eighty different numbers make eight groups of ten, in whatever order they come.
    numbers = chance.sample(range(80), 80)
    results = [-(number**3) + 10_000 * one for number, one in zip(numbers, noise, strict=True)]
    [share] = _importance(page, numbers, results)["shares"]
    assert share["share"] == pytest.approx(_eta_squared([number // 10 for number in numbers], results))
    assert share["groups"] == 8 and -1 < share["rho"] < -0.9


def test_importance_keeps_equal_numbers_in_one_group(page: Browser) -> None:
    numbers = [0.0] * 41 + [float(number) for number in range(1, 40)]
    [share] = _importance(page, numbers, [float(number == 0) for number in numbers])["shares"]
    assert share["share"] == pytest.approx(1) and 2 < share["groups"] <= 8


def test_importance_says_when_there_is_nothing_to_explain(page: Browser) -> None:
    assert _importance(page, [1, 2] * 9 + [1], [0.5, 0.6] * 9 + [0.7])["state"] == "few"
    missing: list[float | None] = [*[0.5, 0.6] * 9, None, None]
    assert _importance(page, [1, 2] * 10, missing)["state"] == "few"
    assert _importance(page, [1, 2] * 10, [0.5] * 20)["state"] == "constant"
    # A text of its own for each run would explain everything.
    [share] = _importance(page, [f"note {at}" for at in range(40)], [at / 7 for at in range(40)])["shares"]
    assert share["share"] is None
    # The largest numbers have no square.
    [share] = _importance(page, [1, 2] * 20, [1e308, -1e308] * 20)["shares"]
    assert share["share"] == pytest.approx(1) and share["rho"] == pytest.approx(-1)


SHELL = """<!doctype html><html lang="en" data-bs-theme="dark"><title>modules</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="plots.css">
<section id="controls"></section><section id="parallel"></section><section id="importance"></section>
<section id="scatter"></section><section id="history"></section><section id="runs"></section>"""
OPEN = """
const [data, ended] = arguments;
return (async () => {
  const from = async (name) => import(`${location.origin}/${name}.js`);
  const host = (id) => document.getElementById(id);
  const model = (await from("selection")).makeModel(data);
  (await from("controls")).modelControls(host("controls"), model);
  (await from("parallel")).parallelPlot(host("parallel"), model);
  (await from("importance")).importancePlot(host("importance"), model);
  (await from("scatter")).scatterPlot(host("scatter"), model);
  (await from("history")).historyPlot(host("history"), model, ended);
  (await from("table")).runsTable(host("runs"), model, { linkOf: (row) => (row[1] === 0 ? null : `/runs/${row[0]}`) });
  window.told = [];
  window.model = model;
  model.onBrush((conditions) => window.told.push(conditions));
})();
"""


class _Pages(SimpleHTTPRequestHandler):
    """Serves the modules as the dashboard does, and a page with a place for each part."""

    def do_GET(self) -> None:
        if self.path != "/":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header(
            "Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:"
        )
        self.end_headers()
        self.wfile.write(SHELL.encode())
        return None

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def modules(browser: Browser) -> Iterator[Browser]:
    """The browser with every part as a module of its own, of 40 runs that ended in the reverse order."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Pages, directory=str(PAGES))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        browser.open(f"http://127.0.0.1:{server.server_port}/")
        browser.run(OPEN, _data(40), [100 - index for index in range(40)])
        wait_until(lambda: browser.count("#runs tbody tr") == 40, "the table shows every run")
        yield browser
        server.shutdown()


def _data(count: int) -> dict[str, Any]:
    rows = [_row(index, {"n": index, "kind": "ab"[index % 2]}, {"score": float(index)}) for index in range(count)]
    return page_data(rows, "modules")


def test_the_modules_work_by_themselves(modules: Browser) -> None:
    assert modules.count("#parallel .axis") == 3 and modules.count("#importance table.shares tr") == 3
    assert modules.count("#scatter svg") == 1
    assert modules.run("return document.querySelector('#history .summary').textContent").startswith(
        "40 runs in the order in which they ended; the line is the best so far. It improved 0 times; the best is score 39"
    )
    links = "return [...document.querySelectorAll('#runs a')].slice(0, 1).map((one) => [one.textContent, one.getAttribute('href')])"
    assert modules.count("#runs a") == 39 and modules.run(links) == [["train-7k3m9q2x.1", "/runs/train-7k3m9q2x.1"]]
    assert _column(modules, "run")[0] == "train-7k3m9q2x.0"


def test_brushes_are_told_as_conditions_once_a_drag_is_over(modules: Browser) -> None:
    modules.run("model.drag(true); model.setBrush(model.named('n'), 0.25, 0.5)")
    wait_until(lambda: modules.count("#runs tbody tr") == 10, "the brush filters while it is dragged")
    assert modules.run("return told") == []
    modules.run("model.replace(arguments[0])", _data(60))
    assert modules.run("return model.rows.length") == 40
    modules.run("model.drag(false)")
    expected = [{"name": "n", "low": 9.75, "high": 19.5}]
    wait_until(lambda: modules.run("return told") == [expected], "the conditions are told once")
    assert modules.run("return model.rows.length") == 60 and len(_column(modules, "index")) == 10
    modules.run("model.setBrush(model.named('kind'), 0, 0.3)")
    told = "return told[told.length - 1]"
    wait_until(
        lambda: modules.run(told) == [*expected, {"name": "kind", "values": ["a"]}], "a text is told as its values"
    )
    modules.click(".clear")
    wait_until(lambda: modules.run(told) == [], "no conditions are told too")


def test_new_rows_keep_search_sort_brushes_and_the_focus(modules: Browser) -> None:
    _press_head(modules, "n")
    _press_head(modules, "n")
    modules.write(".search", "kind=a")
    modules.run("document.querySelector('.axis[aria-label=\"Limits of n\"]').focus()")
    modules.press(ARROW_UP)
    _shows(modules, "n", ["38", "36", "34", "32", "30"])
    modules.run("model.replace(arguments[0])", _data(50))
    wait_until(lambda: modules.run("return document.querySelectorAll('#parallel text').length") > 0, "drawn")
    _shows(modules, "n", ["38", "36", "34", "32", "30"])
    assert _sorted_by(modules) == [("n ▼", "descending")]
    assert modules.run("return document.activeElement.getAttribute('aria-label')") == "Limits of n"
    gone = [_row(index, {"kind": "ab"[index % 2]}, {"score": float(index)}) for index in range(4)]
    modules.run("model.replace(arguments[0])", page_data(gone, "modules"))
    _shows(modules, "index", ["0", "2"])
    wait_until(lambda: modules.run("return told[told.length - 1]") == [], "a brush ends with its column")
