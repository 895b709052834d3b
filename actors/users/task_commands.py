"""The commands about tasks and workers, as a user's context carries them out.

A task is accepted here, in one commit with the answer, and then belongs to an actor of its own. What a worker says of a
task goes to that actor, whoever's the task is; here it is only seen to that it is said once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec
from msgspec import UNSET

from actors.coordination.messages import Heard, Here, RegisterWorker, UnregisterWorker, UpdateTask
from actors.coordination.record import OPEN_TASKS, TASK_KEYS, TASKS, TaskRecord, encode_task, task_key, tasks_of
from actors.coordination.roster import Worker
from actors.durable.supervisor import TakeUp
from actors.protocol.codes import ErrorCode
from actors.protocol.commands import RegisterAgent, SubmitTask, TaskUpdate, UnregisterAgent
from actors.protocol.event_types import EventType
from actors.protocol.events import Event, caused_by
from actors.protocol.task_events import TASK_ENDS, TaskStatus, task_status
from actors.storage.interface import PutState
from actors.storage.journal import FindReply, ListState
from actors.users.messages import NOT_NOW, CommandError, Item, OutcomeUnknown
from runtime import Refused, Replied

if TYPE_CHECKING:
    from actors.coordination.counts import CoordinationCounts
    from actors.protocol.decode import Command
    from actors.users.context import UserContext
    from runtime import Ref

READ_WITHIN: Final = 10.0
START_WITHIN: Final = 30.0
TOLD_WITHIN: Final = 30.0
"""Seconds in which a task must have recorded what a worker says, crashes and restarts of its actor included."""
ASK_AGAIN: Final = 0.2
ACCEPTED: Final = "The task has been accepted."
MAY_SHARE: Final = frozenset({"operator", "worker"})
"""Roles whose agents may serve everybody."""
NEEDS_SOCKET: Final = "A worker needs a WebSocket: it is told there what to do."
OWN_ONLY: Final = "Your agents serve you alone; leave `shared` out."
UNAVAILABLE: Final = Refused(CommandError(ErrorCode.UNAVAILABLE))


@attrs.frozen
class Coordination:
    """Who does tasks.

    Attributes:
        coordinator: knows the agents.
        tasks: the supervisor of the tasks.
        counts: what is measured.
        most_open: tasks of one user that may be open at a time.
    """

    coordinator: Ref[Any]
    tasks: Ref[Any]
    counts: CoordinationCounts
    most_open: int = 1000


class TaskCommands:
    """submit_task, task_update, register_agent and unregister_agent of one user."""

    __slots__ = ("_context", "_open")

    def __init__(self, context: UserContext) -> None:
        self._context = context
        self._open: set[str] | None = None
        """The user's tasks that have not ended; None until somebody needs to know."""

    @property
    def _coordination(self) -> Coordination:
        coordination = self._context.services.coordination
        assert coordination is not None
        return coordination

    def see(self, event: Event) -> None:
        """An event of this user has been committed."""
        if self._open is None or event.type != EventType.TASK_STATUS:
            return
        if event.metadata["status"] in TASK_ENDS:
            self._open.discard(event.metadata["task_id"])

    def here(self, client_id: str, connection: Ref[Any]) -> None:
        """A client has a connection: it may be a worker."""
        coordination = self._context.services.coordination
        if coordination is not None:
            coordination.coordinator.tell(Here(Worker(self._context.user, client_id), connection))

    # --- submit_task

    def submit(self, command: Command) -> object:
        """Commit the task as accepted, answer, and have it started."""
        if self._context.services.coordination is None:
            return UNAVAILABLE
        self._context.commands.repeats.begin(command, self._accept)
        return None

    def _accept(self, command: Command) -> None:
        if self._open is None:
            self._ask_open(command)
            return
        if len(self._open) >= self._coordination.most_open:
            self._context.commands.repeats.settle(command.id, Refused(CommandError(ErrorCode.LIMIT_REACHED)))
            return
        body, stamps = command.body, self._context.services.stamps
        assert isinstance(body, SubmitTask)
        record = TaskRecord(
            user=self._context.user,
            task_id=stamps.id(),
            task_type=body.task_type,
            description=command.content,
            created_at=stamps.stamp().timestamp,
            since=stamps.number(),
            queued_at=stamps.wall(),
            parameters=body.parameters,
            priority=body.priority,
            required_capabilities=tuple(dict.fromkeys(body.required_capabilities)),
            agent="" if body.agent is UNSET else body.agent,
            sentence=ACCEPTED,
        )
        self._commit(command, record, self._open)

    def _ask_open(self, command: Command) -> None:
        def read(replied: Replied) -> None:
            if replied.error is not None:
                self._context.commands.repeats.settle(command.id, NOT_NOW)
                return
            if self._open is None:
                self._open = {key.rpartition("/")[2] for key, _ in replied.value}
            self._accept(command)

        query = ListState(OPEN_TASKS, prefix=tasks_of(self._context.user), limit=self._coordination.most_open)
        self._context.request(self._context.services.journal, query, READ_WITHIN, tag=read)

    def _commit(self, command: Command, record: TaskRecord, opened: set[str]) -> None:
        context, repeats = self._context, self._context.commands.repeats
        event = task_status(
            context.services.stamps.stamp(), TaskStatus.QUEUED, task_id=record.task_id, sentence=ACCEPTED
        )
        answer = {"task_id": record.task_id, "status": TaskStatus.QUEUED.value}
        key = task_key(context.user, record.task_id)
        effects = (
            PutState(TASKS, key, encode_task(record)),
            PutState(OPEN_TASKS, key, b""),
            PutState(TASK_KEYS, record.task_id, key.encode()),
            repeats.keep(command, answer),
        )
        opened.add(record.task_id)

        def committed() -> None:
            repeats.settle(command.id, answer)
            self._coordination.counts.tasks["submitted"] += 1
            self._start_actor(record.task_id)

        def refused(error: CommandError | OutcomeUnknown) -> None:
            if isinstance(error, OutcomeUnknown):
                repeats.unknown(command.id)
            else:
                opened.discard(record.task_id)
                repeats.settle(command.id, Refused(error))

        context.commit(Item(caused_by(event, command.id), effects), committed, refused)

    def _start_actor(self, task_id: str) -> None:
        """Have the task's actor running. Where this context ends before, the tasks' supervisor finds it by itself."""
        context = self._context

        def started(replied: Replied) -> None:
            if replied.error is not None and task_id in (self._open or ()):
                context.later(("task", task_id), ASK_AGAIN, lambda: self._start_actor(task_id))

        context.request(self._coordination.tasks, TakeUp(context.user, task_id), START_WITHIN, tag=started)

    # --- register_agent, unregister_agent

    def attend(self, command: Command, client_id: str, role: str) -> object:
        """Answered by the coordinator. Nothing of it is kept: it lasts as long as the client comes back."""
        context = self._context
        if context.services.coordination is None:
            return UNAVAILABLE
        device = context.devices.get(client_id)
        connection = None if device is None else device.connection
        if connection is None:  # of a client that has one, this context has only just restarted
            return NOT_NOW if client_id else Refused(CommandError(ErrorCode.BAD_REQUEST, NEEDS_SOCKET))
        worker, body = Worker(context.user, client_id), command.body
        if isinstance(body, RegisterAgent):
            if body.shared and role not in MAY_SHARE:
                return Refused(CommandError(ErrorCode.FORBIDDEN, OWN_ONLY))
            self._ask_coordinator(_registration(body, worker, connection, role))
        else:
            assert isinstance(body, UnregisterAgent)
            self._ask_coordinator(UnregisterWorker(worker, body.agent_id))
        return None

    def _ask_coordinator(self, order: RegisterWorker | UnregisterWorker) -> None:
        reply = self._context.defer()

        def told(replied: Replied) -> None:
            if replied.error is None:
                reply.answer({"agent_id": replied.value})
            else:
                reply.answer(replied.error if isinstance(replied.error, Refused) else NOT_NOW)

        self._context.request(self._coordination.coordinator, order, READ_WITHIN, tag=told)

    # --- task_update

    def update(self, command: Command, client_id: str) -> object:
        """Answered with the task's status, once what was said is committed."""
        if self._context.services.coordination is None:
            return UNAVAILABLE
        worker = Worker(self._context.user, client_id)
        self._coordination.coordinator.tell(Heard(worker))
        self._context.commands.repeats.begin(command, lambda command: self._update(command, worker))
        return None

    def _update(self, command: Command, worker: Worker) -> None:
        body = command.body
        assert isinstance(body, TaskUpdate)
        order = UpdateTask(
            worker,
            body.task_id,
            body.attempt,
            body.status,
            command.content,
            body.result,
            body.error,
            body.retry,
            self._context.commands.repeats.keep(command, {}),
            command.id,
        )
        _Telling(self._context, self._coordination.tasks, command.id, order).tell()


