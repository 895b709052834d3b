"""A host: an actor with children, and no policy. Supervisors are hosts with one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from runtime._actor import Actor
from runtime._errors import ChildFailed, InvalidSpec
from runtime._messages import ChildEnded, ChildStarted, is_failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime._address import Ref
    from runtime._cell import Cell
    from runtime._messages import Reason
    from runtime._spec import Spec
    from runtime._tree import Restarts


class Host(Actor):
    """An actor that starts and stops other actors.

    `receive` hears `ChildStarted` and `ChildEnded`. This class's answer to a child's failure is to fail itself; call
    `super().receive(message)` to keep that. All children stop, newest first, before the host's own `stopped`.
    """

    __slots__ = ()

    hosts: ClassVar[bool] = True
    independent: ClassVar[bool] = False
    """Whether the children may be stopped together instead of one after the other."""

    async def receive(self, message: Any) -> object:
        if isinstance(message, ChildEnded) and is_failure(message.reason):
            raise ChildFailed(message.ref.path, message.reason)
        return None

    # --- for subclasses and their handlers

    @property
    def children(self) -> Mapping[str, Ref[Any]]:
        """The children by name, in the order of their start. A fresh mapping."""
        return {name: cell.ref for name, cell in self._cell.children.items()}

    def child(self, name: str) -> Ref[Any] | None:
        """The ref of the child of that name, if there is one."""
        cell = self._cell.children.get(name)
        return None if cell is None else cell.ref

    def start_child(self, spec: Spec) -> Ref[Any]:
        """Start a child and return its address at once; it accepts messages from now on.

        `ChildStarted` follows when its `started` has returned, `ChildEnded` when it is gone.

        Raises:
            InvalidSpec: a child of that name exists.
        """
        cell = self._cell.make_child(spec)
        cell.launch()
        return cell.ref

    def stop_child(
        self, name: str, *, why: str = "stopped by its host", within: float | None = None, drain: bool = False
    ) -> None:
        """Ask a child to end within `within` seconds (its spec's `shutdown` if None); then it is cancelled.

        What is queued stays undelivered; with `drain` it is served first, and nothing new is accepted meanwhile.

        Raises:
            InvalidSpec: there is no such child.
        """
        cell = self._cell.children.get(name)
        if cell is None:
            raise InvalidSpec("name", name, f"one of: {', '.join(self._cell.children) or 'nothing, no child runs'}")
        seconds = cell.spec.shutdown if within is None else within
        by = self.now() + seconds if seconds < math.inf else math.inf
        self._cell.stop_child(cell, why, by, drain=drain)

    # --- what the kernel calls; a result that is not None is handed to `receive`

    def child_started(self, cell: Cell) -> object:
        return ChildStarted(cell.spec.name, cell.ref)

    def child_ended(self, cell: Cell, reason: Reason) -> object:
        self._cell.close(cell, reason)
        return ChildEnded(cell.spec.name, cell.ref, reason)

    def child_passivated(self, cell: Cell) -> object:
        """It has given its place back; the address stays."""
        del cell
        return None

    def revive(self, spec: Spec) -> bool:
        """A message has come for a passive child: start it again. False if there is no room for it now."""
        self.start_child(spec)
        return True

    def restarts_of(self, name: str) -> Restarts | None:
        """What a snapshot of the tree shows of a child's restarts."""
        del name
        return None
