"""A supervisor at work: children that passivate, and are woken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from runtime import Dead
from supervisors import ChildSpec
from tests.support.actors import settle
from tests.support.supervision import ALL, OpenSupervisor, Stage, boom, over, sleep_away, theatre

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_a_message_wakes_a_passive_child(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over(stage.specs("ab")), stage) as play:
        await play.tell("a", sleep_away)
        assert play.states() == {"b": "running"}
        assert await play.ref("a").ask("x", within=1.0) == "a"
        assert play.states() == {"b": "running", "a": "running"}
        assert play.restarts == []


async def test_a_passive_child_is_left_alone_by_its_group(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over(stage.specs("abc"), ALL), stage) as play:
        await play.tell("b", sleep_away)
        stage.take()
        await play.tell("a", boom)
        assert stage.take() == ["a-", "c-", "a+", "c+"]
        assert await play.ref("b").ask("x", within=1.0) == "b"


async def test_a_child_that_passivates_when_told_to_stop_for_a_restart_is_restarted(autojump_clock: MockClock) -> None:
    stage = Stage(stopping={"b": 0.5})
    async with theatre(over(stage.specs("ab"), ALL), stage) as play:
        play.ref("b").tell(sleep_away)
        await settle()
        await play.tell("a", boom)
        await trio.sleep(1.0)
        assert play.states() == {"a": "running", "b": "running"}


async def test_a_passive_child_can_be_stopped_for_good(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over(stage.specs("ab")), stage) as play:
        await play.tell("a", sleep_away)
        await play.do(lambda top: top.stop_child("a"))
        assert play.ref("a").tell("x") is False
        assert play.states() == {"b": "running"}


async def test_one_started_on_demand_that_was_passive_when_its_supervisor_restarted_wakes_all_the_same(
    autojump_clock: MockClock,
) -> None:
    stage = Stage()
    inner = ChildSpec("in", lambda: OpenSupervisor(stage.specs("a")), shutdown=float("inf"))
    async with theatre(over([inner]), stage) as play:
        ref = await play.bench.system.ref("/top/in").ask(lambda top: top.start_child(stage.spec("x")), within=1.0)
        await settle()
        ref.tell(sleep_away)
        await settle()
        play.cell("in").kill("killed")
        await settle()
        assert await ref.ask("x", within=1.0) == "x"
        assert play.node("/top/in/x").state == "running"


async def test_a_first_child_that_was_passive_when_its_supervisor_restarted_takes_messages_and_starts_in_turn(
    autojump_clock: MockClock,
) -> None:
    stage = Stage()
    inner = ChildSpec("in", lambda: OpenSupervisor(stage.specs("ab")), shutdown=float("inf"))
    async with theatre(over([inner]), stage) as play:
        ref = play.bench.system.ref("/top/in/b")
        ref.tell(sleep_away)
        await settle()
        stage.starting["a"] = 1.0
        stage.take()
        play.cell("in").kill("killed")
        await settle()
        assert ref.tell("early") is True
        await trio.sleep(2.0)
        assert stage.take() == ["a-", "a+", "b+"]
        assert stage.heard == [("b", "early")]


async def test_a_message_to_a_passive_child_whose_supervisor_stops_is_a_dead_letter(autojump_clock: MockClock) -> None:
    stage = Stage(stopping={"b": 1.0})
    async with theatre(over(stage.specs("ab")), stage) as play:
        await play.tell("a", sleep_away)
        await play.bench.root.do(lambda root: root.stop_child("top"))
        await settle()
        assert play.ref("a").tell("late") is False
        with pytest.raises(Dead):
            await play.ref("a").ask("later", within=1.0)
        await trio.sleep(2.0)
        assert stage.take() == ["a+", "b+", "a-", "b-"]
        assert play.bench.lost()[0] == ("/top/a", "late", "dead")
