"""The slots of agents in runs: who waits, who gives back, and that no agent does more at once than it may."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors.coordination.coordinator import Coordinator, CoordinatorServices
from actors.coordination.counts import CoordinationCounts
from actors.coordination.messages import ListAgents
from actors.coordination.roster import Roster
from actors.users.messages import Handle, Locate
from actors.workflows.definitions import StepDefinition, WorkflowDefinition
from runtime import Mailbox
from supervisors import ChildSpec
from tests.support.runs_system import AGENTS, BRIEF, RunsSystem, runs_system, workflow
from tests.support.users_system import OFTEN, command, settle, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from actors.protocol.channel_events import AgentView

ONE = {name: attrs.evolve(agent, max_concurrent_tasks=1) for name, agent in AGENTS.items()}
SIDE_BY_SIDE = workflow(
    *(StepDefinition(name, "analyst", depends_on=()) for name in ("one", "two", "three")),
    StepDefinition("last", "writer", depends_on=("one", "two", "three")),
)
SLOW = {(name, 1): ["think", "wait 5", "answer"] for name in ("one", "two", "three")}


@asynccontextmanager
async def system(
    monkeypatch: pytest.MonkeyPatch, *, definition: WorkflowDefinition = SIDE_BY_SIDE, **options: Any
) -> AsyncIterator[RunsSystem]:
    counts, roster = CoordinationCounts(), Roster()
    async with runs_system(monkeypatch, definition, coordinator=True, **options) as here:
        ref = here.base.system.ref
        services = CoordinatorServices(
            ref("/storage"),
            lambda user: ref(f"/users/{user}"),
            here.base.services.stamps,
            ONE,
            (),
            roster,
            counts,
            30.0,
        )
        root: Any = here.base.system.root
        spec = ChildSpec("coordinator", lambda: Coordinator(services), mailbox=Mailbox(65_536), budget=OFTEN)
        root.actor.start_child(spec)
        await settle()
        yield here


def run(test: Callable[[RunsSystem], Awaitable[None]], monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    async def main() -> None:
        async with system(monkeypatch, **options) as here:
            await test(here)
            agents = await here.base.system.ref("/coordinator").ask(ListAgents("ada"), 5)
            assert {agent.current_tasks for agent in agents} == {0}

    virtual(main)


def at_work(here: RunsSystem) -> int:
    """How many agents there are that may call their model."""
    nodes = here.base.system.tree().walk()
    return sum(node.kind == "Player" and node.state == "running" for node in nodes)


async def watched(here: RunsSystem, run_id: str, most: int = 1) -> str:
    """The run's end; there were never more agents at work than this."""
    while here.alive(here.path(run_id)):
        assert at_work(here) <= most
        await trio.sleep(0.2)
    return await here.ended(run_id)


def test_steps_of_one_agent_wait_for_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem) -> None:
        assert await watched(here, await here.start()) == "completed"
        assert [step for step, _ in here.script.calls] == ["one", "two", "three", "last"]

    run(test, monkeypatch, plays=dict(SLOW))


def test_runs_of_several_users_share_an_agents_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem) -> None:
        mine = await here.start()
        bob = await here.base.users.ask(Locate("bob"), 5)
        await bob.ask(Handle(command({"id": "c", "type": "start_run", "content": BRIEF})), 5)
        assert await watched(here, mine, most=2) == "completed"  # the writer of the one beside the analyst of the other
        await trio.sleep(60)
        assert len(here.script.calls) == 8
        users = [situation.user for situation in here.script.situations if situation.step != "last"]
        assert users == ["ada"] * 3 + ["bob"] * 3

    run(test, monkeypatch, plays=dict(SLOW))


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_cancelling_a_run_whose_steps_wait(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem) -> None:
        run_id = await here.start()
        await trio.sleep(seconds)
        await here.cancel(run_id)
        assert await watched(here, run_id) == "cancelled"

    run(test, monkeypatch, plays=dict(SLOW))


def test_cancelling_one_agent_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem) -> None:
        run_id = await here.start()
        await trio.sleep(1)
        await here.cancel(run_id, agent_name="writer")
        assert await watched(here, run_id) == "completed"

    run(test, monkeypatch, plays=dict(SLOW))


