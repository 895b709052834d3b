"""What the engines decide without any actor: routes, graphs, ranks, scores, places in the line, parameters."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.engines.creative import FRAMINGS, drafts_of
from actors.engines.fields import Fields
from actors.engines.graph import Defaults, WorkTask, find_cycle, in_order, may_begin, read_graph
from actors.engines.judging import Score, read_scores
from actors.engines.line import WaitingLine
from actors.engines.ranking import bm25, cosine, likenesses, pack, rank, recency, standing
from actors.engines.recall import MemoryLimits, id_of, read_order
from actors.engines.routing import ROUTES, STAGES, EngineName, address, route, unknown_type
from actors.storage.memory import DAY, Filter, Match, Matches, Memory

# --- routing


def test_every_type_of_task_has_the_engine_that_was_promised() -> None:
    by_engine: dict[str, set[str]] = {}
    for task_type, engine in ROUTES.items():
        by_engine.setdefault(engine.value, set()).add(task_type)
    assert by_engine == {
        "perfect_recall": {"memory_query", "knowledge_retrieval", "context_search"},
        "parallel_mind": {"parallel_processing", "batch_operation", "concurrent_analysis"},
        "creative": {"creative_generation", "innovation", "brainstorming"},
        "hybrid": {"hybrid"},
    }
    assert address("brainstorming") == "/engines/creative"
    assert (route("weather"), address("weather")) == (None, None)
    assert all(name in unknown_type("weather") for name in ROUTES)
    assert "list" in unknown_type([])
    assert [EngineName.HYBRID not in STAGES, len(STAGES)] == [True, 3]


# --- graphs


def read(parameters: dict[str, Any], description: str = "The whole", most: int = 5) -> tuple[Any, dict[str, str]]:
    return read_graph(
        parameters,
        description,
        workers=("agent", "search"),
        agents=("analyst",),
        most=most,
        defaults=Defaults(2, 30.0),
    )


def test_a_description_is_a_task_and_so_is_each_item() -> None:
    tasks, problems = read({})
    assert (problems, [task.mission for task in tasks]) == ({}, ["The whole"])
    tasks, problems = read({"items": ["one", "two"], "agent": "analyst"})
    assert (problems, [(task.name, task.mission, task.agent) for task in tasks]) == (
        {},
        [("item-1", "one", "analyst"), ("item-2", "two", "analyst")],
    )
    assert (tasks[0].retries, tasks[0].timeout) == (2, 30.0)


@pytest.mark.parametrize(
    ("parameters", "wrong"),
    [({}, True), ({"items": []}, True), ({"items": ["one"]}, False), ({"tasks": "TASK"}, False)],
)
def test_without_a_description_something_else_has_to_say_what_is_wanted(
    parameters: dict[str, Any], wrong: bool
) -> None:
    if "tasks" in parameters:
        parameters = {"tasks": [TASK]}
    _, problems = read(parameters, description=" ")
    assert ("description" in problems) == wrong == bool(problems)


def test_a_graph_is_read_with_all_that_its_tasks_say() -> None:
    listed = [
        {"name": "a", "mission": "A", "retries": 0, "timeout": 5},
        {"name": "b", "worker": "search", "mission": "B", "depends_on": ["a"], "limit": 7},
    ]
    tasks, problems = read({"tasks": listed})
    assert problems == {}
    assert tasks == (
        WorkTask("a", "agent", "A", retries=0, timeout=5.0),
        WorkTask("b", "search", "B", ("a",), retries=2, timeout=30.0, limit=7),
    )


TASK = {"name": "a", "mission": "A"}


@pytest.mark.parametrize(
    ("parameters", "place", "words"),
    [
        ({"speed": 1}, "parameters.speed", "Allowed: tasks, items, agent"),
        ({"agent": "poet"}, "parameters.agent", "analyst"),
        ({"tasks": []}, "parameters.tasks", "1 to 5 tasks"),
        ({"tasks": [TASK] * 6}, "parameters.tasks", "1 to 5 tasks"),
        ({"tasks": [TASK], "items": ["x"]}, "parameters.items", "not both"),
        ({"items": [""]}, "parameters.items", "texts"),
        ({"tasks": ["a"]}, "parameters.tasks[0]", "an object"),
        ({"tasks": [{"mission": "x"}]}, "parameters.tasks[0].name", "1 to 64"),
        ({"tasks": [{"name": "a b", "mission": "x"}]}, "parameters.tasks[0].name", "letters"),
        ({"tasks": [{"name": "a"}]}, "parameters.tasks[0].mission", "1 to 20,000"),
        ({"tasks": [{**TASK, "worker": "robot"}]}, "parameters.tasks[0].worker", "agent, search"),
        ({"tasks": [{**TASK, "agent": "poet"}]}, "parameters.tasks[0].agent", "analyst"),
        ({"tasks": [{**TASK, "color": 1}]}, "parameters.tasks[0].color", "no such"),
        ({"tasks": [{**TASK, "retries": 99}]}, "parameters.tasks[0].retries", "0 to 10"),
        ({"tasks": [{**TASK, "retries": True}]}, "parameters.tasks[0].retries", "whole"),
        ({"tasks": [{**TASK, "timeout": 0}]}, "parameters.tasks[0].timeout", "above 0"),
        ({"tasks": [TASK, TASK]}, "parameters.tasks[1].name", '"a" already'),
        ({"tasks": [{**TASK, "depends_on": ["x", "y"]}]}, "parameters.tasks[0].depends_on", '"x", "y"'),
        ({"tasks": [{**TASK, "depends_on": ["a"]}]}, "parameters.tasks", "a → a"),
        (
            {"tasks": [{**TASK, "depends_on": ["b"]}, {"name": "b", "mission": "x", "depends_on": ["a"]}]},
            "parameters.tasks",
            "a → b → a",
        ),
    ],
)
def test_what_is_wrong_with_a_graph_is_told_by_place_and_name(
    parameters: dict[str, Any], place: str, words: str
) -> None:
    _, problems = read(parameters)
    assert words in problems[place]


GRAPHS = st.integers(1, 7).flatmap(
    lambda size: st.lists(st.sets(st.integers(0, size - 1), max_size=3), min_size=size, max_size=size)
)


@given(GRAPHS)
def test_a_graph_has_a_cycle_or_an_order(waits: list[set[int]]) -> None:
    tasks = [WorkTask(f"t{n}", "agent", "x", tuple(f"t{o}" for o in sorted(others))) for n, others in enumerate(waits)]
    by_name = {task.name: task for task in tasks}
    cycle = find_cycle(tasks)
    if cycle:
        assert cycle[0] == cycle[-1]
        for one, other in pairwise(cycle):
            assert other in by_name[one].depends_on
        return
    names = [task.name for task in in_order(tasks)]
    assert sorted(names) == sorted(by_name)
    assert all(names.index(other) < names.index(name) for name in names for other in by_name[name].depends_on)
    ended: list[str] = []
    while len(ended) < len(tasks):
        free = may_begin(tasks, ended, ended)
        assert free
        ended.append(free[0].name)


# --- ranking


def memory(name: str, **more: Any) -> Memory:
    return attrs.evolve(Memory(name, "code", name, (), 0.0, 0.0), **more)


def matches(*found: Match, words: tuple[str, ...] = ("tea",), containing: tuple[int, ...] = (2,)) -> Matches:
    return Matches(words, containing, 10, 10.0, found)


def test_a_word_counts_more_the_rarer_the_oftener_and_the_shorter_the_text() -> None:
    usual = Match(memory("m"), (1,), 10)
    score = bm25(usual, matches())
    assert bm25(attrs.evolve(usual, counts=(3,)), matches()) > score
    assert bm25(attrs.evolve(usual, length=5), matches()) > score
    assert bm25(usual, matches(containing=(1,))) > score
    assert bm25(usual, matches(containing=(10,))) > 0
    assert bm25(attrs.evolve(usual, counts=(0,)), matches()) == 0


def test_success_and_freshness_move_a_memory_by_at_most_a_factor_of_two() -> None:
    assert recency(0) == 1.0
    assert recency(30 * DAY) == 0.5
    assert recency(-5) == 1.0
    assert 0.5 < standing(memory("m", failures=50), 1000 * DAY) < standing(memory("m", successes=50), 0.0) < 1.0
    good, bad = Match(memory("good", successes=3), (1,), 10), Match(memory("bad", failures=3), (1,), 10)
    ranked = rank(matches(bad, good), 5, 0.0)
    assert [each.memory.memory_id for each in ranked] == ["good", "bad"]
    assert rank(matches(bad, good), 1, 0.0) == ranked[:1]


def test_without_a_word_the_order_is_how_they_stand() -> None:
    old, new = Match(memory("old"), (), 1), Match(memory("new", used_at=5 * DAY), (), 1)
    ranked = rank(matches(old, new, words=(), containing=()), 5, 6 * DAY)
    assert [each.memory.memory_id for each in ranked] == ["new", "old"]


def test_likeness_finds_what_holds_no_word_and_joins_with_what_does() -> None:
    near, far = pack([1.0, 0.0]), pack([0.0, 1.0])
    text = Match(memory("text"), (1,), 10)
    alike = Match(memory("alike", vector=near, vector_model="v"), (0,), 10)
    other = Match(memory("other", vector=far, vector_model="v"), (0,), 10)
    foreign = Match(memory("foreign", vector=near, vector_model="w"), (0,), 10)
    whole = matches(text, alike, other, foreign)
    like = likenesses(whole, near, "v")
    assert like == {"alike": 1.0, "other": 0.0}
    assert [each.memory.memory_id for each in rank(whole, 9, 0.0)] == ["text"]
    assert {each.memory.memory_id for each in rank(whole, 9, 0.0, like)} == {"text", "alike"}
    assert cosine(near, pack([1.0])) == 0.0
    assert cosine(near, pack([0.0, 0.0])) == 0.0


# --- judging

DRAFTS = ("draft-1", "draft-2")
GOOD = [{"draft": "draft-1", "score": 7.5, "reason": "fine"}, {"draft": "draft-2", "score": 3}]


def test_scores_are_read_if_each_draft_has_exactly_one() -> None:
    text = json.dumps({"scores": GOOD})
    expected = {"draft-1": Score("draft-1", 7.5, "fine"), "draft-2": Score("draft-2", 3.0)}
    assert read_scores(text, DRAFTS) == expected
    assert read_scores(f"```json\n{text}\n```", DRAFTS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I like the first one: 8 of 10.",
        "[]",
        "{}",
        json.dumps({"scores": GOOD[:1]}),
        json.dumps({"scores": [*GOOD, GOOD[0]]}),
        json.dumps({"scores": [GOOD[0], {**GOOD[1], "draft": "draft-3"}]}),
        json.dumps({"scores": [GOOD[0], {**GOOD[1], "score": 11}]}),
        json.dumps({"scores": [GOOD[0], {**GOOD[1], "score": -1}]}),
        json.dumps({"scores": [GOOD[0], {**GOOD[1], "score": "3"}]}),
        json.dumps({"scores": [GOOD[0], {**GOOD[1], "score": True}]}),
        '{"scores": [{"draft": "draft-1", "score": NaN}]}',
        "Here they are:\n" + json.dumps({"scores": GOOD}),
        "[" * 100_000,
    ],
)
def test_half_a_judgement_is_none(text: str) -> None:
    assert read_scores(text, DRAFTS) is None


def test_drafts_differ_in_framing_and_take_the_temperatures_in_turn() -> None:
    drafts = drafts_of(8, (0.1, 0.9))
    assert len({draft.mission for draft in drafts}) == len(FRAMINGS) == 8
    assert [draft.temperature for draft in drafts[:3]] == [0.1, 0.9, 0.1]
    assert drafts_of(1, ())[0].temperature is None


# --- the line


@attrs.frozen
class Waiter:
    user: str
    name: str


def test_the_line_is_fair_between_users_and_in_order_within_one() -> None:
    line: WaitingLine[Waiter] = WaitingLine(4)
    waiters = [Waiter("flood", "1"), Waiter("flood", "2"), Waiter("calm", "3"), Waiter("flood", "4")]
    for waiter in waiters:
        assert not line.full
        line.add(waiter)
    assert line.full
    assert line.next(["flood", "flood"]) == waiters[2]
    assert line.next(["flood", "calm"]) == waiters[0]
    line.leave(waiters[1])
    assert list(line) == [waiters[3]]
    assert line.next([]) == waiters[3]
    assert line.next([]) is None
    assert len(line) == 0


# --- parameters


def test_an_order_to_the_memory_is_read_whole() -> None:
    limits = MemoryLimits(10, 100)
    order, problems = read_order({}, "What was it?", limits)
    assert problems == {}
    assert (order.action, order.query, order.limit, order.only) == ("recall", "What was it?", 5, Filter())
    order, problems = read_order(
        {"action": "remember", "content": "tea", "tags": ["b", "a", "b"], "content_type": "error"}, "", limits
    )
    assert problems == {}
    assert (order.content, order.content_type, order.only.tags) == ("tea", "error", ("b", "a"))


@pytest.mark.parametrize(
    ("parameters", "place"),
    [
        ({"action": "remember"}, "content"),
        ({"action": "remember", "content": " "}, "content"),
        ({"action": "remember", "content": "x" * 101}, "content"),
        ({"action": "remember", "content": "\ud800"}, "content"),
        ({"action": "burn"}, "action"),
        ({"action": []}, "action"),
        ({"action": "rate", "memory_ids": ["a"]}, "success"),
        ({"action": "rate", "memory_ids": ["a"], "success": 1}, "success"),
        ({"action": "forget"}, "memory_ids"),
        ({"tags": "a"}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"tags": ["\ud800"]}, "tags"),
        ({"limit": 51}, "limit"),
        ({"content_type": "poem"}, "content_type"),
        ({"user": "grace"}, "user"),
    ],
)
def test_what_is_wrong_with_an_order_is_told_by_place(parameters: dict[str, Any], place: str) -> None:
    _, problems = read_order(parameters, "", MemoryLimits(10, 100))
    assert list(problems) == [f"parameters.{place}"]


def test_what_is_stored_under_a_key_is_its_users_alone() -> None:
    assert id_of("ada", "k") == id_of("ada", "k") != id_of("grace", "k")
    assert id_of("a", "da1") != id_of("ada", "1")


def test_seconds_may_be_whole_and_must_be_numbers() -> None:
    problems: dict[str, str] = {}
    fields = Fields({"a": 2, "b": "x", "c": None, "d": float("nan")}, ("a", "b", "c", "d"), problems)
    assert [fields.seconds(name, 9.0, high=10) for name in "abcd"] == [2.0, 9.0, 9.0, 9.0]
    assert set(problems) == {"parameters.b", "parameters.d"}
