"""A pool: workers that are alike, under one address.

    solvers = pool("solvers", ChildSpec("solver", Solver), 4)                               # least outstanding
    writers = pool("writers", ChildSpec("writer", Writer), 8, routing=ByKey(lambda order: order.customer))

The pool's own address picks a member inside the sender's put (see `_dispatch`). Members are named after the worker and
numbered from 0; who holds a member's own ref may use it.

A member that fails is started again on its own budget, by the rules of a dynamic supervisor; where it has to wait, the
others take over what waited in its mailbox, as far as they have room, and it keeps the rest. A member that is given up
leaves all of it to the others. When none is left, the pool gives up. Only the message in hand is ever lost, as in any
actor.

`Resize` may come at any time. New members take their share at once. Members that are to go are not chosen any more,
finish what they have, tasks and deferred answers included, and then stop; one that has not finished within
`drain_within` seconds stops after the message in hand, and what waits there moves, in order. In a pool by key, growing
moves only the keys that belong to the new members, shrinking only those of the members that go; a key changes hands
when nothing of it is under way, or together with all of it that waits. So the messages of one key are handled one after
the other and in the order of their arrival, over every resize and restart; what a member does in tasks or after
`defer` is outside of that, as it is in a single actor. A pool that was itself restarted has its first size again.

As a target of a fallback a pool is one target; its members' mailboxes do not move when the fallback switches. Workers
may be pools or fallbacks themselves: then `send` does not wait, and a key has no more order than they keep.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import attrs

from runtime import GaveUp, InvalidSpec, Overflow, Ref
from runtime._spec import is_number
from supervisors._dispatch import Dispatch, Resize
from supervisors._dynamic import DynamicSupervisor
from supervisors._handover import hand_over
from supervisors._routing import ByKey, Routing, resize
from supervisors._spec import ChildSpec, Restart
from supervisors._supervisor import RestartLimitReached

if TYPE_CHECKING:
    from runtime import Reason
    from runtime._cell import Cell

LOOK_EVERY: Final = 0.05
"""Seconds between two looks at whether a member that is to go has finished. What ends last, an ask that is owed an
answer, may end anywhere, so nothing tells."""


@attrs.frozen
class PoolSpec:
    """What a pool is made of; see `pool`."""

    worker: ChildSpec
    size: int
    routing: Routing | ByKey = Routing.LEAST_OUTSTANDING
    drain_within: float = 30.0

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.worker, ChildSpec):
            raise InvalidSpec("pool.worker", type(self.worker).__name__, "a ChildSpec")
        if self.worker.restart is not Restart.PERMANENT:
            raise InvalidSpec("pool.worker.restart", self.worker.restart, "Restart.PERMANENT: a pool keeps its size")
        if not isinstance(self.size, int) or self.size < 1:
            raise InvalidSpec("pool.size", self.size, "a whole number of at least 1")
        if not isinstance(self.routing, Routing | ByKey):
            names = ", ".join(f"Routing.{each.name}" for each in Routing)
            raise InvalidSpec("pool.routing", self.routing, f"{names}, or a ByKey")
        overflow = self.worker.mailbox.overflow
        if isinstance(self.routing, ByKey) and overflow in {Overflow.CONFLATE, Overflow.DROP_OLDEST}:
            # both take a message out of the middle of those that are under way, and so out of the order
            raise InvalidSpec("pool.worker.mailbox.overflow", overflow, "WAIT, REJECT or DROP_NEWEST with ByKey")
        if not is_number(self.drain_within) or self.drain_within < 0:
            raise InvalidSpec("pool.drain_within", self.drain_within, "seconds, 0 or more, or math.inf")


@attrs.frozen
class _Look:
    """See whether those who are to go have finished."""


@attrs.define(eq=False)
class _Member:
    """A member: its address, and if it is to go, when its time to finish is over."""

    name: str
    ref: Ref[Any]
    drain_by: float | None = None


class Pool(DynamicSupervisor):
    """Supervises the members of a pool, and is reached through its `Dispatch`. Made by `pool`."""

    def __init__(self, spec: PoolSpec) -> None:
        self._spec = spec
        self._members: dict[int, _Member] = {}
        self._given_up = 0
        self._size = spec.size

    async def started(self) -> None:
        await super().started()
        self._dispatch = Dispatch(self.system, self._cell, self._spec.routing)
        self._resize(self._size)
        self.ref.target = self._dispatch
        hand_over(self._cell, self.ref, self._dispatch, self._dispatch.overflow)  # what came before

    async def stopped(self, reason: Reason) -> None:
        del reason
        if self.ref.target is getattr(self, "_dispatch", None):
            self.ref.target = self._cell

    async def receive(self, message: Any) -> object:
        if isinstance(message, Resize):
            before = self._size
            self._resize(message.size)
            return before
        if isinstance(message, _Look):
            self._look()
            return None
        return await super().receive(message)

    def inspect(self) -> dict[str, Any]:
        """The size that is wanted, how many were given up, and what each member has."""
        routing = self._spec.routing
        details: dict[str, Any] = {
            "routing": routing.value if isinstance(routing, Routing) else "by_key",
            "size": self._size,
            "given_up": self._given_up,
            "members": {
                member.name: {
                    "state": "active" if member.drain_by is None else "retiring",
                    "outstanding": member.ref.target.outstanding,
                }
                for _, member in sorted(self._members.items())
            },
        }
        return details | ({"keys": self._dispatch.keys} if isinstance(routing, ByKey) else {})

    # --- its size

    def _active(self) -> list[int]:
        return sorted(number for number, member in self._members.items() if member.drain_by is None)

    def _resize(self, size: int) -> None:
        """Have `size` members. Those that were given up are replaced."""
        self._size = size
        self._given_up = 0
        going = [number for number, member in self._members.items() if member.drain_by is not None]
        back = [number for number in going if not self._is_stopping(number)]
        plan = resize(self._active(), back, self._members, size)
        for number in plan.back:
            self._members[number].drain_by = None
        for number in plan.fresh:
            name = f"{self._spec.worker.name}-{number}"
            self._members[number] = _Member(name, self.start_child(attrs.evolve(self._spec.worker, name=name)))
        for number in plan.retire:
            self._members[number].drain_by = self.now() + self._spec.drain_within
        self._rejoin()
        self._look()

    def _rejoin(self) -> None:
        self._dispatch.among([self._members[number].ref for number in self._active()])

    def _is_stopping(self, number: int) -> bool:
        cell = self._cell.children.get(self._members[number].name)
        return cell is not None and cell.stop_asked

    def _look(self) -> None:
        """Stop those who are to go and have finished, or have had their time."""
        pending = False
        for number, member in list(self._members.items()):
            if member.drain_by is None or self._is_stopping(number):
                continue
            cell = self._cell.children.get(member.name)
            if cell is None:  # it is passive
                member.ref.target = self.system.dead
                del self._members[number]
            elif has_finished(cell) or cell.state == "waiting" or self.now() >= member.drain_by:
                self.stop_child(member.name, why="the pool is smaller now")
            else:
                pending = True
        if pending:
            self.timer("look", LOOK_EVERY, _Look())

    # --- its members

    def child_down(self, cell: Cell, delay: float | None) -> None:
        self._dispatch.clear(cell, delay)

    def child_gone(self, name: str, ref: Ref[Any], reason: Reason, *, gave_up: bool) -> None:
        del ref
        number = next(number for number, member in self._members.items() if member.name == name)
        gone = self._members.pop(number)
        if gone.drain_by is not None:
            return
        self._given_up += gave_up
        self._rejoin()
        if not self._active():
            limit = self._spec.worker.budget or self.budget
            self.system.report(GaveUp(self.ref.path, str(reason), limit.limit, limit.period, escalated=True))
            raise RestartLimitReached(gone.ref.path, reason, limit.limit, limit.period)


def has_finished(cell: Cell) -> bool:
    """Whether an actor has nothing to do any more that anybody gave it."""
    links = cell.links
    busy = links is not None and (links.tasks or links.requests or links.senders)
    return not (cell.outstanding or cell.attending or cell.signals or busy)


def pool(
    name: str,
    worker: ChildSpec,
    size: int,
    *,
    routing: Routing | ByKey = Routing.LEAST_OUTSTANDING,
    drain_within: float = 30.0,
    **child: Any,
) -> ChildSpec:
    """The spec of a pool of `size` workers.

    Args:
        name: the pool's name under its parent.
        worker: what each member is; its name gets a number, its `budget` is counted for each member alone.
        size: how many to begin with; `Resize` changes it.
        routing: `Routing.LEAST_OUTSTANDING`, `Routing.ROUND_ROBIN`, or a `ByKey`.
        drain_within: seconds that a member which is to go may take to finish what it has.
        child: more fields of the pool's own `ChildSpec` (`restart`, `budget`, …). `shutdown` is infinite unless given:
            the tree's deadline holds.

    Raises:
        InvalidSpec: naming key, value and what is allowed.
    """
    spec = PoolSpec(worker, size, routing, drain_within)
    child.setdefault("shutdown", math.inf)
    return ChildSpec(name, lambda: Pool(spec), **child)
