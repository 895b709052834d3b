"""The commands about runs, as a user's context carries them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec
from msgspec import UNSET

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import CancelRun, GetRun, ListRuns, StartRun
from actors.protocol.decode import Command, digest
from actors.protocol.event_types import RUN_ENDS, EventType, RunStatus
from actors.protocol.events import Event, caused_by
from actors.protocol.run_events import run_status
from actors.storage.interface import KeepReply, PutState
from actors.storage.journal import FindReply
from actors.users.keys import OPEN, RUNS, default_session, run_key
from actors.users.messages import CommandError, OutcomeUnknown
from actors.users.reading import ReadRun, ReadRuns
from actors.workflows.messages import CancelSteps
from actors.workflows.messages import StartRun as StartRunActor
from actors.workflows.record import RunRecord, encode_record, new_record, shown
from runtime import Refused, Replied

if TYPE_CHECKING:
    from actors.users.context import UserContext
    from runtime import ReplyTo

ASK_WITHIN: Final = 10.0
START_WITHIN: Final = 30.0
ENDING: Final = 30.0


@attrs.frozen
class ActiveRun:
    """A run that has not ended, as the context knows it."""

    session_id: str
    status: RunStatus


class RunCommands:
    """start_run, cancel_run, get_run and list_runs of one user."""

    def __init__(self, context: UserContext) -> None:
        self._context = context
        self.active: dict[str, ActiveRun] = {}
        self._starting: dict[str, list[tuple[bytes, ReplyTo]]] = {}

    def opened(self, replied: Replied) -> None:
        """What the state says of runs that had not ended when this context woke."""
        if replied.error is None:
            for key, session in replied.value:
                self.active.setdefault(key.rpartition("/")[2], ActiveRun(session.decode(), RunStatus.RUNNING))

    def see(self, event: Event) -> None:
        """An event of this user has been committed."""
        if event.type != EventType.RUN_STATUS or event.run_id is None:
            return
        status = RunStatus(event.metadata["status"])
        if status in RUN_ENDS:
            self.active.pop(event.run_id, None)
        else:
            self.active[event.run_id] = ActiveRun(event.session_id or "", status)

    # --- start_run

    def start(self, command: Command) -> object:
        """Commit the run as accepted, answer, and have it started. A known id gets the first one's reply."""
        reply = self._context.defer()
        same = self._starting.get(command.id)
        fingerprint = digest(command)
        if same is not None:
            same.append((fingerprint, reply))
            return None
        self._starting[command.id] = [(fingerprint, reply)]

        def found(replied: Replied) -> None:
            if replied.error is not None:
                self._answer(command, Refused(CommandError(ErrorCode.UNAVAILABLE)))
            elif replied.value is not None:
                self._answer(command, msgspec.json.decode(replied.value.reply), of=replied.value.digest)
            else:
                self._accept(command, fingerprint)

        query = FindReply(self._context.user, command.id)
        self._context.request(self._context.services.journal, query, ASK_WITHIN, tag=found)
        return None

    def _answer(self, command: Command, answer: object, *, of: bytes | None = None) -> None:
        """Answer the command, and its repeats that came meanwhile."""
        waiting = self._starting.pop(command.id, [])
        first = waiting[0][0] if waiting else b""
        for fingerprint, reply in waiting:
            differs = fingerprint != (of if of is not None else first)
            reply.answer(Refused(CommandError(ErrorCode.CONFLICT)) if differs else answer)

    def _accept(self, command: Command, fingerprint: bytes) -> None:
        context = self._context
        body = command.body
        assert isinstance(body, StartRun)
        workflow = context.services.workflows.get(body.workflow)
        own_session = default_session(context.user)
        session_id = command.session_id or own_session
        if workflow is None:
            known = ", ".join(sorted(context.services.workflows))
            fields = {"workflow": f"There is no workflow of this name. There are: {known}."}
            self._answer(command, Refused(CommandError(ErrorCode.INVALID_FIELDS, details={"fields": fields})))
            return
        if session_id != own_session:
            self._answer(command, Refused(CommandError(ErrorCode.NOT_FOUND)))
            return
        busy = next((run_id for run_id, run in self.active.items() if run.session_id == session_id), None)
        if busy is not None:
            self._answer(command, Refused(CommandError(ErrorCode.ALREADY_RUNNING, details={"run_id": busy})))
            return
        stamps = context.services.stamps
        run_id = stamps.id()
        record = new_record(context.user, run_id, session_id, workflow, command.content, stamps.stamp().timestamp)
        self._commit(command, fingerprint, record)

    def _commit(self, command: Command, fingerprint: bytes, record: RunRecord) -> None:
        context = self._context
        stamps = context.services.stamps
        steps = [step.name for step in record.steps]
        event = run_status(
            stamps.stamp(),
            RunStatus.QUEUED,
            session_id=record.session_id,
            run_id=record.run_id,
            workflow=record.workflow,
            steps=steps,
            done=0,
            content="Your brief has been accepted.",
        )
        answer = {"run_id": record.run_id, "session_id": record.session_id}
        key = run_key(context.user, record.run_id)
        effects = (
            PutState(RUNS, key, encode_record(record)),
            PutState(OPEN, key, record.session_id.encode()),
            KeepReply(context.user, command.id, fingerprint, msgspec.json.encode(answer), stamps.wall()),
        )
        self.active[record.run_id] = ActiveRun(record.session_id, RunStatus.QUEUED)

        def committed() -> None:
            self._answer(command, answer)
            self._start_actor(record)

        def refused(error: CommandError | OutcomeUnknown) -> None:
            if isinstance(error, CommandError):
                self.active.pop(record.run_id, None)
            self._answer(command, Refused(error))

        context.commit(caused_by(event, command.id), effects, committed, refused)

    def _start_actor(self, record: RunRecord) -> None:
        context = self._context

        def started(replied: Replied) -> None:
            if replied.error is not None and record.run_id in self.active:
                self._start_actor(record)  # the runs' supervisor is restarting or full: the deadline paces the tries

        order = StartRunActor(context.user, record.run_id)
        context.request(context.services.runs, order, START_WITHIN, tag=started)

    # --- cancel_run

    def cancel(self, command: Command) -> object:
        """Answered at once with the status as it is; `run_status` cancelled follows when all has stopped."""
        body = command.body
        assert isinstance(body, CancelRun)
        active = self.active.get(body.run_id)
        if active is None:
            return self._read(body.run_id, lambda run, _: {"run_id": body.run_id, "status": run["run"]["status"]})
        agent = None if body.agent_name is UNSET else body.agent_name
        reply = self._context.defer()

        def told(replied: Replied) -> None:
            if isinstance(replied.error, Refused):
                reply.answer(Refused(replied.error.reason))
            elif replied.error is not None:
                reply.answer(Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)))
            else:
                reply.answer({"run_id": body.run_id, "status": active.status.value})

        run = self._context.system.ref(f"{self._context.services.runs.path}/{body.run_id}")
        self._context.request(run, CancelSteps(agent), ASK_WITHIN, tag=told)
        return None

    # --- get_run, list_runs

    def get(self, command: Command) -> object:
        body = command.body
        assert isinstance(body, GetRun)
        return self._read(
            body.run_id,
            lambda run, position: {**run, "approvals": [], "epoch": position.epoch, "seq": position.seq},
        )

    def _read(self, run_id: str, shape: Any) -> object:
        reply = self._context.defer()

        def read(replied: Replied) -> None:
            if replied.error is not None:
                reply.answer(Refused(CommandError(ErrorCode.UNAVAILABLE)))
                return
            stored, position = replied.value
            if stored is None:
                reply.answer(Refused(CommandError(ErrorCode.NOT_FOUND)))
            else:
                reply.answer(shape(shown(stored), position))

        query = ReadRun(self._context.user, run_key(self._context.user, run_id))
        self._context.request(self._context.services.journal, query, ASK_WITHIN, tag=read)
        return None

    def list(self, command: Command) -> object:
        body = command.body
        assert isinstance(body, ListRuns)
        reply = self._context.defer()
        after = "" if body.cursor is UNSET else body.cursor

        def read(replied: Replied) -> None:
            if replied.error is not None:
                reply.answer(Refused(CommandError(ErrorCode.UNAVAILABLE)))
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
        self._context.request(self._context.services.journal, query, ASK_WITHIN, tag=read)
        return None
