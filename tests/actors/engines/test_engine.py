"""An engine at its address, in virtual time: its limits, its line, and what stands in for it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.engines.engine import Part
from actors.engines.fallback import EngineFallback, EnginePlan, judge
from actors.engines.messages import BadExecution, Cancel, EngineBusy, EngineProgress, EngineResult, EngineUnavailable
from actors.protocol.catalogue import Failure
from runtime import HandlerFailed, InvalidSpec, Switched
from supervisors import Outcome
from tests.support.engines_system import EngineSite, engine_site, stamps


async def several(site: EngineSite, count: int, say: str, **more: Any) -> tuple[list[EngineResult], list[Any]]:
    """So many executions at once: the results, and the reasons of refusals."""
    results: list[EngineResult] = []
    refusals: list[Any] = []

    async def one() -> None:
        from runtime import Refused

        try:
            results.append(await site.execute(say, **more))
        except Refused as refused:
            refusals.append(refused.reason)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    return results, refusals


async def test_an_execution_with_all_that_is_told_of_it(autojump_clock: Any) -> None:
    async with engine_site() as site:
        result = await site.execute("wait 2", key="k", progress=site.system.ref("/ear"))
        assert result == EngineResult("engine", "memory_query", "completed", {"by": "engine"}, False, None, None, 2000)
        assert site.counts.view().average_ms == 2000.0
        assert (site.counts.completed, site.counts.executing, site.counts.queued) == (1, 0, 0)
        assert EngineProgress("k", 1, 2) in site.heard
        assert result.error is None


async def test_what_cannot_be_done_is_refused_by_place(autojump_clock: Any) -> None:
    async with engine_site() as site:
        assert await site.refused("wrong") == BadExecution({"parameters.say": "Not that."})
        assert site.began == []


async def test_so_many_at_once_so_many_wait_and_the_rest_goes_to_the_understudy(autojump_clock: Any) -> None:
    async with engine_site(limit=10, queue=50) as site:
        async with trio.open_nursery() as nursery:

            async def look() -> None:
                await wait_all_tasks_blocked()
                lead = site.counts.loads["engine"]
                assert (lead.executing, lead.queued) == (10, 50)
                assert site.counts.view().state == "degraded"

            nursery.start_soon(look)
            results, refusals = await several(site, 65, "wait 1")
        diverted = [result for result in results if result.diverted_from == "engine"]
        assert refusals == []
        assert (len(results), len(diverted)) == (65, 5)
        assert all(result.degraded and result.engine == "plain" for result in diverted)
        assert not any(result.degraded for result in results if result.engine == "engine")
        assert site.counts.diverted == 5
        assert (await site.execute()).engine == "engine"
        await trio.sleep(1)
        assert site.states[-2:] == ["degraded", "running"]


async def test_where_the_understudy_has_no_room_either_it_is_refused(autojump_clock: Any) -> None:
    async with engine_site(limit=1, queue=1) as site:
        results, refusals = await several(site, 6, "wait 1")
        assert len(results) == 4
        assert refusals == [EngineBusy(1.0)] * 2
        assert site.counts.refused == 2


async def test_one_who_floods_waits_for_themselves(autojump_clock: Any) -> None:
    async with engine_site(limit=2, queue=50) as site, trio.open_nursery() as nursery:
        nursery.start_soon(several, site, 20, "wait 1")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        assert (await site.execute("wait 1", user="grace")).engine == "engine"
        assert trio.current_time() - began <= 2.0


async def test_its_deadline_ends_an_execution_where_it_is(autojump_clock: Any) -> None:
    async with engine_site(limit=1) as site:
        result = await site.execute("wait 100", within=5)
        assert (result.status, result.failure) == ("failed", Failure.ENGINE_TIMEOUT)
        assert result.result == {"begun": True}
        assert result.error == "This task took longer than it may. Please try again, or give it more time."
        results: list[EngineResult] = []

        async def waits() -> None:
            results.append(await site.execute("answer", within=3))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(several, site, 1, "wait 50")
            await wait_all_tasks_blocked()
            nursery.start_soon(waits)
        assert results[0].failure is Failure.ENGINE_TIMEOUT
        assert results[0].result == {}
        assert site.counts.queued == 0


async def test_a_cancelled_execution_makes_room_wherever_it_is(autojump_clock: Any) -> None:
    async with engine_site(limit=1) as site, trio.open_nursery() as nursery:
        ended: list[EngineResult] = []

        async def one(key: str, user: str) -> None:
            ended.append(await site.execute("wait 50", key=key, user=user))

        for key, user in (("a", "ada"), ("b", "ada"), ("b", "grace")):
            nursery.start_soon(one, key, user)
            await wait_all_tasks_blocked()
        for key in ("b", "a"):
            site.system.ref("/engine/engine").tell(Cancel("ada", key))
            await wait_all_tasks_blocked()
        assert [result.failure for result in ended] == [Failure.INTERRUPTED] * 2
        assert (site.counts.cancelled, site.counts.executing, site.counts.queued) == (2, 1, 0)
        assert site.began[-1] == ("engine", "grace")


async def test_it_is_cancelled_at_the_address_whoever_has_it(autojump_clock: Any) -> None:
    async with engine_site(limit=1) as site, trio.open_nursery() as nursery:
        ended: list[str] = []

        async def one(key: str) -> None:
            result = await site.execute("wait 50", key=key)
            ended.append(f"{result.engine} {result.failure}")

        nursery.start_soon(one, "a")
        await wait_all_tasks_blocked()
        site.system.suspend("/engine/engine")
        await trio.sleep(0.5)
        nursery.start_soon(one, "b")
        await wait_all_tasks_blocked()
        site.system.resume("/engine/engine")
        await trio.sleep(1)
        for key in ("b", "a", "none"):
            assert site.engine.tell(Cancel("ada", key))
            await wait_all_tasks_blocked()
        assert ended == ["plain interrupted", "engine interrupted"]
        assert site.counts.cancelled == 2


async def test_what_nobody_waits_for_any_more_is_cancelled(autojump_clock: Any) -> None:
    async with engine_site(limit=1) as site:
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(site.execute, "wait 1000")
                nursery.start_soon(site.execute, "wait 1000")
        await trio.sleep(1)
        assert (site.counts.cancelled, site.counts.executing, site.counts.queued) == (2, 0, 0)


async def test_three_defects_in_a_row_call_the_understudy_and_a_probe_brings_the_engine_back(
    autojump_clock: Any,
) -> None:
    async with engine_site() as site:
        for _ in range(3):
            result = await site.execute("defect")
            assert (result.failure, result.engine, result.degraded) == (Failure.INTERNAL, "engine", False)
        result = await site.execute()
        assert (result.engine, result.degraded, result.diverted_from) == ("plain", True, "engine")
        await trio.sleep(6)
        assert (await site.execute()).engine == "engine"
        await wait_all_tasks_blocked()
        assert site.states == ["running", "degraded", "running"]


async def test_only_its_own_faults_count_against_an_engine(autojump_clock: Any) -> None:
    async with engine_site() as site:
        for _ in range(4):
            assert (await site.execute("fail")).failure is Failure.UNREACHABLE
            assert await site.refused("unavailable") == EngineUnavailable(1.0)
        assert (await site.execute()).engine == "engine"
    assert judge(None, "something else") is None
    whole = EngineResult("e", "t", "completed", {}, False, None, None, 1)
    assert judge(None, whole) is Outcome.SUCCESS
    assert judge(None, attrs.evolve(whole, failure=Failure.ENGINE_TIMEOUT)) is None


async def test_what_turns_out_not_to_fit_is_refused_and_counted_as_failed(autojump_clock: Any) -> None:
    async with engine_site() as site:
        assert await site.refused("misfit") == BadExecution({"here": "No."})
        assert (site.counts.failed, site.counts.executing) == (1, 0)


async def test_an_engine_that_crashes_three_times_is_stood_in_for(autojump_clock: Any) -> None:
    async with engine_site() as site:
        caught: list[Exception] = []

        async def cut() -> None:
            try:
                await site.execute("wait 50")
            except HandlerFailed as error:
                caught.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut)
            await wait_all_tasks_blocked()
            site.system.fail("/engine/engine", RuntimeError("planned"))
        assert len(caught) == 1
        assert (site.counts.failed, site.counts.executing) == (1, 0)
        assert "engine" in site.closed
        for _ in range(2):
            site.system.fail("/engine/engine", RuntimeError("planned"))
            await wait_all_tasks_blocked()
        assert (await site.execute()).engine == "plain"
        assert site.counts.state == "degraded"
        await trio.sleep(6)
        assert (await site.execute()).engine == "engine"


@pytest.mark.parametrize("path", ["/engine", "/engine/engine"])
async def test_while_it_is_suspended_the_understudy_takes_what_comes_and_what_waits(
    autojump_clock: Any, path: str
) -> None:
    async with engine_site(limit=1) as site, trio.open_nursery() as nursery:
        results: list[EngineResult] = []

        async def one(say: str) -> None:
            results.append(await site.execute(say))

        nursery.start_soon(one, "wait 30")
        await wait_all_tasks_blocked()
        assert site.system.suspend(path)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await one("answer")
        # At the address alone nothing has happened yet: it stands in the engine's own line, and is done there.
        assert trio.current_time() - began <= (0.25 if path == "/engine/engine" else 30.0)
        assert results[0].engine == ("plain" if path == "/engine/engine" else "engine")
        await trio.sleep(0.5)
        assert (await site.execute()).diverted_from == "engine"
        await trio.sleep(3)
        assert (await site.execute()).diverted_from == "engine"
        assert site.counts.state == "degraded"
        assert site.system.resume(path)
        await trio.sleep(1)
        assert site.counts.state == "running"
        await trio.sleep(30)
        assert results[-1].engine == "engine"  # what it had begun it has finished
        assert (await site.execute()).engine == "engine"
        assert [report.active for report in site.reports if isinstance(report, Switched)] == ["plain", "engine"]


async def test_with_both_suspended_it_is_offline_and_nothing_is_lost(autojump_clock: Any) -> None:
    async with engine_site() as site, trio.open_nursery() as nursery:
        for path in ("/engine/engine", "/engine/plain"):
            site.system.suspend(path)
        await trio.sleep(1)
        results: list[EngineResult] = []

        async def one() -> None:
            results.append(await site.execute())

        nursery.start_soon(one)
        await trio.sleep(1)
        assert (site.counts.state, results) == ("offline", [])
        site.system.resume("/engine/plain")
        await trio.sleep(1)
        assert [result.engine for result in results] == ["plain"]


async def test_with_nothing_left_it_says_so(autojump_clock: Any) -> None:
    async with engine_site() as site:
        for name in ("engine", "plain"):
            for _ in range(3):
                site.system.fail(f"/engine/{name}", RuntimeError("planned"))
                await wait_all_tasks_blocked()
        assert await site.refused() == EngineUnavailable(0.25)
        await trio.sleep(0.3)
        assert site.counts.state == "offline"


async def test_its_state_is_told_again_now_and_then(autojump_clock: Any) -> None:
    async with engine_site() as site:
        await trio.sleep(0.1)
        before = len(site.heard)
        await trio.sleep(11)
        assert len(site.heard) - before == 2
        payload = site.heard[-1].event.metadata["payload"]
        assert payload["engine"] == "engine"
        assert "average_ms" not in payload


def test_an_understudy_has_to_be_this_engines() -> None:
    part = Part("engine", None, 1, 1, None)  # type: ignore[arg-type]  # it is refused before
    with pytest.raises(InvalidSpec):
        EngineFallback(EnginePlan(part, part), None, stamps(), None)  # type: ignore[arg-type]
