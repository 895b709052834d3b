"""What to make of what others say of a task. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.coordination.record import Outcome, TaskLimits, TaskRecord, failed_attempt
from actors.engines.messages import BadExecution, EngineBusy, EngineResult, EngineUnavailable
from actors.protocol.catalogue import CATALOGUE, Failure
from actors.protocol.codes import ErrorCode
from actors.protocol.task_events import ATTEMPT_OVER, TaskStatus
from actors.users.messages import CommandError
from runtime import HandlerFailed, NotAccepted, Refused

if TYPE_CHECKING:
    from actors.coordination.messages import UpdateTask
    from runtime import Replied

ENGINE_AGAIN: Final = 0.5
LONGEST_ERROR: Final = 10_000
UNSAID: Final = "The worker could not do this task."


@attrs.frozen
class Verdict:
    """A worker's word that counts. `status`: what the worker is answered; `outcome`: of its attempt, if it is over."""

    status: str
    outcome: Outcome | None = None


def judge(record: TaskRecord, update: UpdateTask, limits: TaskLimits) -> Verdict | CommandError:
    """What an update means, or why it counts for nothing. Who may not see the task is told that there is none."""
    workers = [attempt.worker for attempt in record.attempts]
    if update.worker.user not in {worker.user for worker in workers if worker is not None}:
        own = update.worker.user == record.user
        return CommandError(ErrorCode.FORBIDDEN if own else ErrorCode.NOT_FOUND)
    current = record.open and record.reported is None and update.attempt == record.attempt
    if not current or workers[-1] != update.worker:
        return CommandError(ErrorCode.CONFLICT, ATTEMPT_OVER, details={"attempt": record.attempt})
    if update.status == "running":
        return Verdict(TaskStatus.RUNNING.value)
    if update.status == "completed":
        return Verdict(
            TaskStatus.COMPLETED.value,
            Outcome(TaskStatus.COMPLETED, result=update.result, sentence=update.sentence),
        )
    error = (update.error or update.sentence or UNSAID)[:LONGEST_ERROR]
    outcome = Outcome(TaskStatus.FAILED, update.result, error, update.sentence, update.retry)
    final = failed_attempt(record, outcome, limits)
    return Verdict(TaskStatus.QUEUED.value if final is None else TaskStatus.FAILED.value, outcome)


def engine_outcome(replied: Replied) -> Outcome | float:
    """What came of asking an engine; a number: ask again in so many seconds."""
    error = replied.error
    if error is None:
        assert isinstance(replied.value, EngineResult)
        return _outcome_of(replied.value)
    if isinstance(error, Refused):
        match error.reason:
            case BadExecution(fields):
                return Outcome(TaskStatus.FAILED, error=" ".join(fields.values())[:LONGEST_ERROR])
            case EngineBusy(retry_after) | EngineUnavailable(retry_after):
                return float(retry_after)
    if isinstance(error, NotAccepted):
        return ENGINE_AGAIN
    what = Failure.INTERNAL if isinstance(error, HandlerFailed) else Failure.TASK_TIMEOUT
    return Outcome(TaskStatus.FAILED, error=CATALOGUE[what].sentence, retry=True)


def _outcome_of(answer: EngineResult) -> Outcome:
    result: dict[str, Any] = {**answer.result, "engine": answer.engine, "degraded": answer.degraded}
    if answer.diverted_from is not None:
        result["diverted_from"] = answer.diverted_from
    if answer.failure is None:
        return Outcome(TaskStatus.COMPLETED, result=result)
    entry = CATALOGUE[answer.failure]
    return Outcome(TaskStatus.FAILED, result, entry.sentence, retry=answer.defect or entry.retryable)
