"""Rules that hold under every order of tasks: each scenario is run under many seeds of the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Actor, HookFailed, Host, Mailbox, Spec, TimedOut, WaitCycle
from runtime.testing import open_test_system, run_in_virtual_time, settle
from supervisors import ChildSpec, Strategy, supervise

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SEEDS = range(40)


def under_every_seed(scenario: Callable[[], Awaitable[None]]) -> None:
    for seed in SEEDS:
        try:
            run_in_virtual_time(scenario, seed=seed)
        except BaseException as error:
            error.add_note(f"again: run_in_virtual_time(scenario, {seed=})")
            raise


class Collector(Actor):
    """Keeps what it hears, and lets others run in the middle of a message."""

    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard
        self.busy = False

    async def receive(self, message: Any) -> object:
        assert not self.busy, "two at once"
        self.busy = True
        await trio.lowlevel.checkpoint()
        self.heard.append(message)
        self.busy = False
        return message


def test_the_order_of_each_pair_of_sender_and_receiver():
    async def scenario() -> None:
        heard: list[tuple[int, int]] = []
        async with open_test_system() as kit:
            collector = await kit.spawn(Spec("collector", lambda: Collector(heard), mailbox=Mailbox(4)))

            async def sender(number: int) -> None:
                for step in range(6):
                    if step % 3 == 2:
                        await collector.send((number, step), within=60.0)
                    elif step % 3 == 1:
                        while not collector.tell((number, step)):
                            await trio.sleep(0.01)
                    else:
                        await collector.send((number, step), within=60.0)

            async with trio.open_nursery() as nursery:
                for number in range(5):
                    nursery.start_soon(sender, number)
            await settle()
        for number in range(5):
            assert [step for who, step in heard if who == number] == list(range(6))

    under_every_seed(scenario)


def test_never_two_incarnations_at_once():
    async def scenario() -> None:
        living: set[str] = set()

        class Fragile(Actor):
            async def started(self) -> None:
                assert self.ref.path not in living, "two incarnations"
                living.add(self.ref.path)
                await trio.lowlevel.checkpoint()

            async def receive(self, message: Any) -> object:
                await trio.lowlevel.checkpoint()
                if message == "boom":
                    raise ValueError("asked for")
                return message

            async def stopped(self, reason: object) -> None:
                del reason
                await trio.lowlevel.checkpoint()
                living.discard(self.ref.path)

        specs = [ChildSpec(name, Fragile) for name in "abc"]
        async with open_test_system(supervise("top", specs, strategy=Strategy.ONE_FOR_ALL)) as kit:
            for name in "abc":
                kit.system.ref(f"/{name}").tell("boom")
            await trio.sleep(5.0)
            assert len(living) == 3
            assert await kit.system.ref("/a").ask("echo", within=1.0) == "echo"
            assert all("two incarnations" not in crash.detail for crash in kit.crashes)

    under_every_seed(scenario)


def test_of_two_that_ask_each_other_at_the_same_time_nobody_hangs():
    async def scenario() -> None:
        class Asker(Actor):
            async def receive(self, message: Any) -> object:
                if message != "go":
                    return "answer"
                other = self.system.ref("/b" if self.ref.path == "/a" else "/a")
                try:
                    return await other.ask("question", within=10.0)
                except WaitCycle:
                    return "cycle"

        async with open_test_system() as kit:
            a, b = await kit.spawn(Spec("a", Asker)), await kit.spawn(Spec("b", Asker))
            came_out: list[object] = []

            async def ask(ref: Any) -> None:
                came_out.append(await ref.ask("go", within=20.0))

            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, a)
                nursery.start_soon(ask, b)
            assert sorted(map(str, came_out)) == ["answer", "cycle"]
            assert trio.current_time() == began

    under_every_seed(scenario)


def test_two_full_actors_that_send_to_each_other_end_by_deadline_or_cycle():
    async def scenario() -> None:
        class Sender(Actor):
            async def receive(self, message: Any) -> object:
                if message == "go":
                    other = self.system.ref("/b" if self.ref.path == "/a" else "/a")
                    try:
                        for number in range(4):
                            await other.send(number, within=2.0)
                    except (TimedOut, WaitCycle) as error:
                        return type(error).__name__
                return "done"

        async with open_test_system() as kit:
            refs = [await kit.spawn(Spec(name, Sender, mailbox=Mailbox(1))) for name in "ab"]
            for ref in refs:
                ref.tell("go")
            await trio.sleep(10.0)
            for ref in refs:
                node = kit.node(ref)
                assert (node.waits_on, node.handling, node.mailbox.depth) == (None, None, 0)

    under_every_seed(scenario)


async def test_the_hooks_of_a_whole_path_draw_on_one_grace():
    """A host's hook begins when its children's are over: it has what they have left, not two seconds of its own."""

    class Nested(Host):
        def __init__(self, below: int) -> None:
            self.below = below

        async def started(self) -> None:
            if self.below:
                self.start_child(Spec("x", lambda: Nested(self.below - 1), shutdown=float("inf")))

        async def stopped(self, reason: object) -> None:
            del reason
            await trio.sleep_forever()

    async with open_test_system(Spec("root", lambda: Nested(5)), stop_within=8.0) as kit:
        await settle()
        reports = kit.reports
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(8.0, abs=0.01)
    assert sum(isinstance(report, HookFailed) for report in reports) == 6
