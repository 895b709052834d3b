"""What a client is doing: one of these at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from understudy.client.envelope import Welcome
    from understudy.client.errors import ConnectionEnded, Unreachable


@attrs.frozen
class Connecting:
    """A connection is being tried. Commands wait in the queue."""


@attrs.frozen
class Open:
    """There is a WebSocket. `welcome` is what the daemon said on it."""

    welcome: Welcome


@attrs.frozen
class Polling:
    """No WebSocket comes about; the log and the commands go over HTTP. A WebSocket is tried now and then."""


@attrs.frozen
class Waiting:
    """No connection. The next try is in `seconds` from when this was said; `trouble` is how the last one went."""

    seconds: float
    trouble: Unreachable | ConnectionEnded


@attrs.frozen
class Closed:
    """Over. `reason` is what the iteration and every command raise now; None where the block was left."""

    reason: Exception | None


State: TypeAlias = Connecting | Open | Polling | Waiting | Closed
