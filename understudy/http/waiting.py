"""Answers that are held open until there is news: one that is on its way out ends them, with what there is.

Otherwise a single client that polls would keep a daemon that drains for half a minute, and be cut off in the end.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.define(eq=False)
class HeldOpen:
    """All of them, of one daemon."""

    _scopes: set[trio.CancelScope] = attrs.field(factory=set)
    _over: bool = False

    @contextmanager
    def answer(self) -> Iterator[None]:
        """The block waits for news; what it waits for is cancelled, and the block left, by `end`."""
        with trio.CancelScope() as scope:
            if self._over:
                scope.cancel()
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)

    def end(self) -> None:
        """Nobody waits any more, from now on."""
        self._over = True
        for scope in self._scopes:
            scope.cancel()
