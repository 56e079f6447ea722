"""The Celery worker side: `celery -A workers worker` and `celery -A workers flower`.

The application is made on first use, so that the small processes of this package start without it.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("app", "celery"):
        from workers.app import application

        return application()
    raise AttributeError(f"module 'workers' has no attribute {name!r}")
