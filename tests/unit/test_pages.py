"""What the pages say of the program: settings, keys of the pipeline file, links and the README's length."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from pipeline_queue.contract import records, settings
from pipeline_queue.loading import steps
from pipeline_queue.loading.fields import HELP_KEYS
from pipeline_queue.storage import snapshot

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    targets = [target for target in _LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    names = set(re.findall(r"`((?:tests/[\w/]+/)?test_\w+\.py)`", page.read_text()))
    known = {path.name for path in ROOT.glob("tests/**/*.py")}
    missing = {name for name in names if not (ROOT / name).exists() and ("/" in name or name not in known)}
    assert missing == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_every_setting_has_its_row() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text()
    named = set(re.findall(r'"(PIPELINE_QUEUE_[A-Z_]+)"', Path(settings.__file__).read_text()))
    # Only the embedded service sets these, for the processes that it starts.
    internal = {settings.ENVIRONMENTS, settings.FLOWER_SOCKET}
    assert named > internal
    assert {name for name in named - internal if f"`{name}`" not in page} == set()


def test_every_key_of_a_step_has_its_row() -> None:
    page = (ROOT / "docs/reference/pipeline-file.md").read_text()
    assert {key for key in steps.KEYS if key not in HELP_KEYS and f"| `{key}` |" not in page} == set()


def test_every_cause_of_a_failure_has_its_row() -> None:
    page = (ROOT / "docs/reference/errors.md").read_text()
    causes = get_args(records.Cause)
    assert {cause for cause in causes if f"| `{cause}` |" not in page} == set()


def test_everything_that_a_snapshot_leaves_out_is_named() -> None:
    page = (ROOT / "docs/reference/pipeline-file.md").read_text()
    patterns = {name.replace("*.py[co]", "*.pyc").rstrip("/") for name in snapshot.ALWAYS_IGNORED}
    assert {name for name in patterns if f"`{name}`" not in page} == set()
