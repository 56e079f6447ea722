"""What a step's process is given: its command, environment and limits."""

from __future__ import annotations

import base64
import logging
import os
from dataclasses import replace
from pathlib import Path

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.contract.settings import RESERVED_PREFIX
from pipeline_queue.planning.planner import StepPlan, plan_step
from pipeline_queue.storage.disk import is_passing
from pipeline_queue.storage.patience import repeat_until_done
from workers.agents.lease_keeper import TRUSTED_SECONDS
from workers.context import WorkerContext
from workers.interpreter import inherited_variables
from workers.job import Attempt
from workers.outputs import Workspace
from workers.preload import late_variables
from workers.step_base import Base
from workers.supervisor.protocol import ATTEMPT_MARKER, ExecutionResult, StartOrder
from workers.thread_bounds import thread_bounds

logger = logging.getLogger(__name__)


def run_step(worker: WorkerContext, attempt: Attempt, workspace: Workspace) -> ExecutionResult:
    """Runs the step; again while its log cannot be opened for what may pass, for nothing has begun then.

    Raises StorageError.
    """
    request = _request(worker, attempt, workspace)

    def run() -> ExecutionResult:
        result = worker.executor.run(replace(request, leased_at=attempt.held.asked_at))
        if result.log_errno is not None:
            error = OSError(result.log_errno, os.strerror(result.log_errno), request.log)
            if is_passing(error):
                raise error
        return result

    return repeat_until_done(run)


def complete_log(attempt: Attempt, result: ExecutionResult) -> None:
    """Writes what the supervisor could not write to the log."""
    if result.log_left:
        left = base64.b64decode(result.log_left)
        try:
            attempt.slot.append_to_log(left)
        except (OSError, StorageError) as error:
            # A step whose log is cut short has ended as it has.
            logger.warning("not written whole to the log: %d bytes: %s", len(left), error)


def _request(worker: WorkerContext, attempt: Attempt, workspace: Workspace) -> StartOrder:
    step = attempt.job.plan.step
    env = _environment(attempt, workspace.folder, worker.workspaces.ceiling)
    return StartOrder(
        id=attempt.uid,
        argv=attempt.record.argv,
        cwd=str(workspace.folder),
        env=env,
        log=attempt.slot.log_sink(),
        log_limit_bytes=worker.log_limit_bytes,
        timeout_seconds=step.timeout_seconds,
        memory_bytes=step.memory_bytes,
        grace_seconds=worker.grace_seconds,
        lease_seconds=TRUSTED_SECONDS,
        preload=step.preload,
        late=late_variables(step, [*env, ATTEMPT_MARKER]),
    )


def command_of(base: Base, plan: StepPlan) -> tuple[str, ...]:
    return (str(base.python), *plan.argv) if plan.step.python else plan.argv


def _environment(attempt: Attempt, folder: Path, ceiling: Path) -> dict[str, str]:
    """The base and the step's own.

    PWD is the step's folder, as a shell would set it: programs that trust it must not find the submitter's.
    """
    job, base = attempt.job, attempt.base
    inherited = inherited_variables(base.python, base.variables)
    inherited.pop("OLDPWD", None)
    # A search for a repository ends below the folders of other attempts, wherever the scratch folder lies.
    inherited["GIT_CEILING_DIRECTORIES"] = os.pathsep.join(
        filter(None, [inherited.get("GIT_CEILING_DIRECTORIES"), str(ceiling)])
    )
    step = job.plan.step
    own = plan_step(step, job.run, job.sweep.parameters(job.run), inherited).env if step.env else {}
    return {
        "PYTHONUNBUFFERED": "1",
        **thread_bounds(attempt.record.threads, [*inherited, *own]),
        **inherited,
        "PWD": str(folder),
        f"{RESERVED_PREFIX}SWEEP_ID": job.run.sweep,
        f"{RESERVED_PREFIX}RUN_ID": str(job.run),
        f"{RESERVED_PREFIX}RUN_INDEX": str(job.run.index),
        f"{RESERVED_PREFIX}STEP": job.step,
        **own,
    }
