"""`python …/__main__.py FD SUPERVISOR HOME PADDING MODULE…`: started as a script, as a step would be.

HOME is the folder that holds this package.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# What a cold start has loaded before its script too.
_COLD = frozenset(sys.modules)


def _serve_of_ours() -> Callable[[list[str], frozenset[str]], None]:
    """Import our own modules, and leave `sys.path` and `sys.modules` as a cold start has them."""
    if not sys.flags.safe_path:
        del sys.path[0]
    home = sys.argv[3]
    sys.path.insert(0, home)
    from workers.warm.fork_server import serve

    sys.path.remove(home)
    for path in {home, __file__} - set(sys.path):
        sys.path_importer_cache.pop(path, None)
    for name in [name for name in sys.modules if name.partition(".")[0] == "workers"]:
        del sys.modules[name]
    return serve


if __name__ == "__main__":
    _serve_of_ours()(sys.argv, _COLD)
