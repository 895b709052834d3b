"""Queries that read a user's runs together with the top of the log, so that a client knows what the reply contains."""

from __future__ import annotations

import attrs

from actors.storage.interface import Position, Storage
from actors.users.keys import OPEN, RUNS, runs_of


@attrs.frozen
class ReadRun:
    """One run's record, None if there is none, and the log's top at that moment."""

    user: str
    key: str

    def run(self, storage: Storage) -> tuple[bytes | None, Position]:
        return storage.get_state(RUNS, self.key), storage.top(self.user)


@attrs.frozen
class ReadRuns:
    """A page of a user's runs, oldest first, from behind the run id `after`: (run id, record), and the log's top."""

    user: str
    after: str
    limit: int
    only_open: bool

    def run(self, storage: Storage) -> tuple[list[tuple[str, bytes]], Position]:
        prefix = runs_of(self.user)
        space = OPEN if self.only_open else RUNS
        rows = storage.list_state(space, prefix=prefix, after=prefix + self.after, limit=self.limit)
        page: list[tuple[str, bytes]] = []
        for key, value in rows:
            record = storage.get_state(RUNS, key) if self.only_open else value
            if record is not None:
                page.append((key.removeprefix(prefix), record))
        return page, storage.top(self.user)
