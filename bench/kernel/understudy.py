"""Understudy's own side: every actor supervised, mailboxes bounded, `async def` handlers, nothing switched off."""

from __future__ import annotations

import inspect
from functools import partial
from importlib.metadata import version
from time import perf_counter
from typing import TYPE_CHECKING, Any

import trio

from bench.kernel.note import Note
from bench.program import ASK_WITHIN, ENOUGH_ASKS, Latch, Load, Rounds, compute, main, middle, rss
from runtime import Actor, Mailbox, Ref, Spec, System, open_system
from supervisors import Backoff, ChildSpec, DynamicSupervisor, Intensity, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence


class Stage(DynamicSupervisor):
    """The root: starts the children that it is sent the specs of."""

    async def receive(self, message: Any) -> object:
        if isinstance(message, tuple):
            return [self.start_child(spec) for spec in message]
        return await super().receive(message)


class Counting(Actor):
    """Handles a message by counting it."""

    __slots__ = ("latch",)

    def __init__(self, latch: Latch) -> None:
        self.latch = latch

    async def receive(self, _message: object) -> None:
        latch = self.latch
        latch.left -= 1
        if not latch.left:
            latch.event.set()


class Idle(Counting):
    """Counts its start, and each message."""

    __slots__ = ()

    async def started(self) -> None:
        await self.receive(None)


class Echo(Actor):
    __slots__ = ()

    async def receive(self, message: object) -> object:
        return message


class Asker(Actor):
    """Asks as often as it is told to, one after the other, from its handler: with an edge in the wait-for graph."""

    __slots__ = ("latch", "target")

    def __init__(self, target: Ref[Note], latch: Latch) -> None:
        self.target = target
        self.latch = latch

    async def receive(self, times: int) -> None:
        ask = self.target.ask
        note = Note(1, "a note")
        for _ in range(times):
            await ask(note, ASK_WITHIN)
        self.latch.left -= 1
        if not self.latch.left:
            self.latch.event.set()


class Teller(Actor):
    """Tells as often as it is told to."""

    __slots__ = ("target",)

    def __init__(self, target: Ref[Note]) -> None:
        self.target = target

    async def receive(self, times: int) -> None:
        tell = self.target.tell
        note = Note(1, "a note")
        for _ in range(times):
            tell(note)


class Saturated(Actor):
    """Never has an empty mailbox."""

    __slots__ = ("work",)

    def __init__(self, work: float) -> None:
        self.work = work

    async def receive(self, message: object) -> None:
        if self.work:
            compute(self.work)
        self.ref.tell(message)


class Fragile(Actor):
    """Crashes on True; on anything else says how long ago the crash was."""

    __slots__ = ("crashed", "latch", "latencies")

    def __init__(self, crashed: list[float], latencies: list[float], latch: Latch) -> None:
        self.crashed = crashed
        self.latencies = latencies
        self.latch = latch

    async def receive(self, crash: bool) -> None:
        if crash:
            self.crashed[0] = perf_counter()
            raise RuntimeError("as it was told")
        self.latencies.append(perf_counter() - self.crashed[0])
        self.latch.event.set()


async def start(system: System, specs: Sequence[Spec]) -> list[Ref[Any]]:
    """Have the stage start children. What they are sent while they start, they handle when they have started."""
    refs: list[Ref[Any]] = await system.ref("/").ask(tuple(specs), ASK_WITHIN)
    return refs


async def tell(load: Load, *, fresh: bool = False) -> float:
    async with open_system(ChildSpec("root", Stage)) as system:
        latch = Latch(trio.Event)
        (sink,) = await start(system, [ChildSpec("sink", lambda: Counting(latch))])
        put, note, burst = sink.tell, Note(1, "a note"), range(load.burst)
        rounds = Rounds(load.seconds)
        for _ in rounds:
            latch.arm(load.burst)
            if fresh:
                for number in burst:
                    put(Note(number, "a note"))
            else:
                for _ in burst:
                    put(note)
            await latch.event.wait()
        return rounds.rate(load.burst)


async def ask(load: Load) -> float:
    async with open_system(ChildSpec("root", Stage)) as system:
        latch = Latch(trio.Event)
        (echo,) = await start(system, [ChildSpec("echo", Echo)])
        askers = await start(system, [ChildSpec(f"asker-{i}", lambda: Asker(echo, latch)) for i in range(load.actors)])
        rounds = Rounds(load.seconds)
        for _ in rounds:
            latch.arm(load.actors)
            for asker in askers:
                asker.tell(load.burst)
            await latch.event.wait()
        return rounds.rate(load.actors * load.burst)


