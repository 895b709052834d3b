"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGES = ("runtime", "supervisors", "actors", "understudy")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAY_OPEN_NURSERIES = {
    # The library tasks of one connection, inside its own actor.
    "actors/gateway/http.py",
    "actors/models/simulated/connection.py",
    # The Python client is no actor; the program stands around the system.
    "understudy/client/connection.py",
    "understudy/client/exchange.py",
    "understudy/client/socket.py",
    "understudy/cli.py",
    "understudy/daemon.py",
}
LONGEST = 400


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_no_module_is_longer_than_400_lines():
    assert [relative(path) for path in SOURCES if len(path.read_text().splitlines()) > LONGEST] == []


def starts_tasks(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr in {"start_soon", "open_nursery"} for node in ast.walk(tree)
    )


def test_tasks_are_started_by_the_kernel_only():
    """No `start_soon` and no nursery outside runtime and supervisors, but for the named exceptions."""
    # The Python client is no actor; its tasks are those of its own connections.
    kernel = ("runtime/", "supervisors/", "understudy/client/")
    others = {relative(path) for path in SOURCES if starts_tasks(parsed(path))}
    assert {name for name in others if not name.startswith(kernel)} - MAY_OPEN_NURSERIES == set()


def test_every_named_exception_is_still_one():
    for name in MAY_OPEN_NURSERIES:
        assert starts_tasks(parsed(ROOT / name)), name


def imported(tree: ast.Module) -> set[str]:
    return {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


def test_no_sql_outside_storage():
    with_sql = [relative(path) for path in SOURCES if "sqlite3" in imported(parsed(path))]
    assert [name for name in with_sql if not name.startswith("actors/storage/")] == []


def changeable(path: Path) -> Iterator[str]:
    """The module-level names of a module that are bound to what anybody can change."""
    for node in parsed(path).body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(value, ast.List | ast.Set) and names != {"__all__"}:
            yield f"{relative(path)}:{node.lineno} holds a {type(value).__name__}"


def test_nothing_global_but_constants():
    """Module-level names are bound once, to what cannot be changed: two daemons in one process share nothing."""
    assert [each for path in SOURCES for each in changeable(path)] == []
