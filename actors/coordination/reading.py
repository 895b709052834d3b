"""Queries of tasks, and what is forgotten with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.coordination.record import OPEN_TASKS, TASK_KEYS, TASKS, task_key, tasks_of
from actors.storage.interface import DeleteState

if TYPE_CHECKING:
    from actors.storage.interface import Effect, Storage

ENDED_TASKS: Final = "ended_task"
"""Space of tasks that have ended: MILLISECONDS/USER/TASK -> nothing."""


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


def forget_task(key: str) -> tuple[Effect, ...]:
    """What forgets the record that is kept under `key`."""
    return DeleteState(TASKS, key), DeleteState(TASK_KEYS, key.rpartition("/")[2])
