"""Records of runs are forgotten with the log's retention, a page at a time, and no run that still matters is."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from actors.durable.retention import AT_ONCE, Ended, forgetting, key_of, note_end
from actors.durable.supervisor import SWEEP_EVERY
from actors.storage.interface import DeleteState, Record
from actors.users.keys import OPEN, RUNS, run_key
from actors.workflows.record import encode_record, new_record
from actors.workflows.sweeping import ENDED, forget_run
from tests.support.memory_journal import MemoryStorage, Plan
from tests.support.runs_system import BRIEF, THREE, runs_system
from tests.support.users_system import START, virtual

DAY = 86_400.0


def ended(storage: MemoryStorage, user: str, run_id: str, at: float) -> None:
    """A run that ended at this time, as its end was committed."""
    key = run_key(user, run_id)
    record = attrs.evolve(new_record(user, run_id, "s", THREE, BRIEF, "now"), status="completed", ended_at=at)
    storage.state[RUNS, key] = encode_record(record)
    effect = note_end(ENDED, key, at)
    storage.state[effect.space, effect.key] = effect.value


def forgotten(found: list[str]) -> Record:
    effects = [effect for entry in found for effect in forget_run(key_of(entry))]
    return forgetting(ENDED, found, effects, "change")


def left(storage: MemoryStorage) -> set[str]:
    return {key for space, key in storage.state if space == RUNS}


def test_the_oldest_come_first_and_only_those_before_the_time() -> None:
    storage = MemoryStorage()
    for number in (3, 1, 2, 11):
        ended(storage, "a/b", f"r{number}", START + number)
    found = Ended(ENDED, START + 3).run(storage)  # type: ignore[arg-type]
    assert [key.rpartition("/")[2] for key in found] == ["r1", "r2"]
    record = forgotten(found)
    assert (record.body, record.users) == (None, ())
    storage.append([record])
    assert left(storage) == {run_key("a/b", "r3"), run_key("a/b", "r11")}
    assert sum(space == ENDED for space, _ in storage.state) == 2


def test_a_page_is_bounded() -> None:
    storage = MemoryStorage()
    for number in range(AT_ONCE + 5):
        ended(storage, "ada", f"r{number}", START)
    found = Ended(ENDED, START + 1).run(storage)  # type: ignore[arg-type]
    assert len(found) == AT_ONCE
    assert len([effect for effect in forgotten(found).effects if isinstance(effect, DeleteState)]) == 2 * AT_ONCE


def test_runs_are_forgotten_after_the_retention_by_a_timer(monkeypatch: Any) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, keep=7 * DAY) as here:
            run_id = await here.start()
            assert await here.ended(run_id) == "completed"
            await trio.sleep(6.9 * DAY)
            assert left(here.plan.storage) == {run_key("ada", run_id)}
            await trio.sleep(0.2 * DAY)
            assert here.plan.storage.state == {}

    virtual(main)


def test_much_is_forgotten_page_by_page_and_what_is_open_stays(monkeypatch: Any) -> None:
    async def main() -> None:
        plan = Plan()
        for number in range(3 * AT_ONCE + 1):
            ended(plan.storage, "bob", f"old{number}", START - 8 * DAY)
        ended(plan.storage, "bob", "new", START - 6 * DAY)
        plays = {("analysis", 1): ["think", "hang"]}
        async with runs_system(monkeypatch, plan=plan, plays=plays, keep=7 * DAY) as here:
            run_id = await here.start()
            await trio.sleep(60)
            assert left(plan.storage) == {run_key("bob", "new"), run_key("ada", run_id)}
            await trio.sleep(8 * DAY)
            assert left(plan.storage) == {run_key("ada", run_id)}
            assert (OPEN, run_key("ada", run_id)) in plan.storage.state
            await here.cancel(run_id)
            assert await here.ended(run_id) == "cancelled"

    virtual(main)


def test_trouble_with_storage_only_delays_it(monkeypatch: Any) -> None:
    async def main() -> None:
        plan = Plan(trouble=True)
        ended(plan.storage, "bob", "old", START - 8 * DAY)
        async with runs_system(monkeypatch, plan=plan, keep=7 * DAY):
            await trio.sleep(2 * SWEEP_EVERY)
            assert left(plan.storage) == {run_key("bob", "old")}
            plan.trouble = False
            await trio.sleep(2 * SWEEP_EVERY)
            assert left(plan.storage) == set()

    virtual(main)
