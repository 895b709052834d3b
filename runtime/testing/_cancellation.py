"""Cancellation at every step: what a scenario does when it is cut off there, and there, and there.

Trio cancels only at checkpoints, so a run has as many places to be cut off as its tasks have steps.
`every_cancellation` repeats a scenario under one schedule, cancelling it before its first step, before its second, and
so on, until it comes to its end uncut. What must hold each time is asserted by the scenario itself, or by
`open_test_system` within it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from runtime.testing._schedule import run_in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from runtime import Ref

MOST_STEPS: Final = 100_000


class Incarnation:
    """What lives at an address when it is cut off, as something to cancel."""

    __slots__ = ("_ref",)

    def __init__(self, ref: Ref[Any]) -> None:
        self._ref = ref

    def cancel(self, *, reason: str) -> None:
        cell = self._ref.target.watchable()
        if cell is not None and cell.running:
            cell.kill(reason)


class CancelPoint(trio.abc.Instrument):
    """Cancels what is exposed, before the step numbered `at` (from 0) of any task.

    Attributes:
        at: the step, counted while something is exposed.
        steps: how many were counted.
        hit: whether it has cancelled.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0
        self.hit = False
        self.entered = False
        self._scope: trio.CancelScope | Incarnation | None = None

    @contextmanager
    def exposed(self) -> Iterator[trio.CancelScope]:
        """A cancel scope around that part of the scenario which may be cut off. Once a scenario."""
        self.entered = True
        with trio.CancelScope() as scope:
            self._scope = scope
            try:
                yield scope
            finally:
                self._scope = None

    @contextmanager
    def killing(self, ref: Ref[Any]) -> Iterator[None]:
        """As `exposed`, for an actor: within the block the incarnation at `ref` is killed at that step, if one runs."""
        self.entered = True
        self._scope = Incarnation(ref)
        try:
            yield
        finally:
            self._scope = None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        scope = self._scope
        if scope is None or self.hit:
            return
        if self.steps == self.at:
            self.hit = True
            scope.cancel(reason=f"cut off at step {self.at}")
        self.steps += 1


def every_cancellation(scenario: Callable[[CancelPoint], Awaitable[object]], *, seed: int = 0, first: int = 0) -> int:
    """Run `scenario` again and again in virtual time, cut off at step 0, 1, 2, … until it ends uncut.

        async def scenario(point):
            async with open_test_system() as kit:
                greeter = await kit.spawn(Spec("greeter", Greeter))
                with point.exposed():
                    await greeter.ask("Ada", within=1.0)

        every_cancellation(scenario)

    Args:
        scenario: gets a `CancelPoint`, and enters its `exposed()` (or `killing(ref)`) around what may be cancelled.
        seed: of the schedule. With another one the steps come in another order.
        first: where to begin; to repeat a failure.

    Returns:
        At how many steps it was cut off.

    Raises:
        AssertionError: the scenario exposed nothing, or does not end.
        Whatever the scenario raises, with a note that says at which step it was cut off.
    """
    for at in range(first, MOST_STEPS):
        point = CancelPoint(at)
        try:
            run_in_virtual_time(scenario, point, seed=seed, instruments=[point])
        except BaseException as error:
            if point.hit:
                error.add_note(f"cut off at step {at}: repeat with every_cancellation(…, {seed=}, first={at})")
            raise
        assert point.entered, "the scenario has to expose what may be cancelled: `with point.exposed():`"
        if not point.hit:
            return at - first
    raise AssertionError(f"the scenario has not ended after {MOST_STEPS} steps")
