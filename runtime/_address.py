"""Addresses, and what they point at.

A `Ref` is interned by path and outlives the cell behind it. It holds one pointer, to a `Target`. The fast path of
`tell` knows one kind of target, a cell with room; everything else (an ended actor, a passive one, a switch, a pool, a
cell that is full, weighed, draining or waiting to restart) has `capacity` −1 and so falls into the "full" branch,
where its own `overflow` decides. Nothing is tested for on the fast path.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, final

from trio.lowlevel import current_task, enable_ki_protection, reschedule, wait_task_rescheduled

from runtime._errors import Dead, NotAccepted, WaitCycle
from runtime._messages import DeadLetter
from runtime._request import Request

if TYPE_CHECKING:
    from runtime._cell import Cell
    from runtime._sender import Sender
    from runtime._system import System

M_contra = TypeVar("M_contra", contravariant=True)


class Waiting(Protocol):
    """An edge of the wait-for graph: what an actor waits on, and the cell that holds it."""

    @property
    def holder(self) -> Cell | None:
        """The cell that has to act."""

    @property
    def open(self) -> bool:
        """Whether it is still waited for."""


class Door(Protocol):
    """Where a `send` may wait for room: a mailbox, or several of which any will do."""

    async def wait_for_room(self, ref: Ref[Any], message: object, within: float) -> None:
        """The slow side of `Ref.send`."""

    def adopt(self, sender: Sender) -> None:
        """Let a sender that has waited elsewhere wait here."""

    def admit(self) -> None:
        """Give the room there is to those who wait."""


class Target:
    """What a ref can point at."""

    __slots__ = ()

    lane: Any
    capacity: int
    system: System

    def overflow(self, ref: Ref[Any], item: Any) -> bool:
        """Take `item` (a bare message or a `Request`) where the fast path could not. True if it was accepted."""
        raise NotImplementedError

    def refusal(self, ref: Ref[Any], message: object) -> NotAccepted:
        """Why `overflow` has just said no."""
        raise NotImplementedError

    def accepting(self) -> Door | None:
        """Where a `send` may wait for room, if there is such a place."""
        return None

    def edge(self) -> Cell | None:
        """The cell that would hold a request put here now, for the wait-for graph."""
        return None

    def watchable(self) -> Cell | None:
        """The cell whose end a watcher of this target hears of; None if it has ended already."""
        return None

    # --- for pools, which look before they put

    @property
    def outstanding(self) -> int:
        """How many messages are accepted here and not finished: waiting, in hand, or asks that are owed an answer."""
        raise NotImplementedError

    def takes(self, message: object) -> bool:
        """Whether `message` would be taken now, and no other dropped for it."""
        raise NotImplementedError

    def take_over(self, ref: Ref[Any], item: Any) -> bool:
        """Take `item`, which another mailbox had accepted already, beyond the bound if need be."""
        return self.overflow(ref, item)


class Indirect(Target):
    """A target that is no mailbox: every message falls into its `overflow`."""

    __slots__ = ()

    lane: Any = ()
    capacity: int = -1

    @property
    def outstanding(self) -> int:
        cell = self.edge()
        return 0 if cell is None else cell.outstanding

    def takes(self, message: object) -> bool:
        cell = self.edge()
        return cell is None or cell.takes(message)


class DeadTarget(Indirect):
    """Where the refs of ended actors point: counts and reports, never accepts. One for each system."""

    __slots__ = ("offered", "system")

    def __init__(self, system: System) -> None:
        self.system = system
        self.offered = 0

    def overflow(self, ref: Ref[Any], item: Any) -> bool:
        self.offered += 1
        message = item.message if item.__class__ is Request else item
        self.system.dead_letters.add(DeadLetter(ref.path, message, "dead"))
        return False

    def refusal(self, ref: Ref[Any], message: object) -> NotAccepted:
        return Dead(ref, message)

    def takes(self, message: object) -> bool:
        del message
        return False


@final
class Ref(Generic[M_contra]):
    """The address of an actor. Cheap to keep, to compare and to send; the same object for the same path in a system."""

    __slots__ = ("__weakref__", "path", "target")

    def __init__(self, path: str, target: Target) -> None:
        self.path = path
        self.target: Any = target  # Any: the fast path writes a cell's fields

    def __repr__(self) -> str:
        return f"<Ref {self.path}>"

    @enable_ki_protection
    def tell(self, message: M_contra) -> bool:
        """Put `message` in the mailbox. Never waits, never raises.

        Returns whether it was accepted. Accepted is not handled: the actor may still end first, and then the message is
        counted as undelivered and becomes a dead letter.
        """
        cell = self.target
        lane = cell.lane
        if lane is None:
            lane = cell.lane = deque()
        if len(lane) >= cell.capacity:
            return cell.overflow(self, message)  # type: ignore[no-any-return]
        lane.append(message)
        cell.accepted += 1
        task = cell.waiter
        if task is not None:
            cell.waiter = None
            reschedule(task)
        return True

    @enable_ki_protection
    async def ask(self, message: M_contra, within: float) -> Any:
        """Put `message` in the mailbox and wait at most `within` seconds for the answer.

        Raises:
            NotAccepted: `Dead`, `Full` or `Restarting`, at once; the message is in the error and was not handled.
            Refused: the handler returned `Refused`.
            HandlerFailed: the handler, or the actor that had deferred the answer, failed.
            TimedOut: no answer in time. The receiver skips the message if it has not come to it yet.
            WaitCycle: the target waits for the asker.
            InvalidSpec: `within` is not a finite number.

        Cancellation: the message is skipped if the receiver has not come to it yet; a later reply is dropped.
        """
        cell = self.target
        task = current_task()
        request = Request(self, message, task)
        asker: Cell | None = cell.system.cells.get(task)
        if asker is not None:
            if asker.task is task:
                request.holder = cell.edge()
                check_cycle(asker, request)
            else:  # a task of an actor is no handler
                asker = None
        wheel = (cell if asker is None else asker).system.wheel
        bucket = wheel.add(wheel.now() + within, request)
        try:
            lane = cell.lane
            if lane is None:
                lane = cell.lane = deque()
            if len(lane) >= cell.capacity:
                if not cell.overflow(self, request):
                    raise cell.refusal(self, message)
                if asker is not None:
                    recheck_cycle(asker, request)
            else:
                request.holder = cell
                lane.append(request)
                cell.accepted += 1
                waiter = cell.waiter
                if waiter is not None:
                    cell.waiter = None
                    reschedule(waiter)
            if asker is None:
                return await wait_task_rescheduled(request.abort)
            asker.waits_on = request
            try:
                return await wait_task_rescheduled(request.abort)
            finally:
                asker.waits_on = None
        finally:
            request.open = False
            bucket.pop(request, None)

    @enable_ki_protection
    async def send(self, message: M_contra, within: float) -> None:
        """Put `message` in the mailbox, waiting at most `within` seconds for room where the mailbox's policy is `WAIT`.

        Room goes to the first who waits. Under the other policies this is a `tell` that raises.

        Raises:
            NotAccepted: `Dead` or, where the policy is not to wait, `Full`.
            TimedOut: no room in time; the message was not accepted, and is counted as refused.
            WaitCycle: the target waits, itself or through others, for the sender.

        Cancellation: the message was not accepted. Checkpoints only if it has to wait.
        """
        target = self.target
        if len(target.lane or ()) < target.capacity:
            self.tell(message)
            return
        door: Door | None = target.accepting()
        if door is not None:  # not by way of `tell`, which would count the message as lost before it waits
            await door.wait_for_room(self, message, within)
        elif not self.tell(message):
            raise self.target.refusal(self, message)


def check_cycle(asker: Cell, request: Waiting) -> None:
    """Raise `WaitCycle` if waiting for `request` would never end. Costs one step for each actor on the chain."""
    holder = request.holder
    if holder is None or (holder is not asker and holder.waits_on is None):
        return
    chain = waiting_chain(holder)
    if asker in chain:
        raise WaitCycle(cycle_path(asker, chain))


def recheck_cycle(asker: Cell, request: Request) -> None:
    """As `check_cycle`, after the put: a switch may have chosen another cell than `edge` foretold."""
    try:
        check_cycle(asker, request)
    except WaitCycle:
        request.abandon()
        raise


def cycle_closed(request: Request, holder: Cell | None) -> tuple[str, ...] | None:
    """The cycle that would be closed if `request`, for which a handler waits, went on to `holder`; None if none."""
    chain = waiting_chain(holder)
    asker = next((cell for cell in chain if cell.waits_on is request), None)
    return None if asker is None else cycle_path(asker, chain)


def waiting_chain(holder: Cell | None) -> dict[Cell, None]:
    """`holder`, whom it waits for, and so on. What is settled already is no edge, though its asker has yet to run."""
    chain: dict[Cell, None] = {}
    while holder is not None and holder not in chain:  # messages that moved may have closed a cycle among others
        chain[holder] = None
        waits_on = holder.waits_on
        holder = waits_on.holder if waits_on is not None and waits_on.open else None
    return chain


def cycle_path(asker: Cell, chain: dict[Cell, None]) -> tuple[str, ...]:
    """The paths along the cycle, the asker first and last."""
    path = [asker.ref.path]
    for cell in chain:
        path.append(cell.ref.path)
        if cell is asker:
            break
    return tuple(path)
