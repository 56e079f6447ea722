"""Decides who may act on sweeps through the dashboard: pure, from Flower's options and one request's headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

NO_AUTH = (
    "Actions are off because Flower runs without authentication; start it with --basic-auth=user:password or OAuth."
)
READ_ONLY = "Actions are off because Flower runs with --read-only."


@dataclass(frozen=True, slots=True)
class Access:
    """What this Flower allows: `has_auth`, that it asks who somebody is; `is_read_only`, that it was started so."""

    has_auth: bool
    is_read_only: bool

    def why_not_act(self) -> str:
        """The sentence that says why nobody may act, empty when those who are signed in may."""
        if self.is_read_only:
            return READ_ONLY
        return "" if self.has_auth else NO_AUTH


def why_refused(headers: Mapping[str, str], host: str, cookie: str | None) -> str:
    """Why a POST may not act, empty when it may. A browser sends name and password by itself, so it must also show
    that a page of this origin asked: by `Sec-Fetch-Site` or `Origin`, and by the token of its own cookie.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return "Content-Type must be application/json."
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site and site != "same-origin":
        return "The request comes from another site."
    if not site and origin and urlsplit(origin).netloc != host:
        return "The request comes from another origin."
    is_browser = bool(site or origin or headers.get("Cookie"))
    if is_browser and not (cookie and headers.get("X-XSRFToken")):
        return "The header X-XSRFToken is missing; reload the page."
    return ""
