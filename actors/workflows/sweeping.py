"""What is forgotten with a run, as long after its end as the log keeps events: its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.storage.interface import DeleteState
from actors.users.keys import RUNS

if TYPE_CHECKING:
    from actors.storage.interface import Effect

ENDED: Final = "ended_run"
"""Space of runs that have ended: MILLISECONDS/USER/RUN -> nothing."""


def forget_run(key: str) -> tuple[Effect, ...]:
    """What forgets the record that is kept under `key`."""
    return (DeleteState(RUNS, key),)
