"""tapio: asyncio, typed behaviours, messages that are pydantic models.

The validation of a message's contents at every tell is switched off, as its settings allow: that is its fastest way.
Mailboxes are unbounded, which is its default. An ask carries a ref for the reply in a message of its own, so every ask
makes one.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from importlib.metadata import version
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from tapio import ActorRef, ActorSystem, Behavior, Behaviors, Message, SupervisorStrategy, TapioSettings

from bench.program import (
    ASK_WITHIN,
    ENOUGH_ASKS,
    Latch,
    Load,
    Rounds,
    answered,
    asynchronous,
    compute,
    main,
    middle,
    rss,
    run_asyncio,
)

if TYPE_CHECKING:
    from tapio import ActorContext

SETTINGS: Final = TapioSettings(validate_on_tell=False)
WITHIN: Final = timedelta(seconds=ASK_WITHIN)


class Note(Message):
    number: int
    text: str


class Question(Message):
    reply_to: ActorRef[Note]


class Times(Message):
    times: int


class Crash(Message):
    """Tells whether to."""

    crash: bool


def counting(latch: Latch) -> Behavior[Any]:
    same = Behaviors.same()

    async def on_message(_message: Note) -> Behavior[Any]:
        latch.left -= 1
        if not latch.left:
            latch.event.set()
        return same

    return Behaviors.receive_message(on_message, msg_type=Note)


def idle(latch: Latch) -> Behavior[Any]:
    async def on_message(_message: Note) -> Behavior[Any]:
        latch.left -= 1
        if not latch.left:
            latch.event.set()
        return Behaviors.same()

    def set_up(_context: ActorContext[Any]) -> Behavior[Any]:
        latch.left -= 1
        if not latch.left:
            latch.event.set()
        return Behaviors.receive_message(on_message, msg_type=Note)

    return Behaviors.setup(set_up)


def echo() -> Behavior[Any]:
    note = Note(number=1, text="a note")

    async def on_message(message: Question) -> Behavior[Any]:
        message.reply_to.tell(note)
        return Behaviors.same()

    return Behaviors.receive_message(on_message, msg_type=Question)


def question(reply_to: ActorRef[Note]) -> Question:
    return Question(reply_to=reply_to)


def asker(target: ActorRef[Any], latch: Latch) -> Behavior[Any]:
    async def on_message(message: Times) -> Behavior[Any]:
        for _ in range(message.times):
            await target.ask(question, expect=Note, timeout=WITHIN)
        latch.left -= 1
        if not latch.left:
            latch.event.set()
        return Behaviors.same()

    return Behaviors.receive_message(on_message, msg_type=Times)


def teller(target: ActorRef[Any]) -> Behavior[Any]:
    async def on_message(message: Times) -> Behavior[Any]:
        tell = target.tell
        note = Note(number=1, text="a note")
        for _ in range(message.times):
            tell(note)
        return Behaviors.same()

    return Behaviors.receive_message(on_message, msg_type=Times)


def saturated(work: float) -> Behavior[Any]:
    async def on_message(context: ActorContext[Any], message: Note) -> Behavior[Any]:
        if work:
            compute(work)
        context.self_ref.tell(message)
        return Behaviors.same()

    return Behaviors.receive(on_message, msg_type=Note)


async def tell(load: Load, *, fresh: bool = False) -> float:
    async with ActorSystem("bench", settings=SETTINGS) as system:
        latch = Latch(asyncio.Event)
        put = system.spawn(counting(latch), "sink").tell
        note, rounds = Note(number=1, text="a note"), Rounds(load.seconds)
        for _ in rounds:
            latch.arm(load.burst)
            if fresh:
                for number in range(load.burst):
                    put(Note(number=number, text="a note"))
            else:
                for _ in range(load.burst):
                    put(note)
            await latch.event.wait()
        return rounds.rate(load.burst)


async def tell_fresh(load: Load) -> float:
    return await tell(load, fresh=True)


async def ask(load: Load) -> float:
    async with ActorSystem("bench", settings=SETTINGS) as system:
        latch = Latch(asyncio.Event)
        target = system.spawn(echo(), "echo")
        askers = [system.spawn(asker(target, latch), f"asker-{i}") for i in range(load.actors)]
        rounds = Rounds(load.seconds)
        for _ in rounds:
            latch.arm(load.actors)
            for one in askers:
                one.tell(Times(times=load.burst))
            await latch.event.wait()
        return rounds.rate(load.actors * load.burst)


async def ask_task(load: Load) -> float:
    async with ActorSystem("bench", settings=SETTINGS) as system:
        target = system.spawn(echo(), "echo")
        rounds = Rounds(load.seconds)
        for _ in rounds:
            for _ in range(load.burst):
                await target.ask(question, expect=Note, timeout=WITHIN)
        return rounds.rate(load.burst)


async def fan_in(load: Load) -> float:
    async with ActorSystem("bench", settings=SETTINGS) as system:
        latch = Latch(asyncio.Event)
        sink = system.spawn(counting(latch), "sink")
        tellers = [system.spawn(teller(sink), f"teller-{i}") for i in range(load.actors)]
        rounds, go = Rounds(load.seconds), Times(times=load.burst)
        for _ in rounds:
            latch.arm(load.actors * load.burst)
            for one in tellers:
                one.tell(go)
            await latch.event.wait()
        return rounds.rate(load.actors * load.burst)


async def fan_out(load: Load) -> float:
    async with ActorSystem("bench", settings=SETTINGS) as system:
        latch = Latch(asyncio.Event)
        sinks = [system.spawn(counting(latch), f"sink-{i}") for i in range(load.actors)]
        rounds, note = Rounds(load.seconds), Note(number=1, text="a note")
        for _ in rounds:
            latch.arm(load.actors)
            for sink in sinks:
                sink.tell(note)
            await latch.event.wait()
        return rounds.rate(load.actors)


async def spawn(load: Load) -> float:
    async with ActorSystem("bench", settings=SETTINGS) as system:
        latch = Latch(asyncio.Event)
        latch.arm(load.actors)
        behavior = idle(latch)
        begun = perf_counter()
        for i in range(load.actors):
            system.spawn(behavior, f"actor-{i}")
        await asyncio.sleep(0)  # set-up has run before the task: let the tasks come to their mailboxes
        assert latch.event.is_set()
        return load.actors / (perf_counter() - begun)


async def memory(load: Load) -> float:
    async with ActorSystem("bench", settings=SETTINGS) as system:
        latch = Latch(asyncio.Event)
        behavior = idle(latch)
        before = rss()
        refs = [system.spawn(behavior, f"actor-{i}") for i in range(load.actors)]
        latch.arm(load.actors)
        note = Note(number=1, text="a note")
        for ref in refs:
            ref.tell(note)
        await latch.event.wait()
        return (rss() - before) / load.actors


async def restart(load: Load) -> float:
    logging.disable()  # a log line a crash would cost more than the restart
    latch, latencies = Latch(asyncio.Event), list[float]()
    crashed = [0.0]

    async def on_message(message: Crash) -> Behavior[Any]:
        if message.crash:
            crashed[0] = perf_counter()
            raise RuntimeError("as it was told")
        latencies.append(perf_counter() - crashed[0])
        latch.event.set()
        return Behaviors.same()

    fragile: Behavior[Any] = Behaviors.receive_message(on_message, msg_type=Crash)
    async with ActorSystem("bench", settings=SETTINGS) as system:
        ref = system.spawn(Behaviors.supervise(fragile).on_failure(SupervisorStrategy.restart()), "fragile")
        for _ in range(load.burst):
            latch.arm(1)
            ref.tell(Crash(crash=True))
            ref.tell(Crash(crash=False))
            await latch.event.wait()
    return middle(latencies) * 1e6


async def neighbour(load: Load) -> float:
    async with ActorSystem("bench", settings=SETTINGS) as system:
        target = system.spawn(echo(), "echo")
        note = Note(number=1, text="a note")
        for i in range(load.actors):
            system.spawn(saturated(load.work), f"busy-{i}").tell(note)
        latencies = list[float]()
        end = perf_counter() + load.seconds
        while perf_counter() < end or len(latencies) < ENOUGH_ASKS:
            begun = perf_counter()
            with answered():
                await target.ask(lambda reply_to: Question(reply_to=reply_to), expect=Note, timeout=WITHIN)
            latencies.append(perf_counter() - begun)
        return middle(latencies) * 1e3


if __name__ == "__main__":
    measures = asynchronous(
        run_asyncio, tell, tell_fresh, ask, ask_task, fan_in, fan_out, spawn, memory, restart, neighbour
    )
    main(measures, version("tapio-py"))
