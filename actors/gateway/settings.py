"""What every connection is given: limits and times, and whom it talks to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors.gateway.turnstile import Turnstile
from actors.operations.channels import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hypercorn.config import Config
    from hypercorn.typing import ASGIFramework

    from actors.gateway.admission import Policy
    from actors.operations.channels import Published
    from actors.operations.counters import DaemonCounters
    from actors.protocol.connection_events import Limits
    from actors.protocol.stamps import Stamps
    from runtime import Ref


@attrs.frozen
class GatewaySettings:
    """Limits and times of connections, in bytes and seconds."""

    policy: Policy
    limits: Limits
    heartbeat_interval: float
    silent_intervals: int
    hello_within: float
    send_within: float
    head_within: float = 10.0
    close_within: float = 5.0
    role: str = OPERATOR
    """Of everybody: in development mode every user is operator."""


def _tell_nobody() -> None:
    """Nobody wants to hear of it beyond its being counted and logged."""


@attrs.frozen
class GatewayServices:
    """Whom a connection talks to; at the `turnstile`, which all of them share, those pass whose client has gone.

    `open_alerts` gives the alerts that last.
    `isolation` hears that an event was refused that is not for this connection; it has been counted and logged.
    """

    users: Ref[Any]
    journal: Ref[Any]
    app: ASGIFramework
    http: Config
    stamps: Stamps
    counters: DaemonCounters
    log: Any
    turnstile: Turnstile = attrs.field(factory=Turnstile)
    isolation: Callable[[], None] = _tell_nobody
    open_alerts: Callable[[], Iterable[Published]] = tuple
