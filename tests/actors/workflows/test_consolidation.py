"""What a run says of its files when it ends, and a disk that does not say which there are."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.artifacts.store import Artifact
from actors.workflows.consolidation import WITHIN
from tests.support.runs_system import runs_system
from tests.support.users_system import virtual

if TYPE_CHECKING:
    from collections.abc import Callable

TWICE = [Artifact("notes.md", step, 1, "", 0.0) for step in ("analysis", "test")]


class Disk:
    """`listing` does what the test says, in its thread."""

    def __init__(self, listing: Callable[[], list[Artifact]]) -> None:
        self._listing = listing

    def listing(self, user: str, run_id: str) -> list[Artifact]:
        del user, run_id
        return self._listing()


def ended_with(monkeypatch: pytest.MonkeyPatch, disk: Disk) -> tuple[dict[str, Any], float]:
    """The last event of a run, and how long after the last agent's end it came."""
    found: list[tuple[dict[str, Any], float]] = []

    async def main() -> None:
        async with runs_system(monkeypatch, artifacts=disk) as here:
            run_id = await here.start()
            with trio.fail_after(600):
                while not all(step.ended for step in here.record(run_id).steps):
                    await trio.sleep(0.01)
            done = trio.current_time()
            assert await here.ended(run_id) == "completed"
            found.append((here.log()[-1], trio.current_time() - done))

    virtual(main)
    return found[0]


def test_names_that_several_steps_have_used_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    last, _ = ended_with(monkeypatch, Disk(lambda: TWICE))
    assert last["metadata"]["conflicts"] == {"notes.md": ["analysis", "test"]}
    assert "notes.md (analysis, test)" in last["content"]


def test_a_disk_that_cannot_be_read_holds_up_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Artifact]:
        raise OSError(5, "Input/output error")

    last, _ = ended_with(monkeypatch, Disk(broken))
    assert last["metadata"]["status"] == "completed"
    assert "conflicts" not in last["metadata"]


def test_nor_does_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()

    def listing() -> list[Artifact]:
        hangs.wait(60)
        return TWICE

    try:
        last, took = ended_with(monkeypatch, Disk(listing))
    finally:
        hangs.set()
    assert "conflicts" not in last["metadata"]
    assert WITHIN <= took < WITHIN + 30
