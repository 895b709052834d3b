"""`/api/websockets/stats`: connections, and what becomes of users' events. For operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
from litestar import get
from litestar.params import Parameter
from msgspec import UNSET, UnsetType

from actors.operations.delivery import take_delivery
from understudy.http.callers import operators_only
from understudy.http.reading import Id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler

    from actors.operations.counters import DaemonCounters
    from actors.operations.delivery import DeviceDelivery, UserDelivery
    from understudy.http.sources import Sources

MOST_USERS: Final = 1000


@attrs.frozen(slots=False)
class ConnectionStats:
    """WebSockets: open now, opened in all, closed by close code; and connections refused before, by HTTP status."""

    open: int
    opened: int
    closed: dict[str, int]
    refused: dict[str, int]


@attrs.frozen(slots=False)
class SilentFailures:
    """Events that were due and not acknowledged in time, and events that were emitted and not committed in time."""

    unacknowledged: int
    uncommitted: int


@attrs.frozen(slots=False)
class EventStats:
    """Durable events of all users since the daemon started.

    `due` are those that were committed while a client was connected that acknowledges what it gets; `success_rate` is
    the part of those settled that was acknowledged, and left out where there are none. `queued_bytes` wait now.
    """

    attempted: int
    committed: int
    sent: int
    acknowledged: int
    queued_bytes: int
    due: int
    due_acknowledged: int
    silent_failures: SilentFailures
    success_rate: float | UnsetType = UNSET


@attrs.frozen(slots=False)
class DeviceStats:
    """One connected client: `acked` is its position, left out if it never acknowledged; `waiting` what it has not."""

    client_id: str
    connection_id: str
    sent: int
    acknowledged: int
    waiting: int
    queued_bytes: int
    came_in: int
    acked: int | UnsetType = UNSET


@attrs.frozen(slots=False)
class UserStats:
    """One active user, since the daemon first heard of the user. An event sent to two devices was sent twice."""

    user_id: str
    attempted: int
    committed: int
    sent: int
    acknowledged: int
    silent_failures: int
    queued_bytes: int
    devices: list[DeviceStats]


@attrs.frozen(slots=False)
class WebSocketStats:
    """`users` in order of their ids; `next_cursor` where there are more."""

    connections: ConnectionStats
    events: EventStats
    active_users: int
    users: list[UserStats]
    next_cursor: str | UnsetType = UNSET


def routes(sources: Sources) -> Sequence[HTTPRouteHandler]:
    """The routes of this module."""

    @get(
        "/api/websockets/stats",
        summary="Connections, and what becomes of users' events",
        operation_id="websocket_stats",
        tags=["operations"],
        guards=[operators_only(sources.identify)],
    )
    async def stats(
        user_id: Id = None,
        cursor: Id = None,
        limit: Annotated[
            int, Parameter(ge=1, le=MOST_USERS, description=f"a whole number from 1 to {MOST_USERS}")
        ] = 100,
    ) -> WebSocketStats:
        found = take_delivery(sources.system, after=cursor or "", most=limit, only=user_id)
        shown = [_user(user) for user in found.shown]
        more = bool(found.shown) and found.shown[-1].user_id != found.users[-1]
        counters = sources.counters
        return WebSocketStats(
            ConnectionStats(
                counters.connections_open,
                counters.connections_opened,
                _by_text(counters.connections_closed),
                _by_text(counters.connections_refused),
            ),
            _events(counters, found.queued_bytes),
            len(found.users),
            shown,
            found.shown[-1].user_id if more else UNSET,
        )

    return [stats]


def _events(counters: DaemonCounters, queued_bytes: int) -> EventStats:
    silent = SilentFailures(counters.silent_failures["unacknowledged"], counters.silent_failures["uncommitted"])
    settled = counters.events_due_acknowledged + silent.unacknowledged
    return EventStats(
        counters.events_emitted,
        counters.events_committed,
        counters.events_sent,
        counters.events_delivered,
        queued_bytes,
        counters.events_due,
        counters.events_due_acknowledged,
        silent,
        counters.events_due_acknowledged / settled if settled else UNSET,
    )


def _user(user: UserDelivery) -> UserStats:
    return UserStats(
        user.user_id,
        user.attempted,
        user.committed,
        user.sent,
        user.acknowledged,
        user.silent,
        user.queued_bytes,
        [_device(device) for device in user.devices],
    )


def _device(device: DeviceDelivery) -> DeviceStats:
    return DeviceStats(
        device.client_id,
        device.wire.connection_id,
        device.wire.sent,
        device.acknowledged,
        device.waiting,
        device.wire.queued_bytes,
        device.came_in,
        UNSET if device.acked is None else device.acked,
    )


def _by_text(counts: Any) -> dict[str, int]:
    return {str(key): count for key, count in sorted(counts.items())}
