"""What libraries put off from their import to their first use: done once before the fork, not by every step anew.

Only what leaves nothing behind but modules and caches of what cannot change while this process lives, and what most
users of the library come to. Measured for one step, Python 3.11: argparse 2 ms, narwhals (every check of arguments in
scikit-learn) 4 ms with 60 packages installed, whose metadata it reads in search of its plugins.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from typing import Any


def use_first() -> None:
    """Whatever goes wrong here, the step will meet, and tell of, by itself."""
    for name, use in _FIRST_USES.items():
        module = sys.modules.get(name)
        if module is not None:
            # Where a package has changed argparse, it may tell its user that arguments are missing, and exit.
            unheard = io.StringIO()
            with (
                contextlib.suppress(BaseException),
                contextlib.redirect_stdout(unheard),
                contextlib.redirect_stderr(unheard),
            ):
                use(module)


def _argparse(module: Any) -> None:
    parser = module.ArgumentParser(prog="")
    parser.add_argument("--name")
    parser.parse_args([])


def _narwhals(module: Any) -> None:
    module.is_into_dataframe(None)


_FIRST_USES: dict[str, Callable[[Any], None]] = {
    "argparse": _argparse,
    "narwhals.dependencies": _narwhals,
}
