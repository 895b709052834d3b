"""How a pool chooses a member, by what the members' cells show at that moment.

What a member has is read from its cell's plain counters when a message comes; nothing is counted for each message. Only
a pool by key remembers something: where the messages of a key are (`_marks`).

A member is passed over if it has no room or waits to restart, and, for an ask, if it waits for the asker: the pool has
others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from runtime import DeadLetter, Ref
from runtime._address import Indirect, waiting_chain
from runtime._cells import cell_handling
from supervisors._marks import Marks
from supervisors._ring import Ring, bounded, place_of
from supervisors._routing import EXACT, ByKey, Routing, Standing, last_resort, least, lesser_of_two, next_in_turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime import System
    from runtime._cell import Cell
    from runtime._request import Request


class Spot(NamedTuple):  # not attrs: one is made for each message, and a frozen one takes three times as long
    """A key, and its place on the ring."""

    key: Any
    place: int


NOWHERE: Final = Spot(None, 0)
"""For the pools that have no keys."""


class Choice(Indirect):
    """The members of a pool, and which of them is next."""

    __slots__ = (
        "_asker",
        "_by_key",
        "_cursor",
        "_leaving",
        "_marks",
        "_message",
        "_owner",
        "_refs",
        "_request",
        "_ring",
        "_routing",
        "_tried",
        "system",
    )

    def __init__(self, system: System, owner: Cell, routing: Routing | ByKey) -> None:
        self.system = system
        self._owner = owner
        self._routing = routing
        self._by_key = routing if isinstance(routing, ByKey) else None
        self._refs: tuple[Ref[Any], ...] = ()
        self._ring = Ring(())
        self._cursor = 0
        self._marks = Marks()
        self._leaving: Cell | None = None
        self._tried: Ref[Any] | None = None
        # what is being placed now: set and read in one step
        self._message: Any = None
        self._request: Request | None = None
        self._asker: Cell | None = None

    def among(self, refs: Sequence[Ref[Any]]) -> None:
        """Choose among these members from now on. What others have already is theirs, and so are its keys."""
        self._refs = tuple(refs)
        if self._by_key is not None:
            self._ring = Ring([ref.path.rsplit("/", 1)[1] for ref in refs], self._by_key.points)

    def _choose(self, message: Any, request: Request | None, spot: Spot) -> Ref[Any] | None:
        """The member that takes the message; None if none does."""
        self._message, self._request = message, request
        if request is not None:
            asker = cell_handling(self.system.cells)
            self._asker = asker if asker is not None and asker.task is request.task else None
        try:
            index = self._pick(spot)
        finally:
            self._message = self._request = self._asker = None
        return None if index is None else self._refs[index]

    def _pick(self, spot: Spot) -> int | None:
        count = len(self._refs)
        if not count:
            return None
        if self._by_key is not None:
            return bounded(self._ring.walk(spot.place), self._load, count, self._by_key.slack)
        if self._routing is Routing.LEAST_OUTSTANDING and count > EXACT:
            random = self.system.rng.random
            index = lesser_of_two(self._load, count, (random(), random()))
            if index is not None:
                return index
        search = next_in_turn if self._routing is Routing.ROUND_ROBIN else least
        index = search(self._load, count, self._cursor % count)
        if index is not None:
            self._cursor = index + 1
        return index

    def _load(self, index: int) -> int | None:
        target = self._refs[index].target
        if target is self._leaving or not target.takes(self._message):
            return None
        if self._request is not None and self._waits_for_asker(target):
            return None
        outstanding: int = target.outstanding
        return outstanding

    def _waits_for_asker(self, target: Any) -> bool:
        asker, request = self._asker, self._request
        if asker is None and (request is None or request.holder is None):
            return False
        return any(cell is asker or cell.waits_on is request for cell in waiting_chain(target.edge()))

    def _resort(self, *, asked: bool) -> Ref[Any] | None:
        """Whose own rules decide about a message for which nobody has room; None if nobody is left."""
        refs = [ref for ref in self._refs if ref.target is not self._leaving and ref.target is not self.system.dead]
        index = last_resort([standing(ref) for ref in refs], asked=asked)
        return None if index is None else refs[index]

    def _spot_of(self, ref: Ref[Any], message: Any) -> Spot | None:
        """Where the message belongs, if the pool has keys; None if the message should have one and has not."""
        if self._by_key is None:
            return NOWHERE
        try:
            key = self._by_key.key(message)
            return Spot(key, place_of(key))
        except Exception as error:  # noqa: BLE001 - the spec's function, called in somebody's `tell`
            self.system.hook_failed(ref.path, "Dispatch", error)
            self.system.dead_letters.add(DeadLetter(ref.path, message, "unmeasured"))
            return None

    def _stuck_to(self, spot: Spot) -> Ref[Any] | None:
        """The member that has messages of this key."""
        cell = None if self._by_key is None else self._marks.cell_of(spot.key, self._leaving)
        return None if cell is None else cell.ref

    def _remember(self, spot: Spot, member: Ref[Any]) -> None:
        if self._by_key is not None and is_mailbox(member.target):
            self._marks.note(spot.key, member.target)

    # --- looking

    @property
    def keys(self) -> int:
        """How many keys are remembered."""
        return len(self._marks)

    @property
    def outstanding(self) -> int:
        return sum(ref.target.outstanding for ref in self._refs)

    def takes(self, message: object) -> bool:
        return any(ref.target.takes(message) for ref in self._refs)

    def watchable(self) -> Cell | None:
        return self._owner


def is_mailbox(target: Any) -> bool:
    """Whether a member has its own mailbox. One that is a fallback or a pool keeps order and senders as it does."""
    return target.edge() is target


def standing(ref: Ref[Any]) -> Standing:
    """What a member without room says for itself."""
    target: Any = ref.target
    if not is_mailbox(target) or target.retry_at is None:
        return Standing(target.outstanding)
    keeps = not target.shut and target.depth < target.spec.mailbox.capacity
    return Standing(target.outstanding, target.retry_at, keeps)
