"""Settings: what is missing or wrong is named, and a password is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_queue.contract.errors import BrokerError, SettingsError
from pipeline_queue.contract.settings import BROKER_URL, LOG_LIMIT, SCRATCH, STORAGE, settings_from, without_password

GOOD = {BROKER_URL: "redis://:s3cret@host:6379/0", STORAGE: "/mnt/shared"}


def test_settings_read_back_from_the_environment_they_make() -> None:
    settings = settings_from({**GOOD, SCRATCH: "/scratch", LOG_LIMIT: "1000"})
    assert settings_from(settings.environment()) == settings
    assert (settings.storage, settings.scratch, settings.log_limit_bytes) == (
        Path("/mnt/shared"), Path("/scratch"), 1000,
    )  # fmt: skip


@pytest.mark.parametrize("missing", [(BROKER_URL,), (STORAGE,), (BROKER_URL, STORAGE)])
@pytest.mark.parametrize("empty", [True, False])
def test_what_is_missing_is_named(missing: tuple[str, ...], empty: bool) -> None:
    environment = {name: value for name, value in GOOD.items() if name not in missing}
    if empty:
        environment |= dict.fromkeys(missing, "")
    with pytest.raises(SettingsError) as caught:
        settings_from(environment)
    assert all(name in str(caught.value).partition(" must be set")[0] for name in missing)


@pytest.mark.parametrize(
    "url",
    ["localhost:6379", "amqp://:s3cret@host", "http://host", "redis://:s3cret@host:99999/0", "redis://:s3cret@[::1/0",
     "redis", "redis://:s3cret@host:port/0", "x" * 100_000, "redis://:p/s3cret@host/0", "redis://:s3cret@host/abc",
     "redis://:s3cret@host/0?db=1", "redis://:s3cret@host/0?foo=s3cret", "rediss://:s3cret@host/0?ssl_cert_reqs=none",
     "redis+socket://", "redis+socket:///", "redis+socket://:s3cret@/run/s?virtual_host=x"],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from({**GOOD, BROKER_URL: url})
    assert BROKER_URL in str(caught.value)
    assert "s3cret" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "url",
    ["redis://host", "redis://:p@host:6379/", "redis://host:6379/15", "rediss://me:p@host/0?ssl_ca_certs=/a&ssl_keyfile=/b",
     "redis+socket:///run/s", "redis+socket://:p@/run/s?virtual_host=1"],
)  # fmt: skip
def test_every_kind_of_broker_url_is_taken_and_makes_a_client(url: str) -> None:
    from pipeline_queue.index.connection import connect

    assert settings_from({**GOOD, BROKER_URL: url}).broker_url == url
    pool = connect(url).connection_pool
    assert pool.connection_class(**pool.connection_kwargs)


@pytest.mark.parametrize("character", [*" #/?@:[]%\\;&=+,$!\"'<>^`{|}~\n\t\0é", "://", "//", ":@", "?#"], ids=ascii)
@pytest.mark.parametrize(
    "form",
    [
        "redis://:{}@host:6379/0",
        "rediss://me:{}@host/0",
        "redis+socket://:{}@/run/s",
        "redis:/:{}@host",
        "redis://{}@host",
        "{}@host:6379",
        "redis:{}@host/0",
        ":{}@host",
    ],
)
@pytest.mark.parametrize("around", ["Kan4ry{}Zwe1ter", "123{}Zwe1ter", "Kan4ry{}456", "{}Zwe1ter", "Kan4ry{}"])  # fmt: skip
def test_no_part_of_a_password_is_shown_wherever_an_unescaped_character_cuts_it(
    character: str, form: str, around: str
) -> None:
    url = form.format(around.format(character))
    told = without_password(url)
    try:
        settings_from({**GOOD, BROKER_URL: url})
    except SettingsError as error:
        told = str(error)
    if not (form == "redis://{}@host" and ":" in character):  # a user with a name
        assert not any(part in told.lower() for part in ("kan4ry", "zwe1ter")), told


@pytest.mark.parametrize("url", ["redis://s3cret@host/0", "redis+socket://s3cret@/run/s"])
def test_a_password_where_the_user_stands_is_refused_and_the_colon_named(url: str) -> None:
    """Everybody shows users, Flower's pages and worker's logs too."""
    with pytest.raises(SettingsError, match="://:PASSWORD@host") as caught:
        settings_from({**GOOD, BROKER_URL: url})
    assert "s3cret" not in str(caught.value)
    assert settings_from({**GOOD, BROKER_URL: url.replace("@", ":@")})


@pytest.mark.parametrize("url", ["redis:", "redis:0", "redis:/0", "redis:/host", "redis+socket:/run/s"])
def test_a_url_without_two_slashes_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="two slashes"):
        settings_from({**GOOD, BROKER_URL: url})


def test_a_scheme_may_be_written_large() -> None:
    assert settings_from({**GOOD, BROKER_URL: "REDIS://:P@Host/0"}).broker_url == "redis://:P@Host/0"


@pytest.mark.parametrize("text", ["0", "-1", "1e6", "", " 5", "٣", "64 MiB", "9" * 200 + "x"])
def test_a_log_limit_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=LOG_LIMIT):
        settings_from({**GOOD, LOG_LIMIT: text})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:s3cret@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://me:s3cret@host/0?ssl_ca_certs=/a", "rediss://me:***@host/0?ssl_ca_certs=/a"),
        ("redis+socket://:s3cret@/run/s?virtual_host=1", "redis+socket://:***@/run/s?virtual_host=1"),
        ("redis://:s3cr%40et@host", "redis://:***@host"),
        ("redis://:a@s3cret@host", "redis://:***@host"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://host/0?password=s3cret", "redis://host/0?password=***"),
        ("redis://s3cret@host/0", "redis://***@host/0"),
        ("redis://:12#s3cret@host/0", "redis://***"),
        ("redis://:12/s3cret@host/0", "redis://***"),
        ("redis://:[s3cret@host/0", "***"),
        ("s3cret@host", "***"),
        ("s3cret", "***"),
        ("redis://host/s3cret", "redis://host/***"),
        ("redis://host/0?pass%77ord=s3cret&username=s3cret&s3cret", "redis://host/0?***&username=***&***"),
        ("sqs://s3cret:x@", "***"),
        ("redis+socket:///run/s?virtual_host=s3cret", "redis+socket:///run/s?virtual_host=***"),
        (
            "rediss://:s3cret@host?ssl_password=s3cret&ssl_ca_certs=/a",
            "rediss://:***@host?ssl_password=***&ssl_ca_certs=/a",
        ),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_settings_and_errors_never_show_the_password(tmp_path: Path) -> None:
    from pipeline_queue.index.run_index import RunIndex

    url = f"redis+socket://:s3cret@{tmp_path}/absent"
    assert "s3cret" not in repr(settings_from({**GOOD, BROKER_URL: url}))
    run_index = RunIndex(url, timeout_seconds=0.2)
    with pytest.raises(BrokerError) as caught:
        run_index.time()
    assert "s3cret" not in str(caught.value) and str(tmp_path) in str(caught.value)
