"""The supervisor of the tasks. It takes up every task that is open in the state, whoever left it, and looks again now
and then: a context may have accepted one and crashed before it could say so.

It also has tasks forgotten that ended longer ago than their results are kept.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

import attrs

from actors.coordination.judging import judge
from actors.coordination.messages import CancelTask, StartTask, UpdateTask
from actors.coordination.reading import AT_ONCE, EndedTasks, FindTask, ReadTask, forgetting
from actors.coordination.record import OPEN_TASKS, decode_task
from actors.coordination.task import Task
from actors.coordination.task_services import TaskServices
from actors.protocol.codes import ErrorCode
from actors.storage.journal import Append, ListState
from actors.users.messages import CommandError, Later
from runtime import Mailbox, Reason, Ref, Refused, Replied
from supervisors import ChildSpec, DynamicSupervisor, Intensity, Restart

TASK_BUDGET: Final = Intensity(3, 60.0)
TASK_MAILBOX: Final = Mailbox(1024)
LIST_WITHIN: Final = 30.0
LIST_AGAIN: Final = 0.5
LIST_EVERY: Final = 5.0
PAGE: Final = 500
READ_WITHIN: Final = 10.0
SWEEP_WITHIN: Final = 30.0
SWEEP_EVERY: Final = 600.0
SWEEP_ON: Final = 1.0
"""Seconds between two pages of a sweep that has much to forget."""
CLOSE_AGAIN: Final = 30.0
NOT_NOW: Final = Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0))


class Tasks(DynamicSupervisor):
    """Answers `StartTask` with the address of the task's actor; passes on what is said to a task.

    Args:
        services: what each task is given.
        keep: seconds for which a task is kept after its end.
        sweep_every: seconds between two looks for those to forget.
    """

    budget = TASK_BUDGET

    def __init__(self, services: TaskServices, keep: float, sweep_every: float = SWEEP_EVERY) -> None:
        self._services = services
        self._keep = keep
        self._sweep_every = sweep_every
        self._orders: dict[str, StartTask] = {}
        self._given_up: set[str] = set()
        """Tasks that failed too often, until they are closed."""

    async def started(self) -> None:
        await super().started()
        self._list("")
        self._sweep()

    async def receive(self, message: Any) -> object:
        match message:
            case StartTask():
                return self.child(message.task_id) or self._start(self._judged(message))
            case UpdateTask() | CancelTask():
                return self._pass_on(message)
            case Replied():
                message.tag(message)
            case Later(call):
                call()
            case _:
                return await super().receive(message)
        return None

    # --- starting

    def _judged(self, order: StartTask) -> StartTask:
        """The order; of a task that has failed too often, to close it."""
        return attrs.evolve(order, close=order.close or order.task_id in self._given_up)

    def _start(self, order: StartTask) -> Ref[Any]:
        self._orders[order.task_id] = order
        services = self._services
        spec = ChildSpec(
            order.task_id,
            lambda: Task(order, services),
            mailbox=TASK_MAILBOX,
            shutdown=10.0,
            restart=Restart.TRANSIENT,
        )
        return self.start_child(spec)

    def child_gone(self, name: str, ref: Ref[Any], reason: Reason, *, gave_up: bool) -> None:
        del ref, reason
        order = self._orders.pop(name)
        if not gave_up:
            self._given_up.discard(name)
        elif order.close:  # it could not even be closed
            self.timer(("close", name), CLOSE_AGAIN, Later(lambda: self._close_again(order)))
        else:
            self._given_up.add(name)
            self._start(self._judged(order))

    def _close_again(self, order: StartTask) -> None:
        if self.child(order.task_id) is None:
            self._start(order)

    def _list(self, after: str) -> None:
        def listed(replied: Replied) -> None:
            if replied.error is not None:
                self._list_later(LIST_AGAIN, after)
                return
            for key, _ in replied.value:
                user, _, task_id = key.partition("/")
                if self.child(task_id) is None and task_id not in self._given_up:
                    self._start(StartTask(unquote(user), task_id))
            if len(replied.value) == PAGE:
                self._list(replied.value[-1][0])
            else:
                self._list_later(LIST_EVERY, "")

        query = ListState(OPEN_TASKS, after=after, limit=PAGE)
        self.request(self._services.journal, query, LIST_WITHIN, tag=listed)

    def _list_later(self, delay: float, after: str) -> None:
        self.timer("list", delay, Later(lambda: self._list(after)))

    # --- what is said to a task

    def _pass_on(self, message: UpdateTask | CancelTask) -> object:
        task = self.child(message.task_id)
        if task is not None:
            if isinstance(message, CancelTask) and message.user != self._orders[message.task_id].user:
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

    # --- forgetting

    def _sweep(self) -> None:
        stamps = self._services.stamps

        def forgotten(replied: Replied, more: bool) -> None:
            self._sweep_later(SWEEP_ON if more and replied.error is None else self._sweep_every)

        def found(replied: Replied) -> None:
            if replied.error is not None or not replied.value:
                self._sweep_later(self._sweep_every)
                return
            more = len(replied.value) == AT_ONCE
            order = Append((forgetting(replied.value, stamps.id()),))
            self.request(self._services.journal, order, SWEEP_WITHIN, tag=lambda reply: forgotten(reply, more))

        self.request(self._services.journal, EndedTasks(stamps.wall() - self._keep), SWEEP_WITHIN, tag=found)

    def _sweep_later(self, delay: float) -> None:
        self.timer("sweep", min(delay, max(self._keep, SWEEP_ON)), Later(self._sweep))
