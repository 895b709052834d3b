"""Every failure that people can be told of is provoked by a test, which names it: else it would be no promise.

The codes of refused commands are had, each of them, in `tests/end_to_end/test_error_codes.py`.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from actors.protocol.catalogue import Failure
from actors.protocol.codes import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.repeats

ROOT: Final = Path(__file__).parents[3]
TESTS: Final = ROOT / "tests"
TABLES: Final = {"test_catalogue.py", "test_provoked.py"}
"""Tests of the table itself provoke nothing."""
NOT_YET: Final = {ErrorCode.UNAUTHORIZED: "there is no authentication yet"}
BY_STATUS: Final = "understudy/http/failures.py"
"""What the web framework refuses has a code by its status."""


def _named(path: Path) -> Iterator[str]:
    """The members that a module names of the two tables."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


@pytest.fixture(scope="module")
def named() -> set[str]:
    """What the tests name."""
    return {name for path in TESTS.rglob("test_*.py") if path.name not in TABLES for name in _named(path)}


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_is_provoked(named: set[str], failure: Failure) -> None:
    assert f"Failure.{failure.name}" in named, "no test names it"


@pytest.mark.parametrize("code", NOT_YET)
def test_what_cannot_be_provoked_yet_is_used_nowhere(code: ErrorCode) -> None:
    sources = [path for package in ("actors", "understudy") for path in (ROOT / package).rglob("*.py")]
    users = {path.relative_to(ROOT).as_posix() for path in sources if f"ErrorCode.{code.name}" in set(_named(path))}
    assert users <= {"actors/protocol/codes.py", BY_STATUS}, "it can be had now: provoke it"
