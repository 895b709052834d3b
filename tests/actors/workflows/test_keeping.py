"""What is written of a run while it goes on: its record without the answers, and each answer once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.storage.interface import PutState
from actors.storage.journal import Append
from actors.users.keys import OPEN, RUNS, run_key
from actors.workflows.definitions import StepDefinition
from actors.workflows.keeping import ANSWERS, ReadKept
from actors.workflows.record import decode_record, encode_record
from tests.support.memory_journal import MemoryStorage, Plan
from tests.support.runs_system import THREE, runs_system, workflow
from tests.support.users_system import virtual

if TYPE_CHECKING:
    import pytest

LONG = "word " * 1638
"""8 KB."""
STEPS = [f"step-{number}" for number in range(20)]
SEQUENCE = workflow(
    *(
        StepDefinition(name, "writer", depends_on=tuple(STEPS[number - 1 : number]) if number else ())
        for number, name in enumerate(STEPS)
    )
)
AT_LENGTH = {(name, 1): ["think", f"answer {LONG}"] for name in STEPS}
HANGS_AT_LAST = {**AT_LENGTH, (STEPS[-1], 1): ["think", "hang"]}


def answers_of(plan: Plan, run_id: str) -> dict[str, bytes]:
    prefix = f"{run_key('ada', run_id)}/"
    return {key.removeprefix(prefix): text for (space, key), text in plan.storage.state.items() if space == ANSWERS}


def test_a_run_of_long_answers_writes_each_a_few_times_and_not_with_every_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[int] = []
    made = Append.__init__

    def counted(self: Append, records: Any) -> None:
        written.extend(len(e.value) for record in records for e in record.effects if isinstance(e, PutState))
        made(self, records)

    monkeypatch.setattr(Append, "__init__", counted)

    async def main() -> None:
        async with runs_system(monkeypatch, SEQUENCE, plays=AT_LENGTH) as here:
            run_id = await here.start()
            assert await here.ended(run_id) == "completed"
            assert [step.text for step in here.record(run_id).steps] == [LONG] * 20
            assert answers_of(here.plan, run_id) == {}, "all of it is one record again"

    virtual(main)
    assert 2 * 20 * len(LONG) < sum(written) < 10 * 20 * len(LONG)


def test_while_it_goes_on_the_answers_stand_beside_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with runs_system(monkeypatch, SEQUENCE, plays=HANGS_AT_LAST) as here:
            run_id = await here.start()
            await here.until_called(STEPS[-1])
            await trio.sleep(1)
            assert answers_of(here.plan, run_id) == dict.fromkeys(STEPS[:-1], LONG.encode())
            stored = decode_record(here.plan.storage.state[RUNS, run_key("ada", run_id)])
            assert [step.text for step in stored.steps] == [None] * 20
            assert [step.text for step in here.record(run_id).steps] == [LONG] * 19 + [None]
            here.verify(run_id, over=False)

    virtual(main)


def test_the_next_agent_reads_what_was_answered_before_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        plan = Plan()
        async with runs_system(monkeypatch, SEQUENCE, plays=HANGS_AT_LAST, plan=plan) as here:
            run_id = await here.start()
            await here.until_called(STEPS[-1])
            await trio.sleep(1)
        async with runs_system(monkeypatch, SEQUENCE, plan=plan, daemon="d2") as here:
            assert await here.ended(run_id) == "completed"
            [earlier] = here.script.earlier
            assert [step.text for step in earlier] == [LONG] * 19

    virtual(main)


def test_a_record_that_holds_its_answers_itself_is_taken_up_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a daemon of an earlier version has left it."""

    async def main() -> None:
        plan = Plan()
        plays = {("text", 1): ["think", "hang"], ("text", 2): ["think", "hang"]}
        async with runs_system(monkeypatch, THREE, plays=plays, plan=plan) as here:
            run_id = await here.start()
            await here.until_called("text")
            await trio.sleep(1)
            record = here.record(run_id)
        plan.storage.state[RUNS, run_key("ada", run_id)] = encode_record(record)
        for name in answers_of(plan, run_id):
            del plan.storage.state[ANSWERS, f"{run_key('ada', run_id)}/{name}"]
        async with runs_system(monkeypatch, THREE, plays=plays, plan=plan, daemon="d2"):
            await trio.sleep(3)
            assert set(answers_of(plan, run_id)) == {"analysis", "test"}
        async with runs_system(monkeypatch, THREE, plan=plan, daemon="d3") as here:
            assert await here.ended(run_id) == "completed"
            assert [step.text is not None for step in here.record(run_id).steps] == [True] * 3

    virtual(main)


def test_whatever_ends_a_run_nothing_is_left_beside_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        plan = Plan()
        definition = attrs.evolve(SEQUENCE, on_restart="fail")
        async with runs_system(monkeypatch, definition, plays=HANGS_AT_LAST, plan=plan) as here:
            run_id = await here.start()
            await here.until_called(STEPS[-1])
            await trio.sleep(1)
        async with runs_system(monkeypatch, definition, plan=plan, daemon="d2") as here:
            assert await here.ended(run_id) == "failed"
            assert answers_of(plan, run_id) == {}
            assert [step.text for step in here.record(run_id).steps] == [LONG] * 19 + [None]
            assert (OPEN, run_key("ada", run_id)) not in plan.storage.state

    virtual(main)


def test_more_answers_than_are_listed_at_once_are_all_read() -> None:
    key = run_key("ada", "r1")
    answers = {f"{key}/step-{number:04}": b"Tea" for number in range(2_500)}

    storage: Any = MemoryStorage()
    storage.state[RUNS, key] = b"{}"
    storage.state.update({(ANSWERS, name): text for name, text in answers.items()})
    kept = ReadKept(key).run(storage)
    assert kept is not None
    assert len(kept.answers) == 2_500
