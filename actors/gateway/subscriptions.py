"""What one connection hears of the channels. It ends with the connection: a client that comes back asks again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.gateway.conflation import key_of
from actors.gateway.outbound import Out
from actors.operations.channels import Hears, hears, may_hear, topic_of
from actors.protocol.channel_events import Channel
from actors.protocol.codes import ErrorCode
from actors.users.messages import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from actors.operations.channels import Published
    from runtime import Actor

MOST_HELD: Final = 1_000
"""Subjects of which the newest event is kept while a replay goes on; beyond them the oldest goes."""


class Foreign(Exception):
    """What was published is not for this connection: an isolation violation."""


class Subscriptions:
    """The channels of one connection, as the table of channels allows them.

    Args:
        actor: the connection.
        user: whose it is.
        role: decides together with the channel how much is heard.
        open_alerts: gives the alerts that last, which whoever begins to hear of alerts is told first.
    """

    def __init__(
        self, actor: Actor, user: str, role: str, open_alerts: Callable[[], Iterable[Published]] = tuple
    ) -> None:
        self._actor = actor
        self._user = user
        self._role = role
        self._open_alerts = open_alerts
        self._heard: dict[Channel, Hears] = {}
        self._held: dict[Hashable, Out] = {}

    def begin(self, asked: Iterable[str]) -> list[str]:
        """What `hello` asked for and is allowed, each once; what is not known or not allowed is left out."""
        for name in asked:
            self.subscribe(name)
        return [channel.value for channel in self._heard]

    def subscribe(self, name: str) -> CommandError | None:
        """Hear a channel from now on; None, or why not. Hearing it already is no error. Something may be held then."""
        channel = _channel(name)
        if isinstance(channel, CommandError):
            return channel
        allowed = hears(self._role, channel)
        if allowed is Hears.NOTHING:
            return CommandError(ErrorCode.FORBIDDEN)
        if channel not in self._heard:
            self._heard[channel] = allowed
            self._actor.subscribe(topic_of(channel, allowed, self._user))
            for alert in self._open_alerts() if channel is Channel.SYSTEM_ALERTS else ():
                self._hold(Out(alert.frame, event=alert.event))
        return None

    def unsubscribe(self, name: str) -> CommandError | None:
        """Hear a channel no more; None, or why there is nothing to be done. Not hearing it is no error."""
        channel = _channel(name)
        if isinstance(channel, CommandError):
            return channel
        allowed = self._heard.pop(channel, None)
        if allowed is not None:
            self._actor.unsubscribe(topic_of(channel, allowed, self._user))
        return None

    def hear(self, published: Published, *, hold: bool) -> list[Out]:
        """What of it is to be written now. With `hold`, nothing: the newest of each subject waits for `let_go`.

        Raises Foreign for what this connection may not hear, whatever it has subscribed to.
        """
        if not may_hear(hears(self._role, published.channel), self._user, published.owner):
            raise Foreign
        if published.channel not in self._heard:  # it was in the mailbox when the client had enough of it
            return []
        out = Out(published.frame, event=published.event)
        if not hold:
            return [out]
        self._hold(out)
        return []

    def _hold(self, out: Out) -> None:
        assert out.event is not None
        key = key_of(out.event)
        self._held.pop(key, None)
        self._held[key] = out
        if len(self._held) > MOST_HELD:
            del self._held[next(iter(self._held))]

    @property
    def holds(self) -> bool:
        """Whether anything was held."""
        return bool(self._held)

    def let_go(self) -> list[Out]:
        """What was held."""
        held, self._held = self._held, {}
        return list(held.values())


def _channel(name: str) -> Channel | CommandError:
    try:
        return Channel(name)
    except ValueError:
        known = ", ".join(Channel)
        fields = {"channel": f"There is no channel of this name. There are: {known}."}
        return CommandError(ErrorCode.INVALID_FIELDS, details={"fields": fields})
