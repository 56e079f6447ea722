"""The health check of a worker in a container: exit 0 when the broker has just heard of it."""

from __future__ import annotations

import os
import socket
import sys

from pipeline_queue.contract.errors import PipelineQueueError
from pipeline_queue.contract.settings import settings_from
from pipeline_queue.index.run_index import RunIndex


def main() -> int:
    host = socket.gethostname()
    try:
        names = [worker.name for worker in RunIndex(settings_from(os.environ).broker_url).workers()]
    except PipelineQueueError as error:
        print(f"error: {error}")
        return 1
    # The worker's node name is `worker-<pid>@<host>`, and a container is a host of its own.
    if any(name.endswith(f"@{host}") for name in names):
        return 0
    print(f"the broker has not heard of a worker on {host}; it knows {', '.join(names) or 'none'}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
