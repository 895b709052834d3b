"""How an engine does its work: a strategy does one execution, in a task of the engine's actor, with a desk of its own.

A strategy waits wherever it likes. It opens no nursery: what is to go on at the same time becomes tasks of the engine,
which `together` waits for. It ends with its task: at the deadline, when it is cancelled, or with the engine.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs
import trio

from actors.protocol.catalogue import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from actors.engines.messages import Execute

T = TypeVar("T")


class Unavailable(Exception):
    """What the engine needs for this execution cannot be reached now; that is not its own fault."""


class Misfit(Exception):
    """It turns out on the way that what was asked cannot be done so.

    Attributes:
        fields: what is wrong, by place.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(dict(fields))
        self.fields = fields


class Cancellable(Protocol):
    """A task that was started."""

    def cancel(self, reason: str | None = None) -> None: ...


class Start(Protocol):
    """Starts a task of the engine (`Actor.start`)."""

    def __call__(self, function: Callable[..., Awaitable[Any]], *args: Any, name: str | None = None) -> Cancellable: ...


@attrs.frozen
class Outcome:
    """What came of an execution.

    Attributes:
        result: plain JSON values.
        degraded: part of it was done in a plainer way.
        failure: why it failed; None where it is complete.
    """

    result: dict[str, Any]
    degraded: bool = False
    failure: Failure | None = None


@attrs.define(eq=False)
class Desk:
    """What one execution works with.

    Attributes:
        start: starts tasks beside it.
        told: is told (finished, total) as parts are finished.
        so_far: what is shown of it if it does not come to its end.
    """

    start: Start
    told: Callable[[int, int], None]
    so_far: dict[str, Any] = attrs.field(factory=dict)


class Strategy(Protocol):
    """One way to do an engine's work; made anew for each incarnation of its actor."""

    def problems(self, execute: Execute) -> dict[str, str]:
        """What is wrong with the request, by place; nothing if it can be done. Pure and quick."""

    async def run(self, execute: Execute, desk: Desk) -> Outcome:
        """Do it. Raises Unavailable or Misfit; whatever else it raises is a defect of the engine."""

    async def close(self) -> None:
        """Give back what it holds. No execution is under way any more."""


async def together(start: Start, functions: Sequence[Callable[[], Awaitable[T]]], name: str) -> list[T]:
    """Run all of them at the same time; their results in the same order.

    The first error is raised, when the others have been cancelled. Cancellation: they are cancelled too, and not waited
    for: they end with the engine's actor at the latest.
    """
    results: dict[int, T] = {}
    errors: list[Exception] = []
    over = trio.Event()

    async def one(index: int, function: Callable[[], Awaitable[T]]) -> None:
        try:
            results[index] = await function()
        except Exception as error:  # noqa: BLE001 - raised by whoever waits
            errors.append(error)
        finally:
            if errors or len(results) == len(functions):
                over.set()

    tasks = [start(partial(one, index, function), name=name) for index, function in enumerate(functions)]
    try:
        if tasks:
            await over.wait()
        if errors:
            raise errors[0]
        return [results[index] for index in range(len(functions))]
    finally:
        for task in tasks:
            task.cancel("nobody waits for it any more")
