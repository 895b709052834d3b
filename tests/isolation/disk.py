"""What is kept of each user, on the disk: rows of the database, and files of runs. Nothing may be with another's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from actors.artifacts.store import ARTIFACTS
from actors.storage.database import DATABASE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.isolation.marks import Marks

BY_LOG: Final = {
    "event": "SELECT user, body FROM log JOIN logs ON logs.id = log.log WHERE body IS NOT NULL",
    "reply": "SELECT user, reply FROM reply JOIN logs ON logs.id = reply.log",
    "memory": "SELECT user, content || ' ' || memory_id FROM memory JOIN logs ON logs.id = memory.log",
}
"""What stands in each user's own log, by what it is."""
OF_USERS: Final = ("run", "open_run", "session", "task", "open_task")
"""Spaces of the state whose keys begin with the user."""


def look_at_disk(data: Path, marks: Marks) -> dict[str, int]:
    """Look through a data directory that nobody writes to. How many of each kind there were."""
    seen = {"artifact": look_at_files(data, marks)}
    for what, user, text in _rows(data):
        seen[what] = seen.get(what, 0) + 1
        marks.look(user, text, f"a kept {what}")
    return seen


def look_at_files(data: Path, marks: Marks) -> int:
    """The same, of files only: each lies in its user's folder, whatever else is in its path."""
    root, files = data / ARTIFACTS, 0
    for path in sorted(root.rglob("*")):
        if path.is_file():
            files += 1
            user, *rest = path.relative_to(root).parts
            text = f"{'/'.join(rest)} {path.read_text()}"
            marks.look(unquote(user.removeprefix("=")), text, "a kept artifact")
    return files


def _rows(data: Path) -> Iterator[tuple[str, str, str]]:
    with closing(sqlite3.connect(data / DATABASE_NAME)) as database:
        for what, select in BY_LOG.items():
            for user, kept in database.execute(select):
                yield what, user, _text(kept)
        for space, key, kept in database.execute("SELECT space, key, value FROM state"):
            if space in OF_USERS:
                yield space, unquote(key.partition("/")[0]), f"{key} {_text(kept)}"


def _text(kept: Any) -> str:
    return kept if isinstance(kept, str) else bytes(kept).decode("utf-8", "replace")
