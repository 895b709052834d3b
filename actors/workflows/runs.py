"""The supervisor of the runs: it takes up every run that is open, and forgets those that ended longer ago than the log
reaches back, with their files. See `actors.durable.supervisor`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.durable.supervisor import DurableSupervisor, TakeUp
from actors.users.keys import OPEN
from actors.users.messages import Later
from actors.workflows.messages import Steer, SteerAll
from actors.workflows.run import Run, RunServices
from actors.workflows.sweeping import ENDED, forget_run
from runtime import Dead, Mailbox, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.artifacts.store import Artifacts
    from actors.storage.interface import Effect
    from actors.workflows.orders import Order
    from runtime import Ref, Replied, ReplyTo

STEER_WITHIN: Final = 30.0
STEER_AGAIN: Final = 0.2


@attrs.define(eq=False)
class _Everybody:
    """An order to all runs on its way: how many have not answered, and how many have recorded it.

    A run whose actor is being started again is given the order again: none must slip through because of a crash.
    """

    supervisor: Runs
    order: Order
    reply: ReplyTo
    until: float
    waiting: int
    done: int = 0

    def give(self, run: Ref[Any]) -> None:
        left = max(STEER_AGAIN, self.until - self.supervisor.now())
        self.supervisor.request(run, Steer(self.order), left, tag=partial(self._heard, run))

    def _heard(self, run: Ref[Any], replied: Replied) -> None:
        error = replied.error
        if error is not None and not isinstance(error, Refused | Dead) and self.supervisor.now() < self.until:
            self.supervisor.timer((self, run.path), STEER_AGAIN, Later(lambda: self.give(run)))
            return
        self.waiting -= 1
        self.done += error is None
        self.settle()

    def settle(self) -> None:
        if not self.waiting:
            self.reply.answer(self.done)


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
        super().__init__(services.journal, services.stamps, keep, artifacts=artifacts, log=services.agents.box.log)
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
        everybody = _Everybody(self, order, self.defer(), self.now() + STEER_WITHIN, len(runs))
        for run in runs:
            everybody.give(run)
        everybody.settle()

    # --- forgetting

    def forgets(self, key: str) -> Iterable[Effect]:
        return forget_run(key)
