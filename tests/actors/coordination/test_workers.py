"""Remote workers, in virtual time: offers, updates, going and coming back, silence, and whose tasks they see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors.agents.definitions import AgentDefinition
from actors.coordination.messages import DefineAgent, RemoveAgent
from actors.coordination.workers import FORGET_AFTER
from actors.protocol.catalogue import CATALOGUE, Failure
from actors.storage.interface import KeepReply
from actors.storage.journal import Append, FindReply
from runtime import Refused
from tests.support.tasks_system import FILE, LIMITS, OFFLINE_AFTER, TasksSystem, tasks_system
from tests.support.users_system import settle, virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LOST = CATALOGUE[Failure.WORKER_LOST].sentence


def run(test: Callable[[TasksSystem], Awaitable[None]], monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    async def main() -> None:
        async with tasks_system(monkeypatch, **options) as here:
            await test(here)
            here.verify()

    virtual(main)


def refused(code: str) -> Any:
    return pytest.raises(Refused, match=code)


def test_a_worker_is_told_and_says_how_it_went(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        agent_id = await digger.register()
        task_id = await here.submit("Dig", parameters={"deep": 2}, priority="HIGH", task_type="earth")
        await here.until_status(task_id, "running")
        await settle()
        (offer,) = [f for f in digger.follower.frames if f["type"] == "task_assigned"]
        assert offer["content"] == "Dig"
        assert "seq" not in offer
        fields = {name: offer["metadata"][name] for name in ("task_id", "attempt", "task_type", "parameters")}
        assert fields == {"task_id": task_id, "attempt": 1, "task_type": "earth", "parameters": {"deep": 2}}
        assert offer["metadata"]["deadline"].endswith("Z")
        assert (await here.agents())[agent_id].status == "processing"
        assert await digger.update(task_id, 1, "running", "Half of it is out.") == {"status": "running"}
        await trio.sleep(2)
        assert here.log()[-1]["content"] == "Half of it is out."
        assert await digger.update(task_id, 1, "completed", "Done.", result={"earth": [1, None]}) == {
            "status": "completed"
        }
        record = await here.ended(task_id)
        assert (record.result, record.sentence) == ({"earth": [1, None]}, "Done.")
        assert here.story(task_id) == ["queued", "running 1", "running 1", "completed 1"]
        view = (await here.agents())[agent_id]
        assert (view.status, view.metrics.tasks_completed, view.metrics.success_rate) == ("idle", 1, 1.0)
        assert view.metrics.average_response_ms

    run(test, monkeypatch)


def test_a_reply_comes_before_what_it_causes_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        await settle()
        before = len(digger.follower.frames)
        await digger.update(task_id, 1, "completed", command_id="done")
        assert len(digger.follower.frames) == before
        await here.ended(task_id)
        assert digger.follower.frames[before]["metadata"]["cause"] == "done"

    run(test, monkeypatch)


def test_progress_is_told_once_a_second_and_the_last_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        for number in range(100):
            await digger.update(task_id, 1, "running", f"{number} shovels")
            await trio.sleep(0.05)
        await trio.sleep(2)
        told = [f["content"] for f in here.log() if f["metadata"]["status"] == "running"]
        assert told[-1] == "99 shovels"
        assert 4 <= len(told) <= 8
        await digger.update(task_id, 1, "completed")
        await here.ended(task_id)

    run(test, monkeypatch)


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ({"error": "There is a rock."}, "There is a rock."),
        ({"content": "It is hard."}, "It is hard."),
        ({}, "The worker could not do this task."),
    ],
)
def test_a_worker_that_cannot_do_it(says: dict[str, Any], error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        agent_id = await digger.register()
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        assert await digger.update(task_id, 1, "failed", **says) == {"status": "failed"}
        assert (await here.ended(task_id)).error == error
        assert here.story(task_id) == ["queued", "running 1", "failed 1"]
        assert (await here.agents())[agent_id].status == "error"

    run(test, monkeypatch)


def test_a_failure_that_may_pass_is_tried_again_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        first, second = await here.digger(), await here.digger()
        await first.register()
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        await second.register()
        assert await first.update(task_id, 1, "failed", error="Tired.", retry=True) == {"status": "queued"}
        await here.until_status(task_id, "running", 2)
        await settle()
        assert second.offers() == [(task_id, 2)]
        assert await second.update(task_id, 2, "failed", error="Tired.", retry=True) == {"status": "queued"}
        await here.until_status(task_id, "running", 3)
        last = second if (task_id, 3) in second.offers() else first
        assert await last.update(task_id, 3, "failed", error="Tired.", retry=True) == {"status": "failed"}
        assert (await here.ended(task_id)).error == "Tired."

    run(test, monkeypatch)


def test_an_update_of_an_attempt_that_is_over_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        first, second = await here.digger(), await here.digger()
        await first.register()
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        await second.register()
        first.drop()
        await here.until_status(task_id, "running", 2)
        back = await first.back()
        with refused("conflict"):
            await back.update(task_id, 1, "completed", result="late")
        with refused("conflict"):
            await back.update(task_id, 2, "completed", result="not mine")
        await second.update(task_id, 2, "completed", result="in time")
        with refused("conflict"):
            await second.update(task_id, 2, "completed", result="twice")
        assert (await here.ended(task_id)).result == "in time"
        with refused("conflict"):
            await second.update(task_id, 2, "completed", result="much later")

    run(test, monkeypatch)


def test_the_number_of_the_attempt_counts_though_the_worker_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        await digger.update(task_id, 1, "failed", error="Tired.", retry=True)
        await here.until_status(task_id, "running", 2)
        with refused("conflict"):
            await digger.update(task_id, 1, "completed", result="of the first")
        await digger.update(task_id, 2, "completed", result="of the second")
        assert (await here.ended(task_id)).result == "of the second"

    run(test, monkeypatch)


def test_nothing_is_offered_before_the_attempt_is_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a daemon that is killed in between would give the same number to another."""

    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        task_id = await here.submit()
        await trio.sleep(1)
        here.plan.close_gate()
        await digger.register()
        await trio.sleep(5)
        assert digger.offers() == []
        here.plan.gate.set()
        await here.until_status(task_id, "running")
        await settle()
        assert digger.offers() == [(task_id, 1)]
        await digger.update(task_id, 1, "completed")
        await here.ended(task_id)

    run(test, monkeypatch)


