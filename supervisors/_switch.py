"""The address of a fallback: a target that picks the child in charge inside the sender's put. No hop, no queue.

What the switch sees decides how outcomes reach the ledger:

- A `Call` says for itself: it carries the ticket of its last failure in (`after`) and its own ticket out (`ticket`),
  and whoever makes the call settles it. So are the leases of model endpoints.
- Any other request is settled by its answer, if its class is one of `counted`: an answer is a success unless
  `judge` says otherwise; the instance's crash is a failure, which the supervisor counts. A tell is no evidence.
- Only what can be settled may probe; everything else goes to the first target that is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from runtime import NotAccepted, Ref, Refused
from runtime._address import Indirect
from runtime._request import Request
from supervisors._ledger import Ledger, Outcome, Ticket, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime import System
    from runtime._cell import Cell


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


class Switch(Indirect):
    """Picks a target for each message.

    Args:
        system: the system.
        ledgers: the chain's ledgers, the lead's first.
        refs: the targets' addresses, in the same order.
        counted: classes of requests whose answers are evidence.
        judge: (message, answer) -> outcome, or None for no evidence.
        exhausted: makes the answer to a request when all targets are open; None to force the one that is due first.
    """

    __slots__ = ("_evidence", "_exhausted", "_judge", "_ledgers", "_refs", "_tried", "system")

    def __init__(
        self,
        system: System,
        ledgers: Sequence[Ledger],
        refs: Sequence[Ref[Any]],
        *,
        counted: tuple[type, ...],
        judge: Callable[[object, object], Outcome | None],
        exhausted: Callable[[object], object] | None,
    ) -> None:
        self.system = system
        self._ledgers = tuple(ledgers)
        self._refs = tuple(refs)
        self._evidence = (Call, *counted)
        self._judge = judge
        self._exhausted = exhausted
        self._tried = self._refs[0]

    def overflow(self, ref: Ref[Any], item: Any) -> bool:
        del ref
        request: Request | None = item if item.__class__ is Request and item.answerable else None
        message = item if item.__class__ is not Request else item.message
        settled = request is not None and isinstance(message, self._evidence)
        if not settled:
            return self._put(self._in_charge(), item)
        assert request is not None
        after = message.after if isinstance(message, Call) else None
        ticket = choose(self._ledgers, self.system.now(), after, force=self._exhausted is None)
        if ticket is None:
            if self._exhausted is None:  # the chain is over for this call
                self._tried = self._refs[-1]
                return False
            request.answer(self._exhausted(message))
            return True
        if isinstance(message, Call):
            request.message = attrs.evolve(message, ticket=ticket)
        else:
            self._settle_by_answer(request, ticket)
        if self._put(self._refs[ticket.position], request):
            return True
        self._ledgers[ticket.position].settle(ticket, Outcome.CANCELLED, self.system.now())
        request.settle = None
        return False

    def _in_charge(self) -> Ref[Any]:
        for ledger, ref in zip(self._ledgers, self._refs, strict=True):
            if ledger.account.state == "closed":
                return ref
        now = self.system.now()
        position = min(range(len(self._ledgers)), key=lambda index: self._ledgers[index].account.free_at(now))
        return self._refs[position]

    def _put(self, ref: Ref[Any], item: Any) -> bool:
        self._tried = ref
        return bool(ref.target.overflow(ref, item)) if item.__class__ is Request else ref.tell(item)

    def _settle_by_answer(self, request: Request, ticket: Ticket) -> None:
        ledger = self._ledgers[ticket.position]
        message = request.message

        def settle(answer: object, gone: bool) -> None:
            # An asker that has gone is no evidence; nor is an error: the supervisor counts the crash behind it.
            outcome = Outcome.CANCELLED if gone else self._judge(message, answer) or Outcome.CANCELLED
            ledger.settle(ticket, outcome, self.system.now())

        request.settle = settle

    def refusal(self, ref: Ref[Any], message: object) -> NotAccepted:
        refusal: NotAccepted = self._tried.target.refusal(ref, message)
        return refusal

    def accepting(self) -> Cell | None:
        cell: Cell | None = self._in_charge().target.accepting()
        return cell

    def edge(self) -> Cell | None:
        cell: Cell | None = self._in_charge().target.edge()
        return cell

    def watchable(self) -> Cell | None:
        cell: Cell | None = self._in_charge().target.watchable()
        return cell
