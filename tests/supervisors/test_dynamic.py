"""A dynamic supervisor: many children, each for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Crashed, Dead, Full, GaveUp, InvalidSpec, Restarted, Restarting, Spec, Stopped
from supervisors import Backoff, ChildSpec, DynamicSupervisor, Intensity, Restart, TooManyChildren
from supervisors._dynamic import Past, judge
from tests.support.actors import LONG, Probe, settle
from tests.support.supervision import OpenDynamic, Stage, Theatre, boom, fail_in_task, leave, sleep_away, theatre

if TYPE_CHECKING:
    from trio.testing import MockClock

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
MANY = 10_000


def dynamic(**fields: Any) -> ChildSpec:
    return ChildSpec("top", lambda: OpenDynamic(**fields), shutdown=float("inf"))


async def start(play: Theatre, name: str, restart: Restart = PERMANENT, **more: Any) -> None:
    play.ref(name)
    await play.do(lambda top: top.start_child(play.stage.spec(name, restart, **more)))


async def hooks(play: Theatre) -> tuple[list[str], list[tuple[str, bool]]]:
    result: tuple[list[str], list[tuple[str, bool]]] = await play.do(lambda top: (top.ups, top.gone))
    return result


# --- the decision


@pytest.mark.parametrize("restart", Restart)
@pytest.mark.parametrize("failure", [True, False])
def test_whether_a_child_starts_again(restart: Restart, failure: bool) -> None:
    spec = ChildSpec("a", Probe, restart=restart)
    reason = Crashed(RuntimeError()) if failure else Stopped()
    verdict = judge(spec, Past(), reason, 0.0, 0.0, Intensity())
    expected = {PERMANENT: True, TRANSIENT: failure, TEMPORARY: False}[restart]
    assert (verdict.delay is not None) == expected
    assert verdict.spent is False
    assert verdict.past.record.total == expected


# --- the matrix

ENDS: dict[str, Any] = {
    "normal": lambda play: play.ref("b").tell(leave),
    "crash": lambda play: play.ref("b").tell(boom),
    "kill": lambda play: play.cell("b").kill("killed"),
    "task": lambda play: play.ref("b").tell(fail_in_task),
    "failed start": lambda play: (play.stage.failing.update(b=1), play.ref("b").tell(boom)),
}


@pytest.mark.parametrize("restart", Restart)
@pytest.mark.parametrize("end", ENDS)
async def test_restart_type_and_end(autojump_clock: MockClock, restart: Restart, end: str) -> None:
    stage = Stage()
    async with theatre(dynamic(), stage) as play:
        for name in "abc":
            await start(play, name, restart)
        stage.take()
        ENDS[end](play)
        await trio.sleep(1.0)
        again = restart is PERMANENT or (restart is TRANSIENT and end != "normal")
        starts = ["b-", "b-", "b+"] if end == "failed start" else ["b-", "b+"]
        assert stage.take() == (starts if again else ["b-"])
        assert ("b" in play.states()) == again
        _, gone = await hooks(play)
        assert gone == ([] if again else [("b", False)])


async def test_a_first_start_that_fails_is_tried_again_within_the_budget(autojump_clock: MockClock) -> None:
    stage = Stage(failing={"a": 2})
    async with theatre(dynamic(), stage) as play:
        await start(play, "a")
        await trio.sleep(1.0)
        assert stage.take() == ["a-", "a-", "a+"]
        ups, _ = await hooks(play)
        assert ups == ["a"]


# --- budgets


async def test_one_that_fails_too_often_is_given_up_alone(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(dynamic(budget=Intensity(2, 5.0)), stage) as play:
        for name in "ab":
            await start(play, name, backoff=Backoff(base=0))
        for _ in range(3):
            await play.tell("a", boom)
        assert play.given_up == [GaveUp("/top/a", "Boom: asked for", 2, 5.0, escalated=False)]
        assert play.states() == {"b": "running"}
        assert (await hooks(play))[1] == [("a", True)]
        with pytest.raises(Dead):
            await play.ref("a").ask("x", within=1.0)
        await start(play, "a", backoff=Backoff(base=0))  # its name is free, its past forgotten
        await play.tell("a", boom)
        assert play.states() == {"b": "running", "a": "running"}


async def test_each_child_has_a_budget_of_its_own(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(dynamic(budget=Intensity(1, 5.0)), stage) as play:
        await start(play, "a")
        await start(play, "b")
        await start(play, "c", budget=Intensity(7, 60.0))
        for name in "abc":
            await play.tell(name, boom)
        assert play.given_up == []
        shown = {child.path: child.restarts for child in play.node().children}
        assert {path: (r.total, r.used, r.limit, r.period) for path, r in shown.items() if r is not None} == {
            "/top/a": (1, 1, 1, 5.0),
            "/top/b": (1, 1, 1, 5.0),
            "/top/c": (1, 1, 7, 60.0),
        }


async def test_a_child_that_waits_is_seen_so_and_comes_back_by_itself(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(dynamic(), stage) as play:
        await start(play, "a", backoff=Backoff(base=2.0))
        for _ in range(2):
            await play.tell("a", boom)
        assert play.states() == {"a": "waiting"}
        assert play.ref("a").tell("kept") is True
        with pytest.raises(Restarting) as refused:
            await play.ref("a").ask("x", within=5.0)
        assert refused.value.retry_after == pytest.approx(1.0)
        await trio.sleep(1.1)
        assert stage.heard == [("a", "kept")]
        await trio.sleep(5.0)  # quiet
        await play.tell("a", boom)
        assert [report.delay for report in play.restarts] == [0.0, 1.0, 0.0]


async def test_a_waiting_child_is_restarted_for_the_reason_it_ended_with(autojump_clock: MockClock) -> None:
    stage = Stage()
    notices: list[Any] = []

    class Watcher(Probe):
        async def receive(self, message: Any) -> object:
            notices.append(message)
            return None

    async with theatre(dynamic(), stage) as play:
        await start(play, "a")
        await play.bench.spawn("watcher", lambda _: Watcher(start=lambda actor: actor.watch(play.ref("a"))))
        for _ in range(2):
            await play.tell("a", boom)
        await trio.sleep(1.0)
        assert [type(notice) for notice in notices] == [Restarted, Restarted]
        assert [type(notice.reason) for notice in notices] == [Crashed, Crashed]


# --- limits and refusals


async def test_start_child_refuses_what_it_cannot_start(autojump_clock: MockClock) -> None:
    stage = Stage()

    def try_all(top: OpenDynamic) -> None:
        with pytest.raises(InvalidSpec, match="a ChildSpec"):
            top.start_child(Spec("x", Probe))
        with pytest.raises(InvalidSpec, match="a name that no child of /top has"):
            top.start_child(stage.spec("a"))
        with pytest.raises(InvalidSpec):
            top.stop_child("nobody")

    async with theatre(dynamic(), stage) as play:
        await start(play, "a")
        await play.do(try_all)


async def test_children_that_wait_count_towards_the_most_and_passive_ones_do_not(autojump_clock: MockClock) -> None:
    stage = Stage()

    def refused(top: OpenDynamic) -> str:
        with pytest.raises(TooManyChildren) as error:
            top.start_child(stage.spec("x"))
        return str(error.value)

    async with theatre(dynamic(max_children=2), stage) as play:
        await start(play, "a", backoff=Backoff(base=LONG))
        await start(play, "b")
        for _ in range(2):
            await play.tell("a", boom)
        assert play.states() == {"a": "waiting", "b": "running"}
        assert await play.do(refused) == "/top has its 2 children already"
        await play.tell("b", sleep_away)
        await start(play, "c")
        assert play.states() == {"a": "waiting", "c": "running"}


# --- stopping


async def test_a_stopped_child_is_gone_in_whatever_state_it_was(autojump_clock: MockClock) -> None:
    stage = Stage(starting={"starting": LONG})
    async with theatre(dynamic(), stage) as play:
        for name in ("running", "waiting", "starting", "crashed"):
            await start(play, name, backoff=Backoff(base=3.0))
        for _ in range(2):
            await play.tell("waiting", boom)
        play.ref("crashed").tell(boom)
        await play.do(lambda top: [top.stop_child(name) for name in list(top.children)])
        await trio.sleep(10.0)
        assert play.states() == {}
        assert sorted((await hooks(play))[1]) == [
            ("crashed", False),
            ("running", False),
            ("starting", False),
            ("waiting", False),
        ]


async def test_a_child_stopped_in_the_moment_when_its_delay_is_over_stays_stopped(autojump_clock: MockClock) -> None:
    stage = Stage()

    class Late(OpenDynamic):
        async def receive(self, message: Any) -> object:
            if message == "stop a":
                self.stop_child("a")
            return await super().receive(message)

    async with theatre(ChildSpec("top", Late), stage) as play:
        await start(play, "a")
        await play.do(lambda top: top.timer("mine", 0.05, "stop a"))
        for _ in range(2):
            await play.tell("a", boom)
        await trio.sleep(1.0)
        assert play.states() == {}
        assert stage.take().count("a+") == 2


async def test_children_stop_together_with_their_supervisor(autojump_clock: MockClock) -> None:
    stage = Stage(stopping={"a": 1.0, "b": 1.0, "c": 1.0})
    async with theatre(dynamic(), stage) as play:
        for name in ("a", "b", "c", "waiting"):
            await start(play, name, backoff=Backoff(base=LONG))
        for _ in range(2):
            await play.tell("waiting", boom)
        stage.take()
        await play.bench.root.do(lambda root: root.stop_child("top", within=10.0))
        await trio.sleep(1.001)  # as long as each of them takes
        assert sorted(stage.take()) == ["a-", "b-", "c-"]
        assert play.bench.root.log.heard[-1].name == "top"


@pytest.mark.repeats
async def test_ten_thousand_children(autojump_clock: MockClock) -> None:
    ended: list[int] = []

    class Small(Probe):
        async def receive(self, message: Any) -> object:
            if message == "fail":
                boom(self)
            return message

    def start_all(top: DynamicSupervisor) -> list[Any]:
        return [
            top.start_child(ChildSpec(f"c{n}", lambda: Small(stop=lambda _: ended.append(1)), restart=TRANSIENT))
            for n in range(MANY)
        ]

    stage = Stage()
    async with theatre(dynamic(), stage) as play:
        refs = await play.do(start_all)
        top: Any = play.top.target
        assert len(top.children) == MANY
        assert len(top.actor.ups) == MANY
        assert top.actor._pasts == {}  # a child costs nothing until it fails
        for ref in refs[::10]:
            ref.tell("fail")
        await settle()
        assert len(top.children) == MANY
        assert len(top.actor._pasts) == MANY // 10
        assert await refs[10].ask("alive", within=1.0) == "alive"
        assert play.given_up == []
        ended.clear()
        await play.bench.root.do(lambda root: root.stop_child("top", within=30.0))
        await settle()
        assert len(ended) == MANY
        assert refs[0].tell("x") is False


# --- passive children


@pytest.mark.parametrize("restart", Restart)
async def test_a_passive_child_wakes_with_the_next_message(autojump_clock: MockClock, restart: Restart) -> None:
    stage = Stage()
    async with theatre(dynamic(), stage) as play:
        await start(play, "a", restart)
        for number in range(3):
            await play.tell("a", sleep_away)
            assert play.states() == {}
            assert await play.ref("a").ask(number, within=1.0) == "a"
        assert stage.heard_by("a") == [0, 1, 2]
        assert play.restarts == []
        assert play.given_up == []
        assert (await hooks(play))[1] == []


async def test_messages_that_come_while_it_passivates_are_handled_by_the_next_one(autojump_clock: MockClock) -> None:
    stage = Stage(stopping={"a": 1.0})
    async with theatre(dynamic(), stage) as play:
        await start(play, "a", TEMPORARY)
        await play.tell("a", sleep_away)
        assert play.ref("a").tell("early") is True
        assert await play.ref("a").ask("early too", within=5.0) == "a"
        assert stage.take() == ["a+", "a-", "a+"]


async def test_a_passive_child_that_is_started_anew_is_the_same_address(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(dynamic(), stage) as play:
        await start(play, "a")
        await play.tell("a", sleep_away)
        await start(play, "a")
        assert await play.ref("a").ask("x", within=1.0) == "a"


async def test_over_the_limit_a_message_to_a_passive_child_is_refused_and_nobody_is_hurt(
    autojump_clock: MockClock,
) -> None:
    stage = Stage()
    async with theatre(dynamic(max_children=1), stage) as play:
        await start(play, "a")
        await play.tell("a", sleep_away)
        await start(play, "b")
        assert play.ref("a").tell("one") is False
        for offer in (play.ref("a").ask("two", within=1.0), play.ref("a").send("three", within=1.0)):
            with pytest.raises(Full) as refused:
                await offer
            assert refused.value.message in {"two", "three"}
        assert play.bench.lost() == [("/top/a", text, "full") for text in ("one", "two", "three")]
        await play.tell("b", sleep_away)
        assert await play.ref("a").ask("four", within=1.0) == "a"
        assert play.states() == {"a": "running"}


async def test_a_message_to_a_passive_child_whose_supervisor_stops_is_a_dead_letter(autojump_clock: MockClock) -> None:
    stage = Stage(stopping={"b": 1.0})
    async with theatre(dynamic(), stage) as play:
        await start(play, "a")
        await start(play, "b")
        await play.tell("a", sleep_away)
        await play.bench.root.do(lambda root: root.stop_child("top"))
        await settle()
        assert play.ref("a").tell("late") is False
        with pytest.raises(Dead):
            await play.ref("a").ask("too", within=1.0)
        await trio.sleep(2.0)
        assert stage.take() == ["a+", "b+", "a-", "b-"]
        assert play.ref("a").tell("later") is False


async def test_the_same_where_the_supervisor_crashes(autojump_clock: MockClock) -> None:
    stage = Stage(stopping={"b": 1.0})
    async with theatre(dynamic(), stage) as play:
        await start(play, "a")
        await start(play, "b")
        await play.tell("a", sleep_away)
        play.top.tell(boom)
        await settle()
        assert play.ref("a").tell("late") is False
        await trio.sleep(2.0)
        assert play.bench.root.log.heard[-1].name == "top"


async def test_one_that_is_stopped_while_it_passivates_does_not_wake(autojump_clock: MockClock) -> None:
    stage = Stage(stopping={"a": 1.0})
    async with theatre(dynamic(), stage) as play:
        await start(play, "a")
        await play.tell("a", sleep_away)
        await play.do(lambda top: top.stop_child("a"))
        await trio.sleep(2.0)
        assert play.ref("a").tell("x") is False
        assert (await hooks(play))[1] == [("a", False)]


async def test_failures_are_remembered_over_passivation_as_long_as_they_count(autojump_clock: MockClock) -> None:
    for pause, left in ((1.0, 1), (6.0, 0)):
        stage = Stage()
        async with theatre(dynamic(budget=Intensity(1, 5.0)), stage) as play:
            await start(play, "a")
            await play.tell("a", boom)
            await trio.sleep(pause)
            await play.tell("a", sleep_away)
            pasts = await play.do(lambda top: dict(top._pasts))
            assert len(pasts) == left
            await play.tell("a", "wake")
            await play.tell("a", boom)
            assert len(play.given_up) == left


async def test_a_child_that_ends_as_soon_as_it_has_started_was_up_first(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(dynamic(), stage) as play:
        await play.do(lambda top: top.start_child(stage.spec("a", TEMPORARY)).tell(boom))
        assert await hooks(play) == (["a"], [("a", False)])


def test_a_dynamic_supervisor_asks_nothing_of_a_child_it_does_not_know() -> None:
    class Empty:
        children: dict[str, Any] = {}  # noqa: RUF012 - stands in for a cell

    supervisor = DynamicSupervisor()
    supervisor._cell = Empty()  # type: ignore[assignment]
    assert supervisor.restarts_of("nobody") is None
