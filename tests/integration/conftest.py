"""A server for each file of tests, emptied for each test, with a storage of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_queue.local.server import Server
from tests.integration.attempt_site import Site, new_site, shared_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with shared_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def site(server: Server, tmp_path: Path) -> Iterator[Site]:
    with new_site(server, tmp_path) as site:
        yield site
