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


@attrs.frozen
class _ListOpen:
    """Timer: read the next page of open runs."""

    after: str


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
        self._closing: set[str] = set()
        self._orders: dict[str, StartRun] = {}

    async def started(self) -> None:
        await super().started()
        self._list("")

    async def receive(self, message: Any) -> object:
        match message:
            case StartRun():
                return self.child(message.run_id) or self._start(message)
            case Replied(tag=after, value=page, error=error):
                if error is not None:
                    self.timer("list", LIST_AGAIN, _ListOpen(after))
                else:
                    self._take_up(page)
                return None
            case _ListOpen(after):
                self._list(after)
                return None
        return await super().receive(message)

    def child_gone(self, name: str, ref: Ref[Any], reason: Reason, *, gave_up: bool) -> None:
        del ref, reason
        order = self._orders.pop(name, None)
        if gave_up and order is not None and name not in self._closing:
            self._closing.add(name)
            self._start(attrs.evolve(order, close=True))
        else:
            self._closing.discard(name)

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

    def _list(self, after: str) -> None:
        self.request(self._journal, ListState(OPEN, after=after, limit=PAGE), LIST_WITHIN, tag=after)

    def _take_up(self, page: list[tuple[str, bytes]]) -> None:
        for key, _ in page:
            user, _, run_id = key.partition("/")
            if self.child(run_id) is None:
                self._start(StartRun(unquote(user), run_id, close=run_id < self._began))
        if len(page) == PAGE:
            self._list(page[-1][0])
