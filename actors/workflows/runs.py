"""The supervisor of the runs. At its start it takes up every run that is still open in the state.

A run that an earlier daemon left open is closed as failed. One of this daemon, left open because this supervisor was
restarted, goes on with its next attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import attrs

from actors.storage.journal import ListState
from actors.users.keys import OPEN
from actors.workflows.messages import StartRun
from actors.workflows.run import Run, RunServices
from runtime import Mailbox, Reason, Ref, Replied
from supervisors import ChildSpec, DynamicSupervisor, Intensity, Restart

if TYPE_CHECKING:
    from collections.abc import Callable

RUN_BUDGET: Final = Intensity(3, 60.0)
RUN_MAILBOX: Final = Mailbox(8192)
LIST_WITHIN: Final = 30.0
LIST_AGAIN: Final = 0.5
PAGE: Final = 500
CLOSE_AGAIN: Final = 30.0
"""Seconds before a run that could not even be closed is tried again: until then its session is busy."""


@attrs.frozen
class _ListOpen:
    """Timer: read the next page of open runs."""

    after: str


@attrs.frozen
class _CloseAgain:
    """Timer: close a run that failed while it was being closed."""

    order: StartRun


class Runs(DynamicSupervisor):
    """Answers `StartRun` with the address of the run's actor.

    Args:
        services: what each run is given; called when a run starts.
        journal: where open runs are listed.
        began: an id made when the daemon started: runs with a smaller one are an earlier daemon's.
    """

    budget = RUN_BUDGET

    def __init__(self, services: Callable[[], RunServices], journal: Ref[Any], began: str) -> None:
        self._services = services
        self._journal = journal
        self._began = began
        self._orders: dict[str, StartRun] = {}
        self._given_up: set[str] = set()
        """Runs that failed too often, until they are closed."""

    async def started(self) -> None:
        await super().started()
        self._list("")

    async def receive(self, message: Any) -> object:
        match message:
            case StartRun():
                return self.child(message.run_id) or self._start(self._judged(message))
            case Replied(tag=after, value=page, error=error):
                if error is not None:
                    self.timer("list", LIST_AGAIN, _ListOpen(after))
                else:
                    self._take_up(page)
                return None
            case _ListOpen(after):
                self._list(after)
                return None
            case _CloseAgain(order):
                if self.child(order.run_id) is None:
                    self._start(order)
                return None
        return await super().receive(message)

    def child_gone(self, name: str, ref: Ref[Any], reason: Reason, *, gave_up: bool) -> None:
        del ref, reason
        order = self._orders.pop(name)
        if not gave_up:
            self._given_up.discard(name)
        elif order.close:
            self.timer(("close", name), CLOSE_AGAIN, _CloseAgain(order))
        else:
            self._given_up.add(name)
            self._start(self._judged(order))

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
        """The order, with what an earlier daemon has begun, and what failed too often, to be closed."""
        close = order.close or order.run_id < self._began or order.run_id in self._given_up
        return attrs.evolve(order, close=close)

    def _list(self, after: str) -> None:
        self.request(self._journal, ListState(OPEN, after=after, limit=PAGE), LIST_WITHIN, tag=after)

    def _take_up(self, page: list[tuple[str, bytes]]) -> None:
        for key, _ in page:
            user, _, run_id = key.partition("/")
            if self.child(run_id) is None:
                self._start(self._judged(StartRun(unquote(user), run_id)))
        if len(page) == PAGE:
            self._list(page[-1][0])
