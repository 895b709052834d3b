"""A supervisor at work: who is restarted and when, what is seen of it, and where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from runtime import Crashed, Ended, GaveUp, Restarted, Restarting
from supervisors import Backoff, Intensity, Restart, Strategy
from tests.support.actors import Probe, settle
from tests.support.supervision import (
    ALL,
    ONE,
    PERMANENT,
    PLENTY,
    REST,
    TEMPORARY,
    TRANSIENT,
    Stage,
    boom,
    fail_in_task,
    leave,
    node,
    over,
    theatre,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.support.supervision import Theatre


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
