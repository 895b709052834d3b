"""The commands about runs, as a user's context carries them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
from msgspec import UNSET

from actors.durable.supervisor import TakeUp
from actors.protocol.codes import ErrorCode
from actors.protocol.commands import CancelRun, GetRun, ListRuns, PauseRun, ResumeRun, StartRun
from actors.protocol.event_types import RUN_ENDS, EventType, RunStatus
from actors.protocol.events import Event, caused_by
from actors.protocol.run_events import run_status
from actors.storage.interface import PutState
from actors.users.keys import OPEN, RUNS, default_session, run_key
from actors.users.messages import NOT_NOW, CommandError, Item, OutcomeUnknown
from actors.users.modes import OFF
from actors.users.ordering import Ordering
from actors.users.reading import ReadRun, ReadRuns
from actors.users.repeats import Repeats
from actors.users.session_state import Mode, SessionState
from actors.workflows.messages import Steer
from actors.workflows.orders import Order
from actors.workflows.record import RunRecord, encode_record, new_record, shown
from runtime import Refused, Replied

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.protocol.decode import Command
    from actors.storage.interface import Position
    from actors.users.context import UserContext
    from actors.workflows.messages import Decide

READ_WITHIN: Final = 10.0
START_WITHIN: Final = 30.0
ASK_AGAIN: Final = 0.2
"""Seconds before the runs' supervisor, which did not take an order, is asked again."""


@attrs.frozen
class ActiveRun:
    """A run that has not ended, as the context knows it."""

    session_id: str
    status: RunStatus


