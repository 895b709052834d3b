"""The simulated model as a program of its own, which can outlive a daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.models.simulated.server import serve_simulated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.models.simulated.simulation import Simulation


async def simulate_program(host: str, port: int, simulation: Simulation, *, announce: Callable[[str], None]) -> None:
    """Binds, calls `announce` with the base URL of each address, and serves until cancelled.

    Port 0 takes a free one. Raises OSError when the address cannot be bound.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    for url in base_urls(listeners):
        announce(url)
    await serve_simulated(listeners, simulation)


def base_urls(listeners: Sequence[trio.SocketListener]) -> list[str]:
    """What to put in the place of a provider's base URL, for each listener."""
    urls = []
    for listener in listeners:
        host, port = listener.socket.getsockname()[:2]
        urls.append(f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1")
    return urls
