"""Every commit is a place where the daemon may be killed: what the next one makes of it is a legal log of that run."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import attrs
import hypothesis.strategies as st
import pytest
import trio
from hypothesis import HealthCheck, given, settings

from actors.protocol.codes import ErrorType
from actors.protocol.event_types import AgentStatus, RunStatus
from actors.storage.journal import Append
from actors.users.keys import OPEN, RUNS, run_key
from actors.workflows import attempts, progress
from actors.workflows.attempts import AttemptLimits
from actors.workflows.children import new_child, with_child
from actors.workflows.definitions import StepDefinition, WorkflowDefinition
from actors.workflows.messages import Answered, StartChildAgent
from actors.workflows.orders import Order, caused, held, ordered
from actors.workflows.record import OpenTool, RunRecord, StepRecord, new_record
from actors.workflows.recovery import take_up
from tests.support.examples import examples
from tests.support.memory_journal import MemoryStorage, Plan
from tests.support.runs_system import BRIEF, RunsSystem, runs_system, workflow
from tests.support.users_system import virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

DIAMOND = workflow(
    StepDefinition("analysis", "analyst"),
    StepDefinition("test", "tester", depends_on=("analysis",)),
    StepDefinition("text", "writer", depends_on=("analysis",)),
    StepDefinition("last", "analyst", depends_on=("test", "text")),
)
PLAYS = {
    ("analysis", 1): ["think", "tool", "write", "tool done", "think", "write", "answer"],
    ("test", 1): ["think", "write", "tool", "tool done", "write", "think", "answer"],
    ("text", 1): ["think", "write", "crash"],
}
PLAYS_OF_A_FAILURE = {**PLAYS, ("last", 1): ["think", "give up"]}
AGENTS = ("Analyst", "Tester", "Writer")


@attrs.frozen
class Moment:
    """What was on the disk after one commit."""

    storage: MemoryStorage
    run_id: str

    @property
    def accepted(self) -> bool:
        return (RUNS, run_key("ada", self.run_id)) in self.storage.state

    @property
    def ended(self) -> bool:
        return (OPEN, run_key("ada", self.run_id)) not in self.storage.state


async def moments(monkeypatch: Any, orders: list[tuple[str, float]], plays: Any, on_restart: Any) -> list[Moment]:
    """A run that is given these orders, each so many seconds after the one before: every commit of it."""
    taken: list[MemoryStorage] = []
    definition = attrs.evolve(DIAMOND, on_restart=on_restart)
    async with runs_system(monkeypatch, definition, plays=plays) as here:

        def at(point: str) -> None:
            if point.startswith("after") and isinstance(here.plan.heard[-1], Append):
                taken.append(copy.deepcopy(here.plan.storage))

        here.plan.at = at
        run_id = await here.start()
        for number, (order, pause) in enumerate(orders):
            await trio.sleep(pause)
            verb, _, agent = order.partition(" ")
            more = {"agent_name": agent} if agent else {}
            await here.steer(verb, run_id, command_id=f"o{number}", **more)
        await trio.sleep(30)
        here.plan.at = str
    return [Moment(storage, run_id) for storage in taken]


async def killed_at(moment: Moment, monkeypatch: Any) -> RunsSystem:
    """The next daemon, which finds what was on the disk, to the end of the run. Verified."""
    plan = Plan(storage=copy.deepcopy(moment.storage))
    before = plan.storage.log_of("ada").events.copy()
    async with runs_system(monkeypatch, DIAMOND, plan=plan, daemon="d2") as here:
        answered = {step.name for step in here.record(moment.run_id).steps if step.ended}
        was_cancelled = here.record(moment.run_id).cancelled
        was_paused = here.record(moment.run_id).status == "paused"
        await trio.sleep(60)
        record = here.record(moment.run_id)
        if record.status == RunStatus.PAUSED:
            here.verify(moment.run_id, over=False)
            await here.resume(moment.run_id, command_id="last")
        elif was_paused:
            assert record.status == "failed" or record.cancelled or not record.paused
        status = await here.ended(moment.run_id)
        assert (status == "cancelled") == was_cancelled
        assert not answered & {step for step, _ in here.script.calls}
        now = plan.storage.log_of("ada").events
        assert {seq: now[seq] for seq in before} == before
        assert {frame["run_id"] for frame in here.log()} == {moment.run_id}
        named = [frame["metadata"]["cause"] for frame in here.log() if "cause" in frame["metadata"]]
        assert len(named) == len(set(named))
    return here


ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["pause", "resume", *(f"{o} {a}" for o in ("cancel", "pause", "resume") for a in AGENTS)]),
        st.floats(0.01, 0.6),
    ),
    max_size=4,
)


@settings(max_examples=examples(0.15), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    ORDERS,
    st.sampled_from(["", "cancel"]),
    st.sampled_from([PLAYS, PLAYS_OF_A_FAILURE]),
    st.sampled_from(["resume", "fail"]),
)
def test_killed_after_any_commit_the_run_goes_on_lawfully(
    orders: list[tuple[str, float]], last: str, plays: Any, on_restart: str
) -> None:
    async def main() -> None:
        with pytest.MonkeyPatch.context() as monkeypatch:
            all_orders = [*orders, *([(last, 0.3)] if last else [])]
            for moment in await moments(monkeypatch, all_orders, plays, on_restart):
                if moment.accepted and not moment.ended:
                    await killed_at(moment, monkeypatch)

    virtual(main)


def test_killed_again_and_again(monkeypatch: Any) -> None:
    """Each daemon is killed after its third commit: the run still ends, and nothing finished is done again."""

    async def main() -> None:
        storage, run_id = MemoryStorage(), ""
        for number in range(40):
            plan = Plan(storage=copy.deepcopy(storage))
            async with runs_system(monkeypatch, DIAMOND, plan=plan, daemon=f"d{number}") as here:
                run_id = run_id or await here.start()
                finished = {step.name for step in here.record(run_id).steps if step.ended}
                killed = trio.Event()
                commits: list[int] = []

                def at(point: str, plan: Plan = plan, commits: list[int] = commits, event: Any = killed) -> None:
                    nonlocal storage
                    if point.startswith("after") and isinstance(plan.heard[-1], Append) and not event.is_set():
                        commits.append(1)
                        storage = copy.deepcopy(plan.storage)
                        if len(commits) == 3:
                            event.set()

                plan.at = at
                with trio.move_on_after(60):
                    await killed.wait()
                assert not {step for step, _ in here.script.calls} & finished
            if number > 2 and Moment(storage, run_id).ended:
                break
        async with runs_system(monkeypatch, DIAMOND, plan=Plan(storage=storage), daemon="last") as here:
            assert await here.ended(run_id) == "completed"
            assert number >= 3

    virtual(main)


# --- the decision by itself


def records() -> Iterator[st.SearchStrategy[Any]]:
    """Changes that a run may go through, as functions of its record."""
    yield st.sampled_from(["begin", "think", "rest", "release", "tool", "tool done", "answer", "fail", "crash"])
    yield st.sampled_from([(order, agent) for order in Order for agent in (None, *AGENTS)])


def accepted(definition: WorkflowDefinition) -> RunRecord:
    """A run that has not begun, with the roles that orders may name."""
    record = new_record("ada", "r", "s", definition, BRIEF, "now")
    return progress.with_roles(record, {"analyst": "Analyst", "tester": "Tester", "writer": "Writer"})


def changed(record: RunRecord, change: Any, pick: int) -> RunRecord:
    """The record after a change, where it is possible."""
    if isinstance(change, tuple):
        order, agent = change
        return ordered(record, order, agent, f"{order}{pick}")
    if change == "begin":
        for step in progress.ready(record):
            step = attempts.begun(step, 10.0, held=held(record, step))
            record = record.put(attempts.resting(step, 10.0) if held(record, step) else step)
        return attrs.evolve(record, status=RunStatus.RUNNING.value, daemon="d1")
    opened = [step for step in record.steps if step.open]
    if not opened:
        return record
    step = opened[pick % len(opened)]
    match change:
        case "think" if not step.rests:
            step = attempts.standing(step, AgentStatus.THINKING.value, "Thinking.")
        case "rest" if held(record, step):
            step = attempts.resting(step, 12.0)
        case "release" if step.rests and not held(record, step):
            step = attempts.released(step, 13.0)
        case "tool":
            step = attempts.using(step, OpenTool(f"t{pick}", "search", 11.0))
        case "tool done" if step.tools:
            step = attempts.used(step, step.tools[0].tool_call_id)
        case "answer" if step.asked:
            step = attempts.answered(step, Answered(step.name, step.attempt, "Tea", "gpt", False, False, None, 1))
        case "fail":
            step = attempts.failed(step, ErrorType.TIMEOUT)
        case "crash":
            step = attempts.crashed(step, AttemptLimits())
    record = record.put(step)
    return attrs.evolve(record, status=RunStatus.PAUSED.value) if progress.at_rest(record) else record


@settings(max_examples=examples(5), deadline=None)
@given(
    st.lists(st.tuples(st.one_of(*records()), st.integers(0, 5)), max_size=25),
    st.sampled_from(["resume", "fail"]),
    st.booleans(),
    st.sampled_from(["d1", "d2"]),
)
def test_the_decision(changes: list[tuple[Any, int]], on_restart: str, given_up: bool, daemon: str) -> None:
    definition = attrs.evolve(DIAMOND, on_restart=on_restart)
    record = accepted(definition)
    for change, pick in changes:
        record = changed(record, change, pick)
    limits = AttemptLimits(crashes=3, cuts=4)
    taken = take_up(record, daemon=daemon, given_up=given_up, limits=limits)
    opened = {step.name for step in record.steps if step.open}
    closed, left = {c.before.name for c in taken.closings}, {step.name for step in taken.goes_on}
    assert closed | left == opened  # of what is open nothing is forgotten, and nothing else is touched
    assert not closed & left
    after = record
    for closing in taken.closings:
        assert closing.before == record.step(closing.before.name)
        assert not closing.after.open
        assert closing.after.tools == ()
        assert (closing.error_type is None) == (record.cancelled or closing.before.cancel)
        assert closing.after.attempt == closing.before.attempt
        after = after.put(closing.after)
    for step in taken.goes_on:
        assert step.rests
        assert not step.asked
        assert not step.cancel
        assert held(record, step)  # else nobody would ever let it go on
    for step in record.steps:
        if step.ended:
            assert after.step(step.name) == step
    if record.cancelled:
        assert not taken.fails
        assert progress.verdict(after) is RunStatus.CANCELLED
    if taken.fails:
        assert given_up or (on_restart == "fail" and record.daemon)
        assert not left
    elif not record.cancelled:
        moves = progress.ready(after) or progress.verdict(after) is not None or progress.at_rest(after)
        assert moves  # nobody waits for what never comes
    # A second crash, before anything was committed, changes nothing.
    assert take_up(record, daemon=daemon, given_up=given_up, limits=limits) == taken


PAUSE, RESUME, CANCEL = ((order, "Analyst") for order in (Order.PAUSE, Order.RESUME, Order.CANCEL))


@pytest.mark.parametrize(
    ("changes", "closed"),
    [
        ([PAUSE, "begin"], "stays open"),
        ([PAUSE, "begin", RESUME], "interrupted"),  # nobody would ever let it go on
        ([PAUSE, "begin", (Order.RESUME, None)], "interrupted"),
        ([PAUSE, "begin", CANCEL], "cancelled"),
        ([PAUSE, "begin", (Order.CANCEL, None)], "cancelled"),
        (["begin", "think", PAUSE, "rest"], "interrupted"),  # what it was answered is lost
        (["begin"], "interrupted"),
        (["begin", "think", PAUSE], "interrupted"),
    ],
)
def test_an_attempt_stays_open_only_if_it_rests_and_has_lost_nothing(changes: list[Any], closed: str) -> None:
    record = accepted(DIAMOND)
    for change in changes:
        record = changed(record, change, 0)
    taken = take_up(record, daemon="d2", given_up=False, limits=AttemptLimits())
    if closed == "stays open":
        assert [step.name for step in taken.goes_on] == ["analysis"]
    else:
        assert taken.goes_on == ()
        [closing] = taken.closings
        assert closing.error_type == (None if closed == "cancelled" else ErrorType.INTERRUPTED)


@pytest.mark.parametrize("daemon", ["d1", "d2"])
def test_a_child_that_was_cut_is_over(daemon: str) -> None:
    """Whoever wanted it begins again, and asks for another if it wants one."""
    record = changed(accepted(DIAMOND), "begin", 0)
    order = StartChildAgent("analysis", 1, "call", "tester", "Try it.")
    child = new_child(record, order, {"tester": "Tester"})
    assert isinstance(child, StepRecord)
    record = with_child(record, attempts.begun(child, 10.0))
    taken = take_up(record, daemon=daemon, given_up=False, limits=AttemptLimits())
    after = {closing.after.name: closing.after for closing in taken.closings}
    assert set(after) == {"analysis", child.name}
    assert after[child.name].ended
    assert not after["analysis"].ended


@given(st.lists(st.sampled_from([(order, agent) for order in Order for agent in (None, *AGENTS)]), max_size=8))
def test_each_command_is_named_once_at_most(orders: list[tuple[Order, str | None]]) -> None:
    record = accepted(DIAMOND)
    for number, (order, agent) in enumerate(orders):
        record = ordered(record, order, agent, f"o{number}")
    named: list[str] = []
    for order in Order:
        for step in (None, *record.steps):
            record, cause = caused(record, order, step)
            named += [] if cause is None else [cause]
    assert len(named) == len(set(named))