def test_a_stranger_cannot_update_a_task_and_its_owner_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        worker, stranger, owner = [await here.digger(user) for user in ("mole", "bob", "ada")]
        await worker.register(role="operator", shared=True)
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        for _ in range(2):
            with refused("not_found"):
                await stranger.update(task_id, 1, "completed")
            with refused("forbidden"):
                await owner.update(task_id, 1, "completed")
            if not here.record(task_id).ended:
                await worker.update(task_id, 1, "completed", result=1)
                await here.ended(task_id)
        with refused("not_found"):
            await stranger.update("no such task", 1, "completed")
        assert here.story(task_id) == ["queued", "running 1", "completed 1"]
        assert [f for f in here.log("mole") if f["type"] == "task_status"] == []

    run(test, monkeypatch)


def test_a_users_worker_gets_that_users_tasks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger("bob")
        agent_id = await digger.register(role="operator")
        with refused("forbidden"):
            await digger.register(role="user", shared=True)
        mine, theirs = await here.submit(user="ada"), await here.submit(user="bob")
        await here.until_status(theirs, "running", user="bob")
        await trio.sleep(30)
        assert digger.offers() == [(theirs, 1)]
        assert here.story(mine) == ["queued"]
        assert agent_id not in await here.agents("ada")
        assert agent_id in await here.agents("bob")
        assert agent_id in await here.agents("ada", operator=True)
        await digger.update(theirs, 1, "completed")
        await here.cancel(mine)
        await here.ended(theirs, user="bob")

    run(test, monkeypatch)


def test_one_with_the_role_of_worker_serves_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger("mole")
        await digger.register(role="worker")
        task_id = await here.submit(user="ada")
        await here.until_status(task_id, "running")
        await digger.update(task_id, 1, "completed")
        await here.ended(task_id)

    run(test, monkeypatch)


