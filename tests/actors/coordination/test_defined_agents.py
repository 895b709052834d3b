"""Agents of the daemon that operators define at run time, and tasks for one agent. In virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.agents.definitions import AgentDefinition
from actors.coordination.agents import KNOWN_WITHIN
from actors.coordination.messages import AgentsKnown, DefineAgent, RemoveAgent
from runtime import TimedOut
from tests.support.tasks_system import FILE, TasksSystem, refused, run

SMITH = AgentDefinition("smith", "Smith", "You forge.", capabilities=("forge",), max_concurrent_tasks=1)
FORGE = {"required_capabilities": ["forge"]}


def test_an_agent_that_is_defined_at_run_time_outlives_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        waits = await here.submit("Forge", **FORGE)
        view = await here.coordinator.ask(DefineAgent(SMITH), 10)
        assert (view.agent_id, view.capabilities, view.status) == ("smith", ("forge",), "idle")
        assert (await here.ended(waits)).attempts[-1].agent_id == "smith"
        with refused("conflict"):
            await here.coordinator.ask(DefineAgent(SMITH), 10)
        here.crash("/coordinator")
        await trio.sleep(2)
        assert "smith" in await here.agents()
        second = await here.under_way("Forge", **FORGE)
        assert (await here.coordinator.ask(RemoveAgent("smith"), 10)).agent_id == "smith"
        assert "smith" not in await here.agents()
        assert (await here.ended(second)).status == "completed"
        here.crash("/coordinator")
        await trio.sleep(2)
        assert "smith" not in await here.agents()

    run(test, monkeypatch)


@pytest.mark.parametrize("order", [DefineAgent(SMITH), RemoveAgent("smith")])
def test_an_order_that_comes_before_the_agents_are_known_waits_for_that(
    order: DefineAgent | RemoveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(here: TasksSystem) -> None:
        if isinstance(order, RemoveAgent):
            await here.coordinator.ask(DefineAgent(SMITH), 10)
        here.plan.trouble = True
        here.crash("/coordinator")
        answers: list[Any] = []

        async def give() -> None:
            answers.append(await here.coordinator.ask(order, 60))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(give)
            await trio.sleep(KNOWN_WITHIN / 2)
            assert answers == []
            with pytest.raises(TimedOut):
                await here.coordinator.ask(AgentsKnown(), 2)
            here.plan.trouble = False
            await here.coordinator.ask(AgentsKnown(), 2)
        assert [answer.agent_id for answer in answers] == ["smith"]
        assert ("smith" in await here.agents()) == isinstance(order, DefineAgent)

    run(test, monkeypatch)


def test_and_is_refused_where_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        here.plan.trouble = True
        here.crash("/coordinator")
        asked = trio.current_time()
        with refused("unavailable"):
            await here.coordinator.ask(DefineAgent(SMITH), 60)
        assert trio.current_time() - asked == pytest.approx(KNOWN_WITHIN, abs=0.1)
        here.plan.trouble = False
        await here.coordinator.ask(DefineAgent(SMITH), 60)

    run(test, monkeypatch)


def test_which_agents_may_be_defined_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        for name, code in (("clerk", "conflict"), ("nobody", "not_found")):
            with refused(code):
                await here.coordinator.ask(RemoveAgent(name), 10)
        unknown = AgentDefinition("smith", "Smith", "You forge.", models=("other",))
        with refused("invalid_fields"):
            await here.coordinator.ask(DefineAgent(unknown), 10)
        digger = await here.digger()
        agent_id = await digger.register()
        task_id = await here.under_way()
        assert (await here.coordinator.ask(RemoveAgent(agent_id), 10)).name == "Digger"
        await here.until_status(task_id, "queued")
        assert await digger.register() == agent_id
        await here.until_status(task_id, "running", 2)
        await digger.update(task_id, 2, "completed")
        await here.ended(task_id)
        here.plan.trouble = True
        with refused("unavailable"):
            await here.coordinator.ask(DefineAgent(SMITH), 10)
        here.plan.trouble = False
        await here.coordinator.ask(DefineAgent(SMITH), 10)

    run(test, monkeypatch)


def test_a_task_for_one_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        agent_id = await digger.register("file")
        task_id = await here.under_way("For you", agent=agent_id, required_capabilities=[])
        other = await here.submit("For you", agent="poet", **FILE)
        assert (await here.ended(other)).attempts[-1].agent_id == "poet"
        await digger.update(task_id, 1, "completed")
        await here.ended(task_id)

    run(test, monkeypatch)
