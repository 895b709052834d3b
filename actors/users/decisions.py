"""`decide`: what becomes of an answer that is held, as a user's context carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import Decide
from actors.users.messages import CommandError
from actors.workflows.approvals import answer_to, judge, run_of
from actors.workflows.messages import Decide as DecideOrder
from actors.workflows.record import decode_record
from runtime import Refused

if TYPE_CHECKING:
    from actors.protocol.decode import Command
    from actors.users.context import UserContext
    from runtime import Replied

NO_FEEDBACK = {"content": "Please say what is to be different."}


class Decisions:
    """The decisions of one user, who only ever reaches that user's own runs."""

    def __init__(self, context: UserContext) -> None:
        self._context = context

    def decide(self, command: Command) -> object:
        """Answered when the decision is committed; what it causes follows."""
        self._context.commands.repeats.begin(command, self._decide)
        return None

    def _decide(self, command: Command) -> None:
        body, commands, context = command.body, self._context.commands, self._context
        assert isinstance(body, Decide)
        if body.decision == "modify" and not command.content:
            why = CommandError(ErrorCode.INVALID_FIELDS, details={"fields": NO_FEEDBACK})
            commands.repeats.settle(command.id, Refused(why))
            return
        run_id = run_of(body.approval_id)
        active = commands.active(run_id)
        order = DecideOrder(
            body.approval_id,
            body.decision,
            command.content,
            context.user,
            None if body.digest is UNSET else body.digest,
            commands.repeats.keep(command, answer_to(body.approval_id, body.decision)),
            command.id,
        )
        if active is None:
            commands.repeats.settle(command.id, Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)))
        elif active:
            commands.order(command, run_id, order, lambda answer: answer)
        else:
            commands.read(run_id, lambda replied: self._judge(command, order, replied))

    def _judge(self, command: Command, order: DecideOrder, replied: Replied) -> None:
        """Of a run that has ended, or never was."""
        answer: object = Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0))
        if replied.error is None:
            stored, _ = replied.value
            record = None if stored is None else decode_record(stored)
            judged = None if record is None else judge(record, order, self._context.services.stamps.wall())
            # A run that has ended holds nothing any more: there is no decision that could still be taken.
            judged = CommandError(ErrorCode.NOT_FOUND) if judged is None else judged
            answer = Refused(judged) if isinstance(judged, CommandError) else judged
        self._context.commands.repeats.settle(command.id, answer)
