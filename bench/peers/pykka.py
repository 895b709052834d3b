"""pykka: an actor is a thread. A tell puts in its queue, an ask waits on a future; there is nothing that restarts.

Handlers are plain functions here, for pykka has no other; counting is by `itertools.count`, which no thread can tear.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from importlib.metadata import version
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pykka

from bench.kernel.note import Note
from bench.program import ASK_WITHIN, ENOUGH_ASKS, Latch, Load, Rounds, compute, main, middle, rss

if TYPE_CHECKING:
    from collections.abc import Iterator


class Turnstile:
    """A latch that many threads may count."""

    def __init__(self) -> None:
        self.arm(0)

    def arm(self, count: int) -> None:
        self.event = threading.Event()
        self.last = count - 1
        self.numbers: Iterator[int] = itertools.count()

    def count(self) -> None:
        if next(self.numbers) == self.last:
            self.event.set()


class Sink(pykka.ThreadingActor):
    """The one that counts alone."""

    def __init__(self, latch: Latch) -> None:
        super().__init__()
        self.latch = latch

    def on_receive(self, _message: object) -> None:
        latch = self.latch
        latch.left -= 1
        if not latch.left:
            latch.event.set()


class Counting(pykka.ThreadingActor):
    def __init__(self, turnstile: Turnstile) -> None:
        super().__init__()
        self.turnstile = turnstile

    def on_receive(self, _message: object) -> None:
        self.turnstile.count()


class Idle(Counting):
    def on_start(self) -> None:
        self.turnstile.count()


class Echo(pykka.ThreadingActor):
    def on_receive(self, message: object) -> object:
        return message


class Asker(pykka.ThreadingActor):
    def __init__(self, target: Any, turnstile: Turnstile) -> None:
        super().__init__()
        self.target = target
        self.turnstile = turnstile

    def on_receive(self, times: int) -> None:
        note = Note(1, "a note")
        for _ in range(times):
            self.target.ask(note, timeout=ASK_WITHIN)
        self.turnstile.count()


class Teller(pykka.ThreadingActor):
    def __init__(self, target: Any) -> None:
        super().__init__()
        self.target = target

    def on_receive(self, times: int) -> None:
        tell = self.target.tell
        note = Note(1, "a note")
        for _ in range(times):
            tell(note)


class Saturated(pykka.ThreadingActor):
    def __init__(self, work: float) -> None:
        super().__init__()
        self.work = work

    def on_receive(self, message: object) -> None:
        if self.work:
            compute(self.work)
        self.actor_ref.tell(message)


def tell(load: Load, *, fresh: bool = False) -> float:
    latch = Latch(threading.Event)
    put, note, rounds = Sink.start(latch).tell, Note(1, "a note"), Rounds(load.seconds)
    for _ in rounds:
        latch.arm(load.burst)
        if fresh:
            for number in range(load.burst):
                put(Note(number, "a note"))
        else:
            for _ in range(load.burst):
                put(note)
        latch.event.wait()
    return rounds.rate(load.burst)


def ask(load: Load) -> float:
    turnstile = Turnstile()
    echo = Echo.start()
    askers = [Asker.start(echo, turnstile) for _ in range(load.actors)]
    rounds = Rounds(load.seconds)
    for _ in rounds:
        turnstile.arm(load.actors)
        for asker in askers:
            asker.tell(load.burst)
        turnstile.event.wait()
    return rounds.rate(load.actors * load.burst)


def ask_task(load: Load) -> float:
    echo = Echo.start()
    rounds, note = Rounds(load.seconds), Note(1, "a note")
    for _ in rounds:
        for _ in range(load.burst):
            echo.ask(note, timeout=ASK_WITHIN)
    return rounds.rate(load.burst)


def fan_in(load: Load) -> float:
    latch = Latch(threading.Event)
    sink = Sink.start(latch)
    tellers = [Teller.start(sink) for _ in range(load.actors)]
    rounds = Rounds(load.seconds)
    for _ in rounds:
        latch.arm(load.actors * load.burst)
        for teller in tellers:
            teller.tell(load.burst)
        latch.event.wait()
    return rounds.rate(load.actors * load.burst)


def fan_out(load: Load) -> float:
    turnstile = Turnstile()
    sinks = [Counting.start(turnstile) for _ in range(load.actors)]
    rounds, note = Rounds(load.seconds), Note(1, "a note")
    for _ in rounds:
        turnstile.arm(load.actors)
        for sink in sinks:
            sink.tell(note)
        turnstile.event.wait()
    return rounds.rate(load.actors)


def spawn(load: Load) -> float:
    turnstile = Turnstile()
    turnstile.arm(load.actors)
    begun = perf_counter()
    for _ in range(load.actors):
        Idle.start(turnstile)
    turnstile.event.wait()
    return load.actors / (perf_counter() - begun)


def memory(load: Load) -> float:
    turnstile = Turnstile()
    before = rss()
    turnstile.arm(load.actors)
    refs = [Idle.start(turnstile) for _ in range(load.actors)]
    turnstile.event.wait()
    turnstile.arm(load.actors)
    for ref in refs:
        ref.tell(None)
    turnstile.event.wait()
    return (rss() - before) / load.actors


def neighbour(load: Load) -> float:
    echo = Echo.start()
    # All of them first: each busy thread holds the others up for a switch interval, also those that start.
    busy = [Saturated.start(load.work) for _ in range(load.actors)]
    for one in busy:
        one.tell(None)
    latencies = list[float]()
    end = perf_counter() + load.seconds
    while perf_counter() < end or len(latencies) < ENOUGH_ASKS:
        begun = perf_counter()
        echo.ask(None, timeout=ASK_WITHIN)
        latencies.append(perf_counter() - begun)
    return middle(latencies) * 1e3


if __name__ == "__main__":
    main(
        {
            "tell": tell,
            "tell_fresh": lambda load: tell(load, fresh=True),
            "ask": ask,
            "ask_task": ask_task,
            "ask_64": ask,
            "fan_in": fan_in,
            "fan_out": fan_out,
            "spawn": spawn,
            "memory": memory,
            "neighbour": neighbour,
            "neighbour_working": neighbour,
        },
        version("pykka"),
    )
    sys.stdout.flush()
    os._exit(0)  # thousands of threads would have to be stopped one by one, which is no part of any figure
