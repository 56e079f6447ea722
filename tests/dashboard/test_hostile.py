"""Whatever values, logs, files and metrics hold, the pages show it as text: in a real browser, from real runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from tests.browser import Browser
from tests.conftest import new_cluster, wait_until, write_folder
from tests.dashboard.flower_site import Site, running_flower
from tests.dashboard.hostile_values import FILES, HUGE, METRICS, VALUES
from tests.limits import LIMIT_SECONDS

PIPELINE = """\
pipeline:
  name: hostile
  parameters:
    - {name: text, type: string}
    - {name: fails, type: bool}
  steps:
    - show: {run: show.py, args: "${{ parameters.fails }} ${{ parameters.text }}"}
"""
SCRIPT = """\
import json, pathlib, sys
sys.stdout.reconfigure(encoding="utf-8", errors="replace")
fails, text = sys.argv[1] == "true", sys.argv[2]
print("value:", text)
print("\\x1b]0;pqHacked\\x07title sent\\x1b[31;1m red \\x1b[0m")
given = json.loads((pathlib.Path(__file__).parent / "given.json").read_text())
if fails:
    sys.exit(text)
if text == given["writer"]:
    for path, data in given["files"].items():
        pathlib.Path(path).parent.mkdir(exist_ok=True)
        pathlib.Path(path).write_bytes(bytes(data))
pathlib.Path("metrics.json").write_text(json.dumps({name: len(text) + at for at, name in enumerate(given["metrics"])}))
"""
FAILING = tuple(at for at in range(len(VALUES)) if at % 7 == 3)
WRITER = 0
CONTROLS = "".join(map(chr, [*range(1, 9), *range(14, 32)]))
ALLOWED_SCRIPTS = 3
"""Flower's two and the page's module."""
_MADE = "script, b, i, img, iframe, object, embed, base, meta, link, style, form[action], textarea, title:not(svg *)"
_SPOILT = """
    const inside = [...document.querySelectorAll("#page, #page *, #pq-problem, #pq-toasts, dialog")];
    return {
        hacked: String(window.pqHacked), title: document.title, scripts: document.scripts.length,
        made: inside.filter((one) => one.matches(arguments[0])).map((one) => one.outerHTML.slice(0, 200)),
        handlers: inside.filter((one) => [...one.attributes].some(({ name }) => name.startsWith("on"))).length,
        links: inside.filter((one) => one.href && one.protocol && !["http:", "https:"].includes(one.protocol)).map((one) => one.href),
        visible: document.getElementById("main-content").getClientRects().length,
    };
"""
_BYTES = """
    return Promise.all([...document.querySelectorAll("#outputs a")].map(async (link) => {
        const address = new URL(link.getAttribute("href"), `${location.protocol}//${location.host}`);
        const answer = await fetch(address), data = new Uint8Array(await answer.arrayBuffer());
        return [link.closest("tr").children[1].textContent, link.getAttribute("href"), answer.status, [...data], link.hasAttribute("download")];
    }));
"""
_SUBMIT = """
    const field = document.querySelector("#runs input[type=text]");
    field.value = arguments[0];
    field.form.requestSubmit();
    return field.value === arguments[0];
