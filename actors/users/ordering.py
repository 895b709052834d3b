"""Orders to a run that goes on, as a user's context gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.durable.supervisor import TakeUp
from actors.storage.journal import FindReply
from actors.users.messages import OutcomeUnknown
from runtime import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.protocol.decode import Command
    from actors.users.context import UserContext
    from actors.users.repeats import Repeats
    from actors.workflows.messages import Decide, Steer
    from runtime import Ref, Replied

READ_WITHIN: Final = 10.0
START_WITHIN: Final = 30.0
ORDER_WITHIN: Final = 30.0
"""Seconds in which a run must have recorded an order, crashes and restarts of its actor included."""
ASK_AGAIN: Final = 0.2
"""Seconds before the runs' supervisor or a run, which did not take an order, is asked again."""


class Ordering:
    """One order on its way to a run, over crashes of the run's actor: it may be given again.

    Args:
        context: whose run it is.
        repeats: settles the command.
        command: that gives the order.
        run_id: of a run that has not ended.
        order: carries the reply to be committed with it.
        answer: makes the reply of what the run answers.
    """

    def __init__(
        self,
        context: UserContext,
        repeats: Repeats,
        command: Command,
        run_id: str,
        order: Steer | Decide,
        answer: Callable[[Any], object],
    ) -> None:
        self._context = context
        self._repeats = repeats
        self._command = command
        self._run_id = run_id
        self._order = order
        self._answer = answer
        self._until = context.now() + ORDER_WITHIN

    def locate(self) -> None:
        """A run that was only just accepted may not have an actor yet."""
        start = TakeUp(self._context.user, self._run_id)
        self._context.request(self._context.services.runs, start, START_WITHIN, tag=self._located)

    def _located(self, replied: Replied) -> None:
        if isinstance(replied.error, Refused):
            self._repeats.settle(self._command.id, replied.error)
            return
        if replied.error is not None:
            self._again()
            return
        run: Ref[Any] = replied.value
        self._context.request(run, self._order, START_WITHIN, tag=self._told)

    def _told(self, replied: Replied) -> None:
        if isinstance(replied.error, Refused):
            self._repeats.settle(self._command.id, replied.error)
        elif replied.error is not None:
            self._again()
        else:
            self._repeats.settle(self._command.id, self._answer(replied.value))

    def _again(self) -> None:
        if self._context.now() >= self._until:
            # Perhaps it was recorded. The next repeat begins anew, and finds what was kept, if anything was.
            self._repeats.settle(self._command.id, Refused(OutcomeUnknown()))
        else:
            self._context.later(("order", self._command.id), ASK_AGAIN, self._look)

    def _look(self) -> None:
        """The run may have recorded the order and crashed before it could say so: then the answer is kept."""
        query = FindReply(self._context.user, self._command.id)
        self._context.request(self._context.services.journal, query, READ_WITHIN, tag=self._looked)

    def _looked(self, replied: Replied) -> None:
        if replied.error is None and replied.value is not None:
            self._repeats.settle(self._command.id, msgspec.json.decode(replied.value.reply))
        else:
            self.locate()
