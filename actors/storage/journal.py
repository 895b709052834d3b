"""The journal: the one actor that touches the database.

It takes what waits in its mailbox as a batch and works it off in one call of a worker thread: neighbouring appends
become one transaction, so the busier it is, the fewer commits an event costs. Queries run in their place among the
appends: whoever reads after writing sees what was written.

Trouble with the disk is a state, not a crash. While storage is unavailable every append and query is refused at once
with what is known (`StorageTrouble`), the journal tries by itself whether the trouble is over, and whoever keeps an
uncommitted event offers it again. Where a commit's outcome is unknown, the journal reopens the file and offers the same
records once more: what is in there already is answered as a repeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias

import attrs
import trio

from actors.storage.errors import CommitFailed, CommitUnknown, DatabaseUnavailable, StorageError
from actors.storage.interface import Appended, KeptReply, Position, Record, Storage, Stored, Trimmed
from runtime import Actor, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime import Reason

TRY_AGAIN: Final = 1.0
"""Seconds between two tries to reach storage that is in trouble."""


@attrs.frozen
class StorageTrouble:
    """Why something was refused. `unavailable`: nothing was done. `unknown`: it may have been."""

    kind: str
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
class Read:
    """At most `limit` events of a user's log after the seq `after`."""

    user: str
    after: int
    limit: int

    def run(self, storage: Storage) -> list[Stored]:
        return storage.read(self.user, self.after, self.limit)


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
    """Forget what a user's log keeps beyond its limits. `now` in seconds since 1970."""

    user: str
    now: float
    max_events: int
    max_age: float

    def run(self, storage: Storage) -> Trimmed:
        return storage.trim(self.user, now=self.now, max_events=self.max_events, max_age=self.max_age, limit=1000)


@attrs.frozen
class StorageStatus:
    """Ask how storage stands. Answer: None if it works, else a `StorageTrouble`."""


@attrs.frozen
class _TryAgain:
    """The journal's own timer."""


QUERIES: Final = (Read, Top, FindReply, GetState, ListState, TrimLog)
Message: TypeAlias = Append | Read | Top | FindReply | GetState | ListState | TrimLog | StorageStatus


class Journal(Actor):
    """See the module.

    Args:
        open_storage: opens the database; called in a worker thread, again and again while it raises.
    """

    batch: ClassVar[int] = 500

    def __init__(self, open_storage: Callable[[], Storage]) -> None:
        self._open_storage = open_storage
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
        return [self._trouble if isinstance(message, StorageStatus) else Refused(self._trouble) for message in messages]

    def inspect(self) -> dict[str, Any]:
        return {"storage": "ok" if self._trouble is None else self._trouble.detail}

    # --- trouble

    def _in_trouble(self, trouble: StorageTrouble) -> None:
        self._trouble = trouble
        self.timer("again", TRY_AGAIN, _TryAgain())

    async def _recover(self) -> None:
        """Open the database, or look whether it works again."""
        try:
            await trio.to_thread.run_sync(self._open)
        except StorageError as error:
            self._in_trouble(StorageTrouble("unavailable", str(error)))
        else:
            self._trouble = None

    def _open(self) -> None:
        if self._storage is None:
            self._storage = self._open_storage()
        else:
            self._storage.reopen()
        self._storage.append(())  # an empty transaction: it must be possible to write

    # --- in the worker thread

    def _work_off(self, messages: list[Message]) -> tuple[list[object], StorageTrouble | None]:
        """The answers, and the trouble that began on the way: everything after it is refused."""
        answers: list[object] = []
        trouble: StorageTrouble | None = None
        index = 0
        while index < len(messages):
            message = messages[index]
            if trouble is not None:
                answers.append(trouble if isinstance(message, StorageStatus) else Refused(trouble))
                index += 1
            elif isinstance(message, Append):
                run = [message]
                while len(run) + index < len(messages) and isinstance(messages[index + len(run)], Append):
                    run.append(messages[index + len(run)])  # type: ignore[arg-type]
                outcome, trouble = self._commit(run)
                answers += outcome
                index += len(run)
            else:
                answer, trouble = self._query(message)
                answers.append(answer)
                index += 1
        return answers, trouble

    def _commit(self, run: list[Append]) -> tuple[list[object], StorageTrouble | None]:
        records = [record for append in run for record in append.records]
        try:
            outcomes = self._append(records)
        except (CommitFailed, DatabaseUnavailable) as error:
            trouble = StorageTrouble("unavailable", str(error))
        except StorageError as error:
            trouble = StorageTrouble("unknown", str(error))
        else:
            begin = 0
            answers: list[object] = []
            for append in run:
                answers.append(tuple(outcomes[begin : begin + len(append.records)]))
                begin += len(append.records)
            return answers, None
        return [Refused(trouble) for _ in run], trouble

    def _append(self, records: list[Record]) -> list[Appended]:
        assert self._storage is not None
        try:
            return self._storage.append(records)
        except CommitUnknown:
            try:
                self._storage.reopen()
                return self._storage.append(records)
            except StorageError as error:  # still nobody knows whether the first time went through
                raise CommitUnknown(str(error)) from error

    def _query(self, message: Message) -> tuple[object, StorageTrouble | None]:
        assert self._storage is not None
        if isinstance(message, StorageStatus):
            return None, None
        assert not isinstance(message, Append)
        try:
            return message.run(self._storage), None
        except StorageError as error:
            trouble = StorageTrouble("unavailable", str(error))
            return Refused(trouble), trouble
