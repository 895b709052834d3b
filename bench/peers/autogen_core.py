"""autogen-core: agents in a single-threaded runtime, one queue for all of them, a task for each message.

A tell is a publication to the topic of one agent, an ask a `send_message`, which knows no deadline. Agents come into
being when first looked up. What a handler raises is logged and the agent stays as it is: nothing restarts. Agents are
made from `BaseAgent`, and tracing is off: its fastest way.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from time import perf_counter
from typing import TYPE_CHECKING, Any

from autogen_core import (
    AgentId,
    BaseAgent,
    MessageContext,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
)

from bench.program import ENOUGH_ASKS, Latch, Load, Rounds, asynchronous, compute, main, middle, rss, run_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True)
class Note:
    """Of the two kinds of messages that the library documents, the cheaper."""

    number: int
    text: str


class Counting(BaseAgent):
    def __init__(self, latch: Latch) -> None:
        super().__init__("counts")
        self.latch = latch

    async def on_message_impl(self, _message: object, _ctx: MessageContext) -> None:
        latch = self.latch
        latch.left -= 1
        if not latch.left:
            latch.event.set()


class Echo(BaseAgent):
    def __init__(self) -> None:
        super().__init__("echoes")

    async def on_message_impl(self, message: object, _ctx: MessageContext) -> object:
        return message


class Asker(BaseAgent):
    def __init__(self, latch: Latch) -> None:
        super().__init__("asks")
        self.latch = latch

    async def on_message_impl(self, message: Note, _ctx: MessageContext) -> None:
        echo = AgentId("echo", "default")
        for _ in range(message.number):
            await self.send_message(message, echo)
        self.latch.left -= 1
        if not self.latch.left:
            self.latch.event.set()


class Teller(BaseAgent):
    def __init__(self) -> None:
        super().__init__("tells")

    async def on_message_impl(self, message: Note, _ctx: MessageContext) -> None:
        sink = TopicId("sink", "default")
        for _ in range(message.number):
            await self.publish_message(message, sink)


class Saturated(BaseAgent):
    def __init__(self, work: float) -> None:
        super().__init__("is never done")
        self.work = work

    async def on_message_impl(self, message: object, _ctx: MessageContext) -> None:
        if self.work:
            compute(self.work)
        # By the runtime and not by the agent: what an agent publishes never comes back to it.
        await self.runtime.publish_message(message, TopicId("busy", self.id.key))


@asynccontextmanager
async def running(**factories: Any) -> AsyncIterator[SingleThreadedAgentRuntime]:
    """A runtime in which every kind of agent hears the topic of its own name."""
    os.environ["AUTOGEN_DISABLE_RUNTIME_TRACING"] = "true"
    runtime = SingleThreadedAgentRuntime()
    for name, factory in factories.items():
        await runtime.register_factory(name, factory)
        await runtime.add_subscription(TypeSubscription(name, name))
    runtime.start()
    yield runtime  # and not stopped: that would wait for what saturated agents still have to do


async def tell(load: Load, *, fresh: bool = False) -> float:
    latch = Latch(asyncio.Event)
    async with running(sink=lambda: Counting(latch)) as runtime:
        put, sink, note = runtime.publish_message, TopicId("sink", "default"), Note(1, "a note")
        rounds = Rounds(load.seconds)
        for _ in rounds:
            latch.arm(load.burst)
            if fresh:
                for number in range(load.burst):
                    await put(Note(number, "a note"), sink)
            else:
                for _ in range(load.burst):
                    await put(note, sink)
            await latch.event.wait()
        return rounds.rate(load.burst)


async def tell_fresh(load: Load) -> float:
    return await tell(load, fresh=True)


async def ask(load: Load) -> float:
    latch = Latch(asyncio.Event)
    async with running(echo=Echo, asker=lambda: Asker(latch)) as runtime:
        topics = [TopicId("asker", str(i)) for i in range(load.actors)]
        go, rounds = Note(load.burst, "go"), Rounds(load.seconds)
        for _ in rounds:
            latch.arm(load.actors)
            for topic in topics:
                await runtime.publish_message(go, topic)
            await latch.event.wait()
        return rounds.rate(load.actors * load.burst)


async def ask_task(load: Load) -> float:
    async with running(echo=Echo) as runtime:
        rounds, note = Rounds(load.seconds), Note(1, "a note")
        for _ in rounds:
            for _ in range(load.burst):
                await runtime.send_message(note, AgentId("echo", "default"))
        return rounds.rate(load.burst)


async def fan_in(load: Load) -> float:
    latch = Latch(asyncio.Event)
    async with running(sink=lambda: Counting(latch), teller=Teller) as runtime:
        topics = [TopicId("teller", str(i)) for i in range(load.actors)]
        go, rounds = Note(load.burst, "go"), Rounds(load.seconds)
        for _ in rounds:
            latch.arm(load.actors * load.burst)
            for topic in topics:
                await runtime.publish_message(go, topic)
            await latch.event.wait()
        return rounds.rate(load.actors * load.burst)


async def fan_out(load: Load) -> float:
    latch = Latch(asyncio.Event)
    async with running(sink=lambda: Counting(latch)) as runtime:
        topics = [TopicId("sink", str(i)) for i in range(load.actors)]
        note, rounds = Note(1, "a note"), Rounds(load.seconds)
        for _ in rounds:
            latch.arm(load.actors)
            for topic in topics:
                await runtime.publish_message(note, topic)
            await latch.event.wait()
        return rounds.rate(load.actors)


async def spawn(load: Load) -> float:
    latch = Latch(asyncio.Event)
    async with running(sink=lambda: Counting(latch)) as runtime:
        begun = perf_counter()
        for i in range(load.actors):
            await runtime.get("sink", str(i), lazy=False)
        return load.actors / (perf_counter() - begun)


async def memory(load: Load) -> float:
    latch = Latch(asyncio.Event)
    async with running(sink=lambda: Counting(latch)) as runtime:
        note, before = Note(1, "a note"), rss()
        ids = [await runtime.get("sink", str(i), lazy=False) for i in range(load.actors)]
        latch.arm(load.actors)
        for one in ids:
            await runtime.publish_message(note, TopicId("sink", one.key))
        await latch.event.wait()
        return (rss() - before) / load.actors


async def neighbour(load: Load) -> float:
    async with running(echo=Echo, busy=lambda: Saturated(load.work)) as runtime:
        note, echo = Note(1, "a note"), AgentId("echo", "default")
        for i in range(load.actors):
            await runtime.publish_message(note, TopicId("busy", str(i)))
        latencies = list[float]()
        end = perf_counter() + load.seconds
        while perf_counter() < end or len(latencies) < ENOUGH_ASKS:
            begun = perf_counter()
            await runtime.send_message(note, echo)
            latencies.append(perf_counter() - begun)
        return middle(latencies) * 1e3


if __name__ == "__main__":
    measures = asynchronous(run_asyncio, tell, tell_fresh, ask, ask_task, fan_in, fan_out, spawn, memory, neighbour)
    main(measures, version("autogen-core"))
