"""The JSON API on a real Flower: what it answers, whom it lets act, and that its description matches its handlers."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
import yaml

from pipeline_queue.dashboard.app import HANDLERS
from tests.conftest import Cluster, wait_until
from tests.dashboard.flower_site import Site, running_flower

Shown = tuple[Cluster, str]
_NO_SIGN_IN = {"Authorization": ""}


def test_the_list_has_a_row_for_each_sweep_with_counts_and_the_best_value(site: Site, shown_cluster: Shown) -> None:
    answer = site.get("/api/sweeps")
    assert answer["total"] == answer["matched"] == 1
    row = answer["sweeps"][0]
    assert (row["id"], row["name"], row["state"], row["runs"]) == (shown_cluster[1], "first sweep", "failed", 12)
    assert row["counts"] == {"queued": 0, "running": 0, "succeeded": 9, "failed": 3, "cancelled": 0}
    assert row["best"]["metric"] == "accuracy" and row["best"]["goal"] == "highest"
    assert row["cause"]["count"] == 3 and "diverged" in row["cause"]["text"]


@pytest.mark.parametrize(
    ("query", "matched"),
    [("search=FIRST", 1), ("search=nobody", 0), ("state=failed", 1), ("state=active", 0), ("state=succeeded", 0)],
)
def test_the_list_is_filtered_by_words_and_state(site: Site, query: str, matched: int) -> None:
    wait_until(lambda: site.get("/api/sweeps")["read"] == 1, "the sweep is read")
    assert site.get(f"/api/sweeps?{query}")["matched"] == matched


def test_one_sweep_shows_what_status_and_results_say(site: Site, shown_cluster: Shown) -> None:
    cluster, sweep = shown_cluster
    answer = site.get(f"/api/sweeps/{sweep}")
    report = cluster.client.sweep(sweep)
    assert answer["counts"] == report.counts
    assert [one["cause"] for one in answer["failures"]] == [one.text for one in report.failures]
    assert answer["parameters"] == ["lr", "optimizer"] and answer["steps"] == ["prepare", "train"]
    assert answer["may"] == ["retry", "forget"]


def test_the_table_is_sorted_filtered_and_paged_by_the_server(site: Site, shown_cluster: Shown) -> None:
    sweep = shown_cluster[1]
    _read_whole(site, sweep)
    table = site.get(f"/api/sweeps/{sweep}/runs?sort=-accuracy&limit=2")
    names = [column["name"] for column in table["columns"]]
    assert names[:3] == ["run", "index", "state"] and {"lr", "optimizer", "accuracy", "cause"} <= set(names)
    accuracy = names.index("accuracy")
    assert table["matched"] == 12 and len(table["rows"]) == 2
    assert table["rows"][0][accuracy] == pytest.approx(0.95) and table["rows"][0][names.index("lr")] == 0.5
    narrow = site.get(f"/api/sweeps/{sweep}/runs?where=accuracy%3E0.9%20and%20optimizer=adam")
    assert narrow["matched"] == 2
    rest = site.get(f"/api/sweeps/{sweep}/runs?sort=-accuracy&offset=9")
    assert [row[names.index("state")] for row in rest["rows"]] == ["failed"] * 3


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("where=lrr%3E1", "lrr"),
        ("where=lr%20%3E%3E", "'"),
        ("sort=wrong", "unknown column"),
        ("offset=x", "whole number"),
    ],
)
def test_a_wrong_condition_is_answered_with_the_sentence_of_the_command_line(
    site: Site, shown_cluster: Shown, query: str, said: str
) -> None:
    _read_whole(site, shown_cluster[1])
    answer = site.ask(f"/api/sweeps/{shown_cluster[1]}/runs?{query}")
    assert answer.status == 422 and said in answer.body["error"]


def test_downloads_hold_what_results_prints(site: Site, shown_cluster: Shown, project: Path) -> None:
    cluster, sweep = shown_cluster
    answer = site.ask(f"/api/sweeps/{sweep}/runs.csv?where=state=succeeded&sort=lr")
    assert answer.status == 200 and f"{sweep}.csv" in answer.headers["Content-Disposition"]
    printed = cluster.shell(project)("results", sweep, "--csv", "--where", "state=succeeded", "--sort", "lr").stdout
    assert list(csv.reader(io.StringIO(answer.raw.decode()))) == list(csv.reader(io.StringIO(printed)))
    assert len(site.ask(f"/api/sweeps/{sweep}/runs.json").body["rows"]) == 12
    assert site.ask(f"/api/sweeps/{sweep}/runs.parquet").status in (200, 422)


def test_a_run_shows_its_steps_log_and_outputs(site: Site, shown_cluster: Shown) -> None:
    run = f"{shown_cluster[1]}.3"
    found = site.get(f"/api/runs/{run}")
    assert found["state"] == "succeeded" and [step["name"] for step in found["steps"]] == ["prepare", "train"]
    assert found["declared"][0]["name"] == "lr" and found["declared"][0]["max"] == 10
    log = site.get(f"/api/runs/{run}/log?step=train")
    assert "learning" in log["text"] and log["from"] == 0 and log["next"] == log["size"] and log["is_over"]
    whole = site.ask(f"/api/runs/{run}/log.txt?step=train")
    assert whole.raw.startswith(b"\x1b[32m") and "attachment" in whole.headers["Content-Disposition"]
    file = site.ask(f"/api/runs/{run}/files/train/table.csv?view=1")
    assert file.raw.startswith(b"epoch,loss") and file.headers["Content-Type"].startswith("text/plain")
    assert "sandbox" in file.headers["Content-Security-Policy"] and file.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/api/sweeps/none-00000000",
        "/api/sweeps/../../etc",
        "/api/runs/none-00000000.0",
        "/api/runs/{sweep}.0/log?step=..%2F..",
        "/api/runs/{sweep}.0/log?step=train&try=..%2Fstep.json",
        "/api/runs/{sweep}.0/files/train/..%2F..%2Fsweep.json",
        "/api/runs/{sweep}.0/files/train/%2Fetc%2Fpasswd",
        "/api/runs/{sweep}.99",
    ],
)
def test_what_does_not_exist_or_lies_outside_is_not_found(site: Site, shown_cluster: Shown, path: str) -> None:
    answer = site.ask(path.format(sweep=shown_cluster[1]))
    assert answer.status in (404, 422), answer.raw
    assert answer.raw.count(b"root:") == 0
    assert site.errors() == ""


def test_nobody_reads_without_signing_in(site: Site, shown_cluster: Shown) -> None:
    for path in (
        "/sweeps",
        "/api/sweeps",
        f"/api/runs/{shown_cluster[1]}.0",
        "/api/cluster",
        "/api/events?topic=sweeps",
    ):
        answer = site.ask(path, headers=_NO_SIGN_IN)
        assert answer.status == 401 and b"first sweep" not in answer.raw, path
        assert "Basic" in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Content-Type": "text/plain"}, "application/json"),
        ({"Sec-Fetch-Site": "cross-site"}, "another site"),
        ({"Origin": "http://evil.example"}, "another origin"),
        ({"Sec-Fetch-Site": "same-origin"}, "X-XSRFToken"),
        ({"Cookie": "_xsrf=2|1|2|3"}, "X-XSRFToken"),
        ({"Cookie": "_xsrf=aaaa", "X-XSRFToken": "bbbb"}, "XSRF"),
    ],
)
def test_a_post_that_another_page_could_have_sent_changes_nothing(
    site: Site, shown_cluster: Shown, headers: dict[str, str], said: str
) -> None:
    before = site.get("/api/sweeps")["sweeps"]
    answer = site.ask(f"/api/sweeps/{shown_cluster[1]}/retry", "POST", {}, headers)
    assert answer.status == 403 and said in answer.body["error"]
    assert site.get("/api/sweeps")["sweeps"] == before


@pytest.mark.parametrize(("has_auth", "option"), [(False, ""), (True, "--read-only")])
def test_without_sign_in_or_read_only_everything_is_shown_and_nothing_done(
    shown_cluster: Shown, has_auth: bool, option: str
) -> None:
    cluster, sweep = shown_cluster
    with running_flower(cluster, *filter(None, [option]), has_auth=has_auth) as site:
        page = site.ask(f"/sweeps/{sweep}")
        assert page.status == 200 and 'data-may-act="no"' in page.body
        assert site.get("/api/sweeps")["total"] >= 1
        for path in (f"/api/sweeps/{sweep}/retry", f"/api/runs/{sweep}.0/cancel", f"/api/runs/{sweep}.0/again"):
            answer = site.post(path)
            assert answer.status == 403 and "Actions are off" in answer.body["error"], path


def test_below_a_prefix_every_page_and_answer_is_found(shown_cluster: Shown) -> None:
    with running_flower(shown_cluster[0], prefix="flower") as site:
        for path in ("/sweeps", f"/sweeps/{shown_cluster[1]}", "/cluster", "/workers", "/pq/static/api.js"):
            assert site.ask(path).status == 200, path
        assert site.get("/api/sweeps")["total"] >= 1
        assert site.ask("/").headers["Location"] == "/flower/sweeps"


def test_the_description_names_every_handler_and_no_other(site: Site) -> None:
    described = yaml.safe_load(site.ask("/api/openapi.yaml").raw)
    samples = {
        "{sweep}": "s-00000000",
        "{run}": "s-00000000.0",
        "{step}": "train",
        "{path}": "a/b.txt",
        "{pipeline}": "nightly",
    }

    def addresses(path: str, entry: dict[str, object]) -> list[str]:
        words = [("", "")]
        for parameter in entry.get("parameters", []):  # type: ignore[attr-defined]
            if "name" in parameter:
                choices = parameter["schema"].get("enum", [samples.get(f"{{{parameter['name']}}}", "")])
                words = [(f"{{{parameter['name']}}}", choice) for choice in choices]
                if words[0][1] and parameter["name"] in ("action", "format"):
                    break
        made = []
        for name, value in words:
            text = path.replace(name, value) if name else path
            for placeholder, sample in samples.items():
                text = text.replace(placeholder, sample)
            made.append(text)
        return made

    patterns = {one.regex.pattern: one for one in HANDLERS if one.regex.pattern.startswith("/api/")}
    matched = set()
    for path, entry in described["paths"].items():
        for address in addresses(path, entry):
            found = [pattern for pattern in patterns if re.fullmatch(pattern.rstrip("$"), address)]
            assert found, (path, address)
            matched.add(found[0])
            handler = patterns[found[0]].handler_class
            for method in entry.keys() - {"parameters"}:
                assert method in vars(handler), (path, method)
    assert matched == set(patterns)


def test_answers_hold_what_the_description_requires(site: Site, shown_cluster: Shown) -> None:
    described = yaml.safe_load(site.ask("/api/openapi.yaml").raw)["components"]["schemas"]
    sweep = shown_cluster[1]
    for name, path in {
        "SweepDetail": f"/api/sweeps/{sweep}",
        "Table": f"/api/sweeps/{sweep}/runs",
        "Run": f"/api/runs/{sweep}.0",
        "LogPart": f"/api/runs/{sweep}.0/log?step=train",
        "Cluster": "/api/cluster",
    }.items():
        parts = [described[name], *described[name].get("allOf", [])]
        if name == "SweepDetail":
            parts.append(described["Sweep"])
        answer = site.get(path)
        for part in parts:
            assert set(part.get("required", [])) <= answer.keys(), (name, set(part["required"]) - answer.keys())


def _read_whole(site: Site, sweep: str) -> None:
    wait_until(lambda: site.get(f"/api/sweeps/{sweep}/runs")["reading"] is None, "every run is read")
