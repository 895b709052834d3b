"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_module_is_longer_than_400_lines(path: Path):
    assert len(path.read_text().splitlines()) <= LONGEST


def starts_tasks(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr in {"start_soon", "open_nursery"} for node in ast.walk(tree)
    )


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_tasks_are_started_by_the_kernel_only(path: Path):
    """No `start_soon` and no nursery outside runtime and supervisors, but for the named exceptions."""
    name = relative(path)
    # The Python client is no actor; its tasks are those of its own connections.
    allowed = name.startswith(("runtime/", "supervisors/", "understudy/client/")) or name in MAY_OPEN_NURSERIES
    assert allowed or not starts_tasks(ast.parse(path.read_text()))


def test_every_named_exception_is_still_one():
    for name in MAY_OPEN_NURSERIES:
        assert starts_tasks(ast.parse((ROOT / name).read_text())), name


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_sql_outside_storage(path: Path):
    if relative(path).startswith("actors/storage/"):
        return
    imported = [
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    assert "sqlite3" not in imported


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_nothing_global_but_constants(path: Path):
    """Module-level names are bound once, to what cannot be changed: two daemons in one process share nothing."""
    for node in ast.parse(path.read_text()).body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(value, ast.List | ast.Set) and names != {"__all__"}:
            pytest.fail(f"{relative(path)}:{node.lineno} holds a {type(value).__name__} that anybody can change")
