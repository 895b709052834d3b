"""The system under test: starting and stopping on the stage, and the checks at the end."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from runtime import Actor, ChildFailed, Crashed, Host, InvalidSpec, Passivated, Report, Spec, Stopped, System
from runtime.testing import open_test_system, run_in_virtual_time, settle


class Echo(Actor):
    async def receive(self, message: Any) -> object:
        if isinstance(message, Exception):
            raise message
        return message


class Bad(Actor):
    async def started(self) -> None:
        raise ValueError("no start")


class Slow(Actor):
    async def started(self) -> None:
        await trio.sleep(2.0)


async def test_spawn_waits_for_the_start():
    async with open_test_system() as kit:
        began = trio.current_time()
        slow = await kit.spawn(Spec("slow", Slow))
        assert trio.current_time() - began == pytest.approx(2.0)
        assert kit.node(slow).state == "running"


async def test_spawn_says_why_an_actor_did_not_start():
    async with open_test_system() as kit:
        with pytest.raises(ChildFailed, match="no start"):
            await kit.spawn(Spec("bad", Bad))
        with pytest.raises(ChildFailed, match="did not start within 1 s"):
            await kit.spawn(Spec("slow", Slow, start_within=1.0))
        await kit.spawn(Spec("echo", Echo))
        with pytest.raises(InvalidSpec, match="echo"):
            await kit.spawn(Spec("echo", Echo))
        assert [crash.path for crash in kit.crashes] == ["/bad", "/slow"]


async def test_stop_waits_for_the_end():
    async with open_test_system() as kit:
        echo = await kit.spawn(Spec("echo", Echo))
        assert await kit.stop(echo, "enough") == Stopped("enough")
        with pytest.raises(InvalidSpec):
            await kit.stop(echo)
        with pytest.raises(LookupError, match="/echo"):
            kit.node(echo)


async def test_what_actors_do_does_not_disturb_the_stage():
    async with open_test_system() as kit:
        echo = await kit.spawn(Spec("echo", Echo))
        probe = await kit.probe()
        probe.watch(echo)
        echo.tell(ValueError("asked for"))
        echo.tell("lost")
        await kit.settle()
        assert isinstance(probe.messages[0].reason, Crashed)
        assert [letter.message for letter in kit.dead_letters] == ["lost"]
        assert (await kit.spawn(Spec("echo", Echo))).path == "/echo"


async def test_a_passive_actor_is_no_longer_there():
    class Sleepy(Actor):
        async def receive(self, message: Any) -> object:
            self.passivate()
            return self.incarnation

    async with open_test_system() as kit:
        sleepy = await kit.spawn(Spec("sleepy", Sleepy))
        probe = await kit.probe()
        probe.watch(sleepy)
        await sleepy.ask("go", within=1.0)
        await settle()
        assert probe.messages[0].reason == Passivated()
        assert await sleepy.ask("back", within=1.0) == 0


async def test_with_a_root_of_ones_own_the_probes_stand_beside_it():
    reports: list[Report] = []

    class Root(Host):
        async def started(self) -> None:
            self.echo = self.start_child(Spec("echo", Echo))

        async def receive(self, message: Any) -> object:
            return None

    async with open_test_system(Spec("root", Root), report=reports.append) as kit:
        probe = await kit.probe()
        probe.watch(kit.system.ref("/echo"))
        assert [node.path for node in kit.system.tree().walk()] == ["/", "/echo"]
        kit.system.ref("/echo").tell(ValueError("asked for"))
        await probe.expect(object)
        assert reports == kit.reports
        assert [crash.path for crash in kit.crashes] == ["/echo"]


async def test_an_error_in_the_block_comes_out_as_it_is():
    async def fail() -> None:
        async with open_test_system() as kit:
            await kit.probe()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await fail()


def test_the_same_jitter_each_time():
    async def draw() -> float:
        async with open_test_system() as kit:
            return kit.system.rng.random()

    assert run_in_virtual_time(draw) == run_in_virtual_time(draw)


# --- the checks at the end, each with a defect to find


def lose_one(system: System) -> None:
    system.root.accepted += 1  # type: ignore[union-attr]


losing = pytest.mark.actor_conservation(False)
"""Lost on purpose: the check of the whole suite would find it as well."""


@losing
async def test_a_lost_message_is_found_while_the_actor_lives():
    with pytest.raises(AssertionError, match="/ has lost 1 messages"):
        async with open_test_system() as kit:
            lose_one(kit.system)


@losing
async def test_a_lost_message_is_found_also_after_a_cancellation():
    async def lose() -> None:
        with trio.CancelScope() as scope:
            async with open_test_system() as kit:
                lose_one(kit.system)
                scope.cancel()
                await trio.sleep_forever()

    with pytest.raises(AssertionError, match="/ has lost 1 messages"):
        await lose()


@losing
async def test_the_check_can_be_left_out():
    async with open_test_system(conserved=False) as kit:
        lose_one(kit.system)


@losing
async def test_an_error_in_the_block_goes_before_the_checks():
    async def fail() -> None:
        async with open_test_system() as kit:
            lose_one(kit.system)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await fail()


class Entry:
    def fire(self) -> None:
        pass


@pytest.mark.parametrize(
    ("leak", "found"),
    [
        (lambda system: system.wheel.add(system.now() + 9.0, Entry()), "1 deadlines or timers"),
        (lambda system: system.registry._names.update(left=system.root), "still registered: left"),
        (lambda system: system.topics._topics.update(news={}), "subscribers: \\['news'\\]"),
    ],
)
async def test_a_leak_is_found(leak: Any, found: str):
    with pytest.raises(AssertionError, match=found):
        async with open_test_system() as kit:
            leak(kit.system)
    async with open_test_system(leaks=False) as kit:
        leak(kit.system)


async def test_a_task_that_outlives_its_system_is_found():
    async def forever() -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:

        class Leaky(Actor):
            async def started(self) -> None:
                nursery.start_soon(forever, name="forever")

        with pytest.raises(AssertionError, match=r"tasks outlive their system: started by an actor, .*\(forever\)"):
            async with open_test_system() as kit:
                await kit.spawn(Spec("leaky", Leaky))
        nursery.cancel_scope.cancel()


async def test_a_thread_that_still_runs_is_found_and_an_idle_worker_is_not():
    release = threading.Event()

    class Blocking(Actor):
        async def started(self) -> None:
            self.start_in_thread(release.wait)

    async with open_test_system():
        assert await trio.to_thread.run_sync(lambda: 1) == 1

    async def leave_it_running() -> None:
        async with open_test_system() as kit:
            await kit.spawn(Spec("blocking", Blocking))
            await settle()

    with pytest.raises(AssertionError, match="threads outlive the system"):
        await leave_it_running()
    release.set()