def _registration(body: RegisterAgent, worker: Worker, connection: Ref[Any], role: str) -> RegisterWorker:
    """Who has come to work for others has no tasks of its own; an operator's agents are its own unless it says so."""
    return RegisterWorker(
        worker,
        connection,
        body.name,
        body.role or body.name,
        frozenset(body.capabilities),
        body.max_concurrent_tasks,
        shared=body.shared or role == "worker",
    )


class _Telling:
    """What a worker says, on its way to the task, over crashes of the task's actor: it may be told again."""

    def __init__(self, context: UserContext, tasks: Ref[Any], command_id: str, order: UpdateTask) -> None:
        self._context = context
        self._tasks = tasks
        self._command_id = command_id
        self._order = order
        self._until = context.now() + TOLD_WITHIN

    def tell(self) -> None:
        self._context.request(self._tasks, self._order, START_WITHIN, tag=self._told)

    def _told(self, replied: Replied) -> None:
        error = replied.error
        if error is None:
            self._settle({"status": replied.value})
        elif isinstance(error, Refused) and error.reason != NOT_NOW.reason:
            self._settle(Refused(error.reason))
        elif self._context.now() >= self._until:
            # Perhaps it was recorded. The next repeat begins anew, and finds what was kept, if anything was.
            self._settle(Refused(OutcomeUnknown()))
        else:
            self._context.later(("update", self._command_id), ASK_AGAIN, self._look)

    def _settle(self, answer: object) -> None:
        self._context.commands.repeats.settle(self._command_id, answer)

    def _look(self) -> None:
        """The task may have recorded it and crashed before it could say so: then the answer is kept."""
        query = FindReply(self._context.user, self._command_id)
        self._context.request(self._context.services.journal, query, READ_WITHIN, tag=self._looked)

    def _looked(self, replied: Replied) -> None:
        if replied.error is None and replied.value is not None:
            self._settle(msgspec.json.decode(replied.value.reply))
        else:
            self.tell()
