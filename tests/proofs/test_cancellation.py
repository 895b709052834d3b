"""Whatever is cancelled, and at whatever step: no message is lost, nothing is left, and whoever lives goes on."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Actor, ActorError, Ended, HandlerFailed, Mailbox, Spec, TimedOut
from runtime.testing import ActorTestKit, CancelPoint, Probe, every_cancellation, open_test_system, settle
from supervisors import Backoff, ChildSpec, Strategy, fallback, supervise

SEEDS = range(2)


def boom_or_echo(message: Any) -> Any:
    if message == "boom":
        raise ValueError("asked for")
    return message


def children(*names: str) -> tuple[list[Probe], list[ChildSpec]]:
    probes = [Probe(answer=boom_or_echo) for _ in names]
    specs = [ChildSpec(name, probe.actor, backoff=Backoff(base=0.1)) for name, probe in zip(names, probes, strict=True)]
    return probes, specs


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strategy", Strategy)
def test_a_whole_system_with_restarts(strategy: Strategy, seed: int):
    async def scenario(point: CancelPoint) -> None:
        _, specs = children("a", "b", "c")
        with point.exposed():
            async with open_test_system(supervise("top", specs, strategy=strategy)) as kit:
                b = kit.system.ref("/b")
                for _ in range(2):
                    with pytest.raises(HandlerFailed):
                        await b.ask("boom", within=1.0)
                    b.tell("waits over the restart")
                await trio.sleep(1.0)
                assert await kit.system.ref("/c").ask("echo", within=5.0) == "echo"
                assert await b.ask("echo", within=5.0) == "echo"

    assert every_cancellation(scenario, seed=seed) > 40


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fallback_with_its_probe(seed: int):
    async def scenario(point: CancelPoint) -> None:
        _, specs = children("lead", "understudy")
        with point.exposed():
            async with open_test_system(fallback("root", specs)) as kit:
                for _ in range(3):
                    with pytest.raises(HandlerFailed):
                        await kit.system.ref("/").ask("boom", within=1.0)
                assert await kit.system.ref("/").ask("understudy", within=1.0) == "understudy"
                await trio.sleep(6.0)
                assert await kit.system.ref("/").ask("probe", within=1.0) == "probe"

    assert every_cancellation(scenario, seed=seed) > 40


def test_an_asker():
    """The answer is dropped or the message skipped; the one who was asked goes on."""

    async def scenario(point: CancelPoint) -> None:
        async with open_test_system() as kit:
            probe = await kit.probe(answer=boom_or_echo)
            with point.exposed():
                assert await probe.ref.ask(1, within=1.0) == 1
                with pytest.raises(TimedOut):
                    await (await kit.probe("slow", held=True)).ref.ask(2, within=1.0)
            assert await probe.ref.ask("still there", within=1.0) == "still there"
            counters = kit.node(probe.ref).counters
            assert counters.offered == counters.handled + counters.expired

    assert every_cancellation(scenario) > 5


def test_a_sender_that_waits_for_room():
    """Its message is in, or it is not; and whoever waits behind it gets in."""

    async def slowly(message: Any) -> Any:
        await trio.sleep(1.0)
        return message

    async def scenario(point: CancelPoint) -> None:
        async with open_test_system() as kit:
            probe = Probe(answer=slowly)
            ref = await kit.spawn(Spec("narrow", probe.actor, mailbox=Mailbox(1)))
            done: list[int] = []

            async def send(number: int) -> None:
                await ref.send(number, within=60.0)
                done.append(number)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, 0)
                await settle()
                with point.exposed():
                    for number in (1, 2, 3):
                        await send(number)
                nursery.start_soon(send, 4)
            await trio.sleep(60.0)
            assert probe.messages == done
            assert done[0] == 0
            assert done[-1] == 4

    assert every_cancellation(scenario) > 5


def test_tasks_timers_requests_and_hooks_of_an_actor():
    async def scenario(point: CancelPoint) -> None:
        hooks: list[str] = []

        async with open_test_system() as kit:
            with point.exposed():
                await life(kit, hooks)
            await settle()
        assert hooks in ([], ["started"], ["started", "stopped"])

    every_cancellation(scenario)


async def life(kit: ActorTestKit, hooks: list[str]) -> None:
    class Busy(Actor):
        async def started(self) -> None:
            hooks.append("started")
            self.register("busy")
            self.subscribe("news")
            self.timer("tick", 0.5, "tick", every=0.5)
            self.start(trio.sleep_forever)

        async def receive(self, message: Any) -> object:
            if message == "ask the probe":
                self.request(probe.ref, "question", 1.0)
            return message

        async def stopped(self, reason: object) -> None:
            await trio.sleep(0.1)
            hooks.append("stopped")

    probe = await kit.probe(answer=boom_or_echo)
    busy = await kit.spawn(Spec("busy", Busy))
    probe.watch(busy)
    await busy.ask("ask the probe", within=1.0)
    await trio.sleep(1.2)
    await kit.stop(busy)
    await probe.fish(Ended)
    with pytest.raises(ActorError):
        await busy.ask("gone", within=1.0)
