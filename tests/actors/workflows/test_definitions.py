"""Workflows are checked whole: every problem is named before anything starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.workflows.definitions import StepDefinition, WorkflowDefinition, check_workflow, check_workflows

AGENTS = {"analyst", "tester"}


def workflow(*steps: StepDefinition) -> WorkflowDefinition:
    return WorkflowDefinition(name="w", title="W", steps=steps)


def step(name: str, *on: str, agent: str = "analyst") -> StepDefinition:
    return StepDefinition(name=name, agent=agent, depends_on=on)


def test_a_step_follows_the_one_before_unless_it_says_otherwise():
    made = workflow(
        StepDefinition("a", "analyst"),
        StepDefinition("b", "analyst"),
        StepDefinition("c", "analyst", depends_on=()),
        StepDefinition("d", "analyst"),
        StepDefinition("e", "analyst", depends_on=("a", "b")),
    )
    assert [one.depends_on for one in made.steps] == [(), ("a",), (), ("c",), ("a", "b")]
    assert check_workflow(made, AGENTS) == []


def test_a_workflow_without_steps_is_refused():
    assert check_workflow(workflow(), AGENTS) == ["it has no steps; give it at least one"]


def test_every_problem_is_named():
    made = workflow(step("a", agent="analist"), step("b", "x", "x", "a"), step("b"), step("c", "y"))
    assert check_workflow(made, AGENTS) == [
        'step "a" names the unknown agent "analist"; known: analyst, tester',
        'two steps are named "b"; names must be unique',
        'step "b" depends on "x", which is no step of this workflow; known: a, b, c',
        'step "c" depends on "y", which is no step of this workflow; known: a, b, c',
    ]
    assert check_workflow(workflow(step("a")), ()) == ['step "a" names the unknown agent "analyst"; known: none']


@pytest.mark.parametrize(
    ("steps", "cycle"),
    [
        ([step("a", "a")], "a → a"),
        ([step("a", "b"), step("b", "a")], "a → b → a"),
        ([step("start"), step("a", "start", "c"), step("b", "a"), step("c", "b")], "a → c → b → a"),
    ],
)
def test_a_cycle_is_named_with_its_path(steps: list[StepDefinition], cycle: str):
    assert check_workflow(workflow(*steps), AGENTS) == [f"these steps wait for each other: {cycle}"]


def test_two_cycles_are_two_problems_and_what_waits_for_them_is_unreachable():
    made = workflow(
        step("a", "b"), step("b", "a"), step("c", "c"), step("d", "fine", "a"), step("e", "d"), step("fine")
    )
    assert check_workflow(made, AGENTS) == [
        "these steps wait for each other: a → b → a",
        "these steps wait for each other: c → c",
        'step "d" can never start, because it waits for "a", which cannot end',
        'step "e" can never start, because it waits for "d", which cannot end',
    ]


def test_what_only_leads_to_a_cycle_is_not_named_as_a_part_of_it():
    assert check_workflow(workflow(step("d", "a"), step("a", "b"), step("b", "a")), AGENTS) == [
        "these steps wait for each other: a → b → a",
        'step "d" can never start, because it waits for "a", which cannot end',
    ]


def test_what_waits_for_an_unknown_step_is_unreachable_too():
    assert check_workflow(workflow(step("a", "nothing"), step("b", "a"), step("c")), AGENTS) == [
        'step "a" depends on "nothing", which is no step of this workflow; known: a, b, c',
        'step "b" can never start, because it waits for "a", which cannot end',
    ]


def test_a_cycle_behind_an_unknown_dependency_is_found_as_well():
    problems = check_workflow(workflow(step("x", "nothing"), step("a", "x", "b"), step("b", "a")), AGENTS)
    assert "these steps wait for each other: a → b → a" in problems


def test_problems_of_several_workflows_carry_their_names():
    assert check_workflows([workflow(), WorkflowDefinition("v", "V", (step("a"),))], AGENTS) == [
        'workflow "w": it has no steps; give it at least one'
    ]


def test_a_long_sequence_is_no_trouble():
    assert check_workflow(workflow(*(StepDefinition(f"s{n}", "analyst") for n in range(3000))), AGENTS) == []


GRAPHS = st.integers(1, 7).flatmap(
    lambda size: st.lists(st.frozensets(st.integers(0, size - 1), max_size=3), min_size=size, max_size=size)
)


@given(graph=GRAPHS)
def test_exactly_the_graphs_that_can_be_finished_have_no_problem(graph: list[frozenset[int]]):
    made = workflow(*(step(f"s{n}", *(f"s{on}" for on in sorted(ons))) for n, ons in enumerate(graph)))
    ended: set[int] = set()
    for _ in graph:
        ended |= {n for n, ons in enumerate(graph) if ons <= ended}
    problems = check_workflow(made, AGENTS)
    assert (not problems) == (len(ended) == len(graph))
    told = " ".join(problems)
    assert all((f"s{n}" in told) == (n not in ended) for n in range(len(graph)))
