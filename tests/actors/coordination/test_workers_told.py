"""What a remote worker is told of its tasks: each attempt once on a connection, and its end. In virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from actors.coordination.messages import RemoveAgent
from actors.coordination.roster import Registration, Roster, Told, Worker
from actors.protocol.task_events import ATTEMPT_OVER
from actors.users.messages import ToClient
from tests.support.tasks_system import LIMITS, OFFLINE_AFTER, TasksSystem, run
from tests.support.users_system import settle

if TYPE_CHECKING:
    from typing import Any


def test_of_a_task_that_is_cancelled_its_worker_hears_before_it_is_given_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register(max_concurrent_tasks=1)
        first = await here.under_way()
        second = await here.submit()
        await here.cancel(first)
        await here.until_status(second, "running")
        await settle()
        assert digger.heard() == [
            ("task_assigned", first, 1),
            ("task_withdrawn", first, 1),
            ("task_assigned", second, 1),
        ]
        told = next(f for f in digger.follower.frames if f["type"] == "task_withdrawn")
        assert told["content"] == ATTEMPT_OVER
        assert "seq" not in told
        await digger.update(second, 1, "completed")
        await here.ended(second)

    run(test, monkeypatch)


@pytest.mark.parametrize(("says", "again"), [("completed", False), ("failed", False), ("failed", True)])
def test_who_has_said_how_it_went_is_not_told_so(says: str, again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.under_way()
        await digger.update(task_id, 1, says, retry=again)
        if again:
            await here.until_status(task_id, "running", 2)
            await digger.update(task_id, 2, "completed")
        await here.ended(task_id)
        assert digger.withdrawn() == []
        assert here.roster.told == {}

    run(test, monkeypatch)


def test_who_is_too_slow_hears_of_that_task_alone_and_who_is_silent_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register(max_concurrent_tasks=2)
        slow = await here.under_way()
        await digger.update(slow, 1, "running", "Half of it.")
        await trio.sleep(LIMITS.timeout / 2)
        silent = await here.under_way()
        await here.until_status(slow, "running", 2)
        await settle()
        assert digger.withdrawn() == [(slow, 1)]
        await trio.sleep(LIMITS.timeout / 2 + 1)  # the other's deadline passes without a word of it
        assert digger.withdrawn()[0] == (slow, 1)
        assert sorted(digger.withdrawn()[1:]) == sorted([(slow, 2), (silent, 1)])
        for task_id in (slow, silent):
            await here.cancel(task_id)

    run(test, monkeypatch)


def test_when_an_operator_removes_it_it_hears_what_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        agent_id = await digger.register()
        task_id = await here.under_way()
        await here.coordinator.ask(RemoveAgent(agent_id), 10)
        await settle()
        assert digger.withdrawn() == [(task_id, 1)]
        assert here.roster.told == {}
        await here.cancel(task_id)

    run(test, monkeypatch)


def test_after_a_crash_of_the_coordinator_nothing_is_told_twice_and_what_ends_then_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.under_way()
        await settle()
        for _ in range(2):
            here.crash("/coordinator")
            await trio.sleep(3)
        assert digger.heard() == [("task_assigned", task_id, 1)]
        await here.cancel(task_id)
        await settle()
        assert digger.heard() == [("task_assigned", task_id, 1), ("task_withdrawn", task_id, 1)]

    run(test, monkeypatch)


def test_a_task_that_crashes_takes_its_attempt_back_and_gives_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.under_way()
        here.crash(f"/tasks/{task_id}")
        await here.until_status(task_id, "running", 2)
        await settle()
        assert digger.heard() == [
            ("task_assigned", task_id, 1),
            ("task_withdrawn", task_id, 1),
            ("task_assigned", task_id, 2),
        ]
        await digger.update(task_id, 2, "completed")
        await here.ended(task_id)

    run(test, monkeypatch)


def test_another_agent_of_the_same_worker_brings_no_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.under_way()
        await settle()
        await digger.register("cook", name="Cook")
        await digger.register()
        await settle()
        assert digger.offers() == [(task_id, 1)]
        await here.cancel(task_id)

    run(test, monkeypatch)


def test_one_that_was_away_is_told_what_it_still_has_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register(max_concurrent_tasks=2)
        kept, gone = await here.under_way(), await here.under_way()
        digger.drop()
        await trio.sleep(1)
        await here.cancel(gone)
        back = await digger.back()
        await settle()
        assert back.heard() == [("task_assigned", kept, 1)]
        await here.cancel(kept)
        await settle()
        assert back.withdrawn() == [(kept, 1)]

    run(test, monkeypatch)


def test_one_that_stays_away_is_forgotten_with_what_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        task_id = await here.under_way()
        digger.drop()
        await trio.sleep(OFFLINE_AFTER + 1)
        assert here.roster.told == {}
        await here.cancel(task_id)

    run(test, monkeypatch)


def test_what_its_context_does_not_take_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = [3]

    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        await digger.register()
        context: Any = here.base.system.ref("/users/ada")
        tell = type(context).tell

        def full(ref: Any, message: Any) -> bool:
            if isinstance(message, ToClient) and refusing[0]:
                refusing[0] -= 1
                return False
            taken: bool = tell(ref, message)
            return taken

        monkeypatch.setattr(type(context), "tell", full)
        task_id = await here.under_way()
        await trio.sleep(2)
        assert refusing == [0]
        assert digger.offers() == [(task_id, 1)]
        await here.cancel(task_id)

    run(test, monkeypatch)


def test_after_a_crash_of_its_context_it_is_told_again_for_that_may_have_lost_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(here: TasksSystem) -> None:
        digger = await here.digger("bob")
        await digger.register(role="worker")
        task_id = await here.under_way()
        await settle()
        here.crash("/users/bob")
        await trio.sleep(3)
        assert digger.heard() == [("task_assigned", task_id, 1)] * 2
        await here.cancel(task_id)

    run(test, monkeypatch)


def test_of_an_agent_that_is_forgotten_nothing_stays() -> None:
    """Also of what it had when its coordinator had just crashed, and knew of nothing that it has."""
    roster, worker, connection = Roster(), Worker("ada", "c1"), object()
    attendance = roster.enter(worker, connection, 0.0)  # type: ignore[arg-type]
    for name in ("one", "two"):
        roster.add(attendance, Registration(name, worker, name, "Digger", frozenset(), 1, None))
        roster.told[name] = Told(name, connection, offer=None)  # type: ignore[arg-type]
    roster.remove(attendance, "one")
    assert list(roster.told) == ["two"]
