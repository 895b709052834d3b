"""Ctrl-C as a cancellation: SIGINT cancels the work in hand; KeyboardInterrupt could come up anywhere."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.define(eq=False)
class Interrupts:
    """How often Ctrl-C came, and what the next one cancels."""

    count: int = 0
    _scope: trio.CancelScope | None = None

    def strike(self) -> None:
        self.count += 1
        if self._scope is not None:
            self._scope.cancel()

    @contextmanager
    def cancelling(self) -> Iterator[trio.CancelScope]:
        """A scope that the next Ctrl-C cancels."""
        with trio.CancelScope() as scope:
            self._scope = scope
            try:
                yield scope
            finally:
                self._scope = None


@contextmanager
def listening_for_interrupts() -> Iterator[Interrupts]:
    """Takes SIGINT for the block, where the process lets it (signals belong to the main thread), and gives it back."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    token = trio.lowlevel.current_trio_token()
    before = signal.signal(signal.SIGINT, lambda *_: token.run_sync_soon(interrupts.strike))
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
