"""What is looked at when all steps of a run have ended: files of one name that several steps have written.

Each step writes to a folder of its own, so nothing is overwritten; but whoever brings the results together has to know.
A part of the run's actor; the disk is read in a thread, and holds up no run: where it cannot be read, or not in time,
it is not known which names these are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.artifacts.store import conflicts
from actors.users.messages import Later

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.artifacts.store import Artifacts
    from actors.workflows.run import Run
    from runtime import ActorTask, TaskEnded

WITHIN: Final = 20.0
"""Seconds for the disk."""


class Consolidation:
    """Made by a run for itself. `artifacts`: where files are kept; None: there are none."""

    def __init__(self, run: Run, artifacts: Artifacts | None) -> None:
        self._run = run
        self._artifacts = artifacts
        self._task: ActorTask | None = None
        self._known = artifacts is None

    def done(self) -> bool:
        """Whether it is known; else it is found out, and the run told to go on."""
        if self._artifacts is not None and self._task is None:
            record, run = self._run.record, self._run
            self._task = run.start_in_thread(self._artifacts.listing, record.user, record.run_id, name="consolidation")
            run.timer("consolidation", WITHIN, Later(self._given_up))
        return self._known

    def heard(self, ended: TaskEnded) -> None:
        """The files are listed, or cannot be."""
        if self._known:  # it was given up
            return
        self._run.cancel_timer("consolidation")
        if ended.error is not None and not isinstance(ended.error, OSError):
            raise ended.error
        self._known = True
        if ended.error is None:
            self._run.log.conflicting(conflicts(ended.value))
        self._run.go_on()

    def _given_up(self) -> None:
        assert self._task is not None
        self._known = True
        self._task.cancel("it took too long")
        self._run.go_on()


def told(found: Mapping[str, tuple[str, ...]]) -> str:
    """A sentence about the names; empty where there are none."""
    if not found:
        return ""
    names = "; ".join(f"{name} ({', '.join(steps)})" for name, steps in sorted(found.items()))
    return f" Several steps have written a file of the same name: {names}."
