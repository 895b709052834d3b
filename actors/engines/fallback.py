"""The address of an engine: a fallback whose lead is the engine, and whose understudy does the same in a plainer way.

Three failures of the engine in a row, crashes or executions that failed by its own fault, open its ledger; then one
execution after the other is tried as a probe, until one succeeds. That is the rule of every fallback. Two more reasons
keep work away from the engine, neither of which says anything about its health, so that its ledger is only *parked*:

- It has as much waiting as may wait. It says so itself, with the execution that was too much.
- It is suspended, or this address is. Nobody is told of that, so it is looked at, and what came in between moves on.

While the engine is parked, the understudy is in charge; when the reason is over, so is the parking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.engines.counts import Load
from actors.engines.engine import Engine, Part
from actors.engines.messages import EngineResult, EngineUnavailable, Execute
from actors.operations.channels import Channels
from runtime import InvalidSpec, Mailbox, Refused
from supervisors import ChildSpec, Fallback, FallbackSpec, Intensity, Outcome, Policy, active

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from actors.engines.counts import EngineCounts
    from actors.protocol.channel_events import EngineView
    from actors.protocol.stamps import Stamps
    from runtime import Reason, Ref

LEAD: Final = "engine"
LOOK_EVERY: Final = 0.25
"""Seconds between two looks at who is suspended, and at what is to be told on `engine_status`."""
ASIDE: Final = 0.1
"""Seconds for which a full engine is not asked."""
TELL_AGAIN: Final = 5.0
"""Seconds after which the state is told again though it is the same, to those who came meanwhile."""
MAILBOX: Final = Mailbox(4096)
BUDGET: Final = Intensity(10_000, 60.0)
"""Of an engine's address: more than restarts that wait longer and longer can use up. An engine is never given up: its
siblings would be started anew with it, and the coordinator and the tasks are among them. It stays away instead, up to
half a minute at a time, until it holds."""


@attrs.frozen
class EnginePlan:
    """One engine: who does its work, and who does in its place.

    Attributes:
        lead, understudy: what they do; `address` and `step_aside` are filled in here.
        policy: when the understudy takes over, and when the way back is tried.
    """

    lead: Part
    understudy: Part
    policy: Policy = Policy()


@attrs.frozen
class _LookAround:
    """Timer."""


def judge(message: object, answer: object) -> Outcome | None:
    """What an answer says of the health of who gave it: only its own faults count, and only whole successes."""
    del message
    if not isinstance(answer, EngineResult):
        return None
    if answer.defect:
        return Outcome.FAILURE
    return Outcome.SUCCESS if answer.failure is None else None


class EngineFallback(Fallback):
    """See the module.

    Args:
        plan: the engine.
        counts: what is measured of it.
        stamps: for the events of `engine_status`.
        log: for operators.
    """

    def __init__(self, plan: EnginePlan, counts: EngineCounts, stamps: Stamps, log: FilteringBoundLogger) -> None:
        if plan.understudy.understudy_of != plan.lead.name:
            raise InvalidSpec("understudy", plan.understudy.understudy_of, plan.lead.name)
        self._counts = counts
        self._stamps = stamps
        self._told: EngineView | None = None
        self._told_at = 0.0
        counts.loads = {LEAD: Load(), plan.understudy.name: Load()}

        def lead() -> Engine:
            other = self._child_at(plan.understudy.name)
            part = attrs.evolve(plan.lead, address=self.ref, step_aside=self._step_aside, other=other)
            return Engine(part, counts, counts.loads[LEAD], log)

        def understudy() -> Engine:
            part = attrs.evolve(plan.understudy, other=self._child_at(LEAD))
            return Engine(part, counts, counts.loads[plan.understudy.name], log)

        super().__init__(
            FallbackSpec(
                (
                    ChildSpec(LEAD, lead, mailbox=MAILBOX),
                    ChildSpec(plan.understudy.name, understudy, mailbox=MAILBOX),
                ),
                policy=plan.policy,
                counted=(Execute,),
                judge=judge,
                exhausted=lambda _: Refused(EngineUnavailable(LOOK_EVERY)),
            )
        )

    async def started(self) -> None:
        self._channels = Channels(self.system, self._stamps)
        await super().started()
        self.timer("look around", LOOK_EVERY, _LookAround(), every=LOOK_EVERY)
        self._tell()

    async def stopped(self, reason: Reason) -> None:
        self._counts.state = "offline"
        await super().stopped(reason)

    async def receive(self, message: Any) -> object:
        if isinstance(message, _LookAround):
            self._spare_the_suspended()
            self._tell()
            return None
        return await super().receive(message)

    def _child_at(self, name: str) -> Ref[Any]:
        return self.system.ref(f"{self.ref.path}/{name}")

    # --- parking

    def _step_aside(self) -> None:
        """The engine is full: for a moment, what comes goes to the understudy."""
        self._ledgers[0].park(self.now() + ASIDE)

    def _suspended(self, name: str) -> bool:
        cell = self._cell.children.get(name)
        return cell is not None and cell.state == "suspended"

    def _spare_the_suspended(self) -> None:
        """Have the others take what waits at a suspended one, and what comes until the next look."""
        suspended = [self._suspended(ledger.target) for ledger in self._ledgers]
        if self._cell.state == "suspended":  # whoever suspends this address means the engine
            suspended[0] = True
        if all(suspended):
            return
        until = self.now() + 1.5 * LOOK_EVERY
        for ledger, is_suspended in zip(self._ledgers, suspended, strict=True):
            if is_suspended:
                ledger.park(until)
        for ledger, is_suspended in zip(self._ledgers, suspended, strict=True):
            cell = self._cell.children.get(ledger.target)
            if is_suspended and cell is not None and active(self._ledgers, self.now()) is not None:
                self._hand_over(cell)

    # --- telling

    def _look(self, why: str) -> None:
        super()._look(why)
        self._tell()

    def _state(self) -> str:
        in_charge = active(self._ledgers, self.now())
        if in_charge is None or self._suspended(in_charge):
            return "offline"
        return "running" if in_charge == self._ledgers[0].target else "degraded"

    def _tell(self) -> None:
        self._counts.state = self._state()
        view, now = self._counts.view(), self.now()
        if view != self._told or now - self._told_at >= TELL_AGAIN:
            self._told, self._told_at = view, now
            self._channels.engine_status(view)


def engine_spec(plan: EnginePlan, counts: EngineCounts, stamps: Stamps, log: FilteringBoundLogger) -> ChildSpec:
    """The engine's place in the tree, by its own name, with a restart budget of its own."""
    counts.limit, counts.queue = plan.lead.limit, plan.lead.queue
    return ChildSpec(
        plan.lead.name,
        lambda: EngineFallback(plan, counts, stamps, log),
        mailbox=MAILBOX,
        shutdown=float("inf"),
        budget=BUDGET,
    )
