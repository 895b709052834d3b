"""A supervisor at work: real actors, virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import (
    Crashed,
    Dead,
    Ended,
    GaveUp,
    HandlerFailed,
    InvalidSpec,
    Killed,
    Node,
    Restarted,
    Restarting,
    Spec,
    Stopped,
    SystemFailed,
    open_system,
)
from supervisors import Backoff, ChildSpec, Intensity, Restart, RestartLimitReached, Strategy, Supervisor, supervise
from tests.support.actors import LONG, Boom, Probe, settle
from tests.support.supervision import (
    PLENTY,
    OpenSupervisor,
    Stage,
    boom,
    fail_in_task,
    leave,
    over,
    sleep_away,
    theatre,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

    from runtime import Ref
    from tests.support.supervision import Theatre

ALL, ONE, REST = Strategy.ONE_FOR_ALL, Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE
PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY


def node(play: Theatre, name: str) -> Node:
    return play.node(f"/top/{name}")


# --- the matrix: restart type, end and strategy, against OTP's documentation


def kill(play: Theatre, name: str) -> None:
    play.cell(name).kill("killed")


ENDS: dict[str, Any] = {
    "normal": lambda play: play.ref("b").tell(leave),
    "crash": lambda play: play.ref("b").tell(boom),
    "kill": lambda play: kill(play, "b"),
    "task": lambda play: play.ref("b").tell(fail_in_task),
    "failed start": lambda play: (play.stage.failing.update(b=1), play.ref("b").tell(boom)),
}
RESTARTED = {  # "A permanent child is always restarted. A temporary child is never restarted. A transient child is
    # restarted only if it terminates abnormally."
    (PERMANENT, "normal"): True,
    (PERMANENT, "abnormal"): True,
    (TRANSIENT, "normal"): False,
    (TRANSIENT, "abnormal"): True,
    (TEMPORARY, "normal"): False,
    (TEMPORARY, "abnormal"): False,
}
GROUPS = {  # who is terminated in reverse start order, and who then starts in start order
    ONE: ([], ["b"]),
    ALL: (["c", "a"], ["a", "b", "c"]),
    REST: (["c"], ["b", "c"]),
}


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("restart", Restart)
@pytest.mark.parametrize("end", ENDS)
async def test_restart_type_end_and_strategy(
    autojump_clock: MockClock, strategy: Strategy, restart: Restart, end: str
) -> None:
    stage = Stage()
    specs = [stage.spec("a"), stage.spec("b", restart), stage.spec("c")]
    async with theatre(over(specs, strategy), stage) as play:
        stage.take()
        ENDS[end](play)
        await settle()
        await trio.sleep(1.0)
        restarted = RESTARTED[restart, "normal" if end == "normal" else "abnormal"]
        stops, starts = GROUPS[strategy]
        if not restarted:
            assert stage.take() == ["b-"]
            assert "b" not in play.states()
            assert play.ref("b").tell("x") is False
            assert play.restarts == []
        elif end == "failed start":
            again = stops if strategy is not REST else []  # c had not started again when b failed
            if strategy is ALL:
                again = ["a"]
            first = [name for name in starts if name < "b"]
            assert stage.take() == [
                "b-",
                *(f"{name}-" for name in stops),
                *(f"{name}+" for name in first),
                "b-",
                *(f"{name}-" for name in again),
                *(f"{name}+" for name in starts),
            ]
            assert [report.restarts for report in play.restarts] == [1, 2]
        else:
            assert stage.take() == ["b-", *(f"{name}-" for name in stops), *(f"{name}+" for name in starts)]
            assert [report.path for report in play.restarts] == ["/top/b"]
        if restarted:
            assert play.states() == {"a": "running", "b": "running", "c": "running"}


@pytest.mark.parametrize("strategy", [ALL, REST])
async def test_a_temporary_child_pulled_down_by_a_sibling_is_removed(
    autojump_clock: MockClock, strategy: Strategy
) -> None:
    stage = Stage()
    async with theatre(over([stage.spec("a"), stage.spec("b", TEMPORARY), stage.spec("c")], strategy), stage) as play:
        stage.take()
        await play.tell("a", boom)
        assert stage.take() == ["a-", "c-", "b-", "a+", "c+"]
        assert play.states() == {"a": "running", "c": "running"}
        assert play.ref("b").tell("x") is False


async def test_a_temporary_child_s_crash_leaves_its_siblings_alone_under_every_strategy(
    autojump_clock: MockClock,
) -> None:
    for strategy in Strategy:
        stage = Stage()
        async with theatre(over([stage.spec("a"), stage.spec("b", TEMPORARY)], strategy), stage) as play:
            stage.take()
            await play.tell("b", boom)
            assert stage.take() == ["b-"]


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


# --- delays and what is seen of them


async def test_the_first_restart_is_at_once_and_the_next_ones_wait_longer_and_longer(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over([stage.spec("a", backoff=Backoff(base=1.0, cap=3.0))]), stage) as play:
        for _ in range(5):
            await play.tell("a", boom)
            await trio.sleep(4.0)
        assert [report.delay for report in play.restarts] == [0.0, 0.5, 1.0, 1.5, 1.5]
        await trio.sleep(5.0)  # quiet
        await play.tell("a", boom)
        assert play.restarts[-1].delay == 0.0


async def test_a_child_that_waits_is_seen_waiting_with_its_restarts_and_their_limit(autojump_clock: MockClock) -> None:
    stage = Stage()
    limit = Intensity(5, 60.0)
    async with theatre(over(stage.specs("ab"), intensity=limit), stage) as play:
        for _ in range(2):
            await play.tell("a", boom)
        shown = node(play, "a")
        assert shown.state == "waiting"
        assert shown.restarts is not None
        assert (shown.restarts.total, shown.restarts.used, shown.restarts.limit, shown.restarts.period) == (
            2,
            2,
            5,
            60.0,
        )
        sibling = node(play, "b").restarts
        assert sibling is not None
        assert (sibling.total, sibling.used) == (0, 2)  # one list for all
        with pytest.raises(Restarting) as refused:
            await play.ref("a").ask("x", within=1.0)
        assert refused.value.retry_after == pytest.approx(0.05)
        assert play.ref("a").tell("kept") is True
        await trio.sleep(0.06)
        assert stage.heard == [("a", "kept")]


async def test_in_a_group_that_waits_everyone_is_seen_waiting(autojump_clock: MockClock) -> None:
    stage = Stage(stopping={"c": 0.02})
    async with theatre(over([stage.spec(name, backoff=Backoff(base=1.0)) for name in "abc"], ALL), stage) as play:
        await play.tell("b", boom)
        await trio.sleep(0.1)
        play.ref("b").tell(boom)
        await trio.sleep(0.3)
        assert play.states() == {"a": "waiting", "b": "waiting", "c": "waiting"}
        with pytest.raises(Restarting) as refused:
            await play.ref("c").ask("x", within=5.0)
        assert refused.value.retry_after == pytest.approx(0.2)
        assert all(play.ref(name).tell(f"for {name}") for name in "abc")
        await trio.sleep(0.5)
        assert stage.heard == [("a", "for a"), ("b", "for b"), ("c", "for c")]


async def test_asks_stay_queued_over_an_immediate_restart_of_the_group(autojump_clock: MockClock) -> None:
    stage = Stage(stopping={"a": 0.5})
    async with theatre(over(stage.specs("ab"), ALL), stage) as play:
        play.ref("b").tell(boom)
        assert await play.ref("b").ask("x", within=2.0) == "b"


async def test_watchers_hear_the_reason_for_which_each_one_ended(autojump_clock: MockClock) -> None:
    stage = Stage()
    log: list[Any] = []

    class Watcher(Probe):
        async def receive(self, message: Any) -> object:
            log.append(message)
            return None

    def watch(actor: Any) -> None:
        for name in "abx":
            actor.watch(actor.system.ref(f"/top/{name}"))

    async with theatre(over([*stage.specs("ab"), stage.spec("x", TEMPORARY)], ALL), stage) as play:
        await play.bench.spawn("watcher", lambda _: Watcher(start=watch))
        await play.tell("b", boom)
        assert [(type(notice), notice.ref.path) for notice in log] == [
            (Ended, "/top/x"),
            (Restarted, "/top/a"),
            (Restarted, "/top/b"),
        ]
        assert str(log[1].reason) == "a sibling restarts"
        assert isinstance(log[2].reason, Crashed)
        await play.tell("b", boom)
        await trio.sleep(0.1)
        assert isinstance(log[-1].reason, Crashed)  # and not that it had waited


# --- limits


async def test_one_more_than_the_limit_gives_up_and_stops_the_others_newest_first(autojump_clock: MockClock) -> None:
    stage = Stage()
    top = over([stage.spec(name, backoff=Backoff(base=0)) for name in "abc"], intensity=Intensity(2, 5.0))
    async with theatre(top, stage) as play:
        for _ in range(2):
            await play.tell("b", boom)
        stage.take()
        await play.tell("b", boom)
        assert stage.take() == ["b-", "c-", "a-"]
        assert play.given_up == [GaveUp("/top/b", "Boom: asked for", 2, 5.0, escalated=True)]


async def test_the_window_is_inclusive(autojump_clock: MockClock) -> None:
    for gap, ends in ((5.0, True), (5.001, False)):
        stage = Stage()
        async with theatre(over(stage.specs("a"), intensity=Intensity(1, 5.0)), stage) as play:
            await play.tell("a", boom)
            await trio.sleep(gap)
            await play.tell("a", boom)
            assert bool(play.given_up) == ends


async def test_a_group_restart_counts_once(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over(stage.specs("abcde"), ALL, Intensity(1, 5.0)), stage) as play:
        await play.tell("c", boom)
        assert play.given_up == []
        assert len(stage.take()) == 15
        restarts = node(play, "e").restarts
        assert restarts is not None
        assert (restarts.total, restarts.used) == (0, 1)


async def test_a_failed_start_during_a_restart_counts_again(autojump_clock: MockClock) -> None:
    stage = Stage()
    top = over([stage.spec("a", backoff=Backoff(base=0))], intensity=Intensity(3, 5.0))
    async with theatre(top, stage) as play:
        stage.failing["a"] = 3
        await play.tell("a", boom)
        assert play.given_up == [GaveUp("/top/a", "failed to start: Boom: no start", 3, 5.0, escalated=True)]


async def test_a_budget_of_its_own_never_counts_against_the_others(autojump_clock: MockClock) -> None:
    stage = Stage()
    own = stage.spec("b", budget=Intensity(3, 60.0), backoff=Backoff(base=0))
    async with theatre(over([stage.spec("a"), own], intensity=Intensity(0, 5.0)), stage) as play:
        for _ in range(3):
            await play.tell("b", boom)
        shown = node(play, "b").restarts
        assert shown is not None
        assert (shown.total, shown.used, shown.limit) == (3, 3, 3)
        assert play.given_up == []
        await play.tell("b", boom)
        assert [report.path for report in play.given_up] == ["/top/b"]  # a fixed set gives up as a whole


async def test_two_that_crash_in_the_same_moment_both_come_back(autojump_clock: MockClock) -> None:
    for strategy in (ALL, REST):
        stage = Stage()
        limit = Intensity(1, 5.0) if strategy is ALL else PLENTY
        async with theatre(over(stage.specs("abc"), strategy, limit), stage) as play:
            for name in "abc":
                play.ref(name).tell(boom)
            await settle()
            assert play.states() == {"a": "running", "b": "running", "c": "running"}
            assert [stage.events.count(event) for event in ("a+", "a-")] == [2, 1]


async def test_one_that_fails_while_its_group_waits_for_another_joins_it(autojump_clock: MockClock) -> None:
    stage = Stage(stopping={"c": 0.2})
    async with theatre(over(stage.specs("abc"), ALL, Intensity(1, 5.0)), stage) as play:
        stage.take()
        play.ref("a").tell(boom)
        await trio.sleep(0.1)
        await play.tell("b", boom)
        await trio.sleep(0.2)
        assert stage.take() == ["a-", "b-", "c-", "a+", "b+", "c+"]
        assert len(play.restarts) == 1


# --- stopping a child


async def test_a_child_that_is_stopped_is_not_restarted(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(over(stage.specs("ab")), stage) as play:
        await play.do(lambda top: top.stop_child("a", why="enough"))
        assert play.states() == {"b": "running"}
        assert stage.reasons["a"] == [Stopped("enough")]
        with pytest.raises(Dead):
            await play.ref("a").ask("x", within=1.0)


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


# --- passive children


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
