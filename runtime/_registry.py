"""Names for actors. A name lasts as long as the address: over restarts, and not a moment longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime._address import Ref
    from runtime._cell import Cell


class Registry:
    """One namespace for a system. A name is free before the watchers of its holder hear of the end."""

    def __init__(self) -> None:
        self._names: dict[str, Cell] = {}

    def register(self, name: str, cell: Cell) -> bool:
        """Take a name. True if it is the cell's now (or was already), False if another's."""
        holder = self._names.setdefault(name, cell)
        if holder is not cell:
            return False
        cell.need_links().names[name] = None
        return True

    def release(self, name: str) -> None:
        self._names.pop(name, None)

    def lookup(self, name: str) -> Ref[Any] | None:
        """The ref registered under `name`, or None."""
        cell = self._names.get(name)
        return None if cell is None else cell.ref

    def names(self) -> list[str]:
        """All names, oldest first."""
        return list(self._names)
