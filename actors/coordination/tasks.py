"""The supervisor of the tasks: it takes up every task that is open, and forgets those that ended longer ago than their
results are kept. See `actors.durable.supervisor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.coordination.judging import judge
from actors.coordination.messages import CancelTask, UpdateTask
from actors.coordination.reading import ENDED_TASKS, FindTask, ReadTask, forget_task
from actors.coordination.record import OPEN_TASKS, decode_task
from actors.coordination.task import Task
from actors.coordination.task_services import TaskServices
from actors.durable.supervisor import SWEEP_EVERY, DurableSupervisor, TakeUp
from actors.protocol.codes import ErrorCode
from actors.users.messages import NOT_NOW, CommandError
from runtime import Mailbox, Refused, Replied

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.storage.interface import Effect

LOOK_EVERY: Final = 5.0
READ_WITHIN: Final = 10.0


class Tasks(DurableSupervisor):
    """Answers `TakeUp` with the address of the task's actor; passes on what is said to a task.

    Args:
        services: what each task is given.
        keep: seconds for which a task is kept after its end.
        sweep_every: seconds between two looks for those to forget.
    """

    open_space = OPEN_TASKS
    ended_space = ENDED_TASKS
    child_mailbox = Mailbox(1024)

    def __init__(self, services: TaskServices, keep: float, sweep_every: float = SWEEP_EVERY) -> None:
        super().__init__(
            services.journal,
            services.stamps,
            keep,
            artifacts=services.agents.box.artifacts,
            log=services.agents.box.log,
            look_every=LOOK_EVERY,
            sweep_every=sweep_every,
        )
        self._services = services

    def make(self, order: TakeUp) -> Task:
        return Task(order, self._services)

    def forgets(self, key: str) -> Iterable[Effect]:
        return forget_task(key)

    async def receive(self, message: Any) -> object:
        if isinstance(message, UpdateTask | CancelTask):
            return self._pass_on(message)
        return await super().receive(message)

    def _pass_on(self, message: UpdateTask | CancelTask) -> object:
        task = self.child(message.task_id)
        if task is not None:
            if isinstance(message, CancelTask) and message.user != self.owner(message.task_id):
                return Refused(CommandError(ErrorCode.NOT_FOUND))
            self.forward(task)
            return None
        reply = self.defer()

        def read(replied: Replied) -> None:
            if replied.error is not None:
                reply.answer(NOT_NOW)
            else:
                reply.answer(self._of_stored(message, replied.value))

        query: FindTask | ReadTask = FindTask(message.task_id)
        if isinstance(message, CancelTask):
            query = ReadTask(message.user, message.task_id)
        self.request(self._services.journal, query, READ_WITHIN, tag=read)
        return None

    def _of_stored(self, message: UpdateTask | CancelTask, stored: bytes | None) -> object:
        """The answer where there is no actor: of a task that has ended, or is only about to be taken up."""
        if stored is None:
            return Refused(CommandError(ErrorCode.NOT_FOUND))
        record = decode_task(stored)
        if not record.ended:
            return NOT_NOW
        if isinstance(message, CancelTask):
            return True
        verdict = judge(record, message, self._services.limits)
        assert isinstance(verdict, CommandError)
        return Refused(verdict)
