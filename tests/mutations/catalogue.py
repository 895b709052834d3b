"""The clauses of SEMANTICS.md with the tests they name, and the recorded mutations that turn these tests red."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Final

import attrs
import cattrs

ROOT: Final = Path(__file__).parents[2]
SEMANTICS: Final = ROOT / "runtime" / "SEMANTICS.md"
LISTS: Final = Path(__file__).parent
PLACES: Final = ("tests/runtime", "tests/supervisors", "tests/proofs", "tests/runtime_testing")
"""Where the tests that hold clauses live."""


class BadMutation(Exception):
    """A recorded mutation does not fit the code, or names a test that does not exist."""


@attrs.frozen
class Mutation:
    """One way to break a clause.

    Attributes:
        clause: its number in SEMANTICS.md.
        file: the module, from the root of the project.
        old: the text to replace, which occurs exactly once.
        new: what it is replaced by.
        tests: the names of the tests that must turn red, all of them; with the module where several have that name,
            `test_switch.py::test_…`.
    """

    clause: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.clause} {self.file}: {shortened(self.old)} -> {shortened(self.new)}"

    def applied(self, text: str) -> str:
        """The module's text with the mutation in it.

        Raises:
            BadMutation: the old text is not there exactly once, or the new one is the same.
        """
        found = text.count(self.old)
        if found != 1:
            raise BadMutation(f"{self}: the old text occurs {found} times")
        if self.old == self.new:
            raise BadMutation(f"{self}: nothing is changed")
        return text.replace(self.old, self.new)


def shortened(text: str) -> str:
    """One line of it, for people."""
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else f"{line[:57]}…")


def load_mutations() -> list[Mutation]:
    """All recorded mutations, in the order of the files' names."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    return [
        mutation
        for path in sorted(LISTS.glob("*.toml"))
        for mutation in converter.structure(tomllib.loads(path.read_text())["mutation"], list[Mutation])
    ]


def load_clauses(text: str) -> dict[str, list[str]]:
    """The clauses of SEMANTICS.md by number, each with the tests that it names."""
    clauses: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        if line.startswith("#"):
            current = None
        begins = re.match(r"(\d+\.\d+) ", line)
        if begins:
            current = clauses[begins[1]] = []
        if current is not None:
            current += re.findall(r"\[(test_\w+\.py::test_\w+)\]", line)
    return clauses


@cache
def tests_in(path: Path) -> frozenset[str]:
    """The names of the test functions of a module, as pytest collects them."""
    tree = ast.parse(path.read_text())
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def locate(test: str) -> str:
    """The test's id for pytest, from the root of the project.

    Raises:
        BadMutation: there is no such test, or more than one.
    """
    module, _, name = test.rpartition("::")
    found = [
        f"{path.relative_to(ROOT).as_posix()}::{name}"
        for place in PLACES
        for path in sorted((ROOT / place).glob(module or "test_*.py"))
        if name in tests_in(path)
    ]
    if len(found) != 1:
        raise BadMutation(f"{test} is {'nowhere' if not found else 'ambiguous: ' + ', '.join(found)}")
    return found[0]
