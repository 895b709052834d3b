"""The fallback: a lead and its understudies under one address.

The supervisor's own address is the switch. A target is a child of the fallback, or the ref of an actor elsewhere whose
ledger somebody else holds (then only the switching is done here).

A child that fails is started again at once, at the same mailbox: before the third failure there is nothing to wait for,
and after it the ledger's open time takes the place of a backoff (a spec's own `backoff` and `budget` play no part). At
the third failure in a row its ledger opens: what waits in its mailbox moves, in order and in one step, to the target in
charge, and the child itself waits, visible as such, until its open time is over. Then it is started, idle, and the next
request that can be settled is the probe that brings it back or sends it away for longer.

A permanent child that ends normally is started again like one that failed, and counted so. A transient one that ends
normally, a temporary one that ends in any way, and one that was stopped, are gone for good: the chain goes on without
them.

Failures of a child do not count against the fallback's intensity as long as another target is closed. When all are
open each further failure counts, and over the limit the fallback gives up like any supervisor.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from runtime import ChildRestart, GaveUp, InvalidSpec, Reason, Ref, Restarts, Spec, Switched, is_failure
from supervisors._delays import DelayingHost
from supervisors._handover import hand_over
from supervisors._ledger import Account, Ledger, Policy, active
from supervisors._record import Record
from supervisors._spec import ChildSpec, Intensity, Restart
from supervisors._supervisor import RestartLimitReached
from supervisors._switch import Switch, answered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime._cell import Cell
    from supervisors._ledger import Outcome


@attrs.frozen
class Elsewhere:
    """A target that is not the fallback's child: its address, and the ledger that its supervisor holds."""

    name: str
    ref: Ref[Any]
    ledger: Ledger


@attrs.frozen
class FallbackSpec:
    """A chain of targets.

    Attributes:
        targets: the lead first, then the understudies in order: specs of children, or targets elsewhere.
        policy: for the ledgers of the children.
        counted: classes of requests whose answers are evidence of health. A `Call` always is, by its settlement.
        judge: (message, answer) -> outcome, or None for no evidence.
        exhausted: makes the answer to a request when no target is left; without it, the one due first gets the request.
        intensity: how many failures of children may come while all targets are open.
    """

    targets: tuple[ChildSpec | Elsewhere, ...]
    policy: Policy = Policy()
    counted: tuple[type, ...] = (object,)
    judge: Callable[[object, object], Outcome | None] = answered
    exhausted: Callable[[object], object] | None = None
    intensity: Intensity = Intensity()

    def __attrs_post_init__(self) -> None:
        if not self.targets:
            raise InvalidSpec("fallback.targets", self.targets, "at least one target, the lead")
        for target in self.targets:
            if not isinstance(target, ChildSpec | Elsewhere):
                raise InvalidSpec("fallback.targets", type(target).__name__, "ChildSpec and Elsewhere only")
        if not isinstance(self.policy, Policy):
            raise InvalidSpec("fallback.policy", self.policy, "a Policy")
        if not isinstance(self.intensity, Intensity):
            raise InvalidSpec("fallback.intensity", self.intensity, "an Intensity")
        names = [target.name for target in self.targets]
        for name in names:
            if names.count(name) > 1:
                raise InvalidSpec("fallback.targets", name, "each name once")
        if not isinstance(self.counted, tuple) or not all(isinstance(kind, type) for kind in self.counted):
            raise InvalidSpec("fallback.counted", self.counted, "a tuple of classes")


@attrs.frozen
class ParkingOver:
    """A target of the chain may be called again."""

    name: str


@attrs.define
class _Child:
    """A child target: its ledger, and its restarts so far."""

    spec: ChildSpec
    ledger: Ledger
    total: int = 0


