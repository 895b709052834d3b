"""The clauses of SEMANTICS.md with the tests they name, and the recorded mutations that turn these tests red."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import cattrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
            raise BadMutation(
                f"{self}: the old text occurs {found} times in {self.file}, and has to once. The code has changed: "
                f"write the mutation anew (clause {self.clause} in tests/mutations/*.toml). The old text is\n{self.old}"
            )
        if self.old == self.new:
            raise BadMutation(f"{self}: nothing is changed")
        return text.replace(self.old, self.new)

    def line(self) -> int:
        """The number of the line in the module where the old text begins."""
        before, _, _ = (ROOT / self.file).read_text().partition(self.old.lstrip("\n"))
        return before.count("\n") + 1


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


@attrs.frozen
class Clause:
    """One clause of SEMANTICS.md: what it says, and the tests that it names."""

    words: str
    tests: tuple[str, ...] = ()


def load_clauses(text: str) -> dict[str, Clause]:
    """The clauses of SEMANTICS.md by number.

    Raises:
        BadMutation: a number stands there twice.
    """
    clauses: dict[str, Clause] = {}
    number: str | None = None
    for line in text.splitlines():
        if line.startswith("#"):
            number = None
        begins = re.match(r"(\d+\.\d+) (.*)", line)
        if begins:
            number = begins[1]
            if number in clauses:
                raise BadMutation(f"clause {number} stands twice in SEMANTICS.md")
            clauses[number] = Clause(begins[2])
        if number is not None:
            named = re.findall(r"\[(test_\w+\.py::test_\w+)\]", line)
            clauses[number] = attrs.evolve(clauses[number], tests=(*clauses[number].tests, *named))
    return clauses


@cache
def tests_in(path: Path) -> frozenset[str]:
    """The names of the test functions of a module, as pytest collects them."""
    tree = ast.parse(path.read_text())
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


@cache
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


def misfits(mutations: Iterable[Mutation]) -> list[str]:
    """What is wrong with each mutation that fits neither the code nor the tests."""
    found = []
    for mutation in mutations:
        try:
            mutation.applied((ROOT / mutation.file).read_text())
            for test in mutation.tests:
                locate(test)
        except (BadMutation, OSError) as error:
            found.append(str(error))
    return found


def overview(clauses: Mapping[str, Clause], mutations: Iterable[Mutation]) -> list[str]:
    """One line for each clause: what it says, the tests that hold it, and where the code is mutated."""
    places: dict[str, list[str]] = {}
    for mutation in mutations:
        places.setdefault(mutation.clause, []).append(f"{mutation.file}:{mutation.line()}")
    lines = []
    for number, clause in clauses.items():
        modules: dict[str, list[str]] = {}
        for test in clause.tests:
            module, _, name = test.partition("::")
            modules.setdefault(module, []).append(name.removeprefix("test_"))
        tests = "; ".join(f"{module}: {', '.join(names)}" for module, names in modules.items())
        words = clause.words if len(clause.words) <= 90 else f"{clause.words[:89].rstrip()}…"
        lines.append(f"{number:5} {words} | {tests} | {' '.join(places.get(number, ['NO MUTATION']))}")
    return lines