"""


@dataclass(frozen=True)
class Shown:
    """A site that shows the sweep of all hostile values."""

    site: Site
    sweep: str

    def run(self, at: int) -> str:
        return f"{self.sweep}.{at}"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("hostile")
    project = write_folder(folder / "project", pipeline_yaml=PIPELINE, show_py=SCRIPT)
    points = [{"text": value, "fails": at in FAILING} for at, value in enumerate(VALUES)]
    (project / "points.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    files = {path: list(data) for path, data in FILES.items()}
    (project / "given.json").write_text(json.dumps({"writer": VALUES[WRITER], "files": files, "metrics": METRICS}))
    with new_cluster(folder) as cluster:
        cluster.start_worker("--concurrency", "4")
        name = "<b>sweep</b>\u202e{{7*7}}'\""
        cluster.shell(project)("sweep", "pipeline.yaml", "--points", "points.jsonl", "--name", name, exit_code=None)
        sweep = next(iter(cluster.client.overview())).sweep
        assert cluster.client.sweep(sweep).counts["failed"] == len(FAILING)
        with running_flower(cluster) as site:
            yield Shown(site, sweep)
            assert site.errors() == ""


@pytest.fixture
def browser(shared_browser: Browser) -> Iterator[Browser]:
    """Nothing may complain on the console; refusals of the policy would be told there."""
    shared_browser.complaints()
    yield shared_browser
    complaints = shared_browser.complaints()
    shared_browser.open("about:blank")
    assert complaints == []


def _assert_unspoilt(browser: Browser, title: str = "") -> None:
    """No script of a value ran, and no value became an element, an attribute or an address."""
    found = browser.run(_SPOILT, _MADE)
    assert found["hacked"] == "undefined" and found["scripts"] == ALLOWED_SCRIPTS
    assert found["made"] == [] and found["handlers"] == 0 and found["links"] == [] and found["visible"] > 0
    assert found["title"] == title or not title


def _open(browser: Browser, shown: Shown, path: str) -> None:
    browser.open(shown.site.url + path)


def _table(browser: Browser, shown: Shown) -> None:
    _open(browser, shown, f"/sweeps/{shown.sweep}")
    wait_until(lambda: browser.count("#runs-table tbody tr") == len(VALUES), "every run is in the table")


def _find(browser: Browser, value: str, sign: str) -> None:
    """Types a condition for this value, quoted; exactly its run is left in the table."""
    assert browser.run(_SUBMIT, f"text = {sign}{value.replace(sign, sign * 2)}{sign}"), "the field changes the text"

    def is_found() -> bool:
        assert browser.texts("#where-problem") == [""], value
        return browser.texts("#runs-table tbody td[data-label=text]") == [value]

    wait_until(is_found, f"the run with {value[:100]!r} is found", LIMIT_SECONDS)


def test_the_corpus_is_on_one_page_of_the_table() -> None:
    assert 60 <= len(VALUES) <= 100 and len(set(VALUES)) == len(VALUES) and len(HUGE) == 20_000


def test_the_list_of_sweeps_and_the_cluster_show_names_and_causes_as_text(browser: Browser, shown: Shown) -> None:
    _open(browser, shown, "/sweeps")
    wait_until(lambda: browser.count("#sweeps tbody tr") == 1, "the list has its row")
    assert browser.texts("#sweeps tbody a")[0] == "<b>sweep</b>\u202e{{7*7}}'\""
    _assert_unspoilt(browser, title="Sweeps")
    _open(browser, shown, "/cluster")
    wait_until(lambda: browser.count("#workers .pq-slot") == 4, "the worker is shown")
    _assert_unspoilt(browser, title="Cluster")


def test_every_value_is_exact_text_in_the_table_and_each_cause_in_its_place(browser: Browser, shown: Shown) -> None:
    _table(browser, shown)
    cells = browser.texts("#runs-table tbody td[data-label=text]")
    runs = [int(text) for text in browser.texts("#runs-table tbody td[data-label=run]")]
    assert {run: cell for run, cell in zip(runs, cells, strict=True)} == dict(enumerate(VALUES))
    heads = browser.texts("#runs-table thead button")
    assert set(METRICS) <= set(heads), heads
    wait_until(lambda: browser.count("#plots .pq-card") == 4, "the plots are drawn")
    _assert_unspoilt(browser)
    assert browser.count("#failures li") >= 1


def test_the_metrics_of_hostile_names_can_be_chosen_sorted_by_and_plotted(browser: Browser, shown: Shown) -> None:
    _table(browser, shown)
    wait_until(lambda: browser.count("#plots .pq-card") == 4, "the plots are drawn")
    offered = browser.run("return [...document.querySelector('#plots select.metric').options].map((one) => one.value)")
    assert set(METRICS) <= set(offered)
    for name in METRICS:
        browser.run(
            "const list = document.querySelector('#plots select.metric'); list.value = arguments[0];"
            "list.dispatchEvent(new Event('change'));"
            "[...document.querySelectorAll('.pq-sort')].find((one) => one.textContent === arguments[0]).click()",
            name,
        )
        wait_until(
            lambda: browser.count("#runs-table th[aria-sort=ascending], #runs-table th[aria-sort=descending]") == 1,
            f"the table is sorted by {name}",
        )
        assert browser.texts("#where-problem") == [""]
        _assert_unspoilt(browser)


def test_the_filter_finds_exactly_the_run_of_each_value(browser: Browser, shown: Shown) -> None:
    _table(browser, shown)
    typed = [value for value in VALUES if value != HUGE and not set(value) & {*"\r\n", *CONTROLS}]
    for value in typed:
        _find(browser, value, "'")
    for value in (value for value in typed if set(value) & set("'\"")):
        _find(browser, value, '"')
    _assert_unspoilt(browser)


def test_the_filter_finds_values_of_control_characters(browser: Browser, shown: Shown) -> None:
    for value in (value for value in VALUES if set(value) & set(CONTROLS) and not set(value) & set("\r\n")):
        condition = "text = '" + value.replace("'", "''") + "'"
        answer = shown.site.get(f"/api/sweeps/{shown.sweep}/runs?where={quote(condition, safe='')}")
        assert answer["matched"] == 1, value


def test_a_filter_in_the_address_finds_values_of_several_lines(browser: Browser, shown: Shown) -> None:
    for value in (value for value in VALUES if set(value) & set("\r\n")):
        condition = "text = '" + value.replace("'", "''") + "'"
        _open(browser, shown, f"/sweeps/{shown.sweep}?where={quote(condition, safe='')}")
        wait_until(lambda: browser.count("#runs-table tbody tr") == 1, "the table is narrowed")
        assert browser.texts("#runs-table tbody td[data-label=text]") == [value]
        _assert_unspoilt(browser)


def test_a_wrong_filter_is_told_as_text(browser: Browser, shown: Shown) -> None:
    _table(browser, shown)
    for condition in ("text = '" + HUGE + "'", "<b>x</b> = 1", "'<img src=x onerror=window.pqHacked=50>' = 1"):
        browser.run(_SUBMIT, condition)
        wait_until(lambda: browser.texts("#where-problem") != [""], "the problem is told")
        _assert_unspoilt(browser)
        browser.run(_SUBMIT, "")
        wait_until(lambda: browser.texts("#where-problem") == [""], "the problem is gone")
    browser.complaints()  # Chromium notes every answer of 422


def test_the_pages_of_runs_show_values_and_logs_as_text(browser: Browser, shown: Shown) -> None:
    """Every failing run, as many succeeded ones, and the longest value; the table above has them all."""
    for at in sorted({*FAILING, *(at for at in range(len(VALUES)) if at % 7 == 0), VALUES.index(HUGE)}):
        _check_run(browser, shown, at)


def _check_run(browser: Browser, shown: Shown, at: int) -> None:
    value = VALUES[at]
    _open(browser, shown, f"/runs/{shown.run(at)}")
    wait_until(lambda: "title sent" in "".join(browser.texts(".pq-log")), "the log is shown")
    rows = browser.run(
        "return [...document.querySelectorAll('#values tbody tr')].map((row) => [row.cells[0].textContent, row.cells[1].textContent])"
    )
    assert dict(rows)["text"] == value
    log = "\n".join(browser.texts(".pq-log > div"))
    assert "pqHacked\x07" not in log and "\x1b" not in log and "title sent red " in log
    if value.isprintable() and value:
        assert f"value: {value}" in log and (at not in FAILING or log.count(value) >= 2)
    expected = {} if at in FAILING else {name: str(len(value) + number) for number, name in enumerate(METRICS)}
    assert {name: text for name, text in rows if name in METRICS} == expected
    _assert_unspoilt(browser, f"{shown.run(at)} · Run")
    field = browser.run(
        "const form = document.querySelector('#again form'), label = [...form.querySelectorAll('label')].find((one) => one.textContent === 'text');"
        "return document.getElementById(label.htmlFor).value"
    )
    assert field == value.replace("\r", "").replace("\n", "")


def test_every_file_is_downloaded_byte_for_byte_through_its_link(browser: Browser, shown: Shown) -> None:
    _open(browser, shown, f"/runs/{shown.run(WRITER)}")
    wait_until(lambda: browser.count("#outputs a") >= len(FILES), "the files are listed")
    found = {path: rest for path, *rest in browser.run(_BYTES)}
    assert set(found) - {"metrics.json"} == set(FILES)
    for path, data in FILES.items():
        address, status, raw, is_download = found[path]
        assert (status, bytes(raw), is_download) == (200, data, True), path
        for asked, shown_as in ((address, "attachment"), (f"{address}?view=1", "inline")):
            answer = shown.site.ask(asked)
            assert (answer.status, answer.raw) == (200, data), asked
            _assert_kept_apart(answer.headers, path, shown_as)
    log = shown.site.ask(f"/api/runs/{shown.run(FAILING[0])}/log.txt?step=show")
    _assert_kept_apart(log.headers, f"{shown.run(FAILING[0])}.show.log", "attachment")
    for form in ("csv", "json"):
        whole = shown.site.ask(f"/api/sweeps/{shown.sweep}/runs.{form}")
        _assert_kept_apart(whole.headers, f"{shown.sweep}.{form}", "attachment")


def _assert_kept_apart(headers: Any, path: str, shown_as: str) -> None:
    """A browser neither executes it, nor guesses what it is, nor takes its name for more than a name."""
    policy = headers["Content-Security-Policy"].split("; ")
    assert "sandbox" in policy and "default-src 'none'" in policy
    assert not any(part.startswith("script-src") or "allow-scripts" in part for part in policy)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Disposition"] == f"{shown_as}; filename*=UTF-8''{quote(path.rpartition('/')[2], safe='')}"
    if shown_as == "inline":
        assert headers["Content-Type"].split(";")[0] in ("text/plain", "image/png")


def test_files_are_viewed_as_text_and_tables_of_text(browser: Browser, shown: Shown) -> None:
    _open(browser, shown, f"/runs/{shown.run(WRITER)}")
    wait_until(lambda: browser.count("#outputs a") >= len(FILES), "the files are listed")
    count = browser.count("#outputs button")
    browser.run("for (const one of document.querySelectorAll('#outputs button')) one.click()")
    wait_until(lambda: browser.count("#outputs [data-view]") == count, "every file is shown")
    views = dict(
        browser.run(
            "return [...document.querySelectorAll('#outputs [data-view]')].map((row) => [row.previousElementSibling.cells[1].textContent, row.textContent])"
        )
    )
    assert count >= 10 and {"page.html", "drawing.svg", "table.csv"} <= set(views)
    for path in views.keys() & FILES.keys() - {"table.csv", "binary.log"}:
        assert views[path] == FILES[path].decode(), path
    assert "<script>window.pqHacked=23</script>" in views["table.csv"] and "two\nlines" in views["table.csv"]
    _assert_unspoilt(browser)


def test_a_viewed_file_that_is_opened_by_itself_executes_nothing(browser: Browser, shown: Shown) -> None:
    for path in ("page.html", "drawing.svg", "table.csv"):
        _open(browser, shown, f"/api/runs/{shown.run(WRITER)}/files/show/{path}?view=1")
        assert browser.run("return [document.contentType, String(window.pqHacked), document.scripts.length]") == [
            "text/plain", "undefined", 0,
        ]  # fmt: skip