def test_a_worker_that_goes_is_offline_after_a_while_and_its_tasks_go_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(here: TasksSystem) -> None:
        first, second = await here.digger(), await here.digger()
        agent_id = await first.register(max_concurrent_tasks=2)
        tasks = [await here.submit() for _ in range(2)]
        for task_id in tasks:
            await here.until_status(task_id, "running")
        await second.register(name="Spare", max_concurrent_tasks=5)
        first.drop()
        left = trio.current_time()
        await settle()
        third = await here.submit()
        await here.until_status(third, "running")
        assert (third, 1) in second.offers()
        assert (await here.agents())[agent_id].status == "processing"
        for task_id in tasks:
            await here.until_status(task_id, "running", 2)
            assert "went away" in here.record(task_id).sentence or here.story(task_id)[2] == "queued"
        assert trio.current_time() - left == pytest.approx(OFFLINE_AFTER, abs=1)
        assert (await here.agents())[agent_id].status == "offline"
        for task_id, attempt in second.offers():
            await second.update(task_id, attempt, "completed")
        for task_id in [*tasks, third]:
            assert (await here.ended(task_id)).status == "completed"
        await trio.sleep(FORGET_AFTER + 60)
        assert agent_id not in await here.agents()

    run(test, monkeypatch)


def test_one_that_comes_back_in_time_keeps_its_tasks_and_is_told_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        agent_id = await digger.register()
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        digger.drop()
        await trio.sleep(OFFLINE_AFTER - 5)
        back = await digger.back()
        assert back.offers() == [(task_id, 1)]
        assert await back.register() == agent_id
        await settle()
        assert back.offers() == [(task_id, 1), (task_id, 1)]
        await trio.sleep(OFFLINE_AFTER + 5)
        assert here.story(task_id) == ["queued", "running 1"]
        await back.update(task_id, 1, "completed")
        await here.ended(task_id)

    run(test, monkeypatch, limits=attrs.evolve(LIMITS, timeout=600.0))


def test_one_that_is_silent_past_a_deadline_is_offline_until_it_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection stands all the time."""

    async def test(here: TasksSystem) -> None:
        silent, spare = await here.digger(), await here.digger()
        agent_id = await silent.register(max_concurrent_tasks=2)
        tasks = [await here.submit() for _ in range(2)]
        await here.until_status(tasks[0], "running")
        await trio.sleep(LIMITS.timeout / 2)
        await spare.register(name="Spare", max_concurrent_tasks=5)
        for task_id in tasks:
            await here.until_status(task_id, "running", 2)
        assert sorted(spare.offers()) == sorted((task_id, 2) for task_id in tasks)
        assert (await here.agents())[agent_id].status == "offline"
        with refused("conflict"):
            await silent.update(tasks[0], 1, "running", "Oh.")
        assert (await here.agents())[agent_id].status != "offline"
        for task_id in tasks:
            await spare.update(task_id, 2, "completed")
            await here.ended(task_id)
        more = await here.submit()
        await here.until_status(more, "running")
        await here.cancel(more)

    run(test, monkeypatch)


def test_one_that_speaks_and_is_too_slow_loses_only_that_task(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        slow = await here.digger()
        agent_id = await slow.register(max_concurrent_tasks=2)
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        for _ in range(3):
            for second in range(12):
                attempt = here.record(task_id).attempt
                if here.record(task_id).open:
                    await slow.update(task_id, attempt, "running", f"{second}")
                await trio.sleep(5)
        assert (await here.agents())[agent_id].status != "offline"
        record = await here.ended(task_id)
        assert (record.status, record.attempt) == ("failed", 3)
        assert record.error == CATALOGUE[Failure.TASK_TIMEOUT].sentence

    run(test, monkeypatch)


def test_taking_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        first, second = await here.digger(), await here.digger()
        agent_id = await first.register()
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        await second.register(name="Spare")
        with refused("not_found"):
            await second.say("unregister_agent", agent_id=agent_id)
        assert await first.say("unregister_agent", agent_id=agent_id) == {"agent_id": agent_id}
        await here.until_status(task_id, "running", 2)
        assert agent_id not in await here.agents()
        with refused("not_found"):
            await first.say("unregister_agent", agent_id=agent_id)
        await second.update(task_id, 2, "completed")
        await here.ended(task_id)
        assert first.follower.ref.target.watchable() is not None

    run(test, monkeypatch)


def test_losing_every_worker_ends_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        task_id = await here.submit()
        for attempt in (1, 2, 3):
            digger = await here.digger()
            agent_id = await digger.register()
            await here.until_status(task_id, "running", attempt)
            await digger.say("unregister_agent", agent_id=agent_id)
        record = await here.ended(task_id)
        assert (record.status, record.error) == ("failed", LOST)

    run(test, monkeypatch)


def test_a_worker_needs_a_connection_and_registers_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        with refused("bad_request"):
            await here.say("ada", "register_agent", name="Nobody")
        digger = await here.digger()
        for number in range(100):
            await digger.register(name=f"Digger {number}")
        with refused("limit_reached"):
            await digger.register(name="One more")
        await digger.register(name="Digger 5", max_concurrent_tasks=7)
        slots = sorted(agent.max_concurrent_tasks for agent in (await here.agents()).values())
        assert slots[-1] == 7

    run(test, monkeypatch)


@pytest.mark.parametrize("path", ["/coordinator", "/users/ada", "/tasks", "/storage"])
def test_a_crash_and_the_worker_notices_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        agent_id = await digger.register()
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        here.crash(path)
        await trio.sleep(3)
        again = path == "/tasks"
        (attempt,) = {2} if again else {1}
        assert (task_id, attempt) in digger.offers()
        assert (await here.agents())[agent_id].current_tasks == 1
        assert await digger.update(task_id, attempt, "completed") == {"status": "completed"}
        await here.ended(task_id)
        after = await here.submit()
        await here.until_status(after, "running")
        await digger.update(after, 1, "completed")
        await here.ended(after)

    run(test, monkeypatch)


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_worker_says_is_recorded_once_though_the_task_crashes(
    kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as it is on the disk; and before anybody has heard it, so that the attempt is over."""

    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.submit()
        await here.until_status(task_id, "running")

        def at(moment: str) -> None:
            message = here.plan.heard[-1]
            if kept and moment.startswith("after") and isinstance(message, Append):
                effects = [effect for record in message.records for effect in record.effects]
                if any(isinstance(effect, KeepReply) and effect.command_id == "done" for effect in effects):
                    here.crash(f"/tasks/{task_id}")
            elif not kept and isinstance(message, FindReply) and message.command_id == "done":
                here.plan.at = str
                here.crash("/tasks")

        here.plan.at = at
        if kept:
            answer = await digger.update(task_id, 1, "completed", result="once", command_id="done")
            assert answer == {"status": "completed"}
            assert (await here.ended(task_id)).result == "once"
            assert here.story(task_id) == ["queued", "running 1", "completed 1"]
            assert await digger.update(task_id, 1, "completed", result="once", command_id="done") == answer
        else:
            with refused("conflict"):
                await digger.update(task_id, 1, "completed", result="once", command_id="done")
            await here.until_status(task_id, "running", 2)
            await digger.update(task_id, 2, "completed")
            await here.ended(task_id)

    run(test, monkeypatch)


