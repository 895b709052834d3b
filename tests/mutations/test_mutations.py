"""Every clause has a test and a mutation that turns it red; every mutation fits the code; a sample of them is tried."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.mutations.__main__ import choose
from tests.mutations.catalogue import (
    SEMANTICS,
    BadMutation,
    Clause,
    Mutation,
    load_clauses,
    load_mutations,
    locate,
    misfits,
    overview,
)
from tests.mutations.runner import check_unmutated, failed_in, try_all

CLAUSES = load_clauses(SEMANTICS.read_text())
MUTATIONS = load_mutations()
SAMPLE = 3
SEED = 0


def test_clauses_are_found():
    assert len(CLAUSES) > 110
    chapters: dict[int, list[int]] = {}
    for number in CLAUSES:
        chapter, _, place = number.partition(".")
        chapters.setdefault(int(chapter), []).append(int(place))
    assert list(chapters) == list(range(1, 20))
    for places in chapters.values():
        assert places == list(range(1, len(places) + 1)), "a number is missing or out of its place"


@pytest.mark.parametrize("clause", CLAUSES)
def test_every_clause_names_a_test_and_has_a_mutation_that_turns_it_red(clause: str):
    named = {locate(test) for test in CLAUSES[clause].tests}
    assert named, "it names no test"
    red = {locate(test) for mutation in MUTATIONS if mutation.clause == clause for test in mutation.tests}
    assert red & named, "no recorded mutation turns a test red that it names"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[f"{m.clause}-{number}" for number, m in enumerate(MUTATIONS)])
def test_every_mutation_fits_the_code(mutation: Mutation):
    assert mutation.clause in CLAUSES
    assert mutation.tests
    assert misfits([mutation]) == []


@pytest.mark.timeout(400)
def test_a_sample_of_the_mutations_turns_its_tests_red():
    sample = choose(MUTATIONS, [], SAMPLE, SEED)
    assert check_unmutated(sample) == ""
    verdicts = try_all(sample, processes=1, done=lambda verdict: None)
    assert [str(verdict.mutation) for verdict in verdicts if not verdict.killed] == []


# --- the machinery

HARMLESS = Mutation(
    "1.1",
    "runtime/_wheel.py",
    old='"""One wheel for every deadline and timer of a system.',
    new='"""The wheel.',
    tests=("test_a_path_has_one_ref",),
)


def test_a_mutation_that_changes_nothing_that_matters_survives():
    broken = attrs.evolve(HARMLESS, new="\n)" + HARMLESS.old)
    survivor, unfair = try_all([HARMLESS, broken], processes=2, done=lambda verdict: None)
    assert (survivor.killed, survivor.broken) == (False, "")
    assert survivor.green == ("tests/runtime/test_address.py::test_a_path_has_one_ref",)
    assert not unfair.killed
    assert "SyntaxError" in unfair.broken


def test_a_mutation_that_does_not_fit_is_an_error():
    with pytest.raises(BadMutation, match="occurs 0 times"):
        HARMLESS.applied("something else")
    with pytest.raises(BadMutation, match=r"(?s)write the mutation anew \(clause 1\.1 .*One wheel for every deadline"):
        HARMLESS.applied("something else")
    with pytest.raises(BadMutation, match="occurs 2 times"):
        HARMLESS.applied(HARMLESS.old * 2)
    with pytest.raises(BadMutation, match="nothing is changed"):
        attrs.evolve(HARMLESS, new=HARMLESS.old).applied(HARMLESS.old)


def test_a_test_is_found_by_its_name_and_by_its_module():
    assert locate("test_a_path_has_one_ref") == "tests/runtime/test_address.py::test_a_path_has_one_ref"
    assert (
        locate("test_address.py::test_a_path_has_one_ref") == "tests/runtime/test_address.py::test_a_path_has_one_ref"
    )
    with pytest.raises(BadMutation, match="is nowhere"):
        locate("test_that_nobody_wrote")
    with pytest.raises(BadMutation, match="is nowhere"):
        locate("test_ask.py::test_a_path_has_one_ref")


def test_failures_are_read_from_the_output_of_pytest():
    output = "FAILED tests/a.py::test_b[with a - dash] - assert 0\nERROR tests/a.py::test_c\nFAILEDtests/a.py::test_d\n"
    assert failed_in(output) == {"tests/a.py::test_b", "tests/a.py::test_c"}


def test_clauses_are_read_with_their_tests():
    text = (
        "# 1 Head\n1.1 One.\n  [test_a.py::test_b]\n  [test_a.py::test_c]\n1.2 Two.\n\n## More\n  [test_a.py::test_d]\n"
    )
    assert load_clauses(text) == {
        "1.1": Clause("One.", ("test_a.py::test_b", "test_a.py::test_c")),
        "1.2": Clause("Two."),
    }
    with pytest.raises(BadMutation, match=r"1\.1 stands twice"):
        load_clauses(text + "1.1 Again.\n")


def test_all_that_does_not_fit_is_told_at_once():
    moved = attrs.evolve(HARMLESS, old="text that was")
    gone = attrs.evolve(HARMLESS, file="runtime/_gone.py")
    untested = attrs.evolve(HARMLESS, tests=("test_that_nobody_wrote",))
    wrong = misfits([moved, HARMLESS, gone, untested])
    assert [sign in text for sign, text in zip(("occurs 0 times", "_gone.py", "is nowhere"), wrong, strict=True)] == [
        True,
        True,
        True,
    ]


def test_the_overview_has_a_line_for_each_clause():
    clauses = {"1.1": Clause("One.", ("test_a.py::test_b", "test_a.py::test_c")), "1.2": Clause("Two" * 40)}
    one, two = overview(clauses, [HARMLESS])
    assert one == "1.1   One. | test_a.py: b, c | runtime/_wheel.py:1"
    assert two.endswith("TwoTw… |  | NO MUTATION")
    assert len(overview(CLAUSES, MUTATIONS)) == len(CLAUSES)


def test_a_sample_is_a_function_of_its_seed():
    assert choose(MUTATIONS, [], 5, 1) == choose(MUTATIONS, [], 5, 1) != choose(MUTATIONS, [], 5, 2)
    assert choose(MUTATIONS, ["5.1"], None, 0) == [mutation for mutation in MUTATIONS if mutation.clause == "5.1"]
    assert {mutation.clause for mutation in choose(MUTATIONS, ["6"], None, 0)} == {"6.1", "6.2"}


def test_the_lists_are_where_the_runner_looks():
    assert {path.name for path in Path(__file__).parent.glob("*.toml")} == {
        "introspection.toml",
        "kernel.toml",
        "pools.toml",
        "supervision.toml",
    }
