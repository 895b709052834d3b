"""A supervisor at work: a child, or the supervisor itself, is stopped whatever is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Dead, HandlerFailed, Killed, Stopped
from supervisors import ChildSpec, supervise
from tests.support.actors import LONG, Boom, settle
from tests.support.supervision import ALL, ONE, PLENTY, TEMPORARY, OpenSupervisor, Stage, boom, over, theatre

if TYPE_CHECKING:
    from trio.testing import MockClock


# --- stopping a child


async def test_a_child_that_is_stopped_is_not_restarted(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over(stage.specs("ab")), stage) as play:
        await play.do(lambda top: top.stop_child("a", why="enough"))
        assert play.states() == {"b": "running"}
        assert stage.reasons["a"] == [Stopped("enough")]
        with pytest.raises(Dead):
            await play.ref("a").ask("x", within=1.0)


async def test_a_child_that_is_drained_serves_what_is_queued_and_is_not_restarted(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over(stage.specs("ab")), stage) as play:
        await play.tell("a", lambda _: trio.sleep(1))
        await play.tell("a", "queued")
        await play.do(lambda top: top.stop_child("a", why="enough", drain=True))
        await trio.sleep(1.5)
        assert stage.heard == [("a", "queued")]
        assert stage.reasons["a"] == [Stopped("enough")]
        assert play.states() == {"b": "running"}


async def test_a_waiting_child_is_stopped_at_once_and_for_good(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over(stage.specs("ab")), stage) as play:
        for _ in range(2):
            await play.tell("a", boom)
        play.ref("a").tell("kept")
        await play.do(lambda top: top.stop_child("a"))
        assert play.states() == {"b": "running"}
        await trio.sleep(1.0)
        assert play.states() == {"b": "running"}
        assert play.bench.lost() == [("/top/a", "kept", "stopped")]


async def test_a_child_stopped_in_the_moment_when_its_delay_is_over_stays_stopped(autojump_clock: MockClock) -> None:
    """The reminder is on its way already when the order to stop is given."""
    stage = Stage()

    class Late(OpenSupervisor):
        async def receive(self, message: Any) -> object:
            if message == "stop a":
                self.stop_child("a")
            return await super().receive(message)

    top = ChildSpec("top", lambda: Late(stage.specs("ab"), ONE, PLENTY), shutdown=float("inf"))
    async with theatre(top, stage) as play:
        await play.do(lambda top: top.timer("mine", 0.05, "stop a"))
        for _ in range(2):
            await play.tell("a", boom)
        await trio.sleep(1.0)
        assert play.states() == {"b": "running"}
        assert stage.take().count("a+") == 2


@pytest.mark.parametrize("moment", ["starting", "crashed", "stopping", "down", "waiting", "new"])
async def test_a_child_stopped_in_the_middle_of_a_group_restart_does_not_come_back(
    autojump_clock: MockClock, moment: str
) -> None:
    stage = Stage()
    async with theatre(over(stage.specs("abc"), ALL), stage) as play:

        def stop_b(top: OpenSupervisor) -> None:
            top.stop_child("b")

        match moment:
            case "starting":  # the group starts again, and is at b
                stage.starting["b"] = 1.0
                play.ref("a").tell(boom)
            case "crashed":  # b has crashed, and the supervisor has not heard of it yet
                play.ref("b").tell(boom)
                play.ref("b").tell("x")
                await play.top.ask(stop_b, within=LONG)
            case "stopping":  # b takes its time
                stage.stopping["b"] = 1.0
                play.ref("a").tell(boom)
            case "down":  # b has ended, a takes its time
                stage.stopping["a"] = 1.0
                play.ref("c").tell(boom)
            case "waiting":  # all wait for c
                play.ref("c").tell(boom)
                await settle()
                play.ref("c").tell(boom)
            case "new":  # a starts, b has not begun
                stage.starting["a"] = 1.0
                play.ref("a").tell(boom)
        await settle()
        if moment != "crashed":
            await trio.sleep(0.01)
            await play.do(stop_b)
        await trio.sleep(5.0)
        assert play.states() == {"a": "running", "c": "running"}
        assert play.ref("b").tell("x") is False
        stage.take()
        await play.tell("c", boom)  # nor does the next restart bring it back
        await trio.sleep(5.0)
        assert play.states() == {"a": "running", "c": "running"}


async def test_a_first_child_may_be_stopped_before_its_turn_has_come(autojump_clock: MockClock) -> None:
    stage = Stage(starting={"a": 1.0})
    async with theatre(over([*stage.specs("ab"), stage.spec("x", TEMPORARY)]), stage) as play:
        await play.do(lambda top: (top.stop_child("b"), top.stop_child("x")))
        await trio.sleep(2.0)
        assert stage.take() == ["a+"]
        await play.do(lambda top: top.start_child(stage.spec("b")))
        assert stage.take() == ["b+"]  # so it counts as started


async def test_stopping_the_one_that_a_group_waits_for_lets_the_others_start(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over(stage.specs("ab"), ALL), stage) as play:
        for _ in range(2):
            await play.tell("a", boom)
        assert play.states() == {"a": "waiting", "b": "waiting"}
        await play.do(lambda top: top.stop_child("a"))
        assert play.states() == {"b": "running"}


# --- stopping the supervisor


@pytest.mark.parametrize("moment", ["waiting", "stopping", "starting", "first start"])
async def test_a_supervisor_stops_whatever_is_under_way(autojump_clock: MockClock, moment: str) -> None:
    stage = Stage()
    if moment == "first start":
        stage.starting["b"] = LONG
    async with theatre(over(stage.specs("abc"), ALL), stage) as play:
        match moment:
            case "waiting":
                for _ in range(2):
                    await play.tell("b", boom)
                assert set(play.states().values()) == {"waiting"}
            case "stopping":
                stage.stopping["c"] = 1.0
                await play.tell("b", boom)
                assert play.states()["c"] == "stopping"
            case "starting":
                stage.starting["b"] = 1.0
                await play.tell("b", boom)
                assert play.states()["b"] == "starting"
        play.ref("a").tell("left over")
        await play.bench.root.do(lambda root: root.stop_child("top", within=10.0))
        await trio.sleep(11.0)
        assert all(play.ref(name).tell("x") is False for name in "abc")
        assert play.bench.root.log.heard[-1].name == "top"
        assert play.given_up == []


async def test_children_stop_newest_first_with_their_supervisor(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over([*stage.specs("ab"), supervise("in", stage.specs("xy")), stage.spec("c")]), stage) as play:
        stage.take()
        await play.bench.root.do(lambda root: root.stop_child("top"))
        await settle()
        assert stage.take() == ["c-", "y-", "x-", "b-", "a-"]


async def test_a_crash_of_the_supervisor_s_own_handler_restarts_all_anew(autojump_clock: MockClock) -> None:
    stage = Stage()

    def fail(top: OpenSupervisor) -> None:
        raise Boom("policy")

    async with theatre(over([supervise("in", stage.specs("a"))]), stage) as play:
        before = play.bench.system.ref("/top/in/a")
        await play.do(lambda top: top.child("in").target.kill("killed"))
        await settle()
        assert stage.take() == ["a+", "a-", "a+"]
        assert play.bench.system.ref("/top/in/a") is before
        assert isinstance(stage.reasons["a"][0], Killed | Stopped)
        with pytest.raises(HandlerFailed):
            await play.top.ask(fail, within=1.0)
