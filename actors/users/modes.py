"""`set_mode`: who answers in the user's session, as the user's context carries it out.

The context is the only one that writes the mode, so what it has read and written is what is in force. Runs read it from
the state, each time an answer comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.codes import ErrorCode
from actors.protocol.commands import SetMode
from actors.protocol.events import caused_by
from actors.protocol.session_events import session_updated
from actors.storage.interface import PutState
from actors.storage.journal import GetState
from actors.users.keys import SESSIONS, default_session, session_key
from actors.users.messages import CommandError, Item, OutcomeUnknown
from actors.users.session_state import Mode, SessionState, decode_session, encode_session
from runtime import Refused

if TYPE_CHECKING:
    from actors.protocol.decode import Command
    from actors.users.context import UserContext
    from runtime import Replied

READ_WITHIN: Final = 10.0
READ_AGAIN: Final = 0.5
SENTENCES: Final = {
    Mode.AUTOPILOT: "Agents answer by themselves.",
    Mode.HITL: "Agents propose, and every answer waits until a person releases it.",
    Mode.OFF: "Agents are off; only people answer.",
}
OFF: Final = "Agents are off in this session. Set its mode to autopilot or hitl, then start the work again."


class Modes:
    """The mode of the user's default session."""

    def __init__(self, context: UserContext) -> None:
        self._context = context
        self._state: SessionState | None = None
        self._busy = False
        """A change is on its way to the disk."""

    @property
    def current(self) -> Mode | None:
        """The mode in force; None until it is known."""
        return None if self._state is None else self._state.mode

    @property
    def _key(self) -> str:
        user = self._context.user
        return session_key(user, default_session(user))

    def ask(self) -> None:
        """Read what is in force: when the context wakes."""

        def read(replied: Replied) -> None:
            if replied.error is not None:
                self._context.later("mode", READ_AGAIN, self.ask)
            else:
                self._state = decode_session(replied.value)

        self._context.request(self._context.services.journal, GetState(SESSIONS, self._key), READ_WITHIN, tag=read)

    def set(self, command: Command) -> object:
        """Answered when the new mode is committed."""
        self._context.commands.repeats.begin(command, self._set)
        return None

    def _set(self, command: Command) -> None:
        body, context, repeats = command.body, self._context, self._context.commands.repeats
        assert isinstance(body, SetMode)
        session_id = default_session(context.user)
        if command.session_id not in {None, session_id}:
            repeats.settle(command.id, Refused(CommandError(ErrorCode.NOT_FOUND)))
            return
        if self._state is None or self._busy:
            repeats.settle(command.id, Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0)))
            return
        mode = Mode(body.mode)
        state = attrs.evolve(self._state, mode=mode, revision=self._state.revision + 1)
        event = session_updated(
            context.services.stamps.stamp(),
            session_id=session_id,
            revision=state.revision,
            changed={"mode": mode.value},
            sentence=SENTENCES[mode],
        )
        answer = {"session_id": session_id, "mode": mode.value, "revision": state.revision}
        effects = (PutState(SESSIONS, self._key, encode_session(state)), repeats.keep(command, answer))
        self._busy = True

        def committed() -> None:
            self._state, self._busy = state, False
            repeats.settle(command.id, answer)

        def refused(error: CommandError | OutcomeUnknown) -> None:
            if isinstance(error, OutcomeUnknown):
                repeats.unknown(command.id)
            else:
                self._busy = False
                repeats.settle(command.id, Refused(error))

        context.commit(Item(caused_by(event, command.id), effects), committed, refused)
