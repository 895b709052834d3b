"""A supervisor at work, real actors in virtual time: how it starts, and how a root ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Dead, GaveUp, InvalidSpec, Restarting, Spec, Stopped, SystemFailed, open_system
from supervisors import ChildSpec, Intensity, RestartLimitReached, Supervisor, supervise
from tests.support.actors import LONG, Boom, Probe, settle
from tests.support.supervision import ALL, TRANSIENT, OpenSupervisor, Stage, boom, leave, node, over, theatre

if TYPE_CHECKING:
    from trio.testing import MockClock

    from runtime import Ref


# --- starting


async def test_children_start_in_order_each_after_the_one_before(autojump_clock: MockClock) -> None:
    stage = Stage(starting={"a": 2.0, "b": 1.0})
    async with theatre(over(stage.specs("abc")), stage) as play:
        assert play.states() == {"a": "starting"}
        await trio.sleep(2.5)
        assert stage.events == ["a?", "a+", "b?"]
        await trio.sleep(1.0)
        assert stage.events == ["a?", "a+", "b?", "b+", "c?", "c+"]


async def test_a_supervisor_has_started_when_all_its_first_children_have(autojump_clock: MockClock) -> None:
    stage = Stage(starting={"a": 2.0})
    inner = supervise("inner", stage.specs("ab"))
    async with theatre(over([inner, stage.spec("z")]), stage) as play:
        assert play.states() == {"inner": "running"}  # it runs, but has not announced itself
        await trio.sleep(3.0)
        assert stage.take() == ["a+", "b+", "z+"]


async def test_a_supervisor_without_children_starts(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over([supervise("inner", []), stage.spec("z")]), stage):
        assert stage.take() == ["z+"]


async def test_a_supervisor_that_names_no_children_begins_with_none(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over([ChildSpec("bare", Supervisor), stage.spec("z")]), stage) as play:
        assert play.states() == {"bare": "running", "z": "running"}
        assert play.top.target.actor.restarts_of("nobody") is None


async def test_the_first_start_that_fails_ends_the_supervisor_without_a_retry(autojump_clock: MockClock) -> None:
    stage = Stage(failing={"b": 1})
    async with theatre(over(stage.specs("abc")), stage) as play:
        assert stage.take() == ["a+", "b-", "a-"]
        [given_up] = play.given_up
        assert given_up == GaveUp("/top/b", "failed to start: Boom: no start", 0, 5.0, escalated=True)
        assert play.restarts == []
        with pytest.raises(Dead):
            await play.top.ask("x", within=1.0)


async def test_a_start_that_takes_too_long_is_a_failed_start(autojump_clock: MockClock) -> None:
    stage = Stage(starting={"a": LONG})
    async with theatre(over([stage.spec("a", start_within=2.0)]), stage) as play:
        await trio.sleep(3.0)
        assert [report.path for report in play.given_up] == ["/top/a"]


async def test_a_child_that_crashes_before_its_siblings_have_started_is_restarted(autojump_clock: MockClock) -> None:
    stage = Stage(starting={"b": 5.0})
    async with theatre(over(stage.specs("ab")), stage) as play:
        await play.tell("a", boom)
        assert stage.take() == ["a+", "a-", "a+"]
        await trio.sleep(6.0)
        assert play.states() == {"a": "running", "b": "running"}
        assert len(play.restarts) == 1


async def test_one_that_crashes_on_its_first_message_had_started_all_the_same(autojump_clock: MockClock) -> None:
    """The news of its start and that of its end reach the supervisor together."""
    stage = Stage()
    calls: list[int] = []

    def crash_once(actor: Any) -> None:
        calls.append(actor.incarnation)
        if actor.incarnation == 0:
            actor.ref.tell(boom)

    specs = [ChildSpec("a", lambda: Probe(start=crash_once)), stage.spec("b")]
    async with theatre(over(specs), stage) as play:
        assert calls == [0, 1]
        assert play.given_up == []
        assert play.states() == {"a": "running", "b": "running"}


async def test_start_child_gives_an_address_that_takes_messages_at_once(autojump_clock: MockClock) -> None:
    stage = Stage(starting={"a": 1.0, "x": 1.0})
    async with theatre(over(stage.specs("ab")), stage) as play:
        early: Ref[Any] = await play.do(lambda top: top.start_child(stage.spec("x")))
        assert early.tell("first") is True
        assert play.states()["x"] == "starting"
        await trio.sleep(3.0)
        assert stage.take() == ["a+", "b+", "x+"]
        late: Ref[Any] = await play.do(lambda top: top.start_child(stage.spec("y")))
        late.tell("second")
        await settle()
        assert stage.heard == [("x", "first"), ("y", "second")]


async def test_start_child_refuses_what_it_cannot_start(autojump_clock: MockClock) -> None:
    stage = Stage()

    def try_both(top: OpenSupervisor) -> None:
        with pytest.raises(InvalidSpec, match="a ChildSpec"):
            top.start_child(Spec("x", Probe))
        with pytest.raises(InvalidSpec, match="a name that no child of /top has"):
            top.start_child(stage.spec("a"))
        with pytest.raises(InvalidSpec, match="nobody"):
            top.stop_child("nobody")

    async with theatre(over(stage.specs("a")), stage) as play:
        await play.do(try_both)


async def test_the_name_of_one_that_ended_for_good_may_be_used_again(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over([stage.spec("a", TRANSIENT), stage.spec("b")]), stage) as play:
        await play.tell("a", leave)
        await play.do(lambda top: top.start_child(stage.spec("a")))
        assert play.states() == {"b": "running", "a": "running"}


async def test_children_started_before_the_first_ones_come_after_them(autojump_clock: MockClock) -> None:
    stage = Stage()

    class Early(OpenSupervisor):
        async def started(self) -> None:
            self.start_child(stage.spec("x"))
            await super().started()

    top = ChildSpec("top", lambda: Early(stage.specs("ab")), shutdown=float("inf"))
    async with theatre(top, stage) as play:
        assert stage.take() == ["a+", "b+", "x+"]
        assert list(play.states()) == ["x", "a", "b"]


@pytest.mark.parametrize("bad", [["a"], [ChildSpec("a", Probe), ChildSpec("a", Probe)]])
async def test_children_that_cannot_be_are_a_failed_start(autojump_clock: MockClock, bad: list[Any]) -> None:
    class Bad(Supervisor):
        def children_of(self) -> list[Any]:
            return bad

    stage = Stage()
    async with theatre(over([ChildSpec("bad", Bad)]), stage) as play:
        [given_up] = play.given_up
        assert "InvalidSpec" in given_up.reason


async def test_a_factory_that_fails_is_tried_again_at_the_same_address(autojump_clock: MockClock) -> None:
    made: list[int] = []

    def make() -> Probe:
        made.append(1)
        if len(made) in {1, 2}:
            raise Boom("no instance")
        return Probe()

    stage = Stage()
    async with theatre(over(stage.specs("a"), ALL), stage) as play:
        ref: Ref[Any] = await play.do(lambda top: top.start_child(ChildSpec("x", make)))
        assert len(made) == 2
        with pytest.raises(Restarting):
            await ref.ask("x", within=1.0)
        await trio.sleep(1.0)
        assert await ref.ask("hello", within=1.0) == "hello"
        assert node(play, "x").incarnation == 2


# --- the root


async def test_a_root_that_gives_up_ends_the_program(autojump_clock: MockClock) -> None:
    stage = Stage()
    with pytest.RaisesGroup(SystemFailed):
        async with open_system(supervise("root", [stage.spec("a")], intensity=Intensity(0, 5.0))) as system:
            await settle()
            system.ref("/a").tell(boom)
            await settle()
            assert system.root is not None
            assert system.root.state == "ended"


def test_the_error_says_who_how_often_and_why() -> None:
    error = RestartLimitReached("/top/a", Stopped("gone"), 3, 5.0)
    assert str(error) == "/top/a failed again after 3 restarts in 5 s: gone"
    assert str(RestartLimitReached("/top/a", Stopped("gone"), 0, 5.0)) == "/top/a ended and may not be restarted: gone"
