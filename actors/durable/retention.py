"""When records are forgotten that have ended: an index of them by time. Pure, but for the query.

The index is written in the commit that ends a record. It makes a sweep short, however many records there are: a sweep
reads a page of the oldest entries, and no record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.storage.interface import DeleteState, PutState, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actors.storage.interface import Effect, Storage

AT_ONCE: Final = 100
"""Records that one sweep forgets at most, so that it never holds up the others for long."""


def note_end(index: str, key: str, now: float) -> PutState:
    """To be committed with the end of the record that is kept under `key`.

    Args:
        index: the space of those that have ended: MILLISECONDS/KEY -> nothing.
        key: of the record: USER/ID.
        now: seconds since 1970.
    """
    return PutState(index, f"{_digits(now)}/{key}", b"")


def key_of(entry: str) -> str:
    """The key of the record that an entry of the index is about."""
    return entry.partition("/")[2]


def forgetting(index: str, entries: Sequence[str], effects: Iterable[Effect], change_id: str) -> Record:
    """The change that forgets these entries, with the `effects` that forget their records."""
    return Record(change_id, None, (), (*effects, *(DeleteState(index, entry) for entry in entries)))


@attrs.frozen
class Ended:
    """To the journal: the oldest entries of an index, at most `AT_ONCE`, of what ended before a time.

    Attributes:
        index: its space.
        before: seconds since 1970.
    """

    index: str
    before: float

    def run(self, storage: Storage) -> list[str]:
        until = _digits(self.before)
        return [entry for entry, _ in storage.list_state(self.index, limit=AT_ONCE) if entry < until]


def _digits(time: float) -> str:
    return f"{max(0, int(time * 1000)):015d}"
