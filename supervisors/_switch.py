"""The address of a fallback: a target that picks the child in charge inside the sender's put. No hop, no queue.

What the switch sees decides how outcomes reach the ledger:

- A `Call` says for itself: it carries the ticket of its last failure in (`after`) and its own ticket out (`ticket`),
  and whoever makes the call settles it. So are the leases of model endpoints. One that is sent by `tell` has no ticket.
- Any other request is settled by its answer, if its class is one of `counted`: an answer is a success unless
  `judge` says otherwise; the instance's crash is a failure, which the supervisor counts. A tell is no evidence.
- Only what can be settled may probe; everything else goes to the first target that is closed and not parked.

A target that refuses because it is full pushes back, as any mailbox does: its health is not in question. One that is
dead or waits to restart has not taken the message, so the next of the chain is offered it. So it is if a probe is
refused, for whatever reason.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from runtime import Full, NotAccepted, Ref, Refused, WaitCycle
from runtime._address import Indirect, cycle_closed
from runtime._request import Request
from supervisors._ledger import Ledger, Outcome, Ticket, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime import System
    from runtime._cell import Cell


class Exhausted(NotAccepted):
    """A call has failed at the last target of its chain."""

    why = "has no further target"


@attrs.frozen
class Call:
    """A message whose outcome is settled by the caller. Subclass it.

    Attributes:
        after: the ticket of the attempt of this call that failed last, if any: the switch takes the next of the chain.
        ticket: filled in by the switch on the way.
    """

    after: Ticket | None = attrs.field(default=None, kw_only=True)
    ticket: Ticket | None = attrs.field(default=None, kw_only=True)


def answered(message: object, answer: object) -> Outcome | None:
    """The default judge: a refusal is no evidence, any other answer is a success."""
    del message
    return None if isinstance(answer, Refused) else Outcome.SUCCESS


@attrs.frozen(eq=False)
class _Answering:
    """An answer on the wheel."""

    request: Request
    answer: object

    def fire(self) -> None:
        self.request.answer(self.answer)


class Switch(Indirect):
    """Picks a target for each message.

    Args:
        system: the system.
        ledgers: the chain's ledgers, the lead's first.
        refs: the targets' addresses, in the same order.
        counted: classes of requests whose answers are evidence.
        judge: (message, answer) -> outcome, or None for no evidence.
        exhausted: makes the answer to a request when all targets are open; None to force the one that is due first.
        owner: whose end a watcher of the address hears of; if None, that of the target in charge.
    """

    __slots__ = ("_evidence", "_exhausted", "_judge", "_ledgers", "_owner", "_refs", "_tried", "system")

    def __init__(
        self,
        system: System,
        ledgers: Sequence[Ledger],
        refs: Sequence[Ref[Any]],
        *,
        counted: tuple[type, ...],
        judge: Callable[[object, object], Outcome | None],
        exhausted: Callable[[object], object] | None,
        owner: Cell | None = None,
    ) -> None:
        self.system = system
        self._ledgers = tuple(ledgers)
        self._refs = tuple(refs)
        self._evidence = (Call, *counted)
        self._judge = judge
        self._exhausted = exhausted
        self._owner = owner
        self._tried: Ref[Any] | None = None

    def overflow(self, ref: Ref[Any], item: Any) -> bool:
        if item.__class__ is Request and item.answerable and isinstance(item.message, self._evidence):
            return self._admit(ref, item)
        for target in self._line():
            self._tried = target
            if self._put(target, item):
                return True
            if self._is_full(target):
                break
        return False

    def move(self, ref: Ref[Any], item: Any) -> bool:
        """As `overflow`, for what has waited elsewhere: by now the target in charge may wait for the asker."""
        accepted = self.overflow(ref, item)
        if accepted and item.__class__ is Request:
            cycle = cycle_closed(item, item.holder)
            if cycle is not None:
                item.withdraw()
                item.fail(WaitCycle(cycle))
        return accepted

    def _admit(self, ref: Ref[Any], request: Request) -> bool:
        """A request that can be settled: to whom the ledgers admit it."""
        message, earlier = request.message, request.settle
        after = message.after if isinstance(message, Call) else None
        refused: Ref[Any] | None = None
        while True:
            ticket = choose(self._ledgers, self.system.now(), after, force=self._exhausted is None)
            if ticket is None:
                self._tried = refused
                return self._answer_instead(ref, request)
            target = self._refs[ticket.position]
            if isinstance(message, Call):
                request.message = attrs.evolve(message, ticket=ticket)
            else:
                request.settle = partial(self._settle, request, ticket, earlier)
            if self._put(target, request):
                return True
            request.message, request.settle = message, earlier
            full = self._is_full(target)
            self._ledgers[ticket.position].settle(ticket, Outcome.CANCELLED, self.system.now())
            if ticket.kind == "forced" or (full and ticket.kind == "call"):
                self._tried = target
                return False
            refused, after = target, ticket

    def _put(self, target: Ref[Any], item: Any) -> bool:
        return bool(target.target.overflow(target, item)) if item.__class__ is Request else target.tell(item)

    def _is_full(self, target: Ref[Any]) -> bool:
        """Whether the target that has just refused a message did so for want of room."""
        return isinstance(target.target.refusal(target, None), Full)

    def _answer_instead(self, ref: Ref[Any], request: Request) -> bool:
        if self._exhausted is None:
            return False
        try:
            answer = self._exhausted(request.message)
        except Exception as error:  # noqa: BLE001 - the spec's function, called in somebody's `ask`
            self.system.hook_failed(ref.path, "Switch", error)
            return False
        # The asker may be the running task, which does not wait yet: the wheel answers within a millisecond.
        self.system.wheel.add(self.system.now(), _Answering(request, answer))
        return True

    def _settle(
        self,
        request: Request,
        ticket: Ticket,
        earlier: Callable[[object, bool], None] | None,
        answer: object,
        gone: bool,
    ) -> None:
        """A request was answered, or its asker has gone. That is no evidence; nor is an error: the supervisor counts
        the crash behind it. `earlier` is the settlement of a fallback of which this one is a target."""
        outcome = None
        if not gone:
            try:
                outcome = self._judge(request.message, answer)
            except Exception as error:  # noqa: BLE001 - the spec's function, called by whoever answers
                self.system.hook_failed(request.ref.path, "Switch", error)
        if earlier is not None:
            earlier(answer, gone)
        self._ledgers[ticket.position].settle(ticket, outcome or Outcome.CANCELLED, self.system.now())

    def _line(self) -> list[Ref[Any]]:
        """To whom a message that is no evidence is offered now, one after the other."""
        now = self.system.now()
        accounts = [ledger.account for ledger in self._ledgers]
        closed = [ref for account, ref in zip(accounts, self._refs, strict=True) if account.may(now) == "call"]
        return closed or [self._refs[min(range(len(accounts)), key=lambda index: accounts[index].free_at(now))]]

    def in_charge(self) -> Ref[Any]:
        """Where a message that is no evidence would go now."""
        return self._line()[0]

    def refusal(self, ref: Ref[Any], message: object) -> NotAccepted:
        if self._tried is None:
            return Exhausted(ref, message)
        refusal: NotAccepted = self._tried.target.refusal(ref, message)
        return refusal

    def accepting(self) -> Cell | None:
        cell: Cell | None = self.in_charge().target.accepting()
        return cell

    def edge(self) -> Cell | None:
        cell: Cell | None = self.in_charge().target.edge()
        return cell

    def watchable(self) -> Cell | None:
        if self._owner is not None:
            return self._owner
        cell: Cell | None = self.in_charge().target.watchable()
        return cell
