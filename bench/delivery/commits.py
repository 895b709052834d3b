"""Events into the journal, in this process: its actor, its database, a disk.

Each user has 16 events under way, a record and an append each, as if 16 things happened to that user at the same time;
the next one is offered when one is committed. Nothing else that a daemon does is in it.
"""

from __future__ import annotations

import random
import time
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.protocol.event_types import NoticeLevel
from actors.protocol.events import encode
from actors.protocol.run_events import system
from actors.protocol.stamps import Stamps
from actors.storage.database import DATABASE_NAME, Database
from actors.storage.interface import Record
from actors.storage.journal import Append, Journal
from bench.delivery.swarm import NotServed
from runtime import Actor, Mailbox, Replied, System
from supervisors import ChildSpec, supervise

if TYPE_CHECKING:
    from pathlib import Path

    from bench.program import Load
    from runtime import Ref

UNDER_WAY: Final = 16
COMMIT_WITHIN: Final = 30.0
STOP_WITHIN: Final = 10.0
SOME_WITHIN: Final = 60.0
"""Seconds after which it is given up that anything is committed."""
WARM: Final = 0.2
"""Seconds before it counts, of those that are measured."""


@attrs.define
class Latencies:
    """Seconds from each offer to its commit, while `counting`; `some` is set with the first."""

    counting: bool = False
    seconds: list[float] = attrs.field(factory=list)
    some: trio.Event = attrs.field(factory=trio.Event)


class Writer(Actor):
    """One user to whom things happen.

    Args:
        user: whose log it is.
        journal: its address.
        stamps: where ids come from.
        latencies: shared by all writers.
    """

    def __init__(self, user: str, journal: Ref[Any], stamps: Stamps, latencies: Latencies) -> None:
        self._user = user
        self._journal = journal
        self._stamps = stamps
        self._latencies = latencies

    async def started(self) -> None:
        for _ in range(UNDER_WAY):
            self._offer()

    def _offer(self) -> None:
        event = system(self._stamps.stamp(), "notice", NoticeLevel.INFO, notice="Something has happened.")
        offer = Append((Record(event.id, encode(event), (self._user,)),))
        self.request(self._journal, offer, COMMIT_WITHIN, tag=perf_counter())

    async def receive(self, message: Any) -> object:
        if isinstance(message, Replied):
            if message.error is not None:
                raise message.error
            if self._latencies.counting:
                self._latencies.seconds.append(perf_counter() - message.tag)
                self._latencies.some.set()
            self._offer()
        return None


async def commits(load: Load, directory: Path) -> dict[str, float]:
    """See `metrics`."""
    name, latencies = load.metric, Latencies()
    stamps = Stamps(random.Random(), time.time)

    running = System()

    def journal() -> Journal:
        return Journal(lambda: Database(directory / DATABASE_NAME, random=random.Random(), wall_clock=time.time))

    def writer(user: str) -> ChildSpec:
        return ChildSpec(user, lambda: Writer(user, running.ref("/storage"), stamps, latencies))

    users = [writer(f"user{number}") for number in range(load.actors)]
    root = supervise("root", [ChildSpec("storage", journal, mailbox=Mailbox(65_536)), *users])
    async with trio.open_nursery() as nursery:
        await nursery.start(running.run, root)
        await trio.sleep(WARM)
        latencies.counting = True
        began = perf_counter()
        await trio.sleep(load.seconds)
        with trio.move_on_after(SOME_WITHIN):
            await latencies.some.wait()
        latencies.counting = False
        passed = perf_counter() - began
        running.stop(STOP_WITHIN)
    ordered = sorted(latencies.seconds)
    if not ordered:
        raise NotServed("nothing was committed")
    return {
        f"{name}_rate": len(ordered) / passed,
        f"{name}_median": ordered[len(ordered) // 2] * 1e3,
        f"{name}_p99": ordered[len(ordered) * 99 // 100] * 1e3,
    }
