"""The address of a pool: a target that picks a member inside the sender's put. No hop, no queue of its own.

`_choice` says who is next. Since the choice is made in the put, `edge` foretells nothing; whoever asks checks for a
cycle again after it. If every member waits for the asker, that is a cycle.

A `send` for which nobody has room waits at every member at once, in a pool by key at the key's member; the first that
has room takes it, and until then no later message of anybody gets that room. The wait-for graph has one edge for it, to
the least loaded of those that do not wait for the sender.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from trio.lowlevel import enable_ki_protection

from runtime import Full, InvalidSpec, NotAccepted, Ref, Restarting, WaitCycle
from runtime._address import cycle_closed, waiting_chain
from runtime._cells import cell_handling
from runtime._request import Request
from supervisors._choice import Choice, Spot, is_mailbox, standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime._cell import Cell
    from runtime._sender import Sender


@attrs.frozen
class Resize:
    """To a pool, by `tell` or `ask`: have `size` members from now on. The answer is the size there was before."""

    size: int

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise InvalidSpec("resize.size", self.size, "a whole number of at least 1")


class Dispatch(Choice):
    """Picks a member for each message.

    Args:
        system: the system.
        owner: the pool's own cell, whose end a watcher hears of. It gets what is meant for the pool itself, and
            everything when no member is left.
        routing: how to pick.
    """

    __slots__ = ()

    def among(self, refs: Sequence[Ref[Any]]) -> None:
        """Choose among these members from now on. What others have already is theirs, and so are its keys."""
        before = [] if self._by_key is not None else self._doors()
        waiting = self._senders(before)
        super().among(refs)
        for sender in waiting:
            for cell in before:
                cell.leave(sender)
        for sender in waiting:
            self.adopt(sender)

    # --- putting

    def overflow(self, ref: Ref[Any], item: Any) -> bool:
        request = item if item.__class__ is Request else None
        message = item if request is None else request.message
        if message.__class__ is Resize:
            return self._put_to_owner(ref, item)
        self._tried = None
        spot = self._spot_of(ref, message)
        if spot is None:
            return False
        asked = request is not None and request.answerable
        member = self._stuck_to(spot) or self._choose(message, request, spot) or self._resort(asked=asked)
        if member is None:
            return self._put_to_owner(ref, item)
        self._tried = member
        if request is None:
            accepted = member.tell(message)
        elif request.holder is not None and self._closes_cycle(request, member.target.edge()):
            return False
        else:
            accepted = bool(member.target.overflow(member, request))
        if accepted:
            self._remember(spot, member)
        return accepted

    def _put_to_owner(self, ref: Ref[Any], item: Any) -> bool:
        self._tried = self._owner.ref
        return self._owner.overflow(ref, item)

    def _closes_cycle(self, request: Request, holder: Cell | None) -> bool:
        """Whether a request that has been elsewhere already waits for its asker at `holder`. It fails if so."""
        cycle = cycle_closed(request, holder)
        if cycle is not None:
            request.withdraw()
            request.fail(WaitCycle(cycle))
        return cycle is not None

    def refusal(self, ref: Ref[Any], message: object) -> NotAccepted:
        if self._tried is None:
            return Full(ref, message)
        if self._tried is self._owner.ref:
            return self._owner.refusal(ref, message)
        refusal: NotAccepted = self._tried.target.refusal(ref, message)
        return refusal

    # --- taking over from a member that goes

    def clear(self, cell: Cell, delay: float | None) -> None:
        """Have the others take over what waits at `cell`, in order and in one step; then the senders who wait there.

        It had been accepted, so it is not dropped: where a member leaves for good (`delay` is None), another may go
        beyond its bound. One that is to start again in `delay` seconds keeps what nobody has room for, but an ask: that
        is refused.
        """
        self._leaving = cell
        try:
            if delay is None and self._resort(asked=False) is None:
                return  # nobody is left: it ends with the member
            self._marks.void(cell)
            cell.hand_over(
                lambda item: self._hand_on(cell, item, keep=delay is not None),
                lambda message: self._no_room(cell, message, delay),
            )
            self._move_senders(cell, gone=delay is None)
        finally:
            self._leaving = None

    def _no_room(self, cell: Cell, message: object, delay: float | None) -> NotAccepted:
        return self.refusal(cell.ref, message) if delay is None else Restarting(cell.ref, message, delay)

    def _hand_on(self, cell: Cell, item: Any, *, keep: bool) -> bool:
        request = item if item.__class__ is Request else None
        message = item if request is None else request.message
        spot = self._spot_of(cell.ref, message)
        if spot is None:
            return False
        asked = request is not None and request.answerable
        member = self._stuck_to(spot) or self._choose(message, request, spot)
        if member is None:
            member = cell.ref if keep else self._resort(asked=asked)
        if member is None or (member is cell.ref and asked):
            return False
        self._tried = member
        accepted: bool = member.target.take_over(member, item)
        if accepted:
            self._remember(spot, member)
            if request is not None:
                self._closes_cycle(request, request.holder)
        return accepted

    def _move_senders(self, cell: Cell, *, gone: bool) -> None:
        """Who waits at `cell` waits elsewhere from now on. Without keys everybody does so already."""
        if cell.links is None or (self._by_key is None and not gone):
            return
        senders = [sender for sender in cell.links.senders if sender.open]
        for sender in senders:  # all of them first: to place one may be to admit others
            cell.leave(sender)
        for sender in senders:
            doors = tuple(door for door in sender.also if door is not cell)
            if self._by_key is not None:
                doors = self._door_of(sender)
            elif sender.holder is not cell:
                doors = (sender.holder, *doors)
            if doors:
                self._admit_at(doors, sender)
            elif gone:
                cell.turn_away(sender, self.refusal(sender.ref, sender.message), "stopping")
            else:
                cell.adopt(sender)

    def _door_of(self, sender: Sender) -> tuple[Cell, ...]:
        """Where a sender waits in a pool by key: with the key."""
        spot = self._spot_of(sender.ref, sender.message)
        if spot is None:
            return ()
        member = self._stuck_to(spot) or self._choose(sender.message, None, spot) or self._resort(asked=False)
        if member is None or not is_door(member.target):
            return ()
        cell: Cell = member.target
        mark = self._marks.note(spot.key, cell)
        mark.at += len(cell.need_links().senders) + 1  # its place, when all who wait there are in
        return (cell,)

    @staticmethod
    def _admit_at(doors: tuple[Cell, ...], sender: Sender) -> None:
        """Have `sender` wait at all of `doors`. The first is its edge in the wait-for graph."""
        for door in reversed(doors):
            door.adopt(sender)
        sender.also = doors[1:]
        for door in doors:
            door.admit()

    # --- waiting for room

    @staticmethod
    def _senders(doors: Sequence[Cell]) -> list[Sender]:
        """Who waits at the members of a pool without keys, in order: at every one of them the same."""
        for cell in doors:
            if cell.links is not None and cell.links.senders:
                return [sender for sender in cell.links.senders if sender.open]
        return []

    def _doors(self) -> list[Cell]:
        """The members' mailboxes at which a sender may wait, the least loaded first."""
        doors = [ref.target for ref in self._refs if is_door(ref.target) and ref.target is not self._leaving]
        return sorted(doors, key=lambda cell: cell.outstanding)

    def accepting(self) -> Dispatch | None:
        """Itself, if there is a member at which one may wait."""
        return self if any(is_door(ref.target) for ref in self._refs) else None

    @enable_ki_protection
    async def wait_for_room(self, ref: Ref[Any], message: object, within: float) -> None:
        """The slow side of `Ref.send`."""
        if message.__class__ is Resize:
            await self._owner.wait_for_room(ref, message, within)
            return
        spot = self._spot_of(ref, message)
        if spot is None:
            raise Full(ref, message)
        member = self._stuck_to(spot)
        if member is None:
            member = self._choose(message, None, spot) or self._resort(asked=False)
            assert member is not None  # there are doors
            if member.target.takes(message) or standing(member).keeps:
                if not member.tell(message):
                    raise member.target.refusal(ref, message)
                self._remember(spot, member)
                return
        if self._by_key is not None:
            await self._wait_at(member.target, spot, ref, message, within)
            return
        doors = self._doors()
        asker = cell_handling(self.system.cells)
        if asker is not None:
            doors.sort(key=lambda cell: asker in waiting_chain(cell))
        await doors[0].wait_for_room(ref, message, within, tuple(doors[1:]))

    async def _wait_at(self, cell: Cell, spot: Spot, ref: Ref[Any], message: object, within: float) -> None:
        """Wait at the key's member, and keep the key there meanwhile."""
        mark = self._marks.note(spot.key, cell)
        mark.senders += 1
        try:
            await cell.wait_for_room(ref, message, within)
        finally:
            mark.senders -= 1
            mark.at = max(mark.at, mark.cell.accepted)  # it is among them, or was not accepted

    def adopt(self, sender: Sender) -> None:
        """Let a sender that has waited elsewhere wait here."""
        doors = tuple(self._doors()) if self._by_key is None else self._door_of(sender)
        if doors:
            self._admit_at(doors, sender)
        else:
            sender.settle(Full(sender.ref, sender.message))

    def admit(self) -> None:
        """Give the room there is to those who wait."""
        for door in self._doors():
            door.admit()


def is_door(target: Any) -> bool:
    """Whether a sender may wait at this member."""
    return is_mailbox(target) and target.accepting() is target
