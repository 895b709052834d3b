"""A journal that keeps everything in memory and does what a test plans: for tests in virtual time, without threads."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
import trio

from actors.storage.attending import Beforehand, Look, MoveCursors, Wake, look_up
from actors.storage.interface import (
    MOST_CURSORS,
    Appended,
    Arrival,
    Awake,
    Cursor,
    DeleteState,
    KeepReply,
    KeptReply,
    Position,
    PutState,
    Record,
    Stored,
    Trimmed,
    Waking,
)
from actors.storage.journal import Append, StorageStatus, StorageTrouble
from runtime import Actor, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Fault: TypeAlias = Literal["clean", "unknown", "unknown but done", "crash", "crash but done"]


@attrs.define
class MemoryLog:
    epoch: str
    events: dict[int, Stored] = attrs.field(factory=dict)
    top: int = 0


class MemoryStorage:
    """The interface of storage, on dictionaries. Outlives the journals that are made for it."""

    def __init__(self) -> None:
        self.logs: dict[str, MemoryLog] = {}
        self.state: dict[tuple[str, str], bytes] = {}
        self.replies: dict[tuple[str, str], KeptReply] = {}
        self.cursors: dict[str, dict[str, Cursor]] = {}
        self.known: dict[tuple[str, str], int] = {}

    def log_of(self, user: str) -> MemoryLog:
        return self.logs.setdefault(user, MemoryLog(f"epoch-{user}"))

    def append(self, records: Sequence[Record], moves: Sequence[Cursor] = ()) -> list[Appended]:
        outcomes = [self._apply(record) for record in records]
        self.attend((), (), moves)
        return outcomes

    def attend(self, users: Sequence[str], arrivals: Sequence[Arrival], moves: Sequence[Cursor]) -> list[Cursor]:
        for user in users:
            self.log_of(user)
        for cursor in moves:
            if cursor.client_id in self.cursors.get(cursor.user, {}):
                self.cursors[cursor.user][cursor.client_id] = cursor
        return [self._enter(arrival) for arrival in arrivals]

    def _enter(self, arrival: Arrival) -> Cursor:
        known = self.cursors.setdefault(arrival.user, {})
        if arrival.client_id not in known:
            oldest = sorted(known.values(), key=lambda cursor: cursor.seen)
            for cursor in oldest[: max(0, len(known) + 1 - MOST_CURSORS)]:
                del known[cursor.client_id]
            log = self.log_of(arrival.user)
            known[arrival.client_id] = Cursor(arrival.user, arrival.client_id, log.epoch, log.top, None, arrival.now)
            return attrs.evolve(known[arrival.client_id], new=True)
        return known[arrival.client_id]

    def covered(self, user: str) -> list[tuple[int, int]]:
        epoch = self.log_of(user).epoch
        known = sorted(self.cursors.get(user, {}).values(), key=lambda cursor: cursor.came_in)
        return [(c.came_in, c.acked) for c in known if c.epoch == epoch and c.acked is not None]

    def _apply(self, record: Record) -> Appended:
        users = record.users or ("",)
        found = [(user, self.known[user, record.event_id]) for user in users if (user, record.event_id) in self.known]
        if found:
            return Appended(record.event_id, tuple(found) if record.users else (), repeated=True)
        for user in users:
            log = self.log_of(user)
            log.top += 1
            self.known[user, record.event_id] = log.top
            if record.body is not None:
                log.events[log.top] = Stored(log.top, record.event_id, record.body)
        for effect in record.effects:
            match effect:
                case PutState(space, key, value):
                    self.state[space, key] = value
                case DeleteState(space, key):
                    self.state.pop((space, key), None)
                case KeepReply(user, command_id, digest, reply, at):
                    self.replies.setdefault((user, command_id), KeptReply(digest, reply, at))
        return Appended(record.event_id, tuple((user, self.logs[user].top) for user in record.users), repeated=False)

    def wake(self, wakings: Sequence[Waking]) -> list[Awake]:
        return [
            Awake(
                trimmed=self.trim(
                    waking.user,
                    now=waking.now,
                    max_events=waking.max_events,
                    max_age=waking.max_age,
                    limit=waking.limit,
                    keep=waking.keep,
                ),
                position=self.top(waking.user),
                covered=self.covered(waking.user),
                lists=tuple(self.list_state(space, prefix=prefix) for space, prefix in waking.lists),
            )
            for waking in wakings
        ]

    def tops(self, users: Sequence[str]) -> list[Position]:
        return [self.top(user) for user in users]

    def read_several(self, wanted: Sequence[tuple[str, int, int]]) -> list[list[Stored]]:
        return [self.read(user, after, count) for user, after, count in wanted]

    def read(self, user: str, after: int, limit: int) -> list[Stored]:
        events = self.log_of(user).events
        return [events[seq] for seq in sorted(events) if seq > after][:limit]

    def top(self, user: str) -> Position:
        log = self.log_of(user)
        return Position(log.epoch, min(log.events, default=log.top + 1), log.top)

    def find_reply(self, user: str, command_id: str) -> KeptReply | None:
        return self.replies.get((user, command_id))

    def get_state(self, space: str, key: str) -> bytes | None:
        return self.state.get((space, key))

    def list_state(
        self, space: str, *, prefix: str = "", after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes]]:
        keys = sorted(key for where, key in self.state if where == space and key.startswith(prefix) and key > after)
        return [(key, self.state[space, key]) for key in keys[:limit]]

    def trim(
        self, user: str, *, now: float, max_events: int, max_age: float, limit: int, keep: int | None = None
    ) -> Trimmed:
        log = self.log_of(user)
        going = sorted(log.events)[: max(0, min(limit, len(log.events) - max_events))]
        going = [seq for seq in going if keep is None or seq < keep]
        for seq in going:
            del log.events[seq]
        return Trimmed(len(going), 0)


def _attend(message: Look | MoveCursors, storage: Any) -> object:
    """As the journal does it with a batch of one."""
    work = Beforehand.of([message], (Wake,))
    found = iter(storage.attend(work.users, work.arrivals, work.take_moves()))
    return True if isinstance(message, MoveCursors) else look_up([message], found, storage)[0]


@attrs.define(eq=False)
class Plan:
    """What is to become of what the journal is asked, over all its incarnations.

    Attributes:
        faults: of the next appends, one each.
        trouble: everything is refused while this is set.
        takes: seconds that one message takes.
        heard: everything that was asked, in order.
        gate: nothing is begun while this is not set.
        at: called with "before 3" before the third message is carried out, and "after 3" after it.
    """

    storage: MemoryStorage = attrs.field(factory=MemoryStorage)
    faults: deque[Fault] = attrs.field(factory=deque)
    trouble: bool = False
    takes: float = 0.0
    heard: list[Any] = attrs.field(factory=list)
    gate: trio.Event = attrs.field(factory=trio.Event)
    at: Callable[[str], object] = str

    def __attrs_post_init__(self) -> None:
        self.gate.set()

    def close_gate(self) -> None:
        """Have the journal take nothing until `gate` is set."""
        if self.gate.is_set():
            self.gate = trio.Event()


class MemoryJournal(Actor):
    """Answers as `Journal` does."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    async def receive(self, message: Any) -> object:
        plan = self.plan
        await plan.gate.wait()
        if plan.takes:
            await trio.sleep(plan.takes)
        plan.heard.append(message)
        number = len(plan.heard)
        plan.at(f"before {number}")
        answer = self._carry_out(message)
        plan.at(f"after {number}")
        return answer

    def _carry_out(self, message: Any) -> object:
        plan = self.plan
        if isinstance(message, StorageStatus):
            return StorageTrouble("unavailable", "planned") if plan.trouble else None
        if plan.trouble:
            return Refused(StorageTrouble("unavailable", "planned"))
        if isinstance(message, Look | MoveCursors):
            return _attend(message, plan.storage)
        if not isinstance(message, Append):
            return message.run(plan.storage)
        match plan.faults.popleft() if plan.faults else None:
            case "clean":
                return Refused(StorageTrouble("unavailable", "planned"))
            case "unknown":
                return Refused(StorageTrouble("unknown", "planned"))
            case "unknown but done":
                plan.storage.append(message.records)
                return Refused(StorageTrouble("unknown", "planned"))
            case "crash":
                raise RuntimeError("planned")
            case "crash but done":
                plan.storage.append(message.records)
                raise RuntimeError("planned")
        return tuple(plan.storage.append(message.records))