class RunCommands:
    """start_run, cancel_run, pause_run, resume_run, get_run and list_runs of one user."""

    def __init__(self, context: UserContext) -> None:
        self._context = context
        self._active: dict[str, ActiveRun] = {}
        self._known = False
        self.repeats = Repeats(context)

    @property
    def idle(self) -> bool:
        """Whether it is known that no run is open."""
        return self._known and not self._active

    def opened(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """What the state says of runs that had not ended when this context woke.

        An earlier incarnation may have accepted one and crashed before it could have it started.
        """
        self._known = True
        for key, session in rows:
            run_id = key.rpartition("/")[2]
            self._active.setdefault(run_id, ActiveRun(session.decode(), RunStatus.RUNNING))
            self._start_actor(run_id)

    def see(self, event: Event) -> None:
        """An event of this user has been committed."""
        if event.type != EventType.RUN_STATUS or event.run_id is None:
            return
        status = RunStatus(event.metadata["status"])
        if status in RUN_ENDS:
            self._active.pop(event.run_id, None)
        else:
            self._active[event.run_id] = ActiveRun(event.session_id or "", status)

    # --- start_run

    def start(self, command: Command) -> object:
        """Commit the run as accepted, answer, and have it started."""
        self.repeats.begin(command, self._accept)
        return None

    def _accept(self, command: Command) -> None:
        session_id = command.session_id or default_session(self._context.user)
        self._context.modes.find(session_id, lambda session: self._begin(command, session_id, session))

    def _begin(self, command: Command, session_id: str, session: SessionState | CommandError) -> None:
        record = session if isinstance(session, CommandError) else self._new_run(command, session_id, session)
        if isinstance(record, CommandError):
            self.repeats.settle(command.id, Refused(record))
        else:
            self._commit(command, record)

    def _new_run(self, command: Command, session_id: str, session: SessionState) -> RunRecord | CommandError:
        """The run that the command asks for, or why there is none."""
        context, body = self._context, command.body
        assert isinstance(body, StartRun)
        workflow = context.services.workflows.get(body.workflow)
        if workflow is None:
            known = ", ".join(sorted(context.services.workflows))
            fields = {"workflow": f"There is no workflow of this name. There are: {known}."}
            return CommandError(ErrorCode.INVALID_FIELDS, details={"fields": fields})
        if not self._known:
            return CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)
        busy = next((run_id for run_id, run in self._active.items() if run.session_id == session_id), None)
        if busy is not None:
            return CommandError(ErrorCode.ALREADY_RUNNING, details={"run_id": busy})
        if session.mode is Mode.OFF:
            return CommandError(ErrorCode.FORBIDDEN, OFF)
        stamps = context.services.stamps
        return new_record(
            context.user,
            stamps.id(),
            session_id,
            workflow,
            command.content,
            stamps.stamp().timestamp,
            body.options,
        )

    def _commit(self, command: Command, record: RunRecord) -> None:
        context = self._context
        event = run_status(
            context.services.stamps.stamp(),
            RunStatus.QUEUED,
            session_id=record.session_id,
            run_id=record.run_id,
            workflow=record.workflow,
            steps=[step.name for step in record.steps],
            done=0,
            content="Your brief has been accepted.",
        )
        answer = {"run_id": record.run_id, "session_id": record.session_id}
        key = run_key(context.user, record.run_id)
        effects = (
            PutState(RUNS, key, encode_record(record)),
            PutState(OPEN, key, record.session_id.encode()),
            self.repeats.keep(command, answer),
        )
        self._active[record.run_id] = ActiveRun(record.session_id, RunStatus.QUEUED)

        def committed() -> None:
            self.repeats.settle(command.id, answer)
            self._start_actor(record.run_id)

        def refused(error: CommandError | OutcomeUnknown) -> None:
            if isinstance(error, OutcomeUnknown):
                self.repeats.unknown(command.id)
            else:
                del self._active[record.run_id]
                self.repeats.settle(command.id, Refused(error))

        context.commit(Item(caused_by(event, command.id), effects), committed, refused)

    def _start_actor(self, run_id: str) -> None:
        """Have the run's actor running, unless the run has ended. Doing it twice does no harm."""
        context = self._context
        if run_id not in self._active:
            return

        def started(replied: Replied) -> None:
            if replied.error is not None:  # the runs' supervisor is being restarted, or full
                context.later(("start", run_id), ASK_AGAIN, lambda: self._start_actor(run_id))

        context.request(context.services.runs, TakeUp(context.user, run_id), START_WITHIN, tag=started)

    # --- cancel_run, pause_run, resume_run

    def steer(self, command: Command) -> object:
        """Answered with the status as it is, once the order is committed; its effects follow when their time comes."""
        self.repeats.begin(command, self._steer)
        return None

    def _steer(self, command: Command) -> None:
        body = command.body
        assert isinstance(body, CancelRun | PauseRun | ResumeRun)
        if not self._known:
            self.repeats.settle(command.id, NOT_NOW)
        elif body.run_id not in self._active:
            self._settle_with_status(command, body.run_id)
        else:
            run_id = body.run_id
            agent = None if body.agent_name is UNSET else body.agent_name
            kept = self.repeats.keep(command, {"run_id": run_id})
            order = Steer(ORDERS[type(body)], agent, kept, command.id)
            self.order(command, run_id, order, lambda status: {"run_id": run_id, "status": status})

    def order(self, command: Command, run_id: str, order: Steer | Decide, answer: Callable[[Any], object]) -> None:
        """Have a run that has not ended carry out an order; `answer` makes the reply of what the run answers."""
        Ordering(self._context, self.repeats, command, run_id, order, answer).locate()

    def active(self, run_id: str) -> bool | None:
        """Whether the run has not ended; None while that is not known."""
        return run_id in self._active if self._known else None

    def _settle_with_status(self, command: Command, run_id: str) -> None:
        """The run has ended, or never was: nothing is done, and nothing kept."""
        self._read_run(
            run_id,
            lambda answer: self.repeats.settle(command.id, answer),
            lambda run, _: {"run_id": run_id, "status": run["run"]["status"]},
        )

    # --- get_run, list_runs

    def get(self, command: Command) -> object:
        body = command.body
        assert isinstance(body, GetRun)
        reply = self._context.defer()
        self._read_run(
            body.run_id,
            reply.answer,
            lambda run, position: {**run, "epoch": position.epoch, "seq": position.seq},
        )
        return None

    def _read_run(
        self,
        run_id: str,
        answer: Callable[[object], object],
        shape: Callable[[dict[str, Any], Position], dict[str, Any]],
    ) -> None:
        def read(replied: Replied) -> None:
            if replied.error is not None:
                answer(NOT_NOW)
                return
            stored, position = replied.value
            if stored is None:
                answer(Refused(CommandError(ErrorCode.NOT_FOUND)))
            else:
                answer(shape(shown(stored), position))

        self.read(run_id, read)

    def read(self, run_id: str, tag: Callable[[Replied], None]) -> None:
        """Have the run's record and the log's top read."""
        query = ReadRun(self._context.user, run_key(self._context.user, run_id))
        self._context.request(self._context.services.journal, query, READ_WITHIN, tag=tag)

    def list(self, command: Command) -> object:
        body = command.body
        assert isinstance(body, ListRuns)
        reply = self._context.defer()
        after = "" if body.cursor is UNSET else body.cursor

        def read(replied: Replied) -> None:
            if replied.error is not None:
                reply.answer(NOT_NOW)
                return
            page, position = replied.value
            runs = [shown(record)["run"] for _, record in page]
            if body.active is False:
                runs = [run for run in runs if run["status"] in RUN_ENDS]
            answer: dict[str, Any] = {"runs": runs, "epoch": position.epoch, "seq": position.seq}
            if len(page) == body.limit:
                answer["next_cursor"] = page[-1][0]
            reply.answer(answer)

        query = ReadRuns(self._context.user, after, body.limit, only_open=body.active is True)
        self._context.request(self._context.services.journal, query, READ_WITHIN, tag=read)
        return None


ORDERS: Final[dict[type, Order]] = {
    CancelRun: Order.CANCEL,
    PauseRun: Order.PAUSE,
    ResumeRun: Order.RESUME,
}