class Fallback(DelayingHost):
    """Supervises the child targets of a `FallbackSpec`, and is reached through its switch."""

    independent: ClassVar[bool] = True

    def __init__(self, spec: FallbackSpec) -> None:
        self._spec = spec
        self._mine: dict[str, _Child] = {}
        self._ledgers: tuple[Ledger, ...] = ()
        self._record = Record()
        self._deaf: list[Callable[[], None]] = []

    async def started(self) -> None:
        refs: list[Ref[Any]] = []
        ledgers: list[Ledger] = []
        for target in self._spec.targets:
            if isinstance(target, Elsewhere):
                refs.append(target.ref)
                ledgers.append(target.ledger)
            else:
                ledger = Ledger(target.name, self._spec.policy, self.system.rng)
                self._mine[target.name] = _Child(target, ledger)
                refs.append(self.start_child(target))
                ledgers.append(ledger)
        self._ledgers = tuple(ledgers)
        self._deaf = [ledger.listen(self._changed) for ledger in ledgers]
        self._active = active(ledgers, self.now())
        self._switch = Switch(
            self.system,
            ledgers,
            refs,
            counted=self._spec.counted,
            judge=self._spec.judge,
            exhausted=self._spec.exhausted,
            owner=self._cell,
        )
        self.ref.target = self._switch
        self._hand_over(self._cell)  # what came before the switch was in place
        for ledger in ledgers:
            self._await_parking(ledger)

    async def stopped(self, reason: Reason) -> None:
        del reason
        for deaf in self._deaf:
            deaf()
        if self.ref.target is getattr(self, "_switch", None):
            self.ref.target = self._cell

    async def receive(self, message: Any) -> object:
        if isinstance(message, ParkingOver):
            self._look(f"{message.name} is no longer parked")
            return None
        return await super().receive(message)

    def inspect(self) -> dict[str, Any]:
        """Which target is in charge, and the state of each."""
        states = {
            ledger.target: {"state": ledger.account.state, "failures": ledger.account.failures}
            for ledger in self._ledgers
        }
        return {"active": active(self._ledgers, self.now()), "targets": states}

    # --- the ledgers

    def _changed(self, ledger: Ledger, before: Account) -> None:
        """A ledger of the chain has changed its state."""
        account = ledger.account
        if account.opened > before.opened:
            self._move_queue(ledger)
        parked = account.parked_until > before.parked_until
        if parked:
            self._await_parking(ledger)
        self._look(f"{ledger.target} is {'parked' if parked else account.state}")

    def _look(self, why: str) -> None:
        """Report it if another target is in charge now."""
        in_charge = active(self._ledgers, self.now())
        if in_charge != self._active:
            was, self._active = self._active, in_charge
            self.system.report(Switched(self.ref.path, in_charge, was, why))

    def _await_parking(self, ledger: Ledger) -> None:
        until = ledger.account.parked_until
        if self.now() < until < math.inf:
            self.timer(("parked", ledger), until - self.now(), ParkingOver(ledger.target))

    def _move_queue(self, ledger: Ledger) -> None:
        """What waits at a child that has just been opened goes to the target in charge, if there is one."""
        child = next((child for child in self._mine.values() if child.ledger is ledger), None)
        cell = None if child is None else self._cell.children.get(child.spec.name)
        if cell is not None and active(self._ledgers, self.now()) is not None:
            self._hand_over(cell)

    def _hand_over(self, cell: Cell) -> None:
        """Everything that waits at `cell` takes its way through the switch."""
        hand_over(cell, self.ref, self._switch, self._switch.move)

    # --- the children

    def child_started(self, cell: Cell) -> object:
        del cell
        return None

    def child_ended(self, cell: Cell, reason: Reason) -> object:
        child = self._mine[cell.spec.name]
        restart, failure, now = child.spec.restart, is_failure(reason), self.now()
        counts = not cell.stop_asked and (failure or restart is Restart.PERMANENT)
        gone = restart is Restart.TEMPORARY or not counts
        if counts:
            child.ledger.fail(now)
        if gone:
            child.ledger.retire()
            if active(self._ledgers, now) is not None:
                self._hand_over(cell)
            self._cell.close(cell, reason)
        if counts and active(self._ledgers) is None:
            self._count(cell, reason)
        if not gone:
            self._restart(child, cell, reason)
        return None

    def _restart(self, child: _Child, cell: Cell, reason: Reason) -> None:
        """At once, or when the child's ledger lets it be tried."""
        child.total += 1
        account = child.ledger.account
        delay = max(0.0, account.until - self.now()) if account.state == "open" else 0.0
        limit = self._spec.policy.failures
        self.system.report(ChildRestart(cell.ref.path, str(reason), account.failures, limit, delay))
        self.start_again(cell, reason, delay)

    def _count(self, cell: Cell, reason: Reason) -> None:
        """Every target is open: from here on a failure counts against the fallback itself."""
        intensity = self._spec.intensity
        self._record, allowed = self._record.add(self.now(), intensity)
        if not allowed:
            used = len(self._record.times) - 1
            self.system.report(GaveUp(cell.ref.path, str(reason), used, intensity.period, escalated=True))
            raise RestartLimitReached(cell.ref.path, reason, used, intensity.period)

    def start_child(self, spec: Spec) -> Ref[Any]:
        """The targets are fixed by the spec, and one that is gone for good stays so."""
        child = self._mine.get(spec.name)
        if child is None or child.ledger.account.until == math.inf:
            raise InvalidSpec("name", spec.name, "a target of the fallback's spec that is not gone for good")
        return super().start_child(spec)

    def restarts_of(self, name: str) -> Restarts | None:
        child = self._mine.get(name)
        if child is None:
            return None
        policy = self._spec.policy
        return Restarts(child.total, child.ledger.account.failures, policy.failures, policy.open_first)


def fallback(name: str, targets: Sequence[ChildSpec | Elsewhere], **options: Any) -> ChildSpec:
    """The `ChildSpec` of a fallback; `options` are the other fields of `FallbackSpec`."""
    spec = FallbackSpec(tuple(targets), **options)
    return ChildSpec(name, lambda: Fallback(spec), shutdown=float("inf"))
