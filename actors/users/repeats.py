"""Commands with a durable effect, each carried out once, however often its client sends it.

PROTOCOL.md, "Repeats": the reply is kept with the effect, in one commit. A repeat gets it from there; one that comes
while the first is still under way waits for it, also where the first one's connection is closed because nobody knew how
its commit came out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from actors.protocol.codes import ErrorCode
from actors.protocol.decode import digest
from actors.storage.interface import KeepReply
from actors.storage.journal import FindReply
from actors.users.messages import NOT_NOW, CommandError, OutcomeUnknown
from runtime import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.protocol.decode import Command
    from actors.storage.interface import Effect
    from actors.users.context import UserContext
    from runtime import Replied, ReplyTo

FIND_WITHIN: Final = 10.0


@attrs.define(eq=False)
class _Pending:
    """A command under way: what it is compared by, and who waits, each with what it sent."""

    fingerprint: bytes
    waiting: list[tuple[bytes, ReplyTo]]


class Repeats:
    """The commands of one user that are under way, by id."""

    def __init__(self, context: UserContext) -> None:
        self._context = context
        self._pending: dict[str, _Pending] = {}

    def begin(self, command: Command, carry_out: Callable[[Command], None]) -> None:
        """Carry out the command in hand, unless it is a repeat. `carry_out` leads to `settle`, whatever happens."""
        reply = self._context.defer()
        fingerprint = digest(command)
        pending = self._pending.get(command.id)
        if pending is not None:
            pending.waiting.append((fingerprint, reply))
            return
        self._pending[command.id] = _Pending(fingerprint, [(fingerprint, reply)])

        def found(replied: Replied) -> None:
            if replied.error is not None:
                self.settle(command.id, NOT_NOW)
            elif replied.value is not None:
                self._pending[command.id].fingerprint = replied.value.digest
                self.settle(command.id, msgspec.json.decode(replied.value.reply))
            else:
                carry_out(command)

        query = FindReply(self._context.user, command.id)
        self._context.request(self._context.services.journal, query, FIND_WITHIN, tag=found)

    def keep(self, command: Command, answer: dict[str, Any]) -> KeepReply:
        """What is to be committed with the command's effect, so that a repeat finds its answer."""
        encoded = msgspec.json.encode(answer)
        return KeepReply(self._context.user, command.id, digest(command), encoded, self._context.services.stamps.wall())

    def committed(self, effects: Sequence[Effect]) -> None:
        """These are on the disk. A command whose reply is among them is answered now, whoever had it carried out: that
        one may crash before it says so, and what the command causes must not come before its reply.

        Not all are this user's: what a worker says of a user's task is kept with the task, and ids are a user's own.
        """
        user = self._context.user
        for effect in effects:
            if isinstance(effect, KeepReply) and effect.user == user and effect.command_id in self._pending:
                self.settle(effect.command_id, msgspec.json.decode(effect.reply))

    def settle(self, command_id: str, answer: object) -> None:
        """The command is over: answer it and its repeats."""
        pending = self._pending.pop(command_id, None)
        if pending is not None:
            self._answer(pending, answer)

    def unknown(self, command_id: str) -> None:
        """Nobody knows whether it was carried out: say so to those who wait. Repeats wait for `settle`."""
        pending = self._pending.get(command_id)
        if pending is not None:
            self._answer(pending, Refused(OutcomeUnknown()))

    @staticmethod
    def _answer(pending: _Pending, answer: object) -> None:
        waiting, pending.waiting = pending.waiting, []
        for fingerprint, reply in waiting:
            same = fingerprint == pending.fingerprint
            reply.answer(answer if same else Refused(CommandError(ErrorCode.CONFLICT)))
