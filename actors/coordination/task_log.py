"""A task's record and what is said of it, as one: each event is offered with the record that it leads to.

A task may carry megabytes, and its worker may say every second how far it is: the record is written where more of it
has changed than that sentence, which is in the log and nowhere read back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import msgspec

from actors.coordination import record as records
from actors.coordination.reading import ENDED_TASKS
from actors.durable.retention import note_end
from actors.protocol.events import caused_by
from actors.protocol.task_events import task_status
from actors.storage.interface import DeleteState, Effect, PutState

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.coordination.judging import Verdict
    from actors.coordination.messages import UpdateTask
    from actors.coordination.record import Outcome, TaskRecord
    from actors.coordination.roster import Worker
    from actors.protocol.stamps import Stamps
    from actors.users.producer import Producer


class TaskLog:
    """Made when the record has been read. Nothing waits: what is said is on its way with `Producer.push`."""

    def __init__(self, record: TaskRecord, producer: Producer, stamps: Stamps) -> None:
        self.record = record
        self._producer = producer
        self._stamps = stamps
        self._cause: str | None = None
        self._written = _without_sentence(record)

    def begin(self, agent_id: str, worker: Worker | None) -> None:
        """The next attempt."""
        self.record = records.begun(self.record, agent_id, worker, self._stamps.stamp().timestamp)
        self.stands()

    def again(self, sentence: str, *, cut: bool) -> None:
        """The attempt is over, and the task waits for the next."""
        self.record = records.again(self.record, self._stamps.wall(), sentence, cut=cut)
        self.stands()

    def end(self, outcome: Outcome) -> None:
        """The last that is said."""
        now = self._stamps.wall()
        self.record = records.ended(self.record, outcome, self._stamps.stamp().timestamp, now)
        self.stands(DeleteState(records.OPEN_TASKS, self._key), note_end(ENDED_TASKS, self._key, now))

    def report(self, verdict: Verdict, update: UpdateTask, kept: Callable[[], None]) -> None:
        """What a worker has said is kept, with the reply to it; then `kept` is called."""
        own = update.cause if update.worker.user == self.record.user else None
        self._cause = own if verdict.outcome is not None else self._cause
        self.record = attrs.evolve(self.record, reported=verdict.outcome)
        effects = self._put()
        if update.keep is not None:
            answer = msgspec.json.encode({"status": verdict.status})
            effects = (*effects, attrs.evolve(update.keep, reply=answer))
        self._producer.change(self._stamps.id(), effects, kept)

    def note(self, sentence: str, cause: str | None) -> None:
        """How far it is, to be said at some time."""
        self._cause = cause
        self.record = attrs.evolve(self.record, sentence=sentence)

    def stands(self, *effects: Effect) -> None:
        """Say where it stands."""
        record = self.record
        busy = record.attempts and (record.open or record.ended)
        event = task_status(
            self._stamps.stamp(),
            record.status,
            task_id=record.task_id,
            sentence=record.sentence,
            agent=record.attempts[-1].agent_id if busy else None,
            attempt=record.attempt if busy else None,
            result=record.result,
            error=record.error or None,
        )
        cause, self._cause = self._cause, None
        self._producer.add(event if cause is None else caused_by(event, cause), *self._put(), *effects)

    @property
    def _key(self) -> str:
        return records.task_key(self.record.user, self.record.task_id)

    def _put(self) -> tuple[Effect, ...]:
        now = _without_sentence(self.record)
        if now == self._written:
            return ()
        self._written = now
        return (PutState(records.TASKS, self._key, records.encode_task(self.record)),)


def _without_sentence(record: TaskRecord) -> TaskRecord:
    return attrs.evolve(record, sentence="")
