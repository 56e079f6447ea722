"""The pages in a real browser: what a person sees and does, live, with a real server, real workers and a real Flower."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.browser import Browser
from tests.conftest import Cluster, new_cluster, wait_until, write_folder
from tests.dashboard.flower_site import Site, running_flower

Shown = tuple[Cluster, str]
SLOW = """\
import json, os, sys, time
gate = sys.argv[1]
for number in range(3000):
    print("line", number, flush=True)
    if os.path.exists(gate):
        break
    time.sleep(0.02)
json.dump({"loss": 0.5}, open("metrics.json", "w"))
"""


@pytest.fixture
def browser(shared_browser: Browser) -> Iterator[Browser]:
    """Whatever a test does to a page, nothing may complain on the console."""
    shared_browser.complaints()
    yield shared_browser
    assert shared_browser.complaints() == []


def _text(browser: Browser, selector: str) -> str:
    return " ".join(browser.texts(selector))


def _open(browser: Browser, site: Site, path: str) -> None:
    browser.open(site.url + path)


def _click(browser: Browser, selector: str) -> None:
    """As soon as nothing lies over it: plots that are drawn move what is below them."""

    def clicked() -> bool:
        try:
            browser.click(selector)
        except HTTPError:
            return False
        return True

    wait_until(clicked, f"{selector} can be clicked")


def test_the_list_shows_the_sweep_and_leads_to_it(browser: Browser, site: Site, shown_cluster: Shown) -> None:
    _open(browser, site, "/")
    wait_until(lambda: browser.count("#sweeps tbody tr") >= 1, "the list has rows")
    row = f"#row-{shown_cluster[1]}"
    assert "first sweep" in _text(browser, row) and "failed" in _text(browser, row)
    assert "12 of 12 runs" in _text(browser, row) and "accuracy" in _text(browser, row)
    assert browser.run(f"return document.querySelector('{row} .pq-bar').getAttribute('aria-valuetext')") == (
        "9 succeeded, 3 failed"
    )
    _click(browser, f"{row} a")
    wait_until(lambda: "first sweep" in _text(browser, "h1"), "its page opens")


def test_the_filter_of_the_list_hides_what_does_not_match(browser: Browser, site: Site) -> None:
    _open(browser, site, "/sweeps")
    wait_until(lambda: browser.count("#sweeps tbody tr") >= 1, "the list has rows")
    browser.write("#search", "nobody has this name")
    wait_until(lambda: "No sweep matches." in _text(browser, ".pq-empty"), "the list says that none matches")
    assert browser.run("return new URL(location.href).searchParams.get('search')") == "nobody has this name"


def test_a_sweep_shows_counts_failures_plots_and_its_runs(browser: Browser, site: Site, shown_cluster: Shown) -> None:
    _open(browser, site, f"/sweeps/{shown_cluster[1]}")
    wait_until(lambda: browser.count("#runs-table tbody tr") == 12, "every run is in the table")
    assert "12 of 12 runs ended" in _text(browser, "#counts")
    assert "loss diverged" in _text(browser, "#failures") and "3 runs" in _text(browser, "#failures")
    assert "note" not in _text(browser, "#runs-table thead") or browser.count("#runs-table thead th") >= 5
    wait_until(lambda: browser.count("#plot-parallel svg, #plot-parallel canvas") > 0, "the plot is drawn")
    assert browser.count("#plots .pq-card") == 4


def test_the_table_is_filtered_in_the_language_of_where(browser: Browser, site: Site, shown_cluster: Shown) -> None:
    _open(browser, site, f"/sweeps/{shown_cluster[1]}")
    wait_until(lambda: browser.count("#runs-table tbody tr") == 12, "every run is in the table")
    browser.write("#runs input[type=text]", "accuracy >= 0.9 and optimizer = adam")
    wait_until(lambda: browser.count("#runs-table tbody tr") == 3, "the table is narrowed")
    browser.write("#runs input[type=text]", " and lrr = 1")
    wait_until(lambda: "lrr" in _text(browser, "#where-problem"), "the wrong name is named")
    assert browser.count("#runs-table tbody tr") == 3
    browser.complaints()  # Chromium notes every answer of 422


def test_a_column_is_sorted_by_its_head(browser: Browser, site: Site, shown_cluster: Shown) -> None:
    _open(browser, site, f"/sweeps/{shown_cluster[1]}")
    wait_until(lambda: browser.count("#runs-table tbody tr") == 12, "every run is in the table")
    browser.run("[...document.querySelectorAll('.pq-sort')].find((one) => one.textContent === 'accuracy').click()")
    wait_until(lambda: browser.count("#runs-table th[aria-sort=descending]") == 1, "the table is sorted")
    cells = browser.texts("#runs-table tbody tr td[data-label=accuracy]")
    numbers = [float(text) for text in cells if text != "–"]
    assert numbers == sorted(numbers, reverse=True) and cells[-3:] == ["–"] * 3


def test_the_runs_of_a_cause_are_shown_by_its_button(browser: Browser, site: Site, shown_cluster: Shown) -> None:
    _open(browser, site, f"/sweeps/{shown_cluster[1]}")
    wait_until(lambda: browser.count("#failures button") == 1, "the cause has a button")
    _click(browser, "#failures button")
    wait_until(lambda: browser.count("#runs-table tbody tr") == 3, "only the failed runs are shown")


def test_a_run_shows_its_log_in_colours_and_its_outputs(browser: Browser, site: Site, shown_cluster: Shown) -> None:
    _open(browser, site, f"/runs/{shown_cluster[1]}.3")
    wait_until(lambda: "learning" in _text(browser, ".pq-log"), "the log is shown")
    assert browser.texts(".pq-log .pq-ansi-green") == ["learning"]
    assert "2/3" in _text(browser, ".pq-log") and "0/3" not in _text(browser, ".pq-log")
    assert "table.csv" in _text(browser, "#outputs") and "model" not in _text(browser, "#outputs")
    browser.run(
        "[...document.querySelectorAll('#outputs button')].find((one) => one.closest('tr').textContent.includes('table.csv')).click()"
    )
    wait_until(lambda: "0,5" in _text(browser, "#outputs [data-view] td"), "the table file is shown as a table")
    assert "alert(1)" in _text(browser, "#values") and "varies in its sweep" in _text(browser, "#values")


def test_a_failed_run_says_why_and_leads_to_the_next_one(browser: Browser, site: Site, shown_cluster: Shown) -> None:
    _open(browser, site, f"/runs/{shown_cluster[1]}.9")
    wait_until(lambda: "diverged" in _text(browser, ".pq-log"), "the log of the failed step is shown")
    assert "failed" in _text(browser, ".pq-head")
    browser.press("j")
    wait_until(lambda: f"Run {shown_cluster[1]}.10" in _text(browser, "h1"), "the key j leads to the next failed run")


def test_a_run_is_run_again_with_changed_values_and_problems_stand_at_their_fields(
    browser: Browser, site: Site, shown_cluster: Shown
) -> None:
    _open(browser, site, f"/runs/{shown_cluster[1]}.9")
    wait_until(lambda: browser.count("#again form") == 1, "the form is there")
    browser.run(
        "[...document.querySelectorAll('.pq-buttons button')].find((one) => one.textContent.startsWith('Run again')).click()"
    )
    browser.run("document.querySelector('#again-0').value = '11'")
    _click(browser, "#again form button.btn-primary")
    wait_until(lambda: "above the maximum" in _text(browser, "#again-0-wrong"), "the problem stands at its field")
    assert browser.run("return document.activeElement.id") == "again-0"
    browser.complaints()  # Chromium notes every answer of 422
    browser.run("document.querySelector('#again-0').value = '0.25'")
    _click(browser, "#again form button.btn-primary")
    wait_until(
        lambda: "Run train-" in _text(browser, "h1") and shown_cluster[1] not in _text(browser, "h1"),
        "the new run's page opens",
    )
    wait_until(lambda: "succeeded" in _text(browser, ".pq-head"), "the new run succeeds, live")
    assert "0.25" in _text(browser, "#values")


def test_the_page_of_workers_shows_slots_queues_and_checks(browser: Browser, site: Site) -> None:
    _open(browser, site, "/cluster")
    wait_until(lambda: "one@test" in _text(browser, "#workers"), "the worker is shown")
    assert browser.count("#workers .pq-slot") == 2 and browser.count("#checks tbody tr") >= 2
    assert _text(browser, "#light")


def test_flowers_own_pages_still_work_and_lead_to_ours(browser: Browser, site: Site) -> None:
    for path in ("/workers", "/tasks", "/broker"):
        assert site.ask(path).status == 200, path
    _open(browser, site, "/tasks")
    links = browser.texts("nav a.nav-link")
    assert [text.strip() for text in links[:5]] == ["Sweeps", "Cluster", "Workers", "Tasks", "Broker"]


def test_the_page_of_a_task_leads_to_its_run(browser: Browser, project: Path, shown_cluster: Shown, site: Site) -> None:
    shell = shown_cluster[0].shell(project)
    run = shell.json("run", "pipeline.yaml", "-p", "lr=0.3", "-p", "optimizer=sgd", "--json")["run"]

    def seen() -> str | None:
        tasks = site.get("/api/tasks")
        return next((name for name, one in tasks.items() if run in str(one["args"])), None)

    task = wait_until(seen, "Flower hears of the task")
    _open(browser, site, f"/task/{task}")
    wait_until(lambda: f"Run {run}" in _text(browser, ".detail-actions a"), "the link is there")
    _click(browser, ".detail-actions a")
    wait_until(lambda: f"Run {run}" in _text(browser, "h1"), "it leads to the run")


def test_a_sweep_is_followed_paused_resumed_and_cancelled_live(browser: Browser, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    step = f"    - wait: {{run: wait.py, args: '{gate} ${{{{ parameters.x }}}}', timeout: 5m}}\n"
    text = f"pipeline:\n  name: slow\n  parameters:\n    - {{name: x, type: int}}\n  steps:\n{step}"
    project = write_folder(tmp_path / "project", pipeline_yaml=text, wait_py=SLOW)
    with new_cluster(tmp_path) as cluster, running_flower(cluster) as site:
        cluster.start_worker()
        shell = cluster.shell(project)
        _open(browser, site, "/sweeps")
        wait_until(lambda: "no sweeps yet" in _text(browser, ".pq-empty"), "an empty list says what to do")
        sweep = shell.json("sweep", "pipeline.yaml", "-p", "x=1,2,3,4,5,6", "--detach", "--json")["sweep"]
        wait_until(lambda: "running" in _text(browser, f"#row-{sweep}"), "the new sweep appears by itself")
        _open(browser, site, f"/sweeps/{sweep}")
        wait_until(lambda: browser.count("button[data-action=pause]") == 1, "the sweep can be paused")
        _click(browser, "button[data-action=pause]")
        wait_until(lambda: browser.count("button[data-action=resume]") == 1, "it is paused")
        assert cluster.client.sweep(sweep).state in ("pausing", "paused")
        _click(browser, "button[data-action=resume]")
        wait_until(lambda: browser.count("button[data-action=pause]") == 1, "it goes on")
        _open(browser, site, f"/runs/{sweep}.0")
        wait_until(lambda: "line 20" in _text(browser, ".pq-log"), "the log grows while it runs")
        gate.touch()
        wait_until(lambda: "succeeded" in _text(browser, ".pq-head"), "the run's end is seen")
        wait_until(lambda: cluster.client.sweep(sweep).state == "succeeded", "the sweep ends")
        gate.unlink()
        other = shell.json("sweep", "pipeline.yaml", "-p", "x=1,2,3,4,5,6", "--detach", "--json")["sweep"]
        _open(browser, site, f"/sweeps/{other}")
        wait_until(lambda: browser.count("button[data-action=cancel]") == 1, "the sweep can be cancelled")
        _click(browser, "button[data-action=cancel]")
        wait_until(lambda: browser.count("dialog") == 1, "it asks first")
        _click(browser, "dialog button[value=yes]")
        wait_until(lambda: "cancelled" in _text(browser, ".pq-head"), "it is cancelled")
        _open(browser, site, f"/sweeps/{other}")
        wait_until(lambda: browser.count("button[data-action=forget]") == 1, "it can be forgotten")
        _click(browser, "button[data-action=forget]")
        wait_until(lambda: browser.count("dialog") == 1, "it asks first")
        _click(browser, "dialog button[value=yes]")
        wait_until(lambda: browser.run("return location.pathname") == "/sweeps", "the list is shown again")
        wait_until(lambda: browser.count(f"#row-{other}") == 0 and browser.count(f"#row-{sweep}") == 1, "it is gone")
        lines = [
            line for path in (tmp_path / "storage" / "actions").iterdir() for line in path.read_text().splitlines()
        ]
        assert [line.count('"who":"ann"') for line in lines] == [1] * 4
        browser.open("about:blank")  # Flower ends before the page would
