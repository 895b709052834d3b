"""The pulse: what it tells is measured, and only told while somebody listens."""

from __future__ import annotations

import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.operations.channels import Published, Topic
from actors.operations.counters import DaemonCounters
from actors.operations.pulse import Pulse, children_of, rate
from actors.protocol.channel_events import Channel
from actors.protocol.stamps import Stamps
from runtime import Actor, System
from supervisors import ChildSpec, supervise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

METRICS = Topic(Channel.SYSTEM_METRICS, None)


class Listener(Actor):
    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    async def receive(self, message: Any) -> object:
        if isinstance(message, Published):
            self.heard.append(dict(message.event.metadata["payload"]))
        elif message == "listen":
            self.subscribe(METRICS)
        else:
            self.unsubscribe(METRICS)
        return None


@asynccontextmanager
async def pulse(interval: float) -> AsyncIterator[tuple[System, DaemonCounters, Listener]]:
    counters, listener = DaemonCounters(), Listener()
    stamps = Stamps(random.Random(1), lambda: 1_800_000_000.0 + trio.current_time() % 1000)
    root = supervise(
        "root",
        [
            ChildSpec("users", Listener),
            ChildSpec("listener", lambda: listener),
            supervise("runs", [ChildSpec("one", Listener), ChildSpec("two", Listener)]),
            supervise("operations", [ChildSpec("pulse", lambda: Pulse(counters, stamps, interval))]),
        ],
    )
    async with trio.open_nursery() as nursery:
        system = System(rng=random.Random(2))
        await nursery.start(system.run, root)
        await wait_all_tasks_blocked()
        yield system, counters, listener
        system.stop(1.0)


def virtual(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_what_is_told_is_what_was_counted_in_the_time() -> None:
    async def main() -> None:
        async with pulse(5.0) as (system, counters, listener):
            counters.events_committed = counters.events_sent = 1_000_000  # before anybody listened
            await trio.sleep(12.0)
            system.ref("/listener").tell("listen")
            counters.connections_opened, counters.isolation_violations = 7, 1
            counters.connections_closed[1000] += 3
            counters.restarts["users"] += 2
            for _ in range(20):
                await trio.sleep(1.0)
                counters.events_committed += 30
                counters.events_sent += 90
            assert len(listener.heard) >= 2
            told = listener.heard[1]
            assert 5.0 <= told["seconds"] < 5.6
            assert 24.0 <= told["events_committed_per_second"] <= 36.0
            assert 72.0 <= told["events_sent_per_second"] <= 108.0
            assert (told["connections"], told["runs"], told["users"], told["restarts"]) == (4, 2, 0, 2)
            assert told["isolation_violations"] == 1
            assert told["loop_lag_ms"] < 10
            assert told["measured_at"].startswith("2027-01-15T")

    virtual(main)


def test_nothing_is_told_where_nobody_listens_and_all_stops_when_they_leave() -> None:
    async def main() -> None:
        async with pulse(1.0) as (system, _, listener):
            await trio.sleep(10.0)
            assert listener.heard == []
            assert system.topics.subscribers(METRICS) == 0
            system.ref("/listener").tell("listen")
            await trio.sleep(10.0)
            assert 7 <= len(listener.heard) <= 11
            system.ref("/listener").tell("stop")
            await trio.sleep(0.1)
            told = len(listener.heard)
            await trio.sleep(10.0)
            assert len(listener.heard) == told
            assert len(system.wheel) < 5

    virtual(main)


async def test_a_loop_that_is_held_up_shows() -> None:
    """In real time, since it is the real loop that is late."""
    async with pulse(0.1) as (system, _, listener):
        system.ref("/listener").tell("listen")
        with trio.fail_after(20):
            while not listener.heard:
                await trio.sleep(0.01)
            before = len(listener.heard)
            time.sleep(0.3)
            while len(listener.heard) <= before:
                await trio.sleep(0.01)
    assert max(told["loop_lag_ms"] for told in listener.heard) >= 200


async def test_rates_and_children_where_there_is_nothing() -> None:
    assert rate(5, 10, 0.0) == 0.0
    assert rate(5, 10, 2.0) == 2.5
    assert children_of(System(), "users") == 0
