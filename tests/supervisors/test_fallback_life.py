"""Targets that end for good, and the life of the fallback itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from runtime import (
    Dead,
    Ended,
    InvalidSpec,
    Mailbox,
    Restarted,
    Restarting,
    SystemFailed,
    open_system,
)
from supervisors import (
    ChildSpec,
    Fallback,
    FallbackSpec,
    Intensity,
    Policy,
    Restart,
    fallback,
)
from tests.support.actors import Boom, Probe, settle
from tests.support.fallbacks import POLICY, actor_of, chain, crash, slowly
from tests.support.supervision import Stage, boom, leave, over, sleep_away, theatre

if TYPE_CHECKING:
    from trio.testing import MockClock

    from runtime import Ref


# --- ends that are no failures


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
async def test_a_target_that_ends_for_good_leaves_the_chain(autojump_clock: MockClock, restart: Restart) -> None:
    stage = Stage()
    spec = fallback("top", [stage.spec("a", restart), stage.spec("b")], policy=POLICY)
    async with theatre(spec, stage) as play:
        play.ref("a").tell(leave)
        play.top.tell("queued behind it")
        await settle()
        assert play.states() == {"b": "running"}
        assert stage.heard == [("b", "queued behind it")]
        await trio.sleep(100.0)  # it is not probed either
        for number in range(3):
            assert await play.top.ask(number, within=1.0) == "b"
        assert play.switched == [("a", "b")]


async def test_a_temporary_target_that_crashes_leaves_the_chain(autojump_clock: MockClock) -> None:
    stage = Stage()
    spec = fallback("top", [stage.spec("a", Restart.TEMPORARY), stage.spec("b")], policy=POLICY)
    async with theatre(spec, stage) as play:
        await play.tell("a", boom)
        await trio.sleep(100.0)
        assert play.states() == {"b": "running"}
        assert await play.top.ask("x", within=1.0) == "b"


async def test_a_transient_target_that_crashes_is_restarted(autojump_clock: MockClock) -> None:
    stage = Stage()
    spec = fallback("top", [stage.spec("a", Restart.TRANSIENT), stage.spec("b")], policy=POLICY)
    async with theatre(spec, stage) as play:
        await play.tell("a", boom)
        assert play.states() == {"a": "running", "b": "running"}


async def test_a_permanent_target_that_keeps_ending_does_not_spin(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        for _ in range(3):
            await play.tell("a", leave)
        assert play.states() == {"a": "waiting", "b": "running"}
        assert await play.top.ask("x", within=1.0) == "b"


@pytest.mark.parametrize("state", ["running", "waiting", "crashed"])
async def test_a_target_that_is_stopped_leaves_the_chain(autojump_clock: MockClock, state: str) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        match state:
            case "waiting":
                await crash(play)
            case "crashed":
                play.ref("a").tell(boom)
        actor = actor_of(play)
        actor.stop_child("a")
        await trio.sleep(100.0)
        assert play.states() == {"b": "running"}
        assert await play.top.ask("x", within=1.0) == "b"
        with pytest.raises(InvalidSpec, match="gone for good"):
            actor.start_child(stage.spec("a"))
        with pytest.raises(InvalidSpec):
            actor.start_child(stage.spec("z"))


async def test_a_target_stopped_in_the_moment_when_it_is_due_stays_stopped(autojump_clock: MockClock) -> None:
    stage = Stage()

    class Late(Fallback):
        async def receive(self, message: Any) -> object:
            if message == "stop a":
                self.stop_child("a")
            return await super().receive(message)

    spec = FallbackSpec((stage.spec("a"), stage.spec("b")), policy=POLICY)
    async with theatre(ChildSpec("top", lambda: Late(spec), shutdown=float("inf")), stage) as play:
        actor_of(play).timer("mine", 3.0, "stop a")
        await crash(play)
        await trio.sleep(10.0)
        assert play.states() == {"b": "running"}
        assert stage.events.count("a+") == 3


async def test_if_every_target_is_gone_so_is_everything_that_is_sent(autojump_clock: MockClock) -> None:
    stage = Stage()
    spec = fallback("top", [stage.spec(name, Restart.TEMPORARY) for name in "ab"], policy=POLICY)
    async with theatre(spec, stage) as play:
        await play.tell("a", leave)
        play.ref("b").tell(leave)
        play.top.tell("queued")
        await settle()
        assert play.top.tell("x") is False
        with pytest.raises(Dead):
            await play.top.ask("y", within=1.0)
        assert play.bench.lost()[0] == ("/top/b", "queued", "stopped")


async def test_a_passive_target_wakes_through_the_switch(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage), stage) as play:
        await play.tell("a", sleep_away)
        assert play.states() == {"b": "running"}
        assert await play.top.ask("x", within=1.0) == "a"
        await play.tell("a", sleep_away)
        play.top.tell("y")
        await settle()
        assert stage.heard == [("a", "x"), ("a", "y")]
        assert play.switched == []


# --- the fallback's own life


async def test_messages_that_came_before_it_had_started_keep_their_order(autojump_clock: MockClock) -> None:
    stage = Stage(starting={"first": 1.0})
    async with theatre(over(stage.specs(["first"])), stage) as play, trio.open_nursery() as nursery:
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await ref.ask(3, within=5.0))

        spec = attrs.evolve(fallback("fb", stage.specs("ab"), policy=POLICY), mailbox=Mailbox(3))
        ref: Ref[Any] = await play.do(lambda top: top.start_child(spec))
        ref.tell(1)
        ref.tell(2)
        for offer in (ask, lambda: ref.send(4, 5.0)):
            nursery.start_soon(offer)
            await settle()
        cell: Any = ref.target
        while ref.target is cell:
            await trio.sleep(0.01)
        ref.tell(5)
        await settle()
        assert stage.heard == [("a", number) for number in (1, 2, 3, 4, 5)]
        assert answers == ["a"]
        counters = play.node("/top/fb").counters
        assert (counters.offered, counters.moved, counters.missing) == (3, 3, 0)


async def test_a_restarted_fallback_is_the_same_address_with_a_clean_slate(autojump_clock: MockClock) -> None:
    stage = Stage()
    inner = attrs.evolve(chain(stage, intensity=Intensity(0, 60.0)), name="fb")
    async with theatre(over([inner]), stage) as play:
        ref = play.ref("fb")
        a, b = play.ref("fb/a"), play.ref("fb/b")
        watcher = await play.bench.spawn("watcher", start=lambda actor: actor.watch(ref))
        for target in (a, b):
            for _ in range(3):
                target.tell(boom)
                await settle()
        assert [report.path for report in play.given_up] == ["/top/fb/b"]
        [notice] = watcher.log.heard
        assert isinstance(notice, Restarted)
        assert notice.ref is ref
        assert play.node("/top/fb").details["active"] == "a"
        assert await ref.ask("x", within=1.0) == "a"
        assert (play.ref("fb/a"), play.ref("fb/b")) == (a, b)
        await play.do(lambda top: top.stop_child("fb"))
        assert isinstance(watcher.log.heard[-1], Ended)
        assert ref.tell("x") is False


async def test_messages_that_come_between_two_lives_wait_for_the_next_one(autojump_clock: MockClock) -> None:
    stage = Stage()
    inner = attrs.evolve(chain(stage), name="fb")

    async with theatre(over([inner]), stage) as play:
        ref, cell = play.ref("fb"), play.cell("fb")
        for _ in range(2):  # the second time it waits
            cell = play.bench.system.root.children["top"].children["fb"]  # type: ignore[union-attr]
            cell.kill("killed")
            await settle()
        assert play.states() == {"fb": "waiting"}
        assert ref.tell("kept") is True
        with pytest.raises(Restarting):
            await ref.ask("x", within=1.0)
        await trio.sleep(1.0)
        assert stage.heard == [("a", "kept")]


async def test_a_fallback_whose_start_fails_leaves_its_address_as_it_was(autojump_clock: MockClock) -> None:
    stage = Stage()

    class Broken(Fallback):
        async def started(self) -> None:
            raise Boom("no start")

    spec = FallbackSpec((stage.spec("a"),))
    async with theatre(over([stage.spec("x")]), stage) as play:
        broken = ChildSpec("fb", lambda: Broken(spec), restart=Restart.TEMPORARY)
        ref = await play.do(lambda top: top.start_child(broken))
        assert ref.tell("x") is False


async def test_it_stops_its_targets_and_its_address_is_dead(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(chain(stage, "abc"), stage) as play, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(Dead):
                await play.top.ask("queued", within=10.0)

        await crash(play, "b")
        play.top.tell(slowly)
        await settle()
        nursery.start_soon(ask)
        await settle()
        await play.bench.root.do(lambda root: root.stop_child("top"))
        await trio.sleep(2.0)
        assert play.top.tell("x") is False
        assert sorted(stage.take()[-2:]) == ["a-", "c-"]
        assert play.given_up == []


async def test_a_root_fallback_that_gives_up_ends_the_program(autojump_clock: MockClock) -> None:
    stage = Stage()
    spec = fallback("root", stage.specs("a"), policy=Policy(failures=1), intensity=Intensity(0, 5.0))
    with pytest.RaisesGroup(SystemFailed):
        async with open_system(spec) as system:
            await settle()
            system.ref("/a").tell(boom)
            await settle()


def test_the_spec_of_a_fallback_stops_with_its_tree() -> None:
    spec = fallback("fb", [ChildSpec("a", Probe)])
    assert spec.shutdown == float("inf")
    assert isinstance(spec.start(), Fallback)
