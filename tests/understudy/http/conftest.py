from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from io import StringIO
from typing import Any

import attrs
import httpx2
import pytest
import trio

from actors.gateway.head import read_head
from actors.gateway.http import http_config, serve_http
from actors.operations.counters import DaemonCounters
from actors.operations.metrics import open_metrics
from actors.protocol.stamps import Stamps
from runtime import System, open_system
from tests.support.small_daemon import root, settled
from understudy.http import Check, Sources, build_app
from understudy.http.sources import RateLimits
from understudy.logs import open_log


@attrs.define
class Site:
    """A small daemon behind a real socket, as the gateway serves HTTP: one request a connection."""

    system: System
    sources: Sources
    client: httpx2.AsyncClient
    out: StringIO
    escaped: list[object]
    checks: dict[str, Check]
    phase: str = "running"
    app: Any = None

    def serve(self, **changes: Any) -> None:
        """Serve an application over the same sources, with these changes."""
        self.sources = attrs.evolve(self.sources, **changes)
        self.app = build_app(self.sources)

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.client.get(path, headers=headers)

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


@pytest.fixture
async def site(nursery: trio.Nursery) -> AsyncIterator[Site]:
    counters, out, escaped = DaemonCounters(), StringIO(), list[object]()
    config = http_config(escaped.append)

    async def readiness() -> Mapping[str, Check]:
        return site.checks

    async def no_limits() -> list[RateLimits]:
        return []

    async def serve(stream: trio.SocketStream) -> None:
        head, raw = await read_head(stream, within=5.0)
        escaped.extend(filter(None, [await serve_http(site.app, stream, head, raw, config)]))

    async with open_system(root()) as system:
        with open_metrics(system, counters) as metrics:
            await settled()
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listeners[0].socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, serve, listeners)
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                phase: Callable[[], Any] = lambda: site.phase  # noqa: E731
                sources = Sources(
                    system=system,
                    version="1.2.3",
                    started_at=trio.current_time(),
                    phase=phase,
                    readiness=readiness,
                    metrics=metrics.render_in_turns,
                    counters=counters,
                    log=open_log(out, style="json"),
                    workflows={},
                    rate_limits=no_limits,
                    stamps=Stamps(random.Random(1), lambda: 1_800_000_000.0),
                )
                site = Site(system, sources, client, out, escaped, {"storage": Check("ok", "The log is written.")})
                site.serve()
                yield site
                assert escaped == []
    nursery.cancel_scope.cancel()
