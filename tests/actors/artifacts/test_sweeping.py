"""Files go with the records of what has written them: runs' and tasks' by the same supervisor."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from actors.artifacts.store import Artifacts
from actors.artifacts.sweeping import remove_artifacts
from actors.durable import supervisor
from actors.users.keys import run_key
from tests.support.tasks_system import FILE, TasksSystem, tasks_system

if TYPE_CHECKING:
    import pytest

WITHIN = 20.0


def test_the_files_of_these_records_go_and_no_others(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    for user, record in (("a/b", "r1"), ("a/b", "r2"), ("a", "r1")):
        artifacts.write(user, record, "step", "x.md", b"x")
    assert remove_artifacts(artifacts, [run_key("a/b", "r1"), run_key("nobody", "r9")]) == {}
    assert artifacts.listing("a/b", "r1") == []
    assert len(artifacts.listing("a/b", "r2")) == len(artifacts.listing("a", "r1")) == 1


def test_a_file_that_the_disk_does_not_let_go_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = Artifacts(tmp_path)
    for record in ("r1", "r2", "r3"):
        artifacts.write("ada", record, "step", "x.md", b"x")
    unlink = Path.unlink

    def stuck(path: Path, *, missing_ok: bool = False) -> None:
        if "=r1" in path.parts:
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", stuck)
    left = remove_artifacts(artifacts, [run_key("ada", record) for record in ("r1", "r2", "r3")])
    assert {key: error.strerror for key, error in left.items()} == {run_key("ada", "r1"): "Permission denied"}
    assert [len(artifacts.listing("ada", record)) for record in ("r1", "r2", "r3")] == [1, 0, 0]


async def forgotten(here: TasksSystem, task_id: str) -> None:
    with trio.fail_after(WITHIN):
        while here.stored(task_id):
            await trio.sleep(0.01)


async def test_the_files_of_a_task_go_before_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real threads, so the clock is real: results are kept for a tenth of a second."""
    artifacts = Artifacts(tmp_path)
    removed: list[tuple[list[str], bool]] = []
    troubles = [OSError(5, "the disk")]

    def remove(store: Artifacts, keys: list[str]) -> dict[str, OSError]:
        removed.append((keys, (tmp_path / "=ada" / f"={keys[0].rpartition('/')[2]}").exists()))
        return {keys[0]: troubles.pop()} if troubles else remove_artifacts(store, keys)

    monkeypatch.setattr(supervisor, "remove_artifacts", remove)
    async with tasks_system(monkeypatch, keep=0.1, artifacts=artifacts) as here:
        task_id = await here.submit("File this", **FILE)
        await here.until_status(task_id, "completed")
        artifacts.write("ada", task_id, "task", "task.md", b"filed")
        artifacts.write("ada", "of another", "task", "task.md", b"kept")
        await forgotten(here, task_id)
        assert removed == [([f"ada/{task_id}"], True)] * 2, "the disk's trouble delays it, and keeps the record"
        assert artifacts.listing("ada", task_id) == []
        assert len(artifacts.listing("ada", "of another")) == 1
