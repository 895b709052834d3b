"""Workflows are checked whole: every problem is named before anything starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.workflows.checks import check_workflow, check_workflows
from actors.workflows.definitions import StepDefinition, WorkflowDefinition

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


@pytest.mark.parametrize("name", ["", "a b", "ä", "a/b", "x" * 65])
def test_a_bad_name_is_told(name: str):
    (problem,) = check_workflow(workflow(step(name)), AGENTS)
    assert problem == f'step "{name}" has a name that cannot be used; allowed: 1 to 64 letters, digits, - and _'


def test_no_step_is_called_like_the_brief():
    (problem,) = check_workflow(workflow(step("brief")), AGENTS)
    assert "the client's brief" in problem


def test_inputs_are_what_the_step_waits_for():
    made = workflow(
        step("a"), step("b", "a"), StepDefinition("c", "analyst", depends_on=("b",), inputs=("brief", "a")), step("d")
    )
    assert check_workflow(made, AGENTS) == []
    made = workflow(step("a"), step("b"), StepDefinition("c", "analyst", depends_on=("b",), inputs=("a", "z")))
    assert check_workflow(made, AGENTS) == [
        'step "c" has the input "a", for which it does not wait; add it to depends_on',
        'step "c" has the unknown input "z"; known: brief, a, b, c',
    ]


def test_problems_of_batches():
    def of(name: str, batch: str, *depends_on: str) -> StepDefinition:
        return StepDefinition(name, "analyst", batch=batch, depends_on=depends_on)

    gate = StepDefinition("g", "analyst", validates="x")
    assert check_workflow(workflow(of("a", "x"), of("b", "x"), gate, of("c", "y", "g")), AGENTS) == []
    assert check_workflow(workflow(of("a", "x"), of("b", "y"), of("c", "x")), AGENTS) == [
        'the steps of batch "x" do not stand together; move "c" to the others'
    ]
    assert check_workflow(workflow(gate), AGENTS) == ['step "g" validates the unknown batch "x"; known: none']
    early = StepDefinition("g", "analyst", validates="x", depends_on=("a",))
    assert check_workflow(workflow(of("a", "x"), of("b", "x"), early), AGENTS) == [
        'step "g" validates batch "x", but does not wait for "b"'
    ]
    assert check_workflow(workflow(of("a", "x"), gate, of("c", "y", "a")), AGENTS) == [
        'step "c" of batch "y" does not wait for "g", which validates batch "x"'
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
