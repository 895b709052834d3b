"""Actors with records of their own: found whoever left them, closed when they fail too often, in the end forgotten."""

from __future__ import annotations

import errno
import random
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors.artifacts.store import Artifacts
from actors.durable.retention import AT_ONCE, note_end
from actors.durable.supervisor import CLOSE_AGAIN, PAGE, DurableSupervisor, TakeUp
from actors.protocol.codes import ErrorCode
from actors.protocol.stamps import Stamps
from actors.storage.interface import DeleteState
from actors.users.messages import CommandError
from runtime import Actor, Mailbox, Refused, open_system
from supervisors import ChildSpec, Intensity, supervise
from tests.support.memory_journal import MemoryJournal, Plan
from tests.support.users_system import OFTEN, START, settle, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from actors.storage.interface import Effect
    from runtime import Ref, System

OPEN, ENDED, RECORDS = "open", "ended", "record"
LOOK_EVERY = 5.0


class Worker(Actor):
    """Does nothing, or fails as soon as it has started, as long as its name is among those that do."""

    def __init__(self, order: TakeUp, begun: list[tuple[float, TakeUp]], failing: set[str]) -> None:
        self.order = order
        self.begun = begun
        self.failing = failing

    async def started(self) -> None:
        self.begun.append((self.now(), self.order))
        if self.order.record_id in self.failing:
            raise RuntimeError("planned")

    async def receive(self, message: object) -> object:
        self.stop(str(message))
        return None


class Work(DurableSupervisor):
    open_space = OPEN
    ended_space = ENDED
    child_mailbox = Mailbox(10)
    budget = Intensity(1, 3600.0)

    def __init__(self, here: Here, journal: Ref[Any], look_every: float | None) -> None:
        super().__init__(journal, Stamps(random.Random(1), here.wall), here.keep, look_every=look_every)
        self._here = here

    def make(self, order: TakeUp) -> Worker:
        return Worker(order, self._here.begun, self._here.failing)

    def forgets(self, key: str) -> Iterable[Effect]:
        return (DeleteState(RECORDS, key),)


@attrs.define(eq=False)
class Here:
    """What a test holds on to. `begun`: every incarnation, with the time."""

    plan: Plan = attrs.field(factory=Plan)
    begun: list[tuple[float, TakeUp]] = attrs.field(factory=list)
    failing: set[str] = attrs.field(factory=set)
    keep: float = 1000.0
    system: System = attrs.field(init=False)

    def wall(self) -> float:
        return START + trio.current_time()

    @property
    def work(self) -> Ref[Any]:
        return self.system.ref("/work")

    def accept(self, *keys: str) -> None:
        for key in keys:
            self.plan.storage.state[OPEN, key] = b""

    def end(self, key: str, at: float) -> None:
        self.plan.storage.state[RECORDS, key] = b"record"
        effect = note_end(ENDED, key, at)
        self.plan.storage.state[effect.space, effect.key] = effect.value

    def left(self) -> set[str]:
        return {key for space, key in self.plan.storage.state if space == RECORDS}

    @property
    def orders(self) -> list[TakeUp]:
        return [order for _, order in self.begun]


@asynccontextmanager
async def working(here: Here, look_every: float | None = LOOK_EVERY) -> AsyncIterator[Here]:
    """The supervisor at /work, with a journal in memory at /storage."""
    storage = ChildSpec("storage", lambda: MemoryJournal(here.plan), mailbox=Mailbox(1000), budget=OFTEN)
    async with open_system(supervise("root", [storage]), rng=random.Random(2)) as system:
        here.system = system
        root: Any = system.root
        root.actor.start_child(ChildSpec("work", lambda: Work(here, system.ref("/storage"), look_every), budget=OFTEN))
        await settle()
        yield here


def test_what_is_open_is_taken_up_whoever_left_it() -> None:
    async def main() -> None:
        here = Here()
        keys = [f"ada/r{number:04}" for number in range(PAGE)] + ["a%2Fb/s1", "bob/t1"]
        here.accept(*keys)
        async with working(here):
            await trio.sleep(1)
            assert len(here.orders) == len(keys)
            assert TakeUp("a/b", "s1") in here.orders
            assert TakeUp("bob", "t1") in here.orders
            here.system.fail("/work", RuntimeError("planned"))
            await trio.sleep(1)
            assert len(here.orders) == 2 * len(keys)

    virtual(main)


@pytest.mark.parametrize("look_every", [LOOK_EVERY, None])
def test_what_was_accepted_and_not_said_is_found_by_one_that_looks_again(look_every: float | None) -> None:
    async def main() -> None:
        async with working(Here(), look_every) as here:
            await trio.sleep(1)
            here.accept("ada/r1")
            await trio.sleep(2 * LOOK_EVERY)
            assert len(here.orders) == (look_every is not None)
            address = await here.work.ask(TakeUp("ada", "r1"), 5)
            assert await here.work.ask(TakeUp("ada", "r1"), 5) is address
            assert here.orders == [TakeUp("ada", "r1")]

    virtual(main)


