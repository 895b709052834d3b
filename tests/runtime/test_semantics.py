"""SEMANTICS.md names the tests that hold its clauses. They have to exist."""

from __future__ import annotations

import re
from pathlib import Path

import runtime

HERE = Path(__file__).parent
TEXT = (Path(runtime.__file__).parent / "SEMANTICS.md").read_text(encoding="utf-8")
CLAUSE = re.compile(r"^(\d+)\.(\d+) .*\n((?:  \[.*\]\n)*)", re.MULTILINE)
LAST_CHAPTER_OF_THE_KERNEL = 12


def test_every_clause_of_the_kernel_names_tests_that_exist():
    clauses = [match for match in CLAUSE.finditer(TEXT) if int(match[1]) <= LAST_CHAPTER_OF_THE_KERNEL]
    assert len(clauses) > 40
    for clause in clauses:
        tests = re.findall(r"\[(\w+\.py)::(\w+)\]", clause[3])
        assert tests, f"{clause[1]}.{clause[2]} names no test"
        for module, name in tests:
            source = (HERE / module).read_text(encoding="utf-8")
            assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{module}::{name} is missing"
