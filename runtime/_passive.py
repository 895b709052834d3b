"""Where the ref of a passivated actor points: the next message starts the actor again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime._address import Indirect, Ref, Target
from runtime._errors import Dead, NotAccepted

if TYPE_CHECKING:
    from runtime._cell import Cell
    from runtime._spec import Spec
    from runtime._system import System


class PassiveTarget(Indirect):
    """Remembers the spec and the host. If the host has ended too, the address is dead."""

    __slots__ = ("host", "spec", "system")

    def __init__(self, system: System, host: Cell, spec: Spec) -> None:
        self.system = system
        self.host = host
        self.spec = spec

    def _wake(self, ref: Ref[Any]) -> Target:
        host = self.host
        if host.shut or host.nursery is None or host.actor is None or host.stop_asked:
            return self.system.dead
        if ref.target is self:
            host.actor.revive(self.spec)
        return ref.target  # type: ignore[no-any-return]

    def overflow(self, ref: Ref[Any], item: Any) -> bool:
        return self._wake(ref).overflow(ref, item)

    def refusal(self, ref: Ref[Any], message: object) -> NotAccepted:
        return Dead(ref, message)
