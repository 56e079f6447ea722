"""The page about the way of a value is true: a real run is traced, in every process, and compared with it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT, Shell, plain_environment

PAGE = ROOT / "docs/explanation/value.md"
VALUE = "0.0123456789"

# They look at values, show them or keep them, and hand them to nobody on the way to argv.
BESIDE = (
    *("pipeline_queue/cli/__init__.py", "pipeline_queue/cli/display.py", "pipeline_queue/cli/printing.py"),
    *("pipeline_queue/model/problems.py", "pipeline_queue/contract/records.py", "pipeline_queue/reporting/"),
    *("pipeline_queue/storage/", "pipeline_queue/space/", "pipeline_queue/broker/validation.py"),
    *("pipeline_queue/broker/transport.py", "pipeline_queue/broker/signing.py", "workers/dead_letters.py"),
    *("workers/supervisor/step_log.py", "workers/job.py"),
)


def test_a_traced_run_goes_through_the_files_that_the_page_lists_in_this_order(
    seed_folder: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    trace.mkdir()
    (trace / "value").write_text(VALUE)
    (trace / "ours").write_text(str(ROOT))
    tracing = str(Path(__file__).parent / "value_trace")
    environment = plain_environment(VALUE_TRACE=str(trace), PYTHONPATH=tracing)
    Shell(seed_folder, environment)("run", "pipeline.yaml", "-p", f"learning_rate={VALUE}")
    seen = [line.split()[0] for line in (trace / "seen").read_text().splitlines()]
    ours = [name for name in dict.fromkeys(seen) if name.startswith(("pipeline_queue/", "workers/"))]
    way = [name for name in ours if not name.startswith(BESIDE)]
    listed = re.findall(r"^\d+\. `([\w/]+\.py)`", PAGE.read_text(), re.MULTILINE)
    assert way == listed and len(way) <= 12
