"""The journal: the one actor that touches the database.

It takes what waits in its mailbox as a batch and works it off in one call of a worker thread: neighbouring appends
become one transaction, so the busier it is, the fewer commits an event costs. Queries run in their place among the
appends: whoever reads after writing sees what was written. Neighbours of those kinds that come by thousands after a
restart are looked up together. Only what may as well happen earlier is done for the whole batch at its beginning, in
one transaction: new users' logs and new clients' cursors are made, and cursors moved. Where that would be the only
reason for a transaction of their own, the moved cursors go with the first append instead.

Trouble with the disk is a state, not a crash. While storage is unavailable every append and query is refused at once
with what is known (`StorageTrouble`), the journal tries by itself whether the trouble is over, and whoever keeps an
uncommitted event offers it again. Where a commit's outcome is unknown, the journal reopens the file and offers the same
records once more: what is in there already is answered as a repeat.
"""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol

import attrs
import trio

from actors.storage.attending import Beforehand, Look, MoveCursors, Wake, look_up
from actors.storage.errors import CommitUnknown, StorageError
from actors.storage.interface import Appended, Cursor, KeptReply, Position, Record, Storage, Trimmed
from runtime import Actor, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime import Reason

TRY_AGAIN: Final = 1.0
"""Seconds between two tries to reach storage that is in trouble."""
TRIMMED_AT_ONCE: Final = 1000
"""Events that one `TrimLog` forgets at most, so that it never holds up the others for long."""


@attrs.frozen
class StorageTrouble:
    """Why something was refused.

    Attributes:
        kind: `unavailable`, nothing was done; `unknown`, it may have been.
        detail: for operators.
    """

    kind: Literal["unavailable", "unknown"]
    detail: str


@attrs.frozen
class Append:
    """Commit these records together, in this order. Answer: a tuple of `Appended`."""

    records: tuple[Record, ...]


class Query(Protocol):
    """Something to read. The answer is what `run` returns."""

    def run(self, storage: Storage) -> object:
        """Called in the worker thread."""


@attrs.frozen
class Top:
    """How a user's log stands."""

    user: str

    def run(self, storage: Storage) -> Position:
        return storage.top(self.user)


@attrs.frozen
class FindReply:
    """The reply kept for a user's command."""

    user: str
    command_id: str

    def run(self, storage: Storage) -> KeptReply | None:
        return storage.find_reply(self.user, self.command_id)


@attrs.frozen
class GetState:
    """One value of the key-value state."""

    space: str
    key: str

    def run(self, storage: Storage) -> bytes | None:
        return storage.get_state(self.space, self.key)


@attrs.frozen
class ListState:
    """A page of the key-value state."""

    space: str
    prefix: str = ""
    after: str = ""
    limit: int = 1000

    def run(self, storage: Storage) -> list[tuple[str, bytes]]:
        return storage.list_state(self.space, prefix=self.prefix, after=self.after, limit=self.limit)


@attrs.frozen
class TrimLog:
    """Forget what a user's log keeps beyond its limits. `now` in seconds since 1970. Answer: a `Trimmed`.

    At most `TRIMMED_AT_ONCE` events go; if so many have gone, there may be more. None goes from the seq `keep` on.
    """

    user: str
    now: float
    max_events: int
    max_age: float
    keep: int | None = None

    def run(self, storage: Storage) -> Trimmed:
        return storage.trim(
            self.user,
            now=self.now,
            max_events=self.max_events,
            max_age=self.max_age,
            limit=TRIMMED_AT_ONCE,
            keep=self.keep,
        )


@attrs.frozen
class StorageStatus:
    """Ask how storage stands. Answer: None if it works, else a `StorageTrouble`."""


@attrs.frozen
class _TryAgain:
    """The journal's own timer."""


def _tell_nobody(trouble: StorageTrouble | None) -> None:
    """Nobody wants to hear of it beyond being refused."""


