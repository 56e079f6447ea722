"""What the page of one sweep shows above its runs: the row of the list, and what only that page asks for."""

from __future__ import annotations

import json
from typing import Any

from pipeline_queue.dashboard.sweep_row import possible_actions, row_of_run, row_of_sweep
from pipeline_queue.model.pipeline import Value
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.current import CurrentState
from pipeline_queue.reporting.run_detail import varied_parameters
from pipeline_queue.reporting.sweeps import add_reasons
from pipeline_queue.storage.run_store import RunStore

_MAX_AUDIT = 100


def sweep_detail(storage: RunStore, current: CurrentState, sweep: Sweep) -> dict[str, Any]:
    """The answer of `/api/sweeps/<id>`. Raises BrokerError and StorageError."""
    name, total = sweep.record.id, len(sweep.space)
    if total == 1:
        row = row_of_run(sweep, current.run(storage, sweep, sweep.run_id(0)))
        extra: dict[str, Any] = {"failures": [], "held": 0, "waiting": {}, "retrying": 0}
    else:
        report = current.sweep(storage, sweep)
        row = row_of_sweep(sweep, report)
        report = add_reasons(storage, sweep, report)
        failures = [
            {"cause": one.text, "count": one.count, "shared": one.shared, "example": one.example, "reason": one.reason}
            for one in report.failures
        ]
        extra = {
            "failures": failures,
            "held": report.held,
            "waiting": report.waiting,
            "retrying": report.retrying,
        }
    varied = varied_parameters(sweep)
    counts = row.counts
    return {
        **row.as_json(),
        **extra,
        "parameters": varied,
        "constants": _constants(sweep, varied),
        "steps": [step.name for step in sweep.pipeline.steps],
        "source": sweep.record.source,
        "storage": storage.where_sweep(name),
        "ended": counts["succeeded"] + counts["failed"] + counts["cancelled"],
        "may": possible_actions(row.state, counts, total),
        "pipeline_text": json.dumps(sweep.record.pipeline, indent=2, ensure_ascii=False),
        "audit": [line.model_dump(exclude={"v", "sweep"}) for line in storage.actions_on(name)[-_MAX_AUDIT:]],
    }


def _constants(sweep: Sweep, varied: list[str]) -> dict[str, Value]:
    return {name: value for name, value in sweep.space[0].items() if name not in varied}
