"""`set_mode`: who answers in each of a user's sessions, as the user's context carries it out.

The context is the only one that writes the modes, so what it has read and written is what is in force. Runs read theirs
from the state, each time an answer comes. A session is there if something of it is kept; the default one always is.
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
from actors.users.messages import NOT_NOW, CommandError, Item, OutcomeUnknown
from actors.users.session_state import Mode, SessionState, decode_session, encode_session
from runtime import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.protocol.decode import Command
    from actors.users.context import UserContext
    from runtime import Replied

READ_WITHIN: Final = 10.0
SENTENCES: Final = {
    Mode.AUTOPILOT: "Agents answer by themselves.",
    Mode.HITL: "Agents propose, and every answer waits until a person releases it.",
    Mode.OFF: "Agents are off; only people answer.",
}
OFF: Final = "Agents are off in this session. Set its mode to autopilot or hitl, then start the work again."


class Modes:
    """The modes of a user's sessions."""

    def __init__(self, context: UserContext) -> None:
        self._context = context
        self._states: dict[str, SessionState] = {}
        """Those that are known, by session."""
        self._changing: set[str] = set()
        """Sessions of which a change is on its way to the disk."""

    @property
    def _default(self) -> str:
        return default_session(self._context.user)

    @property
    def wanted(self) -> tuple[str, str]:
        """What of the state has to be read when the context wakes: a space and a prefix of its keys."""
        return SESSIONS, session_key(self._context.user, self._default)

    def known(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """What `wanted` names has been read."""
        self._states[self._default] = decode_session(dict(rows).get(self.wanted[1]))

    def find(self, session_id: str, then: Callable[[SessionState | CommandError], None]) -> None:
        """Call `then` with how a session stands, or why that cannot be said. Only the default one is known at once."""
        found = self._states.get(session_id)
        if found is not None:
            then(found)
            return
        if session_id == self._default:
            then(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0))
            return

        def read(replied: Replied) -> None:
            if replied.error is not None:
                then(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0))
            elif replied.value is None:
                then(CommandError(ErrorCode.NOT_FOUND))
            else:
                then(self._states.setdefault(session_id, decode_session(replied.value)))

        query = GetState(SESSIONS, session_key(self._context.user, session_id))
        self._context.request(self._context.services.journal, query, READ_WITHIN, tag=read)

    def set(self, command: Command) -> object:
        """Answered when the new mode is committed."""
        self._context.commands.repeats.begin(command, self._set)
        return None

    def _set(self, command: Command) -> None:
        session_id = command.session_id or self._default
        self.find(session_id, lambda found: self._change(command, session_id, found))

    def _change(self, command: Command, session_id: str, found: SessionState | CommandError) -> None:
        body, context, repeats = command.body, self._context, self._context.commands.repeats
        assert isinstance(body, SetMode)
        if isinstance(found, CommandError):
            repeats.settle(command.id, Refused(found))
            return
        if session_id in self._changing:
            repeats.settle(command.id, NOT_NOW)
            return
        mode = Mode(body.mode)
        state = attrs.evolve(found, mode=mode, revision=found.revision + 1)
        event = session_updated(
            context.services.stamps.stamp(),
            session_id=session_id,
            revision=state.revision,
            changed={"mode": mode.value},
            sentence=SENTENCES[mode],
        )
        answer = {"session_id": session_id, "mode": mode.value, "revision": state.revision}
        effects = (
            PutState(SESSIONS, session_key(context.user, session_id), encode_session(state)),
            repeats.keep(command, answer),
        )
        self._changing.add(session_id)

        def committed() -> None:
            self._states[session_id] = state
            self._changing.discard(session_id)
            repeats.settle(command.id, answer)

        def refused(error: CommandError | OutcomeUnknown) -> None:
            if isinstance(error, OutcomeUnknown):
                repeats.unknown(command.id)
            else:
                self._changing.discard(session_id)
                repeats.settle(command.id, Refused(error))

        context.commit(Item(caused_by(event, command.id), effects), committed, refused)
