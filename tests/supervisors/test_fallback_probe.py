"""The way back: one probe, and what can become of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from runtime import (
    HandlerFailed,
    Switched,
    TimedOut,
)
from tests.support.actors import settle
from tests.support.fallbacks import book, chain, charge, crash, never, slowly, targets
from tests.support.supervision import Stage, boom, theatre

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_after_the_open_time_one_request_is_the_probe_and_brings_the_lead_back(
    autojump_clock: MockClock,
) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        await crash(play)
        assert await play.top.ask("early", within=1.0) == "b"
        await trio.sleep(3.1)
        assert play.states() == {"a": "running", "b": "running"}
        play.top.tell("a tell is no probe")
        await settle()
        assert await play.top.ask("probe", within=1.0) == "a"
        play.top.tell("back")
        await settle()
        assert stage.heard == [("b", "early"), ("b", "a tell is no probe"), ("a", "probe"), ("a", "back")]
        assert play.switched == [("a", "b"), ("b", "a")]
        assert [report.reason for report in play.reports(Switched)] == ["a is open", "a is closed"]
        assert charge(play) == "a"


async def test_a_probe_asked_in_the_very_moment_in_which_the_lead_is_due(autojump_clock: MockClock) -> None:
    """The lead has not been started yet: the asker must not suffer from that."""
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        await crash(play)
        due = book(play, "a").account.until
        await trio.sleep_until(due - 0.0005)
        autojump_clock.jump(0.0005)
        assert trio.current_time() >= due
        assert play.states()["a"] == "waiting"
        assert await play.top.ask("now", within=1.0) in {"a", "b"}
        await settle()
        assert await play.top.ask("then", within=1.0) == "a"
        assert targets(play) == {"a": "closed", "b": "closed"}


async def test_a_probe_that_crashes_the_lead_sends_it_away_for_longer(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        await crash(play)
        delays = []
        for _ in range(4):
            await trio.sleep(play.restarts[-1].delay + 0.1)
            with pytest.raises(HandlerFailed):
                await play.top.ask(boom, within=1.0)
            await settle()
            delays.append(round(play.restarts[-1].delay, 3))
            assert await play.top.ask("x", within=1.0) == "b"
        assert delays == [6.0, 12.0, 12.0, 12.0]
        assert play.switched == [("a", "b")]
        assert play.given_up == []


async def test_a_lead_that_does_not_even_start_again_stays_away(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        await crash(play)
        stage.failing["a"] = 1
        await trio.sleep(3.1)
        assert play.states()["a"] == "waiting"
        assert book(play, "a").account.opened == 2
        assert await play.top.ask("x", within=1.0) == "b"


async def test_while_the_probe_is_out_the_others_go_to_the_understudy(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play, trio.open_nursery() as nursery:
        await crash(play)
        await trio.sleep(3.1)
        nursery.start_soon(play.top.ask, slowly, 10.0)
        await settle()
        assert targets(play)["a"] == "probing"
        assert [await play.top.ask(number, within=1.0) for number in range(3)] == ["b", "b", "b"]
        await trio.sleep(1.1)
        assert await play.top.ask("after", within=1.0) == "a"


async def test_a_probe_that_never_ends_has_failed_at_its_deadline(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        await crash(play)
        await trio.sleep(3.1)
        with pytest.raises(TimedOut):
            await play.top.ask(never, within=1.0)
        assert await play.top.ask("others", within=1.0) == "b"
        await trio.sleep(10.0)
        assert await play.top.ask("others", within=1.0) == "b"
        assert targets(play)["a"] == "open"
        assert book(play, "a").account.until == pytest.approx(3.1 + 10.0 + 6.0)


async def test_a_cancelled_probe_leaves_the_next_request_to_probe(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        await crash(play)
        await trio.sleep(3.1)
        with trio.move_on_after(0.5):
            await play.top.ask(slowly, within=10.0)
        assert await play.top.ask("next", within=10.0) == "a"
        assert targets(play)["a"] == "closed"
        assert play.switched == [("a", "b"), ("b", "a")]


async def test_a_probe_cancelled_in_the_queue_is_not_taken_for_another_probe(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        await crash(play)
        await trio.sleep(3.1)
        play.ref("a").tell(slowly)
        await settle()
        with trio.move_on_after(0.5):
            await play.top.ask("probe", within=10.0)
        assert targets(play)["a"] == "open"
        assert await play.top.ask("next", within=10.0) == "a"
        assert targets(play)["a"] == "closed"


async def test_a_lead_that_came_back_starts_with_a_clean_count(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        await crash(play)
        await trio.sleep(3.1)
        await play.top.ask("probe", within=1.0)
        await crash(play, times=2)
        assert charge(play) == "a"
        await crash(play, times=1)
        assert charge(play) == "b"
        assert play.restarts[-1].delay == pytest.approx(3.0)  # the first of a new row of openings
