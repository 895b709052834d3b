"""Channels: who may hear what, and how it gets to those who listen.

A channel is two kinds of topic of the kernel: one for each owner, with what is that owner's, and one with everything.
Whoever may hear only their own subscribes to the first kind, whoever may hear all to the second; so what is a user's is
never even put into the mailbox of another user's connection, and a connection compares the owner once more before it
writes. An address that ends is unsubscribed by the kernel.

Publishing costs two look-ups where nobody listens: the event is made for the first who does.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import attrs

from actors.protocol.channel_events import Channel, channel_event
from actors.protocol.events import Event, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.protocol.channel_events import AgentView, AlertView, EngineView, MetricsView, Payload, TaskView
    from actors.protocol.stamps import Stamps
    from runtime import System


class Hears(Enum):
    """How much of a channel somebody may hear."""

    NOTHING = "nothing"
    OWN = "own"
    ALL = "all"


USER: Final = "user"
OPERATOR: Final = "operator"

_OPERATORS: Final = MappingProxyType({OPERATOR: Hears.ALL})
_OWNERS: Final = MappingProxyType({USER: Hears.OWN, OPERATOR: Hears.ALL})
_EVERYBODY: Final = MappingProxyType({USER: Hears.ALL, OPERATOR: Hears.ALL})
_TABLE: Final[Mapping[Channel, Mapping[str, Hears]]] = MappingProxyType(
    {
        Channel.AGENT_STATUS: _OWNERS,
        Channel.TASK_COMPLETION: _OWNERS,
        Channel.ENGINE_STATUS: _EVERYBODY,  # state and load: nothing in it is anybody's
        Channel.SYSTEM_METRICS: _OPERATORS,
        Channel.SYSTEM_ALERTS: _OPERATORS,
    }
)


def hears(role: str, channel: Channel) -> Hears:
    """How much of this channel this role may hear; nothing, if there is no such role."""
    return _TABLE[channel].get(role, Hears.NOTHING)


def may_hear(allowed: Hears, user: str, owner: str | None) -> bool:
    """Whether a user who hears so much of a channel may hear what is `owner`'s; None: nobody's."""
    return allowed is Hears.ALL or (allowed is Hears.OWN and owner == user)


@attrs.frozen
class Topic:
    """What is subscribed to: of one owner, or with `owner` None everything of the channel."""

    channel: Channel
    owner: str | None


def topic_of(channel: Channel, allowed: Hears, user: str) -> Topic:
    """The topic for a user who hears so much. ValueError for one who hears nothing."""
    if allowed is Hears.NOTHING:
        raise ValueError(f"{channel} is not for {user}")
    return Topic(channel, user if allowed is Hears.OWN else None)


@attrs.frozen
class Published:
    """To those who listen: one event of a channel, and whose it is; None: nobody's."""

    channel: Channel
    owner: str | None
    frame: bytes
    event: Event


class Channels:
    """Publishes. Holds nothing: whoever has something to tell makes one for itself.

    Each method returns by how many it was accepted, and never waits.
    """

    def __init__(self, system: System, stamps: Stamps) -> None:
        self._system = system
        self._stamps = stamps

    def listened(self, channel: Channel, owner: str | None = None) -> bool:
        """Whether anybody hears all of this channel, or at least what is `owner`'s."""
        subscribers = self._system.topics.subscribers
        return any(subscribers(Topic(channel, who)) for who in (None, owner))

    def agent_status(self, owner: str, agent: AgentView | None, *, whole: AgentView | None = None) -> int:
        """An agent at work for `owner` has come to another state; None: none has.

        `whole`: the same with what it does for others, for those who hear all; None: there is no more to say.
        """
        return 0 if agent is None else self._publish(Channel.AGENT_STATUS, owner, agent, whole)

    def task_completion(self, owner: str, task: TaskView) -> int:
        """A task of `owner` has ended."""
        return self._publish(Channel.TASK_COMPLETION, owner, task)

    def engine_status(self, engine: EngineView) -> int:
        """How an engine stands."""
        return self._publish(Channel.ENGINE_STATUS, None, engine)

    def system_metrics(self, metrics: MetricsView) -> int:
        """What was measured."""
        return self._publish(Channel.SYSTEM_METRICS, None, metrics)

    def system_alerts(self, alert: AlertView) -> int:
        """An alert was raised or resolved."""
        return self._publish(Channel.SYSTEM_ALERTS, None, alert)

    def alert(self, alert: AlertView) -> Published:
        """What `system_alerts` tells of an alert, for one who begins to listen while it lasts."""
        return self._message(Channel.SYSTEM_ALERTS, None, alert)

    def _publish(self, channel: Channel, owner: str | None, payload: Payload, whole: Payload | None = None) -> int:
        """`payload` to `owner`, or, where that is None, to all; `whole` in its place to those who hear everything."""
        topics = self._system.topics
        to_all, to_owner = Topic(channel, None), None if owner is None else Topic(channel, owner)
        message: Published | None = None
        accepted = 0
        if topics.subscribers(to_all):
            message = self._message(channel, owner, payload if whole is None else whole)
            accepted += topics.publish(to_all, message)
        if to_owner is not None and topics.subscribers(to_owner):
            if message is None or whole is not None:
                message = self._message(channel, owner, payload)
            accepted += topics.publish(to_owner, message)
        return accepted

    def _message(self, channel: Channel, owner: str | None, payload: Payload) -> Published:
        event = channel_event(self._stamps.stamp(), channel, payload)
        return Published(channel, owner, encode(event), event)