async def ask_task(load: Load) -> float:
    async with open_system(ChildSpec("root", Stage)) as system:
        (echo,) = await start(system, [ChildSpec("echo", Echo)])
        rounds, note = Rounds(load.seconds), Note(1, "a note")
        for _ in rounds:
            for _ in range(load.burst):
                await echo.ask(note, ASK_WITHIN)
        return rounds.rate(load.burst)


async def fan_in(load: Load) -> float:
    async with open_system(ChildSpec("root", Stage)) as system:
        latch = Latch(trio.Event)
        each = load.actors * load.burst
        (sink,) = await start(system, [ChildSpec("sink", lambda: Counting(latch), Mailbox(capacity=each))])
        tellers = await start(system, [ChildSpec(f"teller-{i}", lambda: Teller(sink)) for i in range(load.actors)])
        rounds = Rounds(load.seconds)
        for _ in rounds:
            latch.arm(each)
            for teller in tellers:
                teller.tell(load.burst)
            await latch.event.wait()
        return rounds.rate(each)


async def fan_out(load: Load) -> float:
    async with open_system(ChildSpec("root", Stage)) as system:
        latch = Latch(trio.Event)
        sinks = await start(system, [ChildSpec(f"sink-{i}", lambda: Counting(latch)) for i in range(load.actors)])
        rounds, note = Rounds(load.seconds), Note(1, "a note")
        for _ in rounds:
            latch.arm(load.actors)
            for sink in sinks:
                sink.tell(note)
            await latch.event.wait()
        return rounds.rate(load.actors)


async def spawn(load: Load) -> float:
    async with open_system(ChildSpec("root", Stage)) as system:
        latch = Latch(trio.Event)
        latch.arm(load.actors)
        make = partial(Idle, latch)
        begun = perf_counter()
        system.ref("/").tell(tuple(ChildSpec(f"actor-{i}", make) for i in range(load.actors)))
        await latch.event.wait()
        return load.actors / (perf_counter() - begun)


async def memory(load: Load) -> float:
    async with open_system(ChildSpec("root", Stage)) as system:
        latch = Latch(trio.Event)
        make = partial(Idle, latch)
        before = rss()
        latch.arm(load.actors)
        refs = await start(system, [ChildSpec(f"actor-{i}", make) for i in range(load.actors)])
        await latch.event.wait()
        latch.arm(load.actors)
        for ref in refs:
            ref.tell(None)
        await latch.event.wait()
        return (rss() - before) / load.actors


async def restart(load: Load) -> float:
    latch, latencies = Latch(trio.Event), list[float]()
    crashed = [0.0]
    fragile = ChildSpec("fragile", lambda: Fragile(crashed, latencies, latch), backoff=Backoff(base=0.0))
    # As many restarts as are wanted, but a short record of them: what a long one costs is no part of the question.
    root = supervise("root", [fragile], intensity=Intensity(limit=1000, period=0.001))
    async with open_system(root) as system:
        ref = system.ref("/fragile")
        for _ in range(load.burst):
            latch.arm(1)
            ref.tell(True)
            ref.tell(False)
            await latch.event.wait()
    return middle(latencies) * 1e6


async def neighbour(load: Load) -> float:
    async with open_system(ChildSpec("root", Stage)) as system:
        (echo,) = await start(system, [ChildSpec("echo", Echo)])
        for busy in await start(system, [ChildSpec(f"{i}", lambda: Saturated(load.work)) for i in range(load.actors)]):
            busy.tell(None)
        latencies = list[float]()
        end = perf_counter() + load.seconds
        while perf_counter() < end or len(latencies) < ENOUGH_ASKS:
            begun = perf_counter()
            await echo.ask(None, ASK_WITHIN)
            latencies.append(perf_counter() - begun)
        return middle(latencies) * 1e3


def on_trio(function: Callable[..., Coroutine[Any, Any, float]], **options: Any) -> Callable[[Load], float]:
    assert inspect.iscoroutinefunction(function)
    return lambda load: trio.run(partial(function, load, **options))


if __name__ == "__main__":
    main(
        {
            "tell": on_trio(tell),
            "tell_fresh": on_trio(tell, fresh=True),
            "ask": on_trio(ask),
            "ask_task": on_trio(ask_task),
            "ask_64": on_trio(ask),
            "fan_in": on_trio(fan_in),
            "fan_out": on_trio(fan_out),
            "spawn": on_trio(spawn),
            "memory": on_trio(memory),
            "restart": on_trio(restart),
            "neighbour": on_trio(neighbour),
            "neighbour_working": on_trio(neighbour),
        },
        version("understudy"),
    )