def test_a_pause_while_steps_wait_for_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that wait rest at once, without a slot, and are let go one by one when the run is resumed."""

    async def test(here: RunsSystem) -> None:
        run_id = await here.start()
        await trio.sleep(1)
        await here.pause(run_id)
        await trio.sleep(30)
        record = here.record(run_id)
        assert record.status == "paused"
        assert [step.rests for step in record.steps] == [False, True, True, False]
        assert here.script.calls == [("one", 1)]
        await here.resume(run_id)
        with trio.fail_after(600):
            while here.alive(here.path(run_id)):
                await trio.sleep(0.1)
        assert await here.ended(run_id) == "completed"
        times = [step for step, _ in here.script.calls]
        assert times == ["one", "two", "three", "last"]

    run(test, monkeypatch, plays=dict(SLOW))


def test_one_that_rests_gives_its_slot_to_others_and_waits_for_one_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem) -> None:
        mine = await here.start()
        await trio.sleep(0.3)
        await here.pause(mine)
        await here.until_status(mine, "paused")
        fields = {"id": "c", "type": "start_run", "content": BRIEF}
        await here.base.users.ask(Locate("bob"), 5)
        await settle()
        await here.base.handle(fields, user="bob")
        await trio.sleep(1)
        assert [situation.user for situation in here.script.situations] == ["ada", "bob"]
        assert len(here.script.calls) == 2
        await here.resume(mine)
        await trio.sleep(1)
        assert len(here.script.calls) == 2  # bob's works
        assert await here.ended(mine) == "completed"
        assert len(here.script.calls) == 4

    plays = {("one", 1): ["think", "wait 2", "think", "wait 2", "answer"]}
    run(test, monkeypatch, plays=plays, definition=workflow(StepDefinition("one", "analyst")))


def test_pausing_and_resuming_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem) -> None:
        run_id = await here.start()
        for number in range(8):
            await trio.sleep(0.7)
            await here.pause(run_id, command_id=f"p{number}")
            await trio.sleep(0.3)
            await here.resume(run_id, command_id=f"r{number}")
        assert await here.ended(run_id) == "completed"
        assert sorted(here.script.calls) == [("last", 1), ("one", 1), ("three", 1), ("two", 1)]

    run(test, monkeypatch, plays=dict(SLOW))


@pytest.mark.parametrize("path", ["/coordinator", "/runs/RUN", "/runs", "/users/ada", "/runs/RUN/one-1"])
@pytest.mark.parametrize("at", [0.05, 3.0, 7.0])
def test_a_crash_and_the_run_completes(path: str, at: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem) -> None:
        run_id = await here.start()
        await trio.sleep(at)
        here.base.crash(path.replace("RUN", run_id))
        assert await watched(here, run_id) == "completed"

    run(test, monkeypatch, plays=dict(SLOW))


async def seen(here: RunsSystem, user: str = "ada", *, operator: bool = False) -> dict[str, AgentView]:
    agents = await here.base.system.ref("/coordinator").ask(ListAgents(user, operator), 5)
    return {agent.agent_id: agent for agent in agents}


def counted(view: AgentView) -> tuple[int, int, str]:
    return view.metrics.tasks_completed, view.metrics.tasks_failed, view.status.value


def test_steps_count_for_their_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers, one that gives none, one that crashes, one that is too slow, one that is cancelled."""

    async def test(here: RunsSystem) -> None:
        run_id = await here.start()
        with trio.fail_after(600):
            while "cut" not in [situation.step for situation in here.script.situations]:
                await trio.sleep(0.1)
        await here.cancel(run_id, agent_name="cut")
        assert await watched(here, run_id, most=2) == "completed"
        agents = await seen(here)
        assert counted(agents["analyst"]) == (3, 2, "idle")
        assert counted(agents["writer"]) == (0, 1, "error")
        assert agents["analyst"].metrics.average_response_ms == 12.0  # of the three that answered
        assert agents["analyst"].metrics.success_rate == 0.6
        assert counted(agents["tester"]) == (0, 0, "idle")

    plays = {
        ("crash", 1): ["think", "crash"],
        ("none", 1): ["think", "give up"],
        ("late", 1): ["think", "hang"],
        ("cut", 1): ["think", "hang"],
    }
    steps = (
        StepDefinition("crash", "analyst"),
        StepDefinition("none", "analyst"),
        StepDefinition("late", "writer", timeout=3.0),
        StepDefinition("again", "analyst"),
        StepDefinition("cut", "analyst"),
        StepDefinition("last", "analyst"),
    )
    run(test, monkeypatch, plays=plays, definition=workflow(*steps))


def test_a_step_that_was_paused_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem) -> None:
        run_id = await here.start()
        await trio.sleep(0.3)
        await here.pause(run_id)
        await trio.sleep(30)
        await here.resume(run_id)
        assert await here.ended(run_id) == "completed"
        assert counted((await seen(here))["analyst"]) == (1, 0, "idle")

    plays = {("one", 1): ["think", "wait 2", "think", "wait 2", "answer"]}
    run(test, monkeypatch, plays=plays, definition=workflow(StepDefinition("one", "analyst")))


def test_what_an_agent_does_for_others_a_user_does_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem) -> None:
        mine = await here.start()
        await trio.sleep(1)
        for user, operator, expected in (("ada", False, 1), ("bob", False, 0), ("bob", True, 1)):
            view = (await seen(here, user, operator=operator))["analyst"]
            assert (view.current_tasks, view.load, view.status) == (
                expected,
                float(expected),
                "processing" if expected else "idle",
            )
        assert await watched(here, mine) == "completed"
        for user, operator, expected in (("ada", False, 3), ("bob", False, 0), ("root", True, 3)):
            view = (await seen(here, user, operator=operator))["analyst"]
            assert view.metrics.tasks_completed == expected
            assert (view.metrics.last_activity is not None) == bool(expected)

    run(test, monkeypatch, plays=dict(SLOW))


def test_waiting_for_a_slot_counts_for_a_steps_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: RunsSystem) -> None:
        run_id = await here.start()
        assert await watched(here, run_id) == "completed"
        record = here.record(run_id)
        assert [record.step(name).error_type for name in ("one", "two")] == ["", "timeout"]

    plays = {("one", 1): ["think", "wait 30", "answer"]}
    steps = (
        StepDefinition("one", "analyst", depends_on=()),
        StepDefinition("two", "analyst", depends_on=(), timeout=9.0),
    )
    run(test, monkeypatch, plays=plays, definition=workflow(*steps))
