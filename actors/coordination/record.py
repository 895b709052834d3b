"""A task as it is kept in the key-value state: what `GET /api/tasks/{id}` shows, and what a restart needs. Pure.

The record is written with the events that change it, in one commit. Each attempt is opened once (`begun`) and closed
once (`again` or `ended`); what a worker reports is kept first (`reported`) and told after it was answered.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import attrs
import msgspec

from actors.coordination.roster import Worker
from actors.protocol.catalogue import CATALOGUE, Failure
from actors.protocol.channel_events import TaskView
from actors.protocol.task_events import TASK_ENDS, Priority, TaskStatus

TASKS: Final = "task"
"""Space of tasks: USER/TASK -> the record."""
OPEN_TASKS: Final = "open_task"
"""Space of tasks that have not ended: USER/TASK -> nothing."""
TASK_KEYS: Final = "task_key"
"""Space of the same by their ids: TASK -> USER/TASK. A worker knows no more of a task."""


@attrs.frozen
class TaskLimits:
    """How long and how often a task is tried. Times in seconds.

    Attributes:
        timeout: of one attempt.
        attempts: that may fail, before the task does.
        queue: in which somebody must have taken it.
        interruptions: attempts that the end of the daemon, or a crash of the task's own actor, may cut off.
    """

    timeout: float = 300.0
    attempts: int = 3
    queue: float = 3600.0
    interruptions: int = 20


@attrs.frozen
class Outcome:
    """What came of an attempt: completed with a result, or failed with a sentence; `retry`: another may fare better."""

    status: TaskStatus
    result: Any = None
    error: str = ""
    sentence: str = ""
    retry: bool = False


@attrs.frozen
class Attempt:
    """One attempt: whose it is, and who is at the other end if it is a worker's."""

    agent_id: str
    worker: Worker | None = None


@attrs.frozen
class TaskRecord:
    """One task.

    Attributes:
        agent: the id of the one agent that is wanted; empty: whoever can.
        since: its place among others of the same priority.
        queued_at: when it was last put in the queue, in seconds since 1970.
        attempts: so far, the open one included.
        open: the last attempt has begun, by the log, and its end is not in the log yet.
        tries: attempts that have failed; `cuts`: those that were cut off by no fault of theirs.
        reported: what a worker says of the open attempt; not in the log yet.
        ended_at: when it did, in seconds since 1970.
    """

    user: str
    task_id: str
    task_type: str
    description: str
    created_at: str
    since: float
    queued_at: float
    parameters: dict[str, Any] = attrs.field(factory=dict)
    priority: Priority = Priority.MEDIUM
    required_capabilities: tuple[str, ...] = ()
    agent: str = ""
    status: TaskStatus = TaskStatus.QUEUED
    sentence: str = ""
    attempts: tuple[Attempt, ...] = ()
    open: bool = False
    tries: int = 0
    cuts: int = 0
    started_at: str = ""
    completed_at: str = ""
    result: Any = None
    error: str = ""
    reported: Outcome | None = None
    ended_at: float = 0.0

    @property
    def attempt(self) -> int:
        """The number of the last one, 0 if there was none."""
        return len(self.attempts)

    @property
    def ended(self) -> bool:
        return self.status in TASK_ENDS


def begun(record: TaskRecord, agent_id: str, worker: Worker | None, timestamp: str) -> TaskRecord:
    """The next attempt."""
    return attrs.evolve(
        record,
        status=TaskStatus.RUNNING,
        sentence="Work on the task has begun.",
        attempts=(*record.attempts, Attempt(agent_id, worker)),
        open=True,
        started_at=timestamp,
    )


def failed_attempt(record: TaskRecord, outcome: Outcome, limits: TaskLimits) -> Outcome | None:
    """What the task ends with, since its attempt has failed so; None: it is tried again."""
    return None if outcome.retry and record.tries + 1 < limits.attempts else outcome


def cut_attempt(record: TaskRecord, limits: TaskLimits) -> Outcome | None:
    """The same, of an attempt that was cut off by no fault of its own."""
    return None if record.cuts + 1 < limits.interruptions else failure(Failure.TASK_INTERRUPTED)


def again(record: TaskRecord, now: float, sentence: str, *, cut: bool) -> TaskRecord:
    """The attempt is closed, and the task waits for the next. `now` in seconds since 1970."""
    return attrs.evolve(
        record,
        status=TaskStatus.QUEUED,
        sentence=sentence,
        open=False,
        reported=None,
        queued_at=now,
        tries=record.tries + (not cut),
        cuts=record.cuts + cut,
    )


def ended(record: TaskRecord, outcome: Outcome, timestamp: str, now: float) -> TaskRecord:
    """It is over."""
    done = outcome.status is TaskStatus.COMPLETED
    return attrs.evolve(
        record,
        status=outcome.status,
        sentence=outcome.sentence or ("The task is done." if done else outcome.error),
        open=False,
        reported=None,
        completed_at=timestamp,
        ended_at=now,
        result=outcome.result,
        error="" if done else outcome.error,
    )


def failure(what: Failure, *, retry: bool = False) -> Outcome:
    """A failure that the daemon words itself."""
    return Outcome(TaskStatus.FAILED, error=CATALOGUE[what].sentence, retry=retry)


def task_key(user: str, task_id: str) -> str:
    return f"{tasks_of(user)}{task_id}"


def tasks_of(user: str) -> str:
    """The prefix of the keys of a user's tasks."""
    return f"{quote(user, safe='')}/"


def encode_task(record: TaskRecord) -> bytes:
    return msgspec.json.encode(record)


def decode_task(stored: bytes) -> TaskRecord:
    return msgspec.json.decode(stored, type=TaskRecord)


def view(record: TaskRecord) -> TaskView:
    """The task as others see it."""
    return TaskView(
        task_id=record.task_id,
        task_type=record.task_type,
        description=record.description,
        status=record.status.value,
        priority=record.priority.value,
        parameters=record.parameters,
        required_capabilities=record.required_capabilities,
        agent=(record.attempts[-1].agent_id if record.attempts else record.agent) or None,
        created_at=record.created_at,
        started_at=record.started_at or None,
        completed_at=record.completed_at or None,
        attempts=record.attempt,
        result=record.result,
        error=record.error or None,
    )
