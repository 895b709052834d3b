"""The slots that a run's agents work in, so that no agent of the configuration does more at once than it may. A part of
the run's actor.

An agent has a slot while it works: it is spawned when there is one, gives it back while it rests, and with its end. A
child agent works in the slot of the step that it is a part of: with one of its own, a step could wait for itself.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from actors.coordination.board import Claim
from actors.coordination.slots import Slots
from actors.protocol.task_events import Priority
from actors.workflows.events import child_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.coordination.messages import Granted, Outcome, Revoked
    from actors.protocol.stamps import Stamps
    from actors.workflows.record import StepRecord
    from actors.workflows.run import Run
    from runtime import Ended, Ref, Restarted

PRIORITY = Priority.HIGH
"""Somebody looks on. Only critical tasks go before."""


class StepSlots:
    """Made by a run for itself.

    Args:
        run: whose.
        coordinator: who grants them; None: nobody has to.
        stamps: say who came first.
    """

    def __init__(self, run: Run, coordinator: Ref[Any] | None, stamps: Stamps) -> None:
        self._run = run
        self._slots = None if coordinator is None else Slots(run, coordinator)
        self._stamps = stamps
        self._numbers = count(1)
        self._held: dict[str, str] = {}
        self._wanted: dict[str, str] = {}
        """Leases by the names of the agents' actors."""

    def work(self, step: StepRecord, begin: Callable[[], object]) -> None:
        """Call `begin` when the agent of this attempt may work: at once if it has a slot, or needs none."""
        name = child_name(step)
        if self._slots is None or step.parent or name in self._held:
            begin()
            return
        self.free(name)
        run = self._run
        lease_id = f"{run.record.run_id}.{name}.{run.incarnation}.{next(self._numbers)}"
        self._wanted[name] = lease_id

        def granted(_granted: Granted) -> None:
            self._held[name] = self._wanted.pop(name)
            begin()

        since = self._stamps.number()
        claim = Claim(lease_id, run.record.user, PRIORITY.rank, since, agent=step.agent, remote=False)
        self._slots.acquire(claim, granted)

    def report(self, step: StepRecord, outcome: Outcome, milliseconds: int = 0) -> None:
        """How the work of this attempt's agent came out, for the agent's figures. It has its slot until it has stopped.

        A child's is its parent's work.
        """
        lease_id = self._held.get(child_name(step))
        if lease_id is not None and self._slots is not None:
            self._slots.report(lease_id, outcome, milliseconds)

    def waits(self, step: StepRecord) -> bool:
        """Whether the agent of this attempt waits to be spawned, or to go on."""
        return child_name(step) in self._wanted

    def free(self, name: str) -> None:
        """The agent's actor of this name does not work any more, or will not."""
        lease_id = self._held.pop(name, None) or self._wanted.pop(name, None)
        if lease_id is not None and self._slots is not None:
            self._slots.release(lease_id)

    def heard(self, message: Restarted | Ended | Revoked) -> None:
        """Somebody whom the run watches has restarted or ended."""
        if self._slots is not None:
            self._slots.heard(message)
