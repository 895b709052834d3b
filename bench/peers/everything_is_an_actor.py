"""everything-is-an-actor: asyncio, a queue for each actor.

Mailboxes are given room for a whole round, so that no tell waits. A child's supervisor is its parent, so what is to be
restarted is spawned under an actor; everything else at the root.
"""

from __future__ import annotations

import asyncio
import logging
from importlib.metadata import version
from time import perf_counter
from typing import Any

from actor_for_agents import Actor, ActorRef, ActorSystem, OneForOneStrategy

from bench.kernel.note import Note
from bench.program import (
    ASK_WITHIN,
    ENOUGH_ASKS,
    Latch,
    Load,
    Rounds,
    answered,
    asynchronous,
    bursts,
    compute,
    main,
    middle,
    rss,
    run_asyncio,
)


def counting(latch: Latch) -> type[Any]:
    """Actors are made from a class without arguments, so what an actor needs to know is bound to its class."""

    class Counting(Actor):
        async def on_receive(self, _message: object) -> None:
            latch.left -= 1
            if not latch.left:
                latch.event.set()

    return Counting


def idle(latch: Latch) -> type[Any]:
    kind: Any = counting(latch)

    class Idle(kind):
        async def on_started(self) -> None:
            await self.on_receive(None)

    return Idle


class Echo(Actor):
    async def on_receive(self, message: object) -> object:
        return message


def asker(target: ActorRef, latch: Latch) -> type[Any]:
    class Asker(Actor):
        async def on_receive(self, times: int) -> None:
            note = Note(1, "a note")
            for _ in range(times):
                await target.ask(note, timeout=ASK_WITHIN)
            latch.left -= 1
            if not latch.left:
                latch.event.set()

    return Asker


def teller(target: ActorRef) -> type[Any]:
    class Teller(Actor):
        async def on_receive(self, times: int) -> None:
            note = Note(1, "a note")
            for _ in range(times):
                await target.tell(note)

    return Teller


def saturated(work: float) -> type[Any]:
    class Saturated(Actor):
        async def on_receive(self, message: object) -> None:
            if work:
                compute(work)
            await self.context.self_ref.tell(message)

    return Saturated


async def tell(load: Load, *, fresh: bool = False) -> float:
    latch = Latch(asyncio.Event)
    sink = await ActorSystem("bench").spawn(counting(latch), "sink", mailbox_size=load.burst)
    return await bursts(load, latch, sink.tell, Note, fresh=fresh)


async def tell_fresh(load: Load) -> float:
    return await tell(load, fresh=True)


async def ask(load: Load) -> float:
    latch = Latch(asyncio.Event)
    system = ActorSystem("bench")
    kind = asker(await system.spawn(Echo, "echo"), latch)
    askers = [await system.spawn(kind, f"asker-{i}") for i in range(load.actors)]
    rounds = Rounds(load.seconds)
    for _ in rounds:
        latch.arm(load.actors)
        for one in askers:
            await one.tell(load.burst)
        await latch.event.wait()
    return rounds.rate(load.actors * load.burst)


async def ask_task(load: Load) -> float:
    target = await ActorSystem("bench").spawn(Echo, "echo")
    rounds, note = Rounds(load.seconds), Note(1, "a note")
    for _ in rounds:
        for _ in range(load.burst):
            await target.ask(note, timeout=ASK_WITHIN)
    return rounds.rate(load.burst)


async def fan_in(load: Load) -> float:
    latch = Latch(asyncio.Event)
    system = ActorSystem("bench")
    each = load.actors * load.burst
    kind = teller(await system.spawn(counting(latch), "sink", mailbox_size=each))
    tellers = [await system.spawn(kind, f"teller-{i}") for i in range(load.actors)]
    rounds = Rounds(load.seconds)
    for _ in rounds:
        latch.arm(each)
        for one in tellers:
            await one.tell(load.burst)
        await latch.event.wait()
    return rounds.rate(each)


async def fan_out(load: Load) -> float:
    latch = Latch(asyncio.Event)
    system = ActorSystem("bench")
    kind = counting(latch)
    sinks = [await system.spawn(kind, f"sink-{i}") for i in range(load.actors)]
    rounds, note = Rounds(load.seconds), Note(1, "a note")
    for _ in rounds:
        latch.arm(load.actors)
        for sink in sinks:
            await sink.tell(note)
        await latch.event.wait()
    return rounds.rate(load.actors)


async def spawn(load: Load) -> float:
    latch = Latch(asyncio.Event)
    latch.arm(load.actors)
    system = ActorSystem("bench")
    kind = idle(latch)
    begun = perf_counter()
    for i in range(load.actors):
        await system.spawn(kind, f"actor-{i}")
    await asyncio.sleep(0)  # its hook has run before its task: let the tasks come to their mailboxes
    assert latch.event.is_set()
    return load.actors / (perf_counter() - begun)


async def memory(load: Load) -> float:
    latch = Latch(asyncio.Event)
    system = ActorSystem("bench")
    kind = idle(latch)
    before = rss()
    refs = [await system.spawn(kind, f"actor-{i}") for i in range(load.actors)]
    latch.arm(load.actors)
    for ref in refs:
        await ref.tell(None)
    await latch.event.wait()
    return (rss() - before) / load.actors


async def restart(load: Load) -> float:
    logging.disable()  # a log line a crash would cost more than the restart
    latch, latencies = Latch(asyncio.Event), list[float]()
    crashed = [0.0]

    class Fragile(Actor):
        async def on_receive(self, crash: bool) -> None:
            if crash:
                crashed[0] = perf_counter()
                raise RuntimeError("as it was told")
            latencies.append(perf_counter() - crashed[0])
            latch.event.set()

    class Parent(Actor):
        def supervisor_strategy(self) -> OneForOneStrategy:
            return OneForOneStrategy(max_restarts=1000, within_seconds=0.001)

        async def on_receive(self, _message: object) -> ActorRef:
            return await self.context.spawn(Fragile, "fragile")

    ref = await (await ActorSystem("bench").spawn(Parent, "parent")).ask(None)
    for _ in range(load.burst):
        latch.arm(1)
        await ref.tell(True)
        await ref.tell(False)
        await latch.event.wait()
    return middle(latencies) * 1e6


async def neighbour(load: Load) -> float:
    system = ActorSystem("bench")
    echo = await system.spawn(Echo, "echo")
    kind = saturated(load.work)
    for i in range(load.actors):
        await (await system.spawn(kind, f"busy-{i}")).tell(None)
    latencies = list[float]()
    end = perf_counter() + load.seconds
    while perf_counter() < end or len(latencies) < ENOUGH_ASKS:
        begun = perf_counter()
        with answered():
            await echo.ask(None, timeout=ASK_WITHIN)
        latencies.append(perf_counter() - begun)
    return middle(latencies) * 1e3


if __name__ == "__main__":
    measures = asynchronous(
        run_asyncio, tell, tell_fresh, ask, ask_task, fan_in, fan_out, spawn, memory, restart, neighbour
    )
    main(measures, version("everything-is-an-actor"))
