"""Messages to many connections: how many a second, and what each costs the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from bench.delivery.dialects import Bare, dialect, event
from bench.delivery.processes import TICK
from bench.delivery.servers import Daemon, bare, simulated_model
from bench.delivery.swarm import NotServed, Swarm
from bench.figures import OWN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from bench.delivery.servers import Server, Site
    from bench.delivery.swarm import Client
    from bench.program import Load

TOKENS_PER_SECOND: Final = 100.0
"""Of each answer, of which 20 come side by side: together more pieces than can be passed on to 100 connections."""
MESSAGE_BYTES: Final = 450
"""What the bare servers push: about what a piece of an answer has in the daemon's protocol."""
ROUND: Final = 50
"""Messages to everybody that a bare server is asked for at a time."""
ENOUGH: Final = 20
"""Messages to each client before it counts, and those that are counted at least."""
WITHIN: Final = 120.0
ENDS: Final = {"completed", "failed", "cancelled"}


def push(subject: str, load: Load, command: Sequence[str], site: Site) -> dict[str, float]:
    """See `metrics`: the daemon passes on what a model outside of it says; a bare server, which `command` runs, sends
    a text as long as that again and again."""
    if subject != OWN:
        return pushed(subject, load, bare(command, site))
    with simulated_model(site, TOKENS_PER_SECOND) as model:
        return pushed(OWN, load, Daemon(site, model).running())


def pushed(subject: str, load: Load, server: AbstractContextManager[Server]) -> dict[str, float]:
    """Measure it."""
    name = load.metric
    with server as running:
        swarm = Swarm(running.port, dialect(subject))
        clients = swarm.join(["pushed"] * load.actors)
        swarm.open_all(clients)
        swarm.run(lambda: swarm.inside == load.actors, WITHIN, "opening")
        keep_talking(subject, swarm, clients)
        warm = swarm.texts + ENOUGH * load.actors
        swarm.run(lambda: swarm.texts >= warm, WITHIN, "the first messages")
        had, used = swarm.texts, running.cpu
        passed = swarm.rest(load.seconds, lambda: swarm.texts >= had + ENOUGH * load.actors)
        received, spent = swarm.texts - had, running.cpu - used
        swarm.close()
    return {f"{name}_rate": received / passed, f"{name}_cpu": max(spent, 1 / TICK) / received * 1e6}


def keep_talking(subject: str, swarm: Swarm, clients: list[Client]) -> None:
    """Have the server push from now on, without a pause."""
    swarm.listener = clients[0]
    if subject == OWN:
        swarm.heard = runs(clients[0])
    else:
        assert isinstance(swarm.dialect, Bare)
        swarm.heard = rounds(clients[0], swarm, swarm.dialect)


def runs(client: Client) -> Callable[[bytes], None]:
    """Start a run, and the next one when it has ended."""
    number = 0

    def start() -> None:
        nonlocal number
        number += 1
        client.say(event("start_run", f"run-{number}", content="Say what you have to say.", workflow="push"))

    def heard(payload: bytes) -> None:
        if b'"type":"run_status"' in payload:
            status: Any = json.loads(payload)["metadata"]["status"]
            if status in ENDS:
                start()
        elif b'"type":"error"' in payload:
            raise NotServed(f"an error came: {payload.decode()[:300]}")

    start()
    return heard


def rounds(client: Client, swarm: Swarm, speech: Bare) -> Callable[[bytes], None]:
    """Ask for a round, and for the next one when everybody has it."""
    expected = 0

    def ask() -> None:
        nonlocal expected
        expected = swarm.texts + ROUND * len(swarm.clients)
        client.say(speech.push(ROUND, MESSAGE_BYTES))

    def look() -> None:
        if swarm.texts >= expected:
            ask()
        swarm.later(0.0005, look)

    ask()
    look()
    return lambda _payload: None
