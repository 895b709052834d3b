"""The supervisor of durable actors: each goes on with a record of its own until that has ended.

Whoever accepts a piece of work commits its record, and with it an entry among the open ones; then it says so here
(`TakeUp`). At its start the supervisor takes up every record that is open, whoever left it, and with `look_every` it
looks again now and then: whoever accepted one may have crashed before it could say so. So neither `kill -9` nor a crash
leaves anything lying, and there is no other way of starting over.

An actor that fails too often is given up, and started once more only to close its record; where even that fails, it is
tried again after a while, for as long as there is a record to close.

Records are forgotten some time after their end, page by page, and their files with them: see `retention`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import unquote

import attrs

from actors.artifacts.sweeping import remove_artifacts
from actors.durable.retention import AT_ONCE, Ended, forgetting, key_of
from actors.protocol.codes import ErrorCode
from actors.storage.journal import Append, ListState
from actors.users.messages import CommandError, Later
from runtime import Mailbox, Refused, Replied, TaskEnded
from supervisors import ChildSpec, DynamicSupervisor, Intensity, Restart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.artifacts.store import Artifacts
    from actors.protocol.stamps import Stamps
    from actors.storage.interface import Effect
    from runtime import Actor, ActorTask, Reason, Ref

LIST_WITHIN: Final = 30.0
LIST_AGAIN: Final = 0.5
PAGE: Final = 500
CLOSE_AGAIN: Final = 30.0
"""Seconds before a record that could not even be closed is tried again."""
STOP_WITHIN: Final = 10.0
SWEEP_WITHIN: Final = 30.0
SWEEP_EVERY: Final = 600.0
SWEEP_ON: Final = 1.0
"""Seconds between two pages of a sweep that has much to forget."""


@attrs.frozen
class TakeUp:
    """To a durable supervisor: have the actor of an accepted record running. Answered with its address; repeating is
    fine. Refused with `CommandError` where the actor of this name is another user's: knowing an id opens nothing.

    Attributes:
        user: whose it is.
        record_id: the record's id, and the actor's name.
        close: the actor has failed too often; it is only to close what is open and end the record as failed.
    """

    user: str
    record_id: str
    close: bool = False


class DurableSupervisor(DynamicSupervisor):
    """See the module. Subclasses say where records are kept, and make the actors.

    Args:
        journal: where records are listed and forgotten.
        stamps: of whose clock times are.
        keep: seconds for which a record is kept after its end.
        artifacts: where the files are that go with the records; None: there are none.
        log: for operators; None: nothing is told.
        look_every: seconds between two looks for open records; None: only at the start.
        sweep_every: seconds between two looks for records to forget.
    """

    open_space: ClassVar[str]
    """Space of records that have not ended: USER/ID -> anything."""
    ended_space: ClassVar[str]
    """The index of those that have: see `retention`."""
    child_mailbox: ClassVar[Mailbox]
    budget = Intensity(3, 60.0)

    def __init__(
        self,
        journal: Ref[Any],
        stamps: Stamps,
        keep: float,
        *,
        artifacts: Artifacts | None = None,
        log: Any = None,
        look_every: float | None = None,
        sweep_every: float = SWEEP_EVERY,
    ) -> None:
        self._journal = journal
        self._stamps = stamps
        self._keep = keep
        self._artifacts = artifacts
        self._log = log
        self._removal: tuple[ActorTask, list[str]] | None = None
        self._look_every = look_every
        self._sweep_every = sweep_every
        self._orders: dict[str, TakeUp] = {}
        self._given_up: set[str] = set()
        """Those that failed too often, until they are closed."""

    def make(self, order: TakeUp) -> Actor:
        """For subclasses: the actor. Called once an incarnation."""
        raise NotImplementedError

    def forgets(self, key: str) -> Iterable[Effect]:
        """For subclasses: what forgets the record that is kept under `key`."""
        raise NotImplementedError

    async def started(self) -> None:
        await super().started()
        self._list("")
        self._sweep()

    async def receive(self, message: Any) -> object:
        match message:
            case TakeUp():
                return self._address(message)
            case Replied():
                message.tag(message)
            case Later(call):
                call()
            case TaskEnded(task, left, error) if self._removal is not None and task is self._removal[0]:
                (_, entries), self._removal = self._removal, None
                if error is not None:
                    raise error
                self._removed(entries, left)
            case _:
                return await super().receive(message)
        return None

    # --- starting

    def _address(self, order: TakeUp) -> Ref[Any] | Refused:
        """Where no actor is, one is started: it reads the record of this user and id, and ends if there is none."""
        there = self.child(order.record_id)
        if there is None:
            return self._start(self._judged(order))
        return there if order.user == self.owner(order.record_id) else Refused(CommandError(ErrorCode.NOT_FOUND))

    def _judged(self, order: TakeUp) -> TakeUp:
        """The order; of one that has failed too often, to close it."""
        return attrs.evolve(order, close=order.close or order.record_id in self._given_up)

    def _start(self, order: TakeUp) -> Ref[Any]:
        self._orders[order.record_id] = order
        spec = ChildSpec(
            order.record_id,
            lambda: self.make(order),
            mailbox=self.child_mailbox,
            shutdown=STOP_WITHIN,
            restart=Restart.TRANSIENT,
        )
        return self.start_child(spec)

    def owner(self, record_id: str) -> str:
        """Whose the actor of this name is, which is there."""
        return self._orders[record_id].user

    def child_gone(self, name: str, ref: Ref[Any], reason: Reason, *, gave_up: bool) -> None:
        del ref, reason
        order = self._orders.pop(name)
        if not gave_up:
            self._given_up.discard(name)
        elif order.close:  # it could not even be closed
            self.timer(("close", name), CLOSE_AGAIN, Later(lambda: self._close_again(order)))
        else:
            self._given_up.add(name)
            self._start(self._judged(order))

    def _close_again(self, order: TakeUp) -> None:
        if self.child(order.record_id) is None:
            self._start(order)

    # --- finding what is open

    def _list(self, after: str) -> None:
        def listed(replied: Replied) -> None:
            if replied.error is not None:
                self._list_later(LIST_AGAIN, after)
            else:
                self._take_up_all(replied.value)

        query = ListState(self.open_space, after=after, limit=PAGE)
        self.request(self._journal, query, LIST_WITHIN, tag=listed)

    def _take_up_all(self, page: list[tuple[str, bytes]]) -> None:
        for key, _ in page:
            user, _, record_id = key.partition("/")
            if self.child(record_id) is None and record_id not in self._given_up:
                self._start(TakeUp(unquote(user), record_id))
        if len(page) == PAGE:
            self._list(page[-1][0])
        elif self._look_every is not None:
            self._list_later(self._look_every, "")

    def _list_later(self, delay: float, after: str) -> None:
        self.timer("list", delay, Later(lambda: self._list(after)))

    # --- forgetting

    def _sweep(self) -> None:
        def found(replied: Replied) -> None:
            if replied.error is not None or not replied.value:
                self._sweep_later(self._sweep_every)
            else:
                entries: list[str] = replied.value
                self._clear(entries)

        query = Ended(self.ended_space, self._stamps.wall() - self._keep)
        self.request(self._journal, query, SWEEP_WITHIN, tag=found)

    def _clear(self, entries: list[str]) -> None:
        """The files first: after a crash in between the records still say that there is something to remove."""
        if self._artifacts is None:
            self._forget(entries, more=len(entries) == AT_ONCE)
        else:
            keys = [key_of(entry) for entry in entries]
            task = self.start_in_thread(remove_artifacts, self._artifacts, keys, name="files that are forgotten")
            self._removal = task, entries

    def _removed(self, entries: list[str], left: dict[str, OSError]) -> None:
        """The disk's trouble is none of this actor's: those records stay, and with them what there is to remove."""
        if left and self._log is not None:
            key, error = next(iter(left.items()))
            why = error.strerror or type(error).__name__
            self._log.error("files not removed", records=len(left), first=key, why=why, again_in=self._sweep_every)
        gone = [entry for entry in entries if key_of(entry) not in left]
        if gone:
            self._forget(gone, more=len(entries) == AT_ONCE)
        else:
            self._sweep_later(self._sweep_every)

    def _forget(self, entries: list[str], *, more: bool) -> None:
        def forgotten(replied: Replied) -> None:
            self._sweep_later(SWEEP_ON if more and replied.error is None else self._sweep_every)

        effects = [effect for entry in entries for effect in self.forgets(key_of(entry))]
        order = Append((forgetting(self.ended_space, entries, effects, self._stamps.id()),))
        self.request(self._journal, order, SWEEP_WITHIN, tag=forgotten)

    def _sweep_later(self, delay: float) -> None:
        self.timer("sweep", min(delay, max(self._keep, SWEEP_ON)), Later(self._sweep))