class Journal(Actor):
    """See the module.

    Args:
        open_storage: opens the database; called in a worker thread, again and again while it raises.
        told: how storage stands, each time it is found to work or not; None: it works.
    """

    batch: ClassVar[int] = 500

    def __init__(
        self, open_storage: Callable[[], Storage], told: Callable[[StorageTrouble | None], None] = _tell_nobody
    ) -> None:
        self._open_storage = open_storage
        self._told = told
        self._storage: Storage | None = None
        self._trouble: StorageTrouble | None = StorageTrouble("unavailable", "not opened yet")

    async def started(self) -> None:
        await self._recover()

    async def stopped(self, reason: Reason) -> None:
        del reason
        storage, self._storage = self._storage, None
        if storage is not None:
            await trio.to_thread.run_sync(storage.close)

    async def receive(self, message: Any) -> object:
        if isinstance(message, _TryAgain):
            await self._recover()
        return None

    async def receive_batch(self, messages: Sequence[Any]) -> Sequence[object]:
        if self._trouble is None:
            answers, trouble = await trio.to_thread.run_sync(self._work_off, list(messages))
            if trouble is not None:
                self._in_trouble(trouble)
            return answers
        return [_while_in_trouble(message, self._trouble) for message in messages]

    def inspect(self) -> dict[str, Any]:
        return {"storage": "ok" if self._trouble is None else self._trouble.detail}

    # --- trouble

    def _in_trouble(self, trouble: StorageTrouble) -> None:
        """From now on everything is refused before it is touched, whatever became of what was in hand."""
        self._trouble = StorageTrouble("unavailable", trouble.detail)
        self._told(self._trouble)
        self.timer("again", TRY_AGAIN, _TryAgain())

    async def _recover(self) -> None:
        """Open the database, or look whether it works again."""
        try:
            await trio.to_thread.run_sync(self._open)
        except (StorageError, OSError) as error:
            self._in_trouble(StorageTrouble("unavailable", str(error)))
        else:
            self._trouble = None
            self._told(None)

    def _open(self) -> None:
        if self._storage is None:
            self._storage = self._open_storage()
        else:
            self._storage.reopen()
        self._storage.probe()

    # --- in the worker thread

    def _work_off(self, messages: list[Any]) -> tuple[list[object], StorageTrouble | None]:
        """The answers, and the trouble that began on the way: everything behind it is refused untouched."""
        answers: list[object] = []
        work = Beforehand.of(messages, (Top, Wake))
        # Who comes or wakes has to find cursors as they were moved before; else the moves can wait for a transaction.
        looked_at = work.arrivals or any(isinstance(message, Wake) for message in messages)
        wait = not looked_at and any(isinstance(message, Append) for message in messages)
        trouble = self._attend(work, [] if wait else work.take_moves())
        while trouble is None and len(answers) < len(messages):
            message = messages[len(answers)]
            if isinstance(message, Append):
                run = list(takewhile(lambda each: isinstance(each, Append), messages[len(answers) :]))
                outcome, trouble = self._commit(run, work.take_moves())
                answers += outcome
            elif isinstance(message, MoveCursors):
                answers.append(True)
            elif isinstance(message, Look):
                looks = list(takewhile(lambda each: isinstance(each, Look), messages[len(answers) :]))
                found, trouble = self._look_up(looks, work)
                answers += found
            else:
                answer, trouble = self._query(message)
                answers.append(answer)
        if trouble is not None:
            untouched = StorageTrouble("unavailable", trouble.detail)
            answers += [_while_in_trouble(message, untouched) for message in messages[len(answers) :]]
            # Cursors that were to go with an append may be among what was not done. Moving one twice does no harm.
            moved = [place for place, message in enumerate(messages) if isinstance(message, MoveCursors)]
            for place in moved:
                answers[place] = Refused(untouched)
        return answers, trouble

    def _attend(self, work: Beforehand, moves: list[Cursor]) -> StorageTrouble | None:
        """Do what is done for the whole batch at its beginning."""
        if not (work.users or work.arrivals or moves):
            return None
        storage = self._storage
        assert storage is not None
        try:
            try:
                work.found = iter(storage.attend(work.users, work.arrivals, moves))
            except CommitUnknown:  # doing it twice does no harm
                storage.reopen()
                work.found = iter(storage.attend(work.users, work.arrivals, moves))
        except (StorageError, OSError) as error:
            return StorageTrouble("unavailable", str(error))
        return None

    def _commit(self, run: list[Append], moves: list[Cursor]) -> tuple[list[object], StorageTrouble | None]:
        """Commit neighbouring appends as one transaction."""
        records = [record for append in run for record in append.records]
        try:
            outcomes = iter(self._append(records, moves))
        except CommitUnknown as error:
            trouble = StorageTrouble("unknown", str(error))
        except StorageError as error:  # of all others storage promises that nothing was committed
            trouble = StorageTrouble("unavailable", str(error))
        else:
            return [tuple(islice(outcomes, len(append.records))) for append in run], None
        return [Refused(trouble) for _ in run], trouble

    def _append(self, records: list[Record], moves: list[Cursor]) -> list[Appended]:
        assert self._storage is not None
        try:
            return self._storage.append(records, moves)
        except CommitUnknown:
            try:
                self._storage.reopen()
                return self._storage.append(records, moves)
            except (StorageError, OSError) as error:  # still nobody knows whether the first time went through
                raise CommitUnknown(str(error)) from error

    def _query(self, query: StorageStatus | Query) -> tuple[object, StorageTrouble | None]:
        assert self._storage is not None
        if isinstance(query, StorageStatus):
            return None, None
        try:
            return query.run(self._storage), None
        except StorageError as error:
            trouble = StorageTrouble("unavailable", str(error))
            return Refused(trouble), trouble

    def _look_up(self, looks: list[Look], work: Beforehand) -> tuple[list[object], StorageTrouble | None]:
        """Answer neighbouring looks."""
        assert self._storage is not None
        try:
            return look_up(looks, work.found, self._storage), None
        except StorageError as error:
            trouble = StorageTrouble("unavailable", str(error))
            return [Refused(trouble) for _ in looks], trouble


def _while_in_trouble(message: object, trouble: StorageTrouble) -> object:
    """What is answered without touching storage."""
    return trouble if isinstance(message, StorageStatus) else Refused(trouble)
