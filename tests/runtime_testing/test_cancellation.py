"""Cancellation at every step."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Actor, Spec
from runtime.testing import CancelPoint, every_cancellation, open_test_system, settle


def test_a_scenario_is_cut_off_at_each_of_its_steps_once():
    reached: list[int] = []

    async def three_steps(point: CancelPoint) -> None:
        done = 0
        with point.exposed():
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                done += 1
        reached.append(done)

    assert every_cancellation(three_steps) == 3
    assert reached == [0, 1, 2, 3]


def test_what_is_not_exposed_is_not_cut_off():
    async def scenario(point: CancelPoint) -> None:
        await trio.lowlevel.checkpoint()
        with point.exposed() as scope:
            await trio.sleep(1.0)
        await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught == point.hit

    assert every_cancellation(scenario) == 1


def test_an_error_says_at_which_step_and_how_to_have_it_again():
    async def fragile(point: CancelPoint) -> None:
        steps = 0
        with point.exposed():
            for _ in range(5):
                await trio.lowlevel.checkpoint()
                steps += 1
        assert steps != 2, "two is a bad place"

    with pytest.raises(AssertionError, match="two is a bad place") as caught:
        every_cancellation(fragile, seed=7)
    assert caught.value.__notes__ == ["cut off at step 2: repeat with every_cancellation(…, seed=7, first=2)"]
    with pytest.raises(AssertionError, match="two is a bad place"):
        every_cancellation(fragile, seed=7, first=2)
    assert every_cancellation(fragile, seed=7, first=3) == 2


def test_an_error_without_a_cancellation_carries_no_note():
    async def broken(point: CancelPoint) -> None:
        with point.exposed():
            raise ValueError("by itself")

    with pytest.raises(ValueError, match="by itself") as caught:
        every_cancellation(broken)
    assert not hasattr(caught.value, "__notes__")


def test_a_scenario_that_exposes_nothing_is_a_mistake():
    async def hidden(point: CancelPoint) -> None:
        await trio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="has to expose"):
        every_cancellation(hidden)


def test_a_scenario_that_never_ends_is_a_mistake(monkeypatch: pytest.MonkeyPatch):
    async def longer_each_time(point: CancelPoint) -> None:
        with point.exposed():
            for _ in range(point.at + 1):
                await trio.lowlevel.checkpoint()

    monkeypatch.setattr("runtime.testing._cancellation.MOST_STEPS", 10)
    with pytest.raises(AssertionError, match="has not ended after 10 steps"):
        every_cancellation(longer_each_time)


def test_a_whole_system_may_be_cut_off_anywhere():
    async def scenario(point: CancelPoint) -> None:
        with point.exposed():
            async with open_test_system() as kit:
                probe = await kit.probe(answer=lambda message: message)
                assert await probe.ref.ask("echo", within=1.0) == "echo"
                await kit.stop(probe.ref)

    assert every_cancellation(scenario) > 15


def test_an_actor_is_killed_at_each_step_instead():
    heard: list[list[str]] = []

    class Slow(Actor):
        def __init__(self) -> None:
            heard.append([])

        async def receive(self, message: Any) -> None:
            for part in "abc":
                heard[-1].append(part)
                await trio.lowlevel.checkpoint()

    async def scenario(point: CancelPoint) -> None:
        async with open_test_system() as kit:
            slow = await kit.spawn(Spec("slow", Slow))
            with point.killing(slow):
                slow.tell("work")
                await settle()
            await trio.sleep(1.0)
            assert [type(crash.error) for crash in kit.crashes] == [type(None)] * point.hit
            assert (slow.target.watchable() is None) == point.hit

    assert every_cancellation(scenario) == len(heard) - 1 > 3
    assert sorted({tuple(each): each for each in heard}.values()) == [["a"], ["a", "b"], ["a", "b", "c"]]


def test_who_has_ended_is_not_killed_again():
    async def scenario(point: CancelPoint) -> None:
        async with open_test_system() as kit:
            probe = await kit.probe()
            await kit.stop(probe.ref)
            with point.killing(probe.ref):
                await trio.lowlevel.checkpoint()
            assert kit.crashes == []

    assert every_cancellation(scenario) == 1


def test_the_steps_of_every_task_count():
    seen: list[Any] = []

    async def scenario(point: CancelPoint) -> None:
        async with open_test_system() as kit:
            probe = await kit.probe(answer=lambda message: message)
            with point.exposed():
                await probe.ref.ask("echo", within=1.0)
            seen.append(list(probe.messages))

    assert every_cancellation(scenario) == 2
    assert seen == [[], ["echo"], ["echo"]], "before the probe had it, after, and not at all"
