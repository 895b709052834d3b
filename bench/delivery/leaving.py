"""Clients that are sent away: they answer the daemon's goodbye, as PROTOCOL.md has it, and note when it came."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from bench.delivery.swarm import Swarm

if TYPE_CHECKING:
    from bench.delivery.dialects import Dialect
    from bench.delivery.swarm import Client

DRAINING_TYPE: Final = b'"type":"draining"'
DRAINED: Final = 1012


class LeavingSwarm(Swarm):
    """See the module.

    Attributes:
        told: the clients that were told that they will be sent away.
        gone: when each of those who were told got its Close with 1012, in seconds of the machine's monotonic clock.
    """

    def __init__(self, port: int, dialect: Dialect) -> None:
        super().__init__(port, dialect)
        self.told: set[Client] = set()
        self.gone: list[float] = []
        self.on_lost = lambda _client: None

    def take(self, client: Client, payload: bytes) -> None:
        if DRAINING_TYPE in payload:
            self.told.add(client)
        super().take(client, payload)

    def closed(self, client: Client, payload: bytes) -> None:
        super().closed(client, payload)
        if client in self.told and int.from_bytes(payload[:2], "big") == DRAINED:
            self.gone.append(monotonic())
        client.leave(payload)
