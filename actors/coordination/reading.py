"""Queries of tasks, and how those are forgotten that ended longer ago than results are kept.

An index of ended tasks by time, written in the commit that ends a task, makes a sweep short, as with runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.coordination.record import OPEN_TASKS, TASK_KEYS, TASKS, task_key, tasks_of
from actors.storage.interface import DeleteState, PutState, Record

if TYPE_CHECKING:
    from actors.storage.interface import Storage

ENDED_TASKS: Final = "ended_task"
"""Space of tasks that have ended: MILLISECONDS/USER/TASK -> nothing."""
AT_ONCE: Final = 100
"""Tasks that one sweep forgets at most, so that it never holds up the others for long."""


@attrs.frozen
class ReadTask:
    """A user's task, as it is stored; None if there is none."""

    user: str
    task_id: str

    def run(self, storage: Storage) -> bytes | None:
        return storage.get_state(TASKS, task_key(self.user, self.task_id))


@attrs.frozen
class FindTask:
    """A task by its id alone, whoever's it is."""

    task_id: str

    def run(self, storage: Storage) -> bytes | None:
        key = storage.get_state(TASK_KEYS, self.task_id)
        return None if key is None else storage.get_state(TASKS, key.decode())


@attrs.frozen
class ReadTasks:
    """A page of a user's tasks, oldest first, from behind the task id `after`."""

    user: str
    after: str
    limit: int
    only_open: bool = False

    def run(self, storage: Storage) -> list[bytes]:
        prefix = tasks_of(self.user)
        space = OPEN_TASKS if self.only_open else TASKS
        rows = storage.list_state(space, prefix=prefix, after=prefix + self.after, limit=self.limit)
        found = [storage.get_state(TASKS, key) if self.only_open else value for key, value in rows]
        return [value for value in found if value is not None]


@attrs.frozen
class EndedTasks:
    """The oldest tasks, at most `AT_ONCE`, that ended before a time in seconds since 1970: as keys of the index."""

    before: float

    def run(self, storage: Storage) -> list[str]:
        until = _digits(self.before)
        return [key for key, _ in storage.list_state(ENDED_TASKS, limit=AT_ONCE) if key < until]


def note_end(key: str, now: float) -> PutState:
    """To be committed with the end of the task that is kept under `key`; `now` in seconds since 1970."""
    return PutState(ENDED_TASKS, f"{_digits(now)}/{key}", b"")


def forgetting(ended: list[str], change_id: str) -> Record:
    """The change that forgets these tasks, given as keys of the index."""
    effects = []
    for entry in ended:
        key = entry.partition("/")[2]
        task_id = key.rpartition("/")[2]
        effects += [DeleteState(TASKS, key), DeleteState(TASK_KEYS, task_id), DeleteState(ENDED_TASKS, entry)]
    return Record(change_id, None, (), tuple(effects))


def _digits(time: float) -> str:
    return f"{max(0, int(time * 1000)):015d}"
