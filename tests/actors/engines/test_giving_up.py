"""An engine that does not hold, beside a coordinator and tasks that do: nobody is started anew on its account."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import structlog
import trio
from trio.testing import wait_all_tasks_blocked

from actors.engines.counts import EngineCounts
from actors.engines.engine import Part
from actors.engines.fallback import EnginePlan, engine_spec
from actors.engines.messages import EngineResult, Execute
from runtime import Actor, ActorError, GaveUp, Report, System, open_system
from supervisors import ChildSpec, supervise
from tests.support.engines_system import POLICY, Scripted, stamps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actors.engines.strategy import Strategy

pytestmark = pytest.mark.repeats

SIBLINGS = ("/engines/coordinator", "/engines/tasks", "/engines/other")


class Sibling(Actor):
    """Stands for the coordinator and the tasks' supervisor."""


@attrs.define(eq=False)
class Site:
    system: System
    reports: list[Report]
    broken: set[str]
    """Parts whose strategy cannot be made: they fail in starting."""

    async def execute(self, engine: str = "engine") -> EngineResult:
        ask = Execute("memory_query", "", "ada", trio.current_time() + 5.0)
        result: EngineResult = await self.system.ref(f"/engines/{engine}").ask(ask, 6.0)
        return result

    def incarnations(self) -> list[int]:
        nodes = [self.system.tree().find(path) for path in (*SIBLINGS, "/engines", "/storage")]
        return [node.incarnation for node in nodes if node is not None]

    def crash(self, path: str) -> None:
        node = self.system.tree().find(path)
        if node is not None and node.state == "running":
            self.system.fail(path, RuntimeError("planned"))


@asynccontextmanager
async def engines() -> AsyncIterator[Site]:
    """An engine as the daemon has it, under a supervisor with the budget that the daemon's has."""
    broken: set[str] = set()

    def part(name: str, of: str | None) -> Part:
        def make(_: Any) -> Strategy:
            if name in broken:
                raise RuntimeError("planned")
            return Scripted(name, [], [])

        return Part(name, of, 2, 3, make)

    plan = EnginePlan(part("engine", None), part("plain", "engine"), POLICY)
    other = EnginePlan(part("other", None), part("simple", "other"), POLICY)
    log = structlog.get_logger()
    children = [
        engine_spec(plan, EngineCounts("engine"), stamps(), log),
        engine_spec(other, EngineCounts("other"), stamps(), log),
        ChildSpec("coordinator", Sibling),
        ChildSpec("tasks", Sibling),
    ]
    root = supervise("root", [ChildSpec("storage", Sibling), supervise("engines", children)])
    reports: list[Report] = []
    async with open_system(root, report=reports.append, rng=random.Random(3)) as system:
        await wait_all_tasks_blocked()
        yield Site(system, reports, broken)


async def test_one_whose_lead_does_not_come_back_is_stood_in_for(autojump_clock: Any) -> None:
    async with engines() as site:
        before = site.incarnations()
        site.broken.add("engine")
        site.crash("/engines/engine/engine")
        await trio.sleep(600)
        assert (await site.execute()).diverted_from == "engine"
        assert site.incarnations() == before
        site.broken.clear()
        await trio.sleep(60)
        assert (await site.execute()).engine in {"engine", "plain"}
        await trio.sleep(1)
        assert (await site.execute()).engine == "engine"


@pytest.mark.parametrize("victims", [("engine", "plain"), ("",)], ids=["both of its actors", "its address"])
@pytest.mark.parametrize("pause", [0.05, 0.5, 5.5])
async def test_one_that_keeps_crashing_takes_nobody_with_it(
    autojump_clock: Any, victims: tuple[str, ...], pause: float
) -> None:
    async with engines() as site:
        before = site.incarnations()
        until = trio.current_time() + 120
        while trio.current_time() < until:
            for name in victims:
                site.crash("/engines/engine" + (f"/{name}" if name else ""))
            await trio.sleep(pause)
        assert site.incarnations() == before
        gave_up = {report.path for report in site.reports if isinstance(report, GaveUp)}
        assert all(path.startswith("/engines/engine/") for path in gave_up)  # the fallback on its actors, at the most
        assert (await site.execute("other")).engine == "other"
        await trio.sleep(60)
        assert (await site.execute()).status == "completed"


async def test_one_that_cannot_start_any_more_is_away_until_it_can(autojump_clock: Any) -> None:
    async with engines() as site:
        before = site.incarnations()
        site.broken.update({"engine", "plain"})
        site.crash("/engines/engine")
        await trio.sleep(600)
        with pytest.raises(ActorError):
            await site.execute()
        assert site.incarnations() == before
        site.broken.clear()
        await trio.sleep(60)
        assert (await site.execute()).engine == "engine"


@pytest.mark.parametrize(("broken", "serves"), [("engine", "plain"), ("plain", "engine")])
async def test_where_one_of_both_cannot_start_the_other_serves(autojump_clock: Any, broken: str, serves: str) -> None:
    async with engines() as site:
        before = site.incarnations()
        site.broken.add(broken)
        site.crash("/engines/engine")
        await trio.sleep(600)
        assert (await site.execute()).engine == serves
        assert site.incarnations() == before
