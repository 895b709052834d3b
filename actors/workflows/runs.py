"""The supervisor of the runs. At its start it takes up every run that is still open in the state, whoever left it.

Now and then it has the records of runs forgotten that ended longer ago than the log reaches back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import attrs

from actors.storage.journal import Append, ListState
from actors.users.keys import OPEN
from actors.users.messages import Later
from actors.workflows.messages import StartRun, Steer, SteerAll
from actors.workflows.run import Run, RunServices
from actors.workflows.sweeping import AT_ONCE, EndedRuns, forgetting, remove_artifacts
from runtime import Mailbox, Reason, Ref, Replied, TaskEnded
from supervisors import ChildSpec, DynamicSupervisor, Intensity, Restart

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.artifacts.store import Artifacts
    from actors.workflows.orders import Order
    from runtime import ActorTask, ReplyTo

RUN_BUDGET: Final = Intensity(3, 60.0)
RUN_MAILBOX: Final = Mailbox(8192)
LIST_WITHIN: Final = 30.0
LIST_AGAIN: Final = 0.5
PAGE: Final = 500
CLOSE_AGAIN: Final = 30.0
"""Seconds before a run that could not even be closed is tried again: until then its session is busy."""
STEER_WITHIN: Final = 30.0
SWEEP_WITHIN: Final = 30.0
SWEEP_EVERY: Final = 600.0
SWEEP_ON: Final = 1.0
"""Seconds between two pages of a sweep that has much to forget."""


@attrs.define(eq=False)
class _Count:
    """An order to all runs on its way: how many have not answered, and how many have recorded it."""

    reply: ReplyTo
    waiting: int
    done: int = 0


class Runs(DynamicSupervisor):
    """Answers `StartRun` with the address of the run's actor.

    Args:
        services: what each run is given; called when a run starts.
        journal: where open runs are listed.
        keep: seconds for which the record of a run is kept after its end.
        artifacts: the files of runs, which go with the records; None: there are none.
    """

    budget = RUN_BUDGET

    def __init__(
        self, services: Callable[[], RunServices], journal: Ref[Any], keep: float, artifacts: Artifacts | None = None
    ) -> None:
        self._services = services
        self._journal = journal
        self._keep = keep
        self._artifacts = artifacts
        self._removal: tuple[ActorTask, Callable[[BaseException | None], None]] | None = None
        self._orders: dict[str, StartRun] = {}
        self._given_up: set[str] = set()
        """Runs that failed too often, until they are closed."""

    async def started(self) -> None:
        await super().started()
        self._list("")
        self._sweep()

    async def receive(self, message: Any) -> object:
        match message:
            case StartRun():
                return self.child(message.run_id) or self._start(self._judged(message))
            case SteerAll(order):
                self._steer_all(order)
            case Replied():
                message.tag(message)
            case Later(call):
                call()
            case TaskEnded(task, error=error) if self._removal is not None and task is self._removal[0]:
                _, then = self._removal
                self._removal = None
                then(error)
            case _:
                return await super().receive(message)
        return None

    # --- starting

    def child_gone(self, name: str, ref: Ref[Any], reason: Reason, *, gave_up: bool) -> None:
        del ref, reason
        order = self._orders.pop(name)
        if not gave_up:
            self._given_up.discard(name)
        elif order.close:
            self.timer(("close", name), CLOSE_AGAIN, Later(lambda: self._close_again(order)))
        else:
            self._given_up.add(name)
            self._start(self._judged(order))

    def _close_again(self, order: StartRun) -> None:
        if self.child(order.run_id) is None:
            self._start(order)

    def _start(self, order: StartRun) -> Ref[Any]:
        self._orders[order.run_id] = order
        services = self._services()
        spec = ChildSpec(
            order.run_id,
            lambda: Run(order, services),
            mailbox=RUN_MAILBOX,
            shutdown=10.0,
            restart=Restart.TRANSIENT,
        )
        return self.start_child(spec)

    def _judged(self, order: StartRun) -> StartRun:
        """The order; of a run that has failed too often, to close it."""
        return attrs.evolve(order, close=order.close or order.run_id in self._given_up)

    def _list(self, after: str) -> None:
        def listed(replied: Replied) -> None:
            if replied.error is not None:
                self.timer("list", LIST_AGAIN, Later(lambda: self._list(after)))
            else:
                self._take_up(replied.value)

        self.request(self._journal, ListState(OPEN, after=after, limit=PAGE), LIST_WITHIN, tag=listed)

    def _take_up(self, page: list[tuple[str, bytes]]) -> None:
        for key, _ in page:
            user, _, run_id = key.partition("/")
            if self.child(run_id) is None:
                self._start(self._judged(StartRun(unquote(user), run_id)))
        if len(page) == PAGE:
            self._list(page[-1][0])

    # --- all at once

    def _steer_all(self, order: Order) -> None:
        """Give every run the order, and answer when each has recorded it or cannot."""
        runs = self.children.values()
        count = _Count(self.defer(), len(runs))

        def steered(replied: Replied) -> None:
            count.waiting -= 1
            count.done += replied.error is None
            if not count.waiting:
                count.reply.answer(count.done)

        for run in runs:
            self.request(run, Steer(order), STEER_WITHIN, tag=steered)
        if not runs:
            count.reply.answer(0)

    # --- forgetting

    def _sweep(self) -> None:
        stamps = self._services().stamps

        def forgotten(replied: Replied, more: bool) -> None:
            self._sweep_later(SWEEP_ON if more and replied.error is None else SWEEP_EVERY)

        def found(replied: Replied) -> None:
            if replied.error is not None or not replied.value:
                self._sweep_later(SWEEP_EVERY)
                return
            ended = replied.value

            def removed(error: BaseException | None) -> None:
                if isinstance(error, OSError):  # the disk's trouble: the records stay, and with them what to remove
                    self._sweep_later(SWEEP_EVERY)
                    return
                if error is not None:
                    raise error
                order = Append((forgetting(ended, stamps.id()),))
                self.request(self._journal, order, SWEEP_WITHIN, tag=lambda r: forgotten(r, len(ended) == AT_ONCE))

            # Files first: after a crash in between the record still says that there is something to remove.
            if self._artifacts is None:
                removed(None)
            else:
                self._removal = self.start_in_thread(remove_artifacts, self._artifacts, ended), removed

        self.request(self._journal, EndedRuns(stamps.wall() - self._keep), SWEEP_WITHIN, tag=found)

    def _sweep_later(self, delay: float) -> None:
        self.timer("sweep", delay, Later(self._sweep))