def test_a_worker_that_went_while_the_coordinator_was_down(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        first, second = await here.digger(), await here.digger()
        agent_id = await first.register()
        task_id = await here.submit()
        await here.until_status(task_id, "running")
        await second.register(name="Spare")
        for _ in range(3):
            here.crash("/coordinator")
            await trio.sleep(0.001)
        first.drop()
        await here.until_status(task_id, "running", 2)
        assert (await here.agents())[agent_id].status == "offline"
        here.crash("/coordinator")
        await trio.sleep(5)
        assert (await here.agents())[agent_id].status == "offline"
        await second.update(task_id, 2, "completed")
        await here.ended(task_id)
        await trio.sleep(FORGET_AFTER + 60)
        assert agent_id not in await here.agents()

    run(test, monkeypatch)


# --- agents of the daemon that come at run time

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
        second = await here.submit("Forge", **FORGE)
        await here.until_status(second, "running")
        assert (await here.coordinator.ask(RemoveAgent("smith"), 10)).agent_id == "smith"
        assert "smith" not in await here.agents()
        assert (await here.ended(second)).status == "completed"
        here.crash("/coordinator")
        await trio.sleep(2)
        assert "smith" not in await here.agents()

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
        task_id = await here.submit()
        await here.until_status(task_id, "running")
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
        task_id = await here.submit("For you", agent=agent_id, required_capabilities=[])
        await here.until_status(task_id, "running")
        other = await here.submit("For you", agent="poet", **FILE)
        assert (await here.ended(other)).attempts[-1].agent_id == "poet"
        await digger.update(task_id, 1, "completed")
        await here.ended(task_id)

    run(test, monkeypatch)
