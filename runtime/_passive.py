"""Where the ref of a passivated actor points: the next message starts the actor again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime._address import Indirect, Ref, Target
from runtime._errors import Dead, Full, NotAccepted
from runtime._messages import DeadLetter
from runtime._request import Request

if TYPE_CHECKING:
    from runtime._cell import Cell
    from runtime._spec import Spec
    from runtime._system import System


class PassiveTarget(Indirect):
    """Remembers the spec and the host. If the host has ended too, or is about to, the address is dead.

    A host that has no room for the child now refuses the message, as a full mailbox would.
    """

    __slots__ = ("full", "host", "spec", "system")

    def __init__(self, system: System, host: Cell, spec: Spec) -> None:
        self.system = system
        self.host = host
        self.spec = spec
        self.full = False

    def _wake(self, ref: Ref[Any]) -> Target:
        host = self.host
        self.full = False
        if host.shut or host.nursery is None or host.stop_asked or host.state == "stopping":
            return self.system.dead
        if ref.target is self:
            try:
                self.full = not host.actor.revive(self.spec)
            except Exception as error:  # noqa: BLE001 - the host's policy, called from somebody's `tell`
                self.system.hook_failed(host.ref.path, host.kind, error)
        target: Target = ref.target
        return self.system.dead if target is self and not self.full else target

    def overflow(self, ref: Ref[Any], item: Any) -> bool:
        target = self._wake(ref)
        if target is not self:
            return target.overflow(ref, item)
        message = item.message if item.__class__ is Request else item
        self.system.dead_letters.add(DeadLetter(ref.path, message, "full"))
        return False

    def refusal(self, ref: Ref[Any], message: object) -> NotAccepted:
        return Full(ref, message) if self.full else Dead(ref, message)
