"""How soon work begins, and what it is worth that agents work side by side."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from bench.agents.asking import BRIEF, WITHIN, ask
from bench.agents.configuration import USUAL, agent, chain_of, in_sequence, model, shipped, streams, workflow
from bench.agents.configuration import batches as steps_in_batches
from bench.agents.upstream import provider
from bench.delivery.servers import Daemon
from bench.delivery.swarm import NotServed
from understudy.client import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.delivery.servers import Site
    from bench.program import Load
    from understudy.client import Connection

RATE: Final = 50
"""Pieces a second of an agent's answer."""
SHORT: Final = {"short": "2x100"}


def begin(load: Load, site: Site) -> dict[str, float]:
    """`load.burst` runs, one after the other, of `load.actors` users in turn: until each is running."""
    with provider(site) as upstream, Daemon(site, configuration=streams(upstream.port, SHORT)).running() as running:
        waits = sorted(trio.run(partial(begins, running.port, load)))
    return {f"{load.metric}_p50": quantile(waits, 0.5), f"{load.metric}_p99": quantile(waits, 0.99)}


def quantile(ordered: Sequence[float], part: float) -> float:
    """Of values in order, the one below which that part of them lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


async def begins(port: int, load: Load) -> list[float]:
    """Milliseconds of each."""
    found: list[float] = []
    for number in range(load.actors):
        async with connect(f"127.0.0.1:{port}", rng=random.Random(number), user_id=f"user-{number}") as connection:
            for _ in range(load.burst // load.actors):
                asked = await ask(connection, "short")
                found.append((asked.running - asked.sent) * 1000)
    return found


def batches(load: Load, site: Site) -> dict[str, float]:
    """`load.burst` batches of `load.actors`, against the same steps in sequence; each writes for `load.seconds`.

    And the workflow `remediation` as it comes, against its steps in sequence; a validation writes a tenth as long.
    """
    own, (remediation, validators) = steps_in_batches(load.actors, load.burst), shipped()
    pieces = max(10, round(load.seconds * RATE))
    with provider(site) as upstream:
        parts = (
            USUAL,
            model("default", f"{pieces}x{RATE}", upstream.port),
            f'[models.brief]\nmodel = "{pieces // 10}x{RATE}"\n',
            agent("worker", "default"),
            *(chain_of(name, "brief") for name in validators),
            workflow("batches", own),
            workflow("sequence", in_sequence(own)),
            workflow("remediation_in_sequence", in_sequence(remediation)),
        )
        with Daemon(site, configuration="".join(parts)).running() as running:
            kinds = ("batches", "sequence", "remediation", "remediation_in_sequence")
            taken = {kind: trio.run(partial(one_run, running.port, kind)) for kind in kinds}
    return {
        "batches_batches": taken["batches"],
        "batches_sequence": taken["sequence"],
        "batches_ratio": taken["batches"] / taken["sequence"],
        "batches_remediation": taken["remediation"],
        "batches_remediation_ratio": taken["remediation"] / taken["remediation_in_sequence"],
    }


async def one_run(port: int, kind: str) -> float:
    """Seconds from the command to the run's end."""
    async with connect(f"127.0.0.1:{port}", rng=random.Random(1), user_id=kind) as connection:
        asked = await ask(connection, kind)
    if asked.status != "completed" or asked.troubles:
        raise NotServed(f"{kind}: {asked.status} {asked.troubles}")
    return asked.ended - asked.sent


def tasks(load: Load, site: Site) -> dict[str, float]:
    """`load.burst` tasks of `load.actors` users, one after the other, for an agent that is free; then all at once."""
    with provider(site) as upstream, Daemon(site, configuration=streams(upstream.port, SHORT)).running() as running:
        waits, passed = trio.run(partial(submits, running.port, load))
    return {
        "tasks_p50": quantile(sorted(waits), 0.5),
        "tasks_p99": quantile(sorted(waits), 0.99),
        "tasks_rate": load.burst / passed,
    }


async def submits(port: int, load: Load) -> tuple[list[float], float]:
    """Milliseconds until each of the single ones was running, and seconds until all of the many were."""
    each = load.burst // load.actors
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                connect(f"127.0.0.1:{port}", rng=random.Random(number), user_id=f"user-{number}")
            )
            for number in range(load.actors)
        ]
        waits = [await task(client) for client in clients for _ in range(each)]
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(many, client, each)
        return waits, trio.current_time() - began


async def submit(client: Connection) -> None:
    """A task that only one agent can do."""
    await client.command("submit_task", content=BRIEF, metadata={"required_capabilities": ["short"]}, within=WITHIN)


async def task(client: Connection) -> float:
    """Submit one and wait for its end: milliseconds until it was running."""
    began, running = trio.current_time(), 0.0
    await submit(client)
    async for event in client:
        if event.type == "task_status":
            status = event.metadata["status"]
            if status == "failed":
                raise NotServed(f"a task failed: {event.content}")
            if status == "running":
                running = running or trio.current_time()
            elif status == "completed":
                break
    return (running - began) * 1000


async def many(client: Connection, count: int) -> None:
    """Submit so many at once; returns when all have been running."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(submit, client)
        left = count
        async for event in client:
            if event.type == "task_status" and event.metadata["status"] == "running":
                left -= 1
                if not left:
                    return
