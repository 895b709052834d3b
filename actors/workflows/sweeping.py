"""When records of runs are forgotten: as long after the end of the run as the log keeps events.

An index of ended runs by time, written in the commit that ends a run, makes a sweep short, however many runs there are:
it reads a page of the oldest, and no record. Pure, but for the query, and for the files that go with the records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import attrs

from actors.storage.interface import DeleteState, PutState, Record
from actors.users.keys import RUNS

if TYPE_CHECKING:
    from actors.artifacts.store import Artifacts
    from actors.storage.interface import Storage

ENDED: Final = "ended_run"
"""Space of runs that have ended: MILLISECONDS/USER/RUN -> nothing."""
AT_ONCE: Final = 100
"""Records that one sweep forgets at most, so that it never holds up the others for long."""


def note_end(key: str, now: float) -> PutState:
    """To be committed with the end of the run that is kept under `key`; `now` in seconds since 1970."""
    return PutState(ENDED, f"{_digits(now)}/{key}", b"")


def forgetting(ended: list[str], change_id: str) -> Record:
    """The change that forgets these runs, given as keys of the index."""
    effects = [
        effect for key in ended for effect in (DeleteState(RUNS, key.partition("/")[2]), DeleteState(ENDED, key))
    ]
    return Record(change_id, None, (), tuple(effects))


def remove_artifacts(artifacts: Artifacts, ended: list[str]) -> None:
    """Remove the files of these runs, given as keys of the index. Blocks; raises OSError."""
    for key in ended:
        user, _, run_id = key.partition("/")[2].partition("/")
        artifacts.remove(unquote(user), run_id)


def _digits(time: float) -> str:
    return f"{max(0, int(time * 1000)):015d}"


@attrs.frozen
class EndedRuns:
    """The oldest runs, at most `AT_ONCE`, that ended before a time in seconds since 1970: as keys of the index."""

    before: float

    def run(self, storage: Storage) -> list[str]:
        until = _digits(self.before)
        return [key for key, _ in storage.list_state(ENDED, limit=AT_ONCE) if key < until]
