"""What waits at a mailbox takes its way through another address: that of a fallback, or of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime import Ref, Target
    from runtime._cell import Cell


def hand_over(cell: Cell, ref: Ref[Any], way: Target, put: Callable[[Ref[Any], Any], bool]) -> None:
    """Have everything that waits at `cell` go on through `way`, in order and in one step; then the senders there.

    Args:
        cell: where it waits.
        ref: the address that stands for `way`; dead letters and refusals name it.
        way: the target that chooses where each message goes.
        put: how `way` takes what has waited elsewhere.
    """
    cell.hand_over(lambda item: put(ref, item), lambda message: way.refusal(ref, message))
    if cell.links is None:
        return
    for sender in [sender for sender in cell.links.senders if sender.open]:
        door = way.accepting()
        cell.leave(sender)
        if door is not None:
            door.adopt(sender)
            door.admit()
        elif way.overflow(ref, sender.message):
            sender.settle(None)
        else:
            sender.settle(way.refusal(ref, sender.message))
