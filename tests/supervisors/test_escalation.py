"""What a supervisor that gives up means for those above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from runtime import Crash, Crashed, GaveUp
from supervisors import Backoff, ChildSpec, Intensity, Restart, RestartLimitReached, Strategy, supervise
from tests.support.supervision import Stage, Theatre, boom, leave, over, theatre

if TYPE_CHECKING:
    from trio.testing import MockClock

    from runtime import Spec

NEVER = Intensity(0, 5.0)
AT_ONCE = Backoff(base=0)


def three_levels(stage: Stage, *, above: Intensity) -> Spec:
    """top → mid → low → a, b; with a sibling beside mid and low."""
    low = supervise("low", stage.specs("ab"), intensity=NEVER, backoff=AT_ONCE)
    mid = supervise("mid", [low, stage.spec("m")], intensity=NEVER, backoff=AT_ONCE)
    return over([mid, stage.spec("t")], intensity=above)


async def crash(play: Theatre, path: str) -> None:
    play.bench.system.ref(path).tell(boom)
    await trio.sleep(0.001)


async def test_a_failure_climbs_two_levels_until_somebody_may_restart(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(three_levels(stage, above=Intensity(1, 5.0)), stage) as play:
        assert stage.take() == ["a+", "b+", "m+", "t+"]
        await crash(play, "/top/mid/low/a")
        # low stops its own, then mid its own, and the third level starts all of it again, in order
        assert stage.take() == ["a-", "b-", "m-", "a+", "b+", "m+"]
        assert [(report.path, report.escalated) for report in play.given_up] == [
            ("/top/mid/low/a", True),
            ("/top/mid/low", True),
        ]
        assert [(report.path, report.restarts) for report in play.restarts] == [("/top/mid", 1)]
        assert "RestartLimitReached" in play.restarts[0].reason
        assert play.node("/top/mid/low/b").state == "running"
        assert play.node("/top/mid").incarnation == 1


async def test_over_the_limit_of_the_highest_everything_ends(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(three_levels(stage, above=NEVER), stage) as play:
        stage.take()
        await crash(play, "/top/mid/low/b")
        assert stage.take() == ["b-", "a-", "m-", "t-"]
        assert [report.path for report in play.given_up] == ["/top/mid/low/b", "/top/mid/low", "/top/mid"]
        ended = play.bench.root.log.heard[-1]
        assert ended.name == "top"
        assert isinstance(ended.reason, Crashed)
        assert isinstance(ended.reason.error, RestartLimitReached)
        assert ended.reason.error.path == "/top/mid"


async def test_each_supervisor_that_gives_up_is_reported_as_a_crash_of_its_own(autojump_clock: MockClock) -> None:
    stage = Stage()
    async with theatre(three_levels(stage, above=NEVER), stage) as play:
        await crash(play, "/top/mid/low/b")
        crashes = [report.path for report in play.reports(Crash)]
        assert crashes == ["/top/mid/low/b", "/top/mid/low", "/top/mid", "/top"]


async def test_a_restarted_supervisor_begins_with_an_empty_record(autojump_clock: MockClock) -> None:
    stage = Stage()
    low = supervise("low", [stage.spec("a", backoff=AT_ONCE)], intensity=Intensity(2, 5.0), backoff=AT_ONCE)
    async with theatre(over([low]), stage) as play:
        for _ in range(6):
            await crash(play, "/top/low/a")
        assert [report.path for report in play.given_up] == ["/top/low/a"] * 2
        assert len([report for report in play.restarts if report.path == "/top/low"]) == 2


async def test_an_escalation_takes_part_in_the_group_of_the_level_above(autojump_clock: MockClock) -> None:
    stage = Stage()
    low = supervise("low", stage.specs("a"), intensity=NEVER)
    top = over([stage.spec("x"), low, stage.spec("y")], Strategy.REST_FOR_ONE)
    async with theatre(top, stage) as play:
        stage.take()
        await crash(play, "/top/low/a")
        assert stage.take() == ["a-", "y-", "a+", "y+"]


async def test_a_first_start_that_fails_climbs_to_the_top_while_the_tree_starts(autojump_clock: MockClock) -> None:
    stage = Stage(failing={"b": 1})
    async with theatre(three_levels(stage, above=Intensity(10, 5.0)), stage) as play:
        assert stage.take() == ["a+", "b-", "a-"]
        assert [report.path for report in play.given_up] == ["/top/mid/low/b", "/top/mid/low", "/top/mid"]
        assert {report.restarts for report in play.given_up} == {0}


async def test_a_first_start_that_fails_in_a_restarted_supervisor_is_a_failed_restart_above(
    autojump_clock: MockClock,
) -> None:
    stage = Stage()
    async with theatre(three_levels(stage, above=Intensity(2, 5.0)), stage) as play:
        stage.take()
        stage.failing["b"] = 1
        await crash(play, "/top/mid/low/a")
        await trio.sleep(0.2)
        assert stage.take() == ["a-", "b-", "m-", "a+", "b-", "a-", "a+", "b+", "m+"]
        assert [report.restarts for report in play.restarts] == [1, 2]
        assert play.node("/top/mid/low/b").state == "running"


async def test_a_transient_supervisor_that_gives_up_is_restarted_and_a_temporary_one_is_not(
    autojump_clock: MockClock,
) -> None:
    stage = Stage()
    kinds = {"x": Restart.TRANSIENT, "y": Restart.TEMPORARY}
    lows = [
        supervise(f"low {name}", stage.specs(name), intensity=NEVER, restart=restart) for name, restart in kinds.items()
    ]
    async with theatre(over(lows), stage) as play:
        for name in kinds:
            await crash(play, f"/top/low {name}/{name}")
        assert play.states() == {"low x": "running"}


async def test_an_end_that_is_no_failure_does_not_climb(autojump_clock: MockClock) -> None:
    stage = Stage()
    low = supervise("low", [stage.spec("a", Restart.TRANSIENT), stage.spec("b")], intensity=NEVER)
    async with theatre(over([low], intensity=NEVER), stage) as play:
        play.bench.system.ref("/top/low/a").tell(leave)
        await trio.sleep(0.1)
        assert play.given_up == []
        assert play.node("/top/low").state == "running"


async def test_a_budget_keeps_a_supervisor_s_failures_from_the_level_above(autojump_clock: MockClock) -> None:
    stage = Stage()
    low = supervise("low", stage.specs("a"), intensity=NEVER, budget=Intensity(1, 60.0))
    async with theatre(over([low], intensity=NEVER), stage) as play:
        await crash(play, "/top/low/a")
        assert play.node("/top/low/a").state == "running"
        await crash(play, "/top/low/a")
        assert play.given_up[-1] == GaveUp("/top/low", play.given_up[-1].reason, 1, 60.0, escalated=True)


async def test_a_sibling_that_crashes_while_its_supervisor_gives_up_is_counted_once(
    autojump_clock: MockClock,
) -> None:
    stage = Stage(stopping={"c": 1.0})
    low = ChildSpec("low", supervise("low", stage.specs("abc"), intensity=NEVER).start, restart=Restart.TEMPORARY)
    async with theatre(over([low]), stage) as play:
        play.bench.system.ref("/top/low/a").tell(boom)
        await trio.sleep(0.5)
        play.bench.system.ref("/top/low/b").tell(boom)
        await trio.sleep(1.0)
        assert stage.take() == ["a+", "b+", "c+", "a-", "b-", "c-"]
        assert play.bench.system.totals.by_kind["Player"]["ended"] == 3
