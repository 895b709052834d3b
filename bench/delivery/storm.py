"""A daemon that is killed and started again, and thousands of clients that all want back at once.

Every client knows how far it has come, and there are 10 events in its log that it does not have. They cannot be in the
daemon's memory: they are written into its database while it is dead.
"""

from __future__ import annotations

import random
import time
from time import monotonic
from typing import TYPE_CHECKING, Final

from actors.protocol.event_types import NoticeLevel
from actors.protocol.events import encode
from actors.protocol.run_events import system
from actors.protocol.stamps import Stamps
from actors.storage.database import DATABASE_NAME, Database
from actors.storage.interface import Record
from bench.delivery.dialects import dialect
from bench.delivery.processes import cpu_seconds
from bench.delivery.servers import Daemon, ending
from bench.delivery.swarm import NotServed, Swarm
from bench.figures import OWN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.delivery.servers import Site
    from bench.delivery.swarm import Client
    from bench.program import Load

MISSED: Final = 10
AT_ONCE: Final = 1000
"""Connections being opened at a time by clients as fast as they can: the backlog of a listener has an end."""
OPEN_WITHIN: Final = 120.0
BACK_WITHIN: Final = 150.0
FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 20.0
BATCH: Final = 1000
"""Records written with one commit."""


def storm(load: Load, site: Site) -> dict[str, float]:
    """See `metrics`. The clock starts with the new process: what it needs to start counts."""
    name = load.metric
    users = [f"user{number}" for number in range(load.burst)]
    daemon = Daemon(site)
    with daemon.running() as first:
        swarm = Swarm(first.port, dialect(OWN))
        clients = swarm.join(users[number % load.burst] for number in range(load.actors))
        swarm.open_all(clients)
        swarm.run(lambda: swarm.inside == load.actors, OPEN_WITHIN, "opening")
        for client in clients:
            assert client.welcome is not None
            client.resume = (client.welcome["epoch"], client.seq)
        swarm.on_lost = lambda _client: None
        first.kill()
        swarm.run(lambda: swarm.inside == 0, OPEN_WITHIN, "the end of all connections")
    write(daemon.data, users)
    began, clients_used = monotonic(), time.process_time()
    process = daemon.launch()
    with ending(process):
        if name.endswith("jitter"):
            Returning(swarm, random.Random(1)).begin(clients)
        else:
            daemon.ready(process)
            swarm.on_lost = lambda client: swarm.later(client.retry_after or FIRST_DELAY, client.reopen)
            swarm.open_all(clients, at_once=AT_ONCE)
        swarm.run(lambda: swarm.inside == load.actors, BACK_WITHIN, "coming back")
        back = monotonic() - began
        swarm.run(lambda: swarm.arrived == load.actors, BACK_WITHIN, "what was missed")
        whole = monotonic() - began
        used, clients_used = cpu_seconds(process.pid), time.process_time() - clients_used
        wrong = [client for client in clients if client.resume is None or client.seq != client.resume[1] + MISSED]
        if wrong:
            raise NotServed(f"{len(wrong)} clients have not what they missed")
        swarm.close()
    return {
        f"{name}_back": back,
        f"{name}_whole": whole,
        f"{name}_cpu": used,
        f"{name}_clients_cpu": clients_used,
    }


class Returning:
    """Clients that come back as PROTOCOL.md has it: after a random delay up to min(20 s, 0.5 s x 2^n)."""

    def __init__(self, swarm: Swarm, rng: random.Random) -> None:
        self._swarm = swarm
        self._rng = rng
        self._tries: dict[Client, int] = {}

    def begin(self, clients: Sequence[Client]) -> None:
        """All have lost their connection just now."""
        self._swarm.on_lost = self._again
        for client in clients:
            self._again(client)

    def _again(self, client: Client) -> None:
        tries = self._tries[client] = self._tries.get(client, -1) + 1
        delay = self._rng.uniform(0.0, min(LONGEST_DELAY, FIRST_DELAY * 2**tries))
        self._swarm.later(max(delay, client.retry_after), client.reopen)


def write(data: Path, users: Sequence[str]) -> None:
    """Put the events that will be missed into the logs of a daemon that does not run."""
    database = Database(data / DATABASE_NAME, random=random.Random(), wall_clock=time.time)
    stamps = Stamps(random.Random(), time.time)
    records = [
        Record(event.id, encode(event), (user,))
        for user in users
        for event in (
            system(stamps.stamp(), "notice", NoticeLevel.INFO, notice="Something has happened.") for _ in range(MISSED)
        )
    ]
    try:
        for start in range(0, len(records), BATCH):
            database.append(records[start : start + BATCH])
    finally:
        database.close()


def restart(site: Site) -> dict[str, float]:
    """Seconds until a daemon listens that has been there before."""
    daemon = Daemon(site)
    with daemon.running():
        pass
    began = monotonic()
    with daemon.running():
        return {"restart": monotonic() - began}