def test_the_address_of_one_is_its_owners_alone() -> None:
    """Who has come by the id of another's is told that there is none."""

    async def main() -> None:
        here = Here()
        here.accept("ada/r1")
        async with working(here):
            with pytest.raises(Refused) as caught:
                await here.work.ask(TakeUp("bob", "r1"), 5)
            assert caught.value.reason == CommandError(ErrorCode.NOT_FOUND)
            assert await here.work.ask(TakeUp("ada", "r1"), 5) is here.system.ref("/work/r1")
            assert here.orders == [TakeUp("ada", "r1")]

    virtual(main)


def test_trouble_with_storage_only_delays_it() -> None:
    async def main() -> None:
        here = Here()
        here.accept("ada/r1")
        here.plan.trouble = True
        async with working(here, None):
            await trio.sleep(100)
            assert here.orders == []
            here.plan.trouble = False
            await trio.sleep(1)
            assert here.orders == [TakeUp("ada", "r1")]

    virtual(main)


def test_one_that_fails_too_often_is_started_once_more_to_be_closed() -> None:
    async def main() -> None:
        here = Here(failing={"r1"})
        here.accept("ada/r1", "ada/r2")
        async with working(here):
            await trio.sleep(1)
            own = [order.close for order in here.orders if order.record_id == "r1"]
            assert own == [False, False, True, True]  # it may fail once more each time
            assert here.orders.count(TakeUp("ada", "r2")) == 1

    virtual(main)


@pytest.mark.parametrize("asked", [False, True])
def test_one_that_cannot_even_be_closed_is_tried_again_after_a_while_and_not_at_each_look(asked: bool) -> None:
    async def main() -> None:
        here = Here(failing={"r1"})
        here.accept("ada/r1")
        async with working(here):
            await trio.sleep(CLOSE_AGAIN - 2)
            assert len(here.begun) == 4
            if asked:  # as its context may do: then it is closed, and not begun anew
                await here.work.ask(TakeUp("ada", "r1"), 5)
                await trio.sleep(1)
                assert len(here.begun) == 6
            await trio.sleep(10 * CLOSE_AGAIN)
            assert all(order.close for order in here.orders[2:])
            assert len(here.begun) > 10
            here.failing.clear()
            await trio.sleep(CLOSE_AGAIN + 1)
            assert here.orders[-1].close
            address = await here.work.ask(TakeUp("ada", "r1"), 5)
            del here.plan.storage.state[OPEN, "ada/r1"]
            address.tell("closed")
            await trio.sleep(1)
            before = len(here.begun)
            await here.work.ask(TakeUp("ada", "r1"), 5)  # what was closed is forgotten
            await settle()
            assert here.orders[before:] == [TakeUp("ada", "r1")]

    virtual(main)


def test_what_ended_long_ago_is_forgotten_page_by_page() -> None:
    async def main() -> None:
        here = Here()
        for number in range(3 * AT_ONCE + 1):
            here.end(f"ada/r{number}", START - here.keep - number)
        here.end("ada/new", START - here.keep / 2)
        async with working(here):
            await trio.sleep(1)
            assert len(here.left()) == 2 * AT_ONCE + 2
            await trio.sleep(10)
            assert here.left() == {"ada/new"}
            await trio.sleep(2 * here.keep)
            assert here.plan.storage.state == {}

    virtual(main)


@attrs.define
class Lines:
    """A log."""

    lines: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)

    def error(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))


async def test_records_whose_files_the_disk_does_not_let_go_stay_and_hold_up_no_other(tmp_path: Path) -> None:
    """Real threads, so the clock is real."""
    here, log, mended = Here(), Lines(), threading.Event()

    class Stuck(Artifacts):
        def remove(self, user: str, run_id: str) -> None:
            if run_id == "r1" and not mended.is_set():
                raise OSError(errno.EIO, "Input/output error")

    class Sweeping(Work):
        def __init__(self, journal: Ref[Any]) -> None:
            super().__init__(here, journal, None)
            self._artifacts, self._log, self._sweep_every = Stuck(tmp_path), log, 0.05

    for number in range(3):
        here.end(f"ada/r{number}", START - here.keep - 10 * number)
    storage = ChildSpec("storage", lambda: MemoryJournal(here.plan), mailbox=Mailbox(1000), budget=OFTEN)
    async with open_system(supervise("root", [storage]), rng=random.Random(2)) as system:
        root: Any = system.root
        root.actor.start_child(ChildSpec("work", lambda: Sweeping(system.ref("/storage"))))
        with trio.fail_after(10):
            while here.left() != {"ada/r1"}:
                await trio.sleep(0.01)
            while len(log.lines) < 2:
                await trio.sleep(0.01)
            event, values = log.lines[0]
            assert (event, values["records"], values["first"]) == ("files not removed", 1, "ada/r1")
            assert values["why"] == "Input/output error"
            mended.set()
            while here.left():
                await trio.sleep(0.01)
