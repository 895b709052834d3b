"""From the provider to the WebSocket: what a piece costs, and how much later it comes.

Every stream is the run of a user of its own, who has one connection; with the peer, an order on a WebSocket. Streams
without an end are opened all at once, which gives the figures of a burst; when all of them flow, processor time is read
over a window; then one stream after the other begins and ends beside them, which gives the first token under load.
"""

from __future__ import annotations

import json
import re
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bench.agents.configuration import streams
from bench.agents.provider import now
from bench.agents.upstream import cpu_seconds, provider
from bench.delivery.dialects import dialect, event
from bench.delivery.servers import Daemon, bare
from bench.delivery.swarm import NotServed, Swarm
from bench.figures import OWN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from bench.agents.upstream import Provider
    from bench.delivery.servers import Server, Site
    from bench.delivery.swarm import Client
    from bench.program import Load

KINDS: Final = {"endless": "0x50", "short": "10x50"}
"""Workflow → pieces and pace; the peer is asked for the latter."""
STAMP: Final = re.compile(rb"@(\d+)")
STATUS: Final = re.compile(rb'"status":"(completed|failed|cancelled)"')
PAUSE: Final = 0.1
"""Seconds between two first tokens."""
SETTLE: Final = 2.0
WITHIN: Final = 90.0
LAST_OF_SHORT: Final = 10


class Streams(Swarm):
    """Clients, each of which reads one stream at a time."""

    def __init__(self, port: int, subject: str) -> None:
        super().__init__(port, dialect(subject))
        self.own = subject == OWN
        self.first: dict[Client, float] = {}
        """Milliseconds that were added to the first piece of each client's last stream."""
        self.delays: list[float] = []
        """Of later pieces: of each message the oldest."""
        self.runs: dict[Client, str] = {}
        """The run of each client's last stream."""
        self.over: dict[Client, bytes] = {}
        """How the last stream of a client has ended."""
        self.pieces: dict[Client, int] = {}
        self._number = 0

    def begin(self, client: Client, kind: str) -> None:
        """Have a stream begin."""
        for kept in (self.first, self.over, self.pieces):
            kept.pop(client, None)
        if self.own:
            self._number += 1
            client.say(event("start_run", f"run-{self._number}", content="Say what you have to say.", workflow=kind))
        else:
            client.say(b"relay " + KINDS[kind].encode())

    def take(self, client: Client, payload: bytes) -> None:
        if self.own and b'"agent_delta"' not in payload:
            self._status(client, payload)
            return
        stamps = STAMP.findall(payload)
        if not stamps:
            raise NotServed(f"a piece without a stamp: {payload[:200]!r}")
        added = (now() - int(stamps[0])) / 1000
        if client in self.first:
            self.delays.append(added)
        else:
            self.first[client] = added
        self.pieces[client] = self.pieces.get(client, 0) + len(stamps)
        if not self.own and self.pieces[client] == LAST_OF_SHORT:
            self.over[client] = b"completed"

    def _status(self, client: Client, payload: bytes) -> None:
        if b'"type":"run_status"' in payload:
            ended = STATUS.search(payload)
            if ended is not None:
                self.over[client] = ended[1]
        elif b'"type":"reply"' in payload:
            metadata: dict[str, Any] = json.loads(payload)["metadata"]
            self.runs[client] = metadata["run_id"]
        elif b'"type":"error"' in payload or b'"status":"error"' in payload:
            raise NotServed(f"an error came: {payload.decode()[:300]}")

    def open_streams(self, count: int) -> list[Client]:
        """So many clients with an endless stream each, all begun at once and all flowing."""
        clients = self.join(f"user-{number}" for number in range(count))
        self.open_all(clients)
        self.run(lambda: self.inside == len(self.clients), WITHIN, "opening")
        for client in clients:
            self.begin(client, "endless")
        self.run(lambda: all(client in self.first for client in clients), WITHIN, "the first pieces")
        return clients


def relay(subject: str, load: Load, command: Sequence[str], site: Site) -> dict[str, float]:
    """See the module: `load.actors` streams for `load.seconds`, then `load.burst` others beside them."""
    with provider(site) as upstream:
        if subject == OWN:
            running = Daemon(site, configuration=streams(upstream.port, KINDS)).running()
        else:
            running = bare([*command, str(upstream.port)], site)
        return relayed(subject, load, running, upstream)


def relayed(subject: str, load: Load, server: AbstractContextManager[Server], upstream: Provider) -> dict[str, float]:
    """Measure it."""
    name = load.metric
    with server as running:
        swarm = Streams(running.port, subject)
        (warm,) = swarm.join(["other"], prefix="other")
        swarm.open_all([warm])
        swarm.run(lambda: swarm.inside == 1, WITHIN, "opening")
        firsts(swarm, warm, 3)
        clients = swarm.open_streams(load.actors)
        burst = [swarm.first[client] for client in clients]
        swarm.rest(SETTLE)
        swarm.delays.clear()
        had, used = upstream.counts()["pieces"], cpu_seconds(running.process.pid)
        swarm.rest(load.seconds, lambda: swarm.delays)
        sent, spent = upstream.counts()["pieces"] - had, cpu_seconds(running.process.pid) - used
        delay = median(swarm.delays)
        found = firsts(swarm, warm, load.burst)
        swarm.close()
    return {
        f"{name}_cpu": spent / sent * 1e6,
        f"{name}_first": median(found),
        f"{name}_first_max": max(found),
        f"{name}_burst": median(burst),
        f"{name}_delay": delay,
    }


def firsts(swarm: Streams, client: Client, count: int) -> list[float]:
    """So many short streams of one client, one after the other: what was added to the first piece of each."""
    found: list[float] = []
    for _ in range(count):
        swarm.begin(client, "short")
        swarm.run(lambda: client in swarm.over, WITHIN, "a short stream")
        found.append(swarm.first[client])
        swarm.rest(PAUSE)
    return found


def cancel(load: Load, site: Site) -> dict[str, float]:
    """`load.actors` streams, all of which their users cancel at once."""
    name = load.metric
    with provider(site) as upstream, Daemon(site, configuration=streams(upstream.port, KINDS)).running() as running:
        swarm = Streams(running.port, OWN)
        clients = swarm.open_streams(load.actors)
        swarm.rest(load.seconds)
        began = now()
        for client in clients:
            client.say(event("cancel_run", "cancel", run_id=swarm.runs[client]))
        told = swarm.run(lambda: all(client in swarm.over for client in clients), WITHIN, "the cancellation")
        counts = upstream.counts()
        if counts["open"] or set(swarm.over.values()) != {b"cancelled"}:
            raise NotServed(f"all were told, and {counts['open']} streams are open: {set(swarm.over.values())}")
        swarm.close()
    return {f"{name}_upstream": max(1, counts["last_closed"] - began) / 1e6, f"{name}_told": told}
