"""The commands about runs, as a user's context carries them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec
from msgspec import UNSET

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import CancelRun, GetRun, ListRuns, PauseRun, ResumeRun, StartRun
from actors.protocol.event_types import RUN_ENDS, EventType, RunStatus
from actors.protocol.events import Event, caused_by
from actors.protocol.run_events import run_status
from actors.storage.interface import PutState
from actors.storage.journal import FindReply
from actors.users.keys import OPEN, RUNS, default_session, run_key
from actors.users.messages import CommandError, Item, OutcomeUnknown
from actors.users.reading import ReadRun, ReadRuns
from actors.users.repeats import Repeats
from actors.workflows.messages import StartRun as StartRunActor
from actors.workflows.messages import Steer
from actors.workflows.orders import Order
from actors.workflows.record import RunRecord, encode_record, new_record, shown
from runtime import Refused, Replied

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.protocol.decode import Command
    from actors.storage.interface import Position
    from actors.users.context import UserContext
    from runtime import Ref

READ_WITHIN: Final = 10.0
START_WITHIN: Final = 30.0
STEER_WITHIN: Final = 30.0
"""Seconds in which a run must have recorded an order, crashes and restarts of its actor included."""
ASK_AGAIN: Final = 0.2
"""Seconds before the runs' supervisor or a run, which did not take an order, is asked again."""


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
        self._repeats = Repeats(context)

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
        self._repeats.begin(command, self._accept)
        return None

    def _accept(self, command: Command) -> None:
        body = command.body
        assert isinstance(body, StartRun)
        record = self._new_run(command, body)
        if isinstance(record, CommandError):
            self._repeats.settle(command.id, Refused(record))
        else:
            self._commit(command, record)

    def _new_run(self, command: Command, body: StartRun) -> RunRecord | CommandError:
        """The run that the command asks for, or why there is none."""
        context = self._context
        own_session = default_session(context.user)
        session_id = command.session_id or own_session
        workflow = context.services.workflows.get(body.workflow)
        if workflow is None:
            known = ", ".join(sorted(context.services.workflows))
            fields = {"workflow": f"There is no workflow of this name. There are: {known}."}
            return CommandError(ErrorCode.INVALID_FIELDS, details={"fields": fields})
        if session_id != own_session:
            return CommandError(ErrorCode.NOT_FOUND)
        if not self._known:
            return CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)
        busy = next((run_id for run_id, run in self._active.items() if run.session_id == session_id), None)
        if busy is not None:
            return CommandError(ErrorCode.ALREADY_RUNNING, details={"run_id": busy})
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
            self._repeats.keep(command, answer),
        )
        self._active[record.run_id] = ActiveRun(record.session_id, RunStatus.QUEUED)

        def committed() -> None:
            self._repeats.settle(command.id, answer)
            self._start_actor(record.run_id)

        def refused(error: CommandError | OutcomeUnknown) -> None:
            if isinstance(error, OutcomeUnknown):
                self._repeats.unknown(command.id)
            else:
                del self._active[record.run_id]
                self._repeats.settle(command.id, Refused(error))

        context.commit(Item(caused_by(event, command.id), effects), committed, refused)

    def _start_actor(self, run_id: str) -> None:
        """Have the run's actor running, unless the run has ended. Doing it twice does no harm."""
        context = self._context
        if run_id not in self._active:
            return

        def started(replied: Replied) -> None:
            if replied.error is not None:  # the runs' supervisor is being restarted, or full
                context.later(("start", run_id), ASK_AGAIN, lambda: self._start_actor(run_id))

        context.request(context.services.runs, StartRunActor(context.user, run_id), START_WITHIN, tag=started)

    # --- cancel_run, pause_run, resume_run

    def steer(self, command: Command) -> object:
        """Answered with the status as it is, once the order is committed; its effects follow when their time comes."""
        self._repeats.begin(command, self._steer)
        return None

    def _steer(self, command: Command) -> None:
        body = command.body
        assert isinstance(body, CancelRun | PauseRun | ResumeRun)
        if not self._known:
            self._repeats.settle(command.id, Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)))
        elif body.run_id not in self._active:
            self._settle_with_status(command, body.run_id)
        else:
            agent = None if body.agent_name is UNSET else body.agent_name
            _Steering(self._context, self._repeats, command, body.run_id, ORDERS[type(body)], agent).locate()

    def _settle_with_status(self, command: Command, run_id: str) -> None:
        """The run has ended, or never was: nothing is done, and nothing kept."""
        self._read_run(
            run_id,
            lambda answer: self._repeats.settle(command.id, answer),
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
            lambda run, position: {**run, "approvals": [], "epoch": position.epoch, "seq": position.seq},
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
                answer(Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)))
                return
            stored, position = replied.value
            if stored is None:
                answer(Refused(CommandError(ErrorCode.NOT_FOUND)))
            else:
                answer(shape(shown(stored), position))

        query = ReadRun(self._context.user, run_key(self._context.user, run_id))
        self._context.request(self._context.services.journal, query, READ_WITHIN, tag=read)

    def list(self, command: Command) -> object:
        body = command.body
        assert isinstance(body, ListRuns)
        reply = self._context.defer()
        after = "" if body.cursor is UNSET else body.cursor

        def read(replied: Replied) -> None:
            if replied.error is not None:
                reply.answer(Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)))
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


class _Steering:
    """One order on its way to the run, over crashes of the run's actor: it may be given again."""

    def __init__(
        self, context: UserContext, repeats: Repeats, command: Command, run_id: str, order: Order, agent: str | None
    ) -> None:
        self._context = context
        self._repeats = repeats
        self._command = command
        self._run_id = run_id
        self._order = Steer(order, agent, repeats.keep(command, {"run_id": run_id}), command.id)
        self._until = context.now() + STEER_WITHIN

    def locate(self) -> None:
        """A run that was only just accepted may not have an actor yet."""
        order = StartRunActor(self._context.user, self._run_id)
        self._context.request(self._context.services.runs, order, START_WITHIN, tag=self._located)

    def _located(self, replied: Replied) -> None:
        if replied.error is not None:
            self._again()
            return
        run: Ref[Any] = replied.value
        self._context.request(run, self._order, START_WITHIN, tag=self._told)

    def _told(self, replied: Replied) -> None:
        if isinstance(replied.error, Refused):
            self._repeats.settle(self._command.id, replied.error)
        elif replied.error is not None:
            self._again()
        else:
            self._repeats.settle(self._command.id, {"run_id": self._run_id, "status": replied.value})

    def _again(self) -> None:
        if self._context.now() >= self._until:
            # Perhaps it was recorded. The next repeat begins anew, and finds what was kept, if anything was.
            self._repeats.settle(self._command.id, Refused(OutcomeUnknown()))
        else:
            self._context.later(("steer", self._command.id), ASK_AGAIN, self._look)

    def _look(self) -> None:
        """The run may have recorded the order and crashed before it could say so: then the answer is kept."""
        query = FindReply(self._context.user, self._command.id)
        self._context.request(self._context.services.journal, query, READ_WITHIN, tag=self._looked)

    def _looked(self, replied: Replied) -> None:
        if replied.error is None and replied.value is not None:
            self._repeats.settle(self._command.id, msgspec.json.decode(replied.value.reply))
        else:
            self.locate()
