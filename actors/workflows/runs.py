"""The supervisor of the runs: it takes up every run that is open, and forgets those that ended longer ago than the log
reaches back, with their files. See `actors.durable.supervisor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.durable.supervisor import DurableSupervisor, TakeUp
from actors.users.keys import OPEN
from actors.workflows.messages import Steer, SteerAll
from actors.workflows.run import Run, RunServices
from actors.workflows.sweeping import ENDED, forget_run
from runtime import Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.artifacts.store import Artifacts
    from actors.storage.interface import Effect
    from actors.workflows.orders import Order
    from runtime import Replied, ReplyTo

STEER_WITHIN: Final = 30.0


@attrs.define(eq=False)
class _Count:
    """An order to all runs on its way: how many have not answered, and how many have recorded it."""

    reply: ReplyTo
    waiting: int
    done: int = 0


class Runs(DurableSupervisor):
    """Answers `TakeUp` with the address of the run's actor. It looks for open runs at its start only: a context that
    has accepted a run says so until it is heard, over its own crashes too.

    Args:
        services: what each run is given.
        keep: seconds for which the record of a run is kept after its end.
        artifacts: the files of runs, which go with the records; None: there are none.
    """

    open_space = OPEN
    ended_space = ENDED
    child_mailbox = Mailbox(8192)

    def __init__(self, services: RunServices, keep: float, artifacts: Artifacts | None = None) -> None:
        super().__init__(services.journal, services.stamps, keep, artifacts=artifacts)
        self._services = services

    def make(self, order: TakeUp) -> Run:
        return Run(order, self._services)

    async def receive(self, message: Any) -> object:
        match message:
            case SteerAll(order):
                self._steer_all(order)
            case _:
                return await super().receive(message)
        return None

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

    def forgets(self, key: str) -> Iterable[Effect]:
        return forget_run(key)
