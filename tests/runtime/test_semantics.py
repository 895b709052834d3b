"""SEMANTICS.md as a page: its chapters, its tables, and that no clause stands without a test.

That the tests exist, and that each clause has a mutation that turns one of them red, is checked with the mutations.
"""

from __future__ import annotations

import re

import pytest

from tests.mutations.catalogue import SEMANTICS, load_clauses, locate

TEXT = SEMANTICS.read_text(encoding="utf-8")
CLAUSES = load_clauses(TEXT)


@pytest.mark.parametrize("number", CLAUSES)
def test_every_clause_says_something_and_names_tests_that_exist(number: str):
    clause = CLAUSES[number]
    assert clause.words.endswith(".")
    assert clause.tests
    assert len(set(clause.tests)) == len(clause.tests)
    for test in clause.tests:
        locate(test)


def test_every_line_in_brackets_belongs_to_a_clause():
    named = [test for clause in CLAUSES.values() for test in clause.tests]
    assert re.findall(r"^  \[(.*)\]$", TEXT, re.MULTILINE) == named


def test_clauses_that_are_referred_to_exist():
    for number in re.findall(r"(?<![\d.])\d+\.\d+(?! (?:ms|s)\b)(?![\d.]\d)", re.sub(r"(?m)^\d+\.\d+ ", "", TEXT)):
        assert number in CLAUSES or number == "0.2", number


@pytest.mark.parametrize(
    "heading",
    ["## What a restart does, exactly", "## What becomes of a ref and its mailbox", "## Not promised"],
)
def test_the_page_has_its_tables_and_says_what_is_not_promised(heading: str):
    section = TEXT.split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith(("|", "- "))]
    assert len(rows) > 5
    assert len({row.count("|") for row in rows}) == 1, "a row of the table has another number of cells"


def test_nothing_is_left_for_later():
    assert "Not complete yet" not in TEXT
