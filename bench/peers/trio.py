"""A bare trio memory channel, `await` on both sides: what an actor without an actor library would be made of.

An ask is a channel for the requests and one for each asker's replies, made beforehand, without a deadline: all in the
channel's favour. There is nothing here that restarts a task.
"""

from __future__ import annotations

from importlib.metadata import version
from time import perf_counter
from typing import Any, Final

import trio

from bench.kernel.note import Note
from bench.program import ENOUGH_ASKS, Latch, Load, Rounds, asynchronous, bursts, compute, main, middle, rss

CAPACITY: Final = 1024
"""Of each channel: that of an understudy mailbox."""

Sending = trio.MemorySendChannel[Any]
Receiving = trio.MemoryReceiveChannel[Any]


async def count(latch: Latch, messages: Receiving) -> None:
    async for _ in messages:
        latch.left -= 1
        if not latch.left:
            latch.event.set()


async def echo(requests: Receiving) -> None:
    async for replies, message in requests:
        await replies.send(message)


async def asking(go: Receiving, requests: Sending, latch: Latch) -> None:
    send, receive = trio.open_memory_channel[Any](1)
    note = Note(1, "a note")
    async for times in go:
        for _ in range(times):
            await requests.send((send, note))
            await receive.receive()
        latch.left -= 1
        if not latch.left:
            latch.event.set()


async def telling(go: Receiving, messages: Sending) -> None:
    note = Note(1, "a note")
    async for times in go:
        for _ in range(times):
            await messages.send(note)


async def saturated(send: Sending, receive: Receiving, work: float) -> None:
    async for message in receive:
        if work:
            compute(work)
        await send.send(message)


async def tell(load: Load, *, fresh: bool = False) -> float:
    async with trio.open_nursery() as nursery:
        latch = Latch(trio.Event)
        send, receive = trio.open_memory_channel[Any](CAPACITY)
        nursery.start_soon(count, latch, receive)
        rate = await bursts(load, latch, send.send, Note, fresh=fresh)
        nursery.cancel_scope.cancel()
    return rate


async def tell_fresh(load: Load) -> float:
    return await tell(load, fresh=True)


async def ask(load: Load) -> float:
    async with trio.open_nursery() as nursery:
        latch = Latch(trio.Event)
        requests, receive = trio.open_memory_channel[Any](CAPACITY)
        nursery.start_soon(echo, receive)
        gos = []
        for _ in range(load.actors):
            go, waiting = trio.open_memory_channel[Any](1)
            nursery.start_soon(asking, waiting, requests, latch)
            gos.append(go)
        rounds = Rounds(load.seconds)
        for _ in rounds:
            latch.arm(load.actors)
            for go in gos:
                await go.send(load.burst)
            await latch.event.wait()
        nursery.cancel_scope.cancel()
    return rounds.rate(load.actors * load.burst)


async def fan_in(load: Load) -> float:
    async with trio.open_nursery() as nursery:
        latch = Latch(trio.Event)
        send, receive = trio.open_memory_channel[Any](CAPACITY)
        nursery.start_soon(count, latch, receive)
        gos = []
        for _ in range(load.actors):
            go, waiting = trio.open_memory_channel[Any](1)
            nursery.start_soon(telling, waiting, send)
            gos.append(go)
        rounds = Rounds(load.seconds)
        for _ in rounds:
            latch.arm(load.actors * load.burst)
            for go in gos:
                await go.send(load.burst)
            await latch.event.wait()
        nursery.cancel_scope.cancel()
    return rounds.rate(load.actors * load.burst)


async def fan_out(load: Load) -> float:
    async with trio.open_nursery() as nursery:
        latch = Latch(trio.Event)
        sends = []
        for _ in range(load.actors):
            send, receive = trio.open_memory_channel[Any](CAPACITY)
            nursery.start_soon(count, latch, receive)
            sends.append(send)
        rounds, note = Rounds(load.seconds), Note(1, "a note")
        for _ in rounds:
            latch.arm(load.actors)
            for send in sends:
                await send.send(note)
            await latch.event.wait()
        nursery.cancel_scope.cancel()
    return rounds.rate(load.actors)


async def idle(latch: Latch, receive: Receiving) -> None:
    latch.left -= 1
    if not latch.left:
        latch.event.set()
    await count(latch, receive)


async def spawn(load: Load) -> float:
    async with trio.open_nursery() as nursery:
        latch = Latch(trio.Event)
        latch.arm(load.actors)
        sends = []
        begun = perf_counter()
        for i in range(load.actors):
            send, receive = trio.open_memory_channel[Any](CAPACITY)
            nursery.start_soon(idle, latch, receive, name=f"actor-{i}")
            sends.append(send)
        await latch.event.wait()
        rate = load.actors / (perf_counter() - begun)
        nursery.cancel_scope.cancel()
    return rate


async def memory(load: Load) -> float:
    async with trio.open_nursery() as nursery:
        before = rss()
        latch = Latch(trio.Event)
        latch.arm(load.actors)
        sends = []
        for i in range(load.actors):
            send, receive = trio.open_memory_channel[Any](CAPACITY)
            nursery.start_soon(idle, latch, receive, name=f"actor-{i}")
            sends.append(send)
        await latch.event.wait()
        latch.arm(load.actors)
        for send in sends:
            await send.send(None)
        await latch.event.wait()
        size = (rss() - before) / load.actors
        nursery.cancel_scope.cancel()
    return size


async def neighbour(load: Load) -> float:
    latencies = list[float]()
    async with trio.open_nursery() as nursery:
        requests, receive = trio.open_memory_channel[Any](CAPACITY)
        nursery.start_soon(echo, receive)
        replies, answer = trio.open_memory_channel[Any](1)
        for _ in range(load.actors):
            own, messages = trio.open_memory_channel[Any](CAPACITY)
            nursery.start_soon(saturated, own, messages, load.work)
            await own.send(None)
        end = perf_counter() + load.seconds
        while perf_counter() < end or len(latencies) < ENOUGH_ASKS:
            begun = perf_counter()
            await requests.send((replies, None))
            await answer.receive()
            latencies.append(perf_counter() - begun)
        nursery.cancel_scope.cancel()
    return middle(latencies) * 1e3


if __name__ == "__main__":
    measures = asynchronous(trio.run, tell, tell_fresh, ask, fan_in, fan_out, spawn, memory, neighbour)
    main(measures | {"ask_task": measures["ask"]}, version("trio"))  # whoever asks is a task
