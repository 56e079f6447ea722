"""The pages for people who use a keyboard, a screen reader, a small screen or a dark one; judged by axe-core and counts.

Only `#main-content`, our dialogs and our messages are judged: the bar above them is Flower's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser
from tests.conftest import ROOT, Cluster
from tests.conftest import wait_until as wait_patiently
from tests.dashboard.flower_site import Site
from tests.limits import LIMIT_SECONDS

Shown = tuple[Cluster, str]
AXE = "PIPELINE_QUEUE_AXE"
PICTURES = "PIPELINE_QUEUE_PICTURES"
"""A folder in which pictures of the pages are left, for people to look at."""
WIDTHS = (390, 1280)
THEMES = ("light", "dark")
TAB = "\ue004"
MAX_TABS = 400
PAGES = ("sweeps", "sweep", "run", "failed run", "cluster")

_RUN_AXE = """
    const rules = { "resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] };
    const ours = ["#main-content", "#pq-problem", "#pq-toasts", "dialog"].filter((one) => document.querySelector(one));
    return axe.run({ include: ours }, rules).then((found) => found.violations.map((one) => ({
        id: one.id, impact: one.impact, nodes: one.nodes.slice(0, 8).map((node) => [node.html.slice(0, 160), node.any.concat(node.all)[0]?.message ?? ""]),
    })));
"""
_WIDER = """
    const most = document.documentElement.clientWidth;
    const scrolls = (one) => one.closest(".pq-scroll, .scroll, pre, .plot, .pq-cards thead");
    const wide = [...document.querySelectorAll("#main-content, #main-content *, dialog, dialog *")].filter((one) => {
        const box = one.getBoundingClientRect();
        return box.width > 1 && box.right > most + 1 && !scrolls(one.parentElement);
    });
    const cards = innerWidth > 700 ? [] : [...document.querySelectorAll(".pq-scroll > .pq-cards")].map((one) => one.parentElement);
    wide.push(...cards.filter((one) => one.scrollWidth > one.clientWidth + 1));
    return { page: document.documentElement.scrollWidth - most, wide: wide.map((one) => one.outerHTML.slice(0, 160)) };
"""
_CONTROLS = """
    const chosen = "a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary, [tabindex='0']";
    const controls = [...document.querySelectorAll("#main-content :is(" + chosen + ")")]
        .filter((one) => one.tabIndex >= 0 && one.checkVisibility({ visibilityProperty: true }));
"""
_TOLD_CONTROLS = f"{_CONTROLS} return controls.map((one) => one.outerHTML.slice(0, 120));"
_FOCUSED = f"""{_CONTROLS}
    const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
    const inner = one.querySelector(".hit, .scale > text");
    const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 || style.boxShadow !== "none"
        || inner !== null && parseFloat(getComputedStyle(inner).strokeWidth) >= 2;
    return {{ number: controls.indexOf(one), isSeen: isSeen && box.bottom > 0 && box.top < innerHeight, html: one.outerHTML.slice(0, 120) }};
"""


def wait_until(condition: Callable[[], Any], what: str) -> None:
    wait_patiently(condition, what, LIMIT_SECONDS / 4)


@pytest.fixture(scope="session")
def axe() -> str:
    """The text of axe-core, which CI installs; it is no dependency of ours."""
    given = os.environ.get(AXE, "")
    for path in (Path(given) if given else None, ROOT / "node_modules" / "axe-core" / "axe.min.js"):
        if path is not None and path.is_file():
            return path.read_text()
    pytest.skip(f"no axe-core here (npm install --no-save axe-core, or set {AXE} to its axe.min.js)")


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=THEMES)
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def browser(shared_browser: Browser) -> Iterator[Browser]:
    shared_browser.complaints()
    yield shared_browser
    shared_browser.show_at(1280, 800, "light")
    shared_browser.open("about:blank")
    assert shared_browser.complaints() == []


def _is_there(browser: Browser, selector: str, least: int = 1) -> Callable[[], bool]:
    return lambda: browser.count(selector) >= least


def _open(browser: Browser, site: Site, sweep: str, page: str) -> None:
    """The page with all that it shows, which is more than its first answer."""
    addresses = {"sweep": f"/sweeps/{sweep}", "run": f"/runs/{sweep}.3", "failed run": f"/runs/{sweep}.9"}
    browser.open(site.url + addresses.get(page, f"/{page}"))
    whole = {"sweep": "#runs-table tbody tr", "run": ".pq-log span", "failed run": ".pq-log span"}
    wait_until(_is_there(browser, whole.get(page, "#page tbody tr")), f"{page} has its content")
    if page == "sweep":
        wait_until(_is_there(browser, "#plots .pq-card", 4), "the plots are there")
        wait_until(_is_there(browser, "#plots .plot svg", 2), "the plots are drawn")


def _judge(browser: Browser, axe: str) -> None:
    """No serious or critical violation."""
    browser.run("document.getAnimations().forEach((one) => one.finish())")
    if not browser.run("return typeof window.axe !== 'undefined'"):
        browser.run(axe)
    found: list[dict[str, Any]] = browser.run(_RUN_AXE)
    bad = [one for one in found if one["impact"] in ("serious", "critical")]
    assert bad == []


def _assert_nothing_is_wider(browser: Browser) -> None:
    found = browser.run(_WIDER)
    assert found["page"] <= 0 and found["wide"] == []


def _keep_picture(browser: Browser, name: str) -> None:
    if folder := os.environ.get(PICTURES):
        (Path(folder) / f"{name}.png").write_bytes(browser.picture())


def _click_button(browser: Browser, text: str) -> None:
    script = "[...document.querySelectorAll('#page button')].find((one) => one.textContent === arguments[0]).click()"
    browser.run(script, text)


@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_nothing_serious(
    browser: Browser, site: Site, shown_cluster: Shown, axe: str, page: str, width: int, theme: str
) -> None:
    browser.show_at(width, 900, theme)
    _open(browser, site, shown_cluster[1], page)
    assert browser.run("return document.documentElement.dataset.bsTheme") == theme
    _judge(browser, axe)


def test_axe_finds_nothing_serious_in_what_is_opened(
    browser: Browser, site: Site, shown_cluster: Shown, axe: str, width: int, theme: str
) -> None:
    browser.show_at(width, 900, theme)
    _open(browser, site, shown_cluster[1], "failed run")
    _click_button(browser, "Run again with changed values")
    browser.run("document.querySelector('#again-0').value = '11'")
    _click_button(browser, "Start run")
    wait_until(lambda: "above the maximum" in "".join(browser.texts("#again-0-wrong")), "the problem is told")
    browser.complaints()  # Chromium notes every answer of 422
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    _judge(browser, axe)
    _assert_nothing_is_wider(browser)
    _keep_picture(browser, f"again-{width}-{theme}")
    _open(browser, site, shown_cluster[1], "run")
    browser.run("for (const one of document.querySelectorAll('#outputs button')) one.click()")
    wait_until(_is_there(browser, "#outputs [data-view]", 2), "the files are shown")
    _judge(browser, axe)
    _assert_nothing_is_wider(browser)
    _keep_picture(browser, f"files-{width}-{theme}")
    _open(browser, site, shown_cluster[1], "sweep")
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    _judge(browser, axe)
    _assert_nothing_is_wider(browser)
    _click_button(browser, "Forget")
    wait_until(_is_there(browser, "dialog[open]"), "it asks first")
    _judge(browser, axe)
    _assert_nothing_is_wider(browser)
    _keep_picture(browser, f"dialog-{width}-{theme}")
    browser.run("document.querySelector('dialog button[value=no]').click()")


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_wider_than_the_screen(
    browser: Browser, site: Site, shown_cluster: Shown, page: str, width: int, theme: str
) -> None:
    browser.show_at(width, 900, theme)
    _open(browser, site, shown_cluster[1], page)
    _keep_picture(browser, f"{page.replace(' ', '-')}-{width}-{theme}")
    _assert_nothing_is_wider(browser)


@pytest.mark.parametrize("page", PAGES)
def test_the_tab_key_reaches_every_control_and_the_focus_is_seen(
    browser: Browser, site: Site, shown_cluster: Shown, page: str, width: int
) -> None:
    browser.show_at(width, 900, "light")
    _open(browser, site, shown_cluster[1], page)
    if page.endswith("run"):
        browser.run("document.querySelector('#again').hidden = false")
    browser.run("for (const one of document.querySelectorAll('#page details')) one.open = true")
    controls = browser.run(_TOLD_CONTROLS)
    assert len(controls) >= 3 or page == "cluster"
    browser.run("document.getElementById('main-content').before(document.createElement('span'))")
    reached: list[int] = []
    unseen: list[str] = []
    for _ in range(MAX_TABS):
        browser.press(TAB)
        focused = browser.run(_FOCUSED)
        # What changes live may take the focus with it; the next Tab goes on from there.
        if focused["number"] < 0 or focused["number"] in reached:
            continue
        reached.append(focused["number"])
        if not focused["isSeen"]:
            unseen.append(focused["html"])
        if len(reached) == len(controls):
            break
    missed = [controls[at] for at in sorted({*range(len(controls))} - {*reached})]
    assert missed == [] and unseen == []
    assert reached == sorted(reached), "the order of the keys is the order on the page"


def test_a_dialog_keeps_the_focus_and_escape_closes_it_and_gives_it_back(
    browser: Browser, site: Site, shown_cluster: Shown
) -> None:
    _open(browser, site, shown_cluster[1], "sweep")
    browser.run("document.querySelector('button[data-action=forget]').focus()")
    browser.press("\ue007")
    wait_until(_is_there(browser, "dialog[open]"), "it asks first")
    inside = "return document.querySelector('dialog').contains(document.activeElement)"
    assert browser.run(inside)
    assert browser.run("return document.activeElement.value") == "no"
    browser.press("\ue00c")
    wait_until(lambda: browser.count("dialog") == 0, "it is closed")
    wait_until(
        lambda: browser.run("return document.activeElement.dataset.action") == "forget", "the focus is where it was"
    )
    assert shown_cluster[0].client.sweep(shown_cluster[1]).state == "failed"
