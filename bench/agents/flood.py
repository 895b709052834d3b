"""Twenty users at one busy model, one of whom floods: how long the others wait.

The model takes five calls at a time and so many requests a minute; twenty users who ask, read and think keep it busy to
nine tenths, so that they wait a little as it is. The flood is one user's run of twenty agents side by side, and the
next as soon as it has ended. The waiting time is from `thinking` to the first piece: the provider's own comes at once.
"""

from __future__ import annotations

import random
from functools import partial
from statistics import mean
from typing import TYPE_CHECKING, Final

import trio

from bench.agents.asking import ask
from bench.agents.configuration import USUAL, agent, model, workflow
from bench.agents.upstream import provider
from bench.delivery.servers import Daemon
from understudy.client import connect

if TYPE_CHECKING:
    from bench.delivery.servers import Site
    from bench.program import Load

IN_FLIGHT: Final = 5
REQUESTS_PER_MINUTE: Final = 1200
SERVICE: Final = "13x50"
"""A quarter of a second of writing."""
THINK: Final = 0.85
"""Seconds between a user's answer and the next request: mean."""
AT_ONCE: Final = 20
"""Agents of the one who floods."""


def flood(load: Load, site: Site) -> dict[str, float]:
    """`load.actors` users for `load.burst` seconds uncounted, `load.seconds` in calm, and as long with the flood."""
    with provider(site) as upstream:
        limits = {"in_flight": IN_FLIGHT, "requests_per_minute": REQUESTS_PER_MINUTE}
        parts = (
            USUAL,
            model("default", SERVICE, upstream.port, **limits),
            agent("speaker", "default"),
            workflow("one", [("one", "speaker", ())]),
            workflow("many", [(f"many-{number}", "speaker", ()) for number in range(AT_ONCE)]),
        )
        with Daemon(site, configuration="".join(parts)).running() as running:
            waits = trio.run(partial(phases, running.port, load))
    calm, flooded = mean(waits["calm"]), mean(waits["flood"])
    return {
        f"{load.metric}_calm": calm,
        f"{load.metric}_flood": flooded,
        f"{load.metric}_ratio": flooded / calm,
    }


async def phases(port: int, load: Load) -> dict[str, list[float]]:
    """Milliseconds that requests waited which began in each phase."""
    waits: dict[str, list[float]] = {"warm": [], "calm": [], "flood": []}
    phase = ["warm"]
    floods = trio.Event()
    async with trio.open_nursery() as nursery:
        for number in range(1, load.actors):
            nursery.start_soon(behave, port, f"user-{number}", random.Random(number), waits, phase)
        nursery.start_soon(behave_then_flood, port, floods)
        await trio.sleep(load.burst)
        phase[0] = "calm"
        await trio.sleep(load.seconds)
        phase[0] = "flood"
        floods.set()
        await trio.sleep(load.seconds)
        nursery.cancel_scope.cancel()
    return waits


async def behave(port: int, user: str, rng: random.Random, waits: dict[str, list[float]], phase: list[str]) -> None:
    """Ask, read, think."""
    async with connect(f"127.0.0.1:{port}", rng=rng, user_id=user) as connection:
        while True:
            await trio.sleep(rng.expovariate(1 / THINK))
            began = phase[0]
            asked = await ask(connection, "one")
            waits[began].append((asked.delta - asked.thinking) * 1000)


async def behave_then_flood(port: int, floods: trio.Event) -> None:
    """The twentieth: as the others at first."""
    rng = random.Random(0)
    async with connect(f"127.0.0.1:{port}", rng=rng, user_id="user-0") as connection:
        while not floods.is_set():
            await trio.sleep(rng.expovariate(1 / THINK))
            await ask(connection, "one")
        while True:
            await ask(connection, "many")
