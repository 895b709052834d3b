"""A supervisor for many alike and independent children, each with a restart budget of its own.

For connections, user contexts, runs: thousands of them, started and ended at any time. No child's end counts against
the supervisor or another child. One that fails more often than its budget allows is given up, alone, and reported.

Starting does not wait for the child. Ending stops the children together, some hundreds a pass. A child costs nothing
here until it fails for the first time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from runtime import ActorError, ChildRestart, GaveUp, InvalidSpec, Reason, Restarts, Spec, is_failure
from supervisors._delays import DelayingHost
from supervisors._record import Record, Row
from supervisors._spec import ChildSpec, Intensity, Restart

if TYPE_CHECKING:
    from runtime import Ref
    from runtime._cell import Cell


class TooManyChildren(ActorError):
    """A dynamic supervisor has as many children as it may."""

    def __init__(self, path: str, limit: float) -> None:
        super().__init__(path, limit)
        self.path = path
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.path} has its {self.limit:g} children already"


@attrs.frozen
class Past:
    """What a child's failures so far amount to."""

    record: Record = Record()
    row: Row = Row()


@attrs.frozen
class Verdict:
    """What becomes of a child that has ended: `delay` is None if it is not started again."""

    past: Past
    delay: float | None
    spent: bool = False


def judge(spec: ChildSpec, past: Past, reason: Reason, now: float, portion: float, default: Intensity) -> Verdict:
    """Whether, and after how many seconds, a child of a dynamic supervisor starts again. Pure."""
    if spec.restart is Restart.TEMPORARY or (spec.restart is Restart.TRANSIENT and not is_failure(reason)):
        return Verdict(past, None)
    record, allowed = past.record.add(now, spec.budget or default)
    row = past.row.end(now, spec.backoff)
    if not allowed:
        return Verdict(Past(record, row), None, spent=True)
    return Verdict(Past(record, row), spec.backoff.delay(row.streak, portion))


class DynamicSupervisor(DelayingHost):
    """See the module. Subclass it to handle messages in `receive` (pass on what is not yours with `super()`)."""

    independent: ClassVar[bool] = True
    budget: Intensity = Intensity()
    """The budget of a child whose spec names none."""
    max_children: float = math.inf

    async def started(self) -> None:
        """Subclasses that override this call it first."""
        if not isinstance(self.budget, Intensity):
            raise InvalidSpec("budget", self.budget, "an Intensity")
        self._pasts: dict[str, Past] = {}

    def start_child(self, spec: Spec) -> Ref[Any]:
        """Start a child; returns its address at once.

        Raises:
            InvalidSpec: the name is taken, or the spec is not a ChildSpec.
            TooManyChildren: children that wait to restart count, passive ones do not.
        """
        if not isinstance(spec, ChildSpec):
            raise InvalidSpec("spec", type(spec).__name__, "a ChildSpec")
        if spec.significant:
            raise InvalidSpec(
                f"{spec.name}.significant", True, "False in a dynamic supervisor, which ends with no child"
            )
        if len(self._cell.children) >= self.max_children:
            raise TooManyChildren(self.ref.path, self.max_children)
        return super().start_child(spec)

    def child_up(self, name: str, ref: Ref[Any]) -> None:
        """For subclasses: a child has started."""

    def child_down(self, cell: Cell, delay: float | None) -> None:
        """For subclasses: a child has ended, and is about to wait `delay` seconds or, with None, to be closed for good.

        Its mailbox is still as the child has left it.
        """

    def child_gone(self, name: str, ref: Ref[Any], reason: Reason, *, gave_up: bool) -> None:
        """For subclasses: a child has ended and will not be started again. Its address is dead already."""

    # --- what the kernel calls

    def child_started(self, cell: Cell) -> object:
        past = self._pasts.get(cell.spec.name)
        if past is not None:
            self._pasts[cell.spec.name] = attrs.evolve(past, row=past.row.start(self.now()))
        self.child_up(cell.spec.name, cell.ref)
        return None

    def child_passivated(self, cell: Cell) -> object:
        """What is past the period is forgotten with the child; a fresh failure is remembered when it wakes."""
        past = self._pasts.get(cell.spec.name)
        if past is not None and not past.record.used(self.now(), self._limit_of(cell.spec)):
            del self._pasts[cell.spec.name]
        return None

    def revive(self, spec: Spec) -> bool:
        """A message has come for a passive child. Over the limit it is refused, as by a full mailbox."""
        if len(self._cell.children) >= self.max_children:
            return False
        return super().revive(spec)

    def child_ended(self, cell: Cell, reason: Reason) -> object:
        spec = cell.spec
        assert isinstance(spec, ChildSpec)
        past = self._pasts.get(spec.name, Past())
        if cell.stop_asked:
            verdict = Verdict(past, None)
        else:
            verdict = judge(spec, past, reason, self.now(), self.system.rng.random(), self.budget)
        limit = self._limit_of(spec)
        if verdict.delay is None:
            self._pasts.pop(spec.name, None)
            if verdict.spent:
                used = len(verdict.past.record.times) - 1
                self.system.report(GaveUp(cell.ref.path, str(reason), used, limit.period, escalated=False))
            self.child_down(cell, None)
            self._cell.close(cell, reason)
            self.child_gone(spec.name, cell.ref, reason, gave_up=verdict.spent)
            return None
        self._pasts[spec.name] = verdict.past
        used = len(verdict.past.record.times)
        self.system.report(ChildRestart(cell.ref.path, str(reason), used, limit.limit, verdict.delay))
        if verdict.delay > 0:
            self.child_down(cell, verdict.delay)
        self.start_again(cell, reason, verdict.delay)
        return None

    def restarts_of(self, name: str) -> Restarts | None:
        cell = self._cell.children.get(name)
        if cell is None:
            return None
        limit = self._limit_of(cell.spec)
        past = self._pasts.get(name, Past())
        return Restarts(past.record.total, past.record.used(self.now(), limit), limit.limit, limit.period)

    def _limit_of(self, spec: Spec) -> Intensity:
        return getattr(spec, "budget", None) or self.budget
