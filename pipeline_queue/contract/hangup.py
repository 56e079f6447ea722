"""A terminal that has gone away: what is written to it would be an error in the midst of stopping in good order."""

from __future__ import annotations

import os


def release_lost_terminal() -> None:
    """Standard output and error lead to nowhere from now on if nothing can be written to them any more."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
