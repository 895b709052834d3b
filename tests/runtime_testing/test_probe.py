"""Probes: what they let a test expect."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Actor, Ended, HandlerFailed, Host, Spec, TimedOut
from runtime.testing import Probe, open_test_system, settle


async def later(ref: Any, message: object, seconds: float) -> None:
    await trio.sleep(seconds)
    ref.tell(message)


async def test_expect_gives_the_next_message_also_one_that_came_before():
    async with open_test_system() as kit:
        probe = await kit.probe()
        probe.ref.tell("one")
        await settle()
        probe.ref.tell(2)
        assert await probe.expect(str) == "one"
        assert await probe.expect(int) == 2
        assert probe.messages == ["one", 2]
        assert probe.waiting == []


async def test_expect_waits_for_a_message_but_not_longer_than_it_may():
    async with open_test_system() as kit, trio.open_nursery() as nursery:
        probe = await kit.probe()
        nursery.start_soon(later, probe.ref, "late", 5.0)
        began = trio.current_time()
        with pytest.raises(AssertionError, match=r"<Probe /probe> got nothing within 2 s; expected a str"):
            await probe.expect(str, within=2.0)
        assert trio.current_time() - began == pytest.approx(2.0)
        assert await probe.expect(str, within=4.0) == "late"
        assert trio.current_time() - began == pytest.approx(5.0)


async def test_a_message_of_another_kind_is_an_error_and_stays():
    async with open_test_system() as kit:
        probe = await kit.probe()
        probe.ref.tell("text")
        with pytest.raises(AssertionError, match="got 'text'; expected int"):
            await probe.expect(int)
        with pytest.raises(AssertionError, match="got 'text'; expected str that satisfies"):
            await probe.expect(str, where=lambda text: text == "other")
        assert probe.waiting == ["text"]
        assert await probe.expect(str, where=lambda text: text == "text") == "text"


async def test_fishing_passes_over_what_is_not_wanted():
    async with open_test_system() as kit:
        probe = await kit.probe()
        for message in (1, "a", 2, "b"):
            probe.ref.tell(message)
        assert await probe.fish(str, where=lambda text: text != "a") == "b"
        assert probe.waiting == []
        probe.ref.tell(3)
        with pytest.raises(AssertionError, match=r"got no str within 1 s; it got \[3\]"):
            await probe.fish(str)


async def test_the_time_of_fishing_is_for_all_that_comes():
    async with open_test_system() as kit, trio.open_nursery() as nursery:
        probe = await kit.probe()
        for second in range(1, 10):
            nursery.start_soon(later, probe.ref, second, float(second))
        began = trio.current_time()
        with pytest.raises(AssertionError, match=r"it got \[1, 2, 3\]"):
            await probe.fish(str, within=3.5)
        assert trio.current_time() - began == pytest.approx(3.5)


async def test_expecting_nothing():
    async with open_test_system() as kit, trio.open_nursery() as nursery:
        probe = await kit.probe()
        began = trio.current_time()
        await probe.expect_nothing(within=3.0)
        assert trio.current_time() - began == pytest.approx(3.0)
        nursery.start_soon(later, probe.ref, "something", 1.0)
        with pytest.raises(AssertionError, match="got 'something'; expected nothing for 3 s"):
            await probe.expect_nothing(within=3.0)


async def test_a_probe_answers_what_it_is_told_to():
    async def twice(message: int) -> int:
        await trio.sleep(0.5)
        return message * 2

    async with open_test_system() as kit:
        plain, scripted = await kit.probe("plain"), await kit.probe("scripted", answer=twice)
        assert await plain.ref.ask("anything", within=1.0) is None
        assert await scripted.ref.ask(21, within=1.0) == 42


async def test_a_probe_that_holds_its_answers_gives_them_when_the_test_does():
    async with open_test_system() as kit, trio.open_nursery() as nursery:
        probe = await kit.probe(held=True)
        answers: list[object] = []

        async def ask(message: object) -> None:
            answers.append(await probe.ref.ask(message, within=5.0))

        nursery.start_soon(ask, "question")
        assert await probe.expect(str) == "question"
        await trio.sleep(1.0)
        assert answers == []
        assert probe.reply("answer")
        await settle()
        assert answers == ["answer"]
        assert not probe.reply("again")

        with pytest.raises(TimedOut):
            await probe.ref.ask("ignored", within=1.0)
        await probe.expect(str)
        assert not probe.reply("too late")


async def test_only_a_probe_that_holds_its_answers_can_reply():
    async with open_test_system() as kit:
        probe = await kit.probe(held=True)
        with pytest.raises(RuntimeError, match="only a probe that holds"):
            probe.reply(1)
        free = await kit.probe("free")
        free.ref.tell(1)
        await free.expect(int)
        with pytest.raises(RuntimeError, match="only a probe that holds"):
            free.reply(1)


async def test_a_probe_may_be_made_to_crash():
    def fail(message: object) -> None:
        raise ValueError(message)

    async with open_test_system() as kit:
        probe = await kit.probe(answer=fail)
        with pytest.raises(HandlerFailed, match="ValueError: no"):
            await probe.ref.ask("no", within=1.0)
        assert [crash.path for crash in kit.crashes] == ["/probe"]


async def test_a_probe_watches():
    async with open_test_system() as kit:
        probe = await kit.probe()
        other = await kit.spawn(Spec("other", Actor))
        probe.watch(other)
        reason = await kit.stop(other)
        ended = await probe.expect(Ended)
        assert (ended.ref, ended.reason) == (other, reason)


async def test_a_probe_forgets_what_was_taken():
    async with open_test_system() as kit:
        probe = await kit.probe(held=True)
        for message in (1, 2, 3):
            probe.ref.tell(message)
        await probe.expect(int)
        await probe.expect(int)
        probe.forget()
        assert probe.messages == probe.waiting == [3]
        assert await probe.expect(int) == 3
        assert not probe.reply("nobody waits")


async def test_a_probe_that_has_not_started_says_so():
    probe = Probe()
    assert repr(probe) == "<Probe not started>"
    with pytest.raises(RuntimeError, match="has not started"):
        _ = probe.ref
    with pytest.raises(RuntimeError, match="has not started"):
        probe.watch(None)  # type: ignore[arg-type]


async def test_a_probe_may_stand_under_a_host_of_ones_own():
    probe = Probe()

    class Root(Host):
        async def started(self) -> None:
            self.start_child(Spec("worker", probe.actor))

    async with open_test_system(Spec("root", Root)) as kit:
        kit.system.ref("/worker").tell("hello")
        assert await probe.expect(str) == "hello"
        assert probe.ref.path == "/worker"
        assert probe.incarnations == 1
