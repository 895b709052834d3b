"""Graphs of tasks with scripted workers, in virtual time."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import structlog
import trio

from actors.agents.definitions import AgentDefinition
from actors.engines.asking import Reply
from actors.engines.graph import Defaults
from actors.engines.memory import Recalled
from actors.engines.parallel import FIRST_PAUSE, Crew, GraphLimits, ParallelMind
from actors.engines.strategy import Desk, Outcome, Unavailable, together
from actors.engines.workers import AgentWorker, Assignment, SearchWorker, WorkEnd
from actors.protocol.catalogue import Failure
from tests.support.engines_system import Author, bench, execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.engines.messages import Execute


@attrs.define(eq=False)
class Hands:
    """A worker: `plays` says by task what each try does: a number of seconds, or a failure, or an error."""

    plays: dict[str, list[Any]] = attrs.field(factory=dict)
    began: list[tuple[str, float]] = attrs.field(factory=list)
    inputs: dict[str, Any] = attrs.field(factory=dict)
    at_work: int = 0
    most: int = 0

    async def __call__(self, assignment: Assignment) -> WorkEnd:
        name = assignment.task.name
        self.began.append((name, trio.current_time()))
        self.inputs[name] = assignment.inputs
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            play = self.plays.get(name) or [1.0]
            step = play.pop(0) if len(play) > 1 else play[0]
            if isinstance(step, Failure):
                return WorkEnd(None, failure=step)
            if isinstance(step, Exception):
                raise step
            await trio.sleep(step)
            return WorkEnd(f"done {name}")
        finally:
            self.at_work -= 1


def mind(hands: Any, *, workers: int = 20, in_turn: bool = False) -> ParallelMind:
    crew = Crew(
        {"agent": hands, "search": hands},
        frozenset(),
        Defaults(1, 30.0),
        GraphLimits(50, workers),
        random.Random(1),
        structlog.get_logger(),
    )
    return ParallelMind(crew, in_turn=in_turn)


async def run(strategy: Any, ask: Execute, told: list[tuple[int, int]] | None = None) -> Outcome:
    async with bench() as do:
        heard = told if told is not None else []

        async def work(start: Any) -> Outcome:
            return await strategy.run(ask, Desk(start, lambda done, of: heard.append((done, of))))

        outcome: Outcome = await do(work)
        return outcome


def task(name: str, *depends_on: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "mission": f"do {name}", "depends_on": list(depends_on), **more}


def statuses(outcome: Outcome) -> dict[str, str]:
    return {each["name"]: each["status"] for each in outcome.result["tasks"]}


DIAMOND = [task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c")]


async def test_each_task_begins_when_its_own_have_ended(autojump_clock: Any) -> None:
    hands, told = Hands({"b": [5.0]}), []
    ask = execute(tasks=[*DIAMOND, task("e", "c")])
    outcome = await run(mind(hands), ask, told)
    began = {name: round(at - hands.began[0][1]) for name, at in hands.began}
    assert began == {"a": 0, "b": 1, "c": 1, "e": 2, "d": 6}
    assert outcome.failure is None
    assert (outcome.result["finished"], outcome.result["total"], outcome.result["failed"]) == (5, 5, [])
    assert told == [(n, 5) for n in range(6)]
    assert {name: end.text for name, end in hands.inputs["d"].items()} == {"b": "done b", "c": "done c"}


async def test_the_understudy_does_one_after_the_other(autojump_clock: Any) -> None:
    hands = Hands()
    began = trio.current_time()
    outcome = await run(mind(hands, in_turn=True), execute(tasks=list(reversed(DIAMOND))))
    assert [name for name, _ in hands.began] == ["a", "c", "b", "d"]
    assert hands.most == 1
    assert round(trio.current_time() - began) == 4
    assert set(statuses(outcome).values()) == {"completed"}


async def test_never_more_at_work_than_there_are_workers(autojump_clock: Any) -> None:
    hands = Hands()
    strategy = mind(hands, workers=3)
    async with bench() as do, trio.open_nursery() as nursery:

        async def one(start: Any) -> Outcome:
            return await strategy.run(execute(items=["x"] * 10), Desk(start, lambda *_: None))

        for _ in range(2):
            nursery.start_soon(do, one)
    assert hands.most == 3
    assert len(hands.began) == 20


async def test_a_large_graph_of_one_user_does_not_hold_up_the_others(autojump_clock: Any) -> None:
    hands = Hands({f"item-{number}": [60.0] for number in range(1, 41)})
    hands.plays["quick"] = [1.0]
    strategy = mind(hands, workers=20)
    async with bench() as do, trio.open_nursery() as nursery:

        async def flood(start: Any) -> Outcome:
            return await strategy.run(execute(items=["x"] * 40), Desk(start, lambda *_: None))

        async def other(start: Any) -> Outcome:
            ask = attrs.evolve(execute(tasks=[task("quick")]), user="bob")
            return await strategy.run(ask, Desk(start, lambda *_: None))

        nursery.start_soon(do, flood)
        await trio.sleep(1)
        began = trio.current_time()
        await do(other)
        assert trio.current_time() - began == 1.0
    assert hands.most == 19


async def test_a_worker_rests_for_nobody(autojump_clock: Any) -> None:
    """Between two tries of one task another has its place."""
    names = [f"bad-{number}" for number in range(5)]
    hands = Hands({name: [Failure.UNREACHABLE] for name in names})
    outcome = await run(mind(hands, workers=1), execute(tasks=[task(name, retries=1) for name in names]))
    assert set(statuses(outcome).values()) == {"failed"}
    assert len(hands.began) == 10
    assert hands.began[-1][1] - hands.began[0][1] <= FIRST_PAUSE


async def test_what_fails_is_tried_again_and_then_fails_alone(autojump_clock: Any) -> None:
    hands = Hands(
        {
            "once": [Failure.UNREACHABLE, 1.0],
            "never": [Failure.UNREACHABLE],
            "refused": [Failure.CONTENT_POLICY],
            "broken": [ValueError("planned")],
            "late": [100.0],
        }
    )
    tasks = [task(name) for name in hands.plays] + [task("after", "never"), task("far", "after"), task("fine", "once")]
    tasks[4]["timeout"] = 3
    outcome = await run(mind(hands), execute(tasks=tasks))
    assert statuses(outcome) == {
        "once": "completed",
        "never": "failed",
        "refused": "failed",
        "broken": "failed",
        "late": "failed",
        "after": "skipped",
        "far": "skipped",
        "fine": "completed",
    }
    shown = {each["name"]: each for each in outcome.result["tasks"]}
    assert [shown[name]["attempts"] for name in ("once", "never", "refused", "after")] == [2, 2, 1, 0]
    assert shown["late"]["error"].startswith("This task took longer")
    assert shown["broken"]["error"].startswith("Something went wrong on our side")
    assert outcome.failure is None
    assert set(outcome.result["failed"]) == {"never", "refused", "broken", "late", "after", "far"}


async def test_a_graph_without_any_result_has_failed(autojump_clock: Any) -> None:
    outcome = await run(mind(Hands({"item-1": [Failure.CONFIGURATION]})), execute())
    assert outcome.failure is Failure.CONFIGURATION


async def test_when_it_is_cut_its_tasks_end_and_what_there_is_is_kept(autojump_clock: Any) -> None:
    hands = Hands({"b": [1000.0]})
    async with bench() as do:
        desks: list[Desk] = []

        async def work(start: Any) -> str:
            desks.append(Desk(start, lambda *_: None))
            with trio.move_on_after(10):
                await mind(hands).run(execute(tasks=DIAMOND, within=9999), desks[0])
            return "cut"

        assert await do(work) == "cut"
        await trio.sleep(0.1)
        assert hands.at_work == 0
    assert desks[0].so_far["finished"] == 2
    assert [each["name"] for each in desks[0].so_far["tasks"]] == ["a", "c"]


async def test_together_gives_all_results_or_the_first_error(autojump_clock: Any) -> None:
    ended: list[str] = []

    async def one(name: str, seconds: float) -> str:
        try:
            await trio.sleep(seconds)
            if name == "bad":
                raise ValueError(name)
            return name
        finally:
            ended.append(name)

    def several(*names: str) -> Callable[[Any], Any]:
        return lambda start: together(start, [partial(one, name, n + 1.0) for n, name in enumerate(names)], "one")

    async with bench() as do:
        assert await do(several("a", "b")) == ["a", "b"]
        assert await do(several()) == []
        ended.clear()
        try:
            await do(several("a", "bad", "c"))
        except ValueError:
            pass
        else:
            raise AssertionError
        await trio.sleep(0.1)
        assert ended == ["a", "bad", "c"]


async def test_what_cannot_be_done_is_known_before(autojump_clock: Any) -> None:
    strategy = mind(Hands())
    assert strategy.problems(execute(tasks=DIAMOND)) == {}
    assert list(strategy.problems(execute(tasks=[task("a", "b")]))) == ["parameters.tasks[0].depends_on"]
    await strategy.close()


async def test_an_agent_is_asked_with_what_its_task_builds_on(autojump_clock: Any) -> None:
    author = Author(lambda question: f"text of {question.mission}")
    poet = AgentDefinition("poet", "Poet", "You are the Poet.")
    crew = {"agent": AgentWorker(author, {"poet": poet}, ("small",))}
    strategy = ParallelMind(
        Crew(crew, frozenset({"poet"}), Defaults(), GraphLimits(), random.Random(1), structlog.get_logger())
    )
    outcome = await run(strategy, execute(tasks=[task("a"), task("b", "a", agent="poet")]))
    first, second = author.asked
    assert (first.agent.models, first.brief, first.mission, first.earlier) == (("small",), "The whole", "do a", ())
    assert (second.agent, [(step.step, step.text) for step in second.earlier]) == (poet, [("a", "text of do a")])
    assert (first.priority, second.priority) == ("HIGH", "HIGH")
    assert outcome.result["tasks"][1]["result"] == "text of do b"
    assert outcome.result["tasks"][1]["details"] == {"model": "model-1", "simulated": False}


async def test_an_answer_that_is_cut_or_missing_is_a_failure(autojump_clock: Any) -> None:
    author = Author(lambda question: Reply("half", "m", cut=True) if question.mission == "do a" else Reply(None))
    crew = {"agent": AgentWorker(author, {}, ("small",))}
    strategy = ParallelMind(
        Crew(crew, frozenset(), Defaults(retries=0), GraphLimits(), random.Random(1), structlog.get_logger())
    )
    outcome = await run(strategy, execute(tasks=[task("a"), task("b")]))
    assert outcome.failure is Failure.TRUNCATED
    assert outcome.result["tasks"][0]["details"]["text"] == "half"
    assert outcome.result["tasks"][1]["error"].startswith("AI service cannot be reached")


class Shelf:
    """A memory that finds one thing, or cannot be reached."""

    def __init__(self, *, degraded: bool = False, there: bool = True) -> None:
        self.degraded, self.there = degraded, there
        self.asked: list[Any] = []

    async def recall(self, user: str, text: str, limit: int = 5, *, by: float | None = None) -> Recalled:
        self.asked.append((user, text, limit))
        if not self.there:
            raise Unavailable("planned")
        return Recalled([{"content": "tea"}] if text != "do b" else [], self.degraded)


async def test_a_search_asks_the_users_memory(autojump_clock: Any) -> None:
    for shelf in (Shelf(degraded=True), Shelf(there=False)):
        outcome = await run(mind(SearchWorker(shelf)), execute(tasks=[task("a", limit=3), task("b")]))  # type: ignore[arg-type]
        assert ("ada", "do a", 3) in shelf.asked
        if shelf.there:
            assert outcome.degraded
            assert [each["result"] for each in outcome.result["tasks"]] == ["1. tea", "Nothing was found."]
        else:
            assert outcome.failure is Failure.INTERNAL
