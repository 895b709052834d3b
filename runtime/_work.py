"""Work that would hold the loop: in a thread, or, where it is the processor that is busy, in a process.

Both run in a task of the actor, so their result comes as `TaskEnded` and they end with the actor. A thread cannot be
stopped: it is left alone, and what it returns is dropped. A process is killed.

Processes come from trio-parallel, an optional dependency (`understudy[processes]`): it keeps workers warm, and ends
them with the loop.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def in_thread(
    function: Callable[..., Any], args: tuple[Any, ...], limiter: trio.CapacityLimiter | None
) -> Callable[[], Awaitable[Any]]:
    """A coroutine function that runs `function(*args)` in a worker thread, as many at once as `limiter` lets."""
    call = partial(function, *args)

    async def work() -> Any:
        return await trio.to_thread.run_sync(call, limiter=limiter, abandon_on_cancel=True)

    return work


def in_process(
    function: Callable[..., Any], args: tuple[Any, ...], limiter: trio.CapacityLimiter | None
) -> Callable[[], Awaitable[Any]]:
    """A coroutine function that runs `function(*args)` in a worker process.

    Raises:
        ModuleNotFoundError: trio-parallel is not installed.
    """
    import trio_parallel  # noqa: PLC0415 - an extra

    call = partial(function, *args)

    async def work() -> Any:
        return await trio_parallel.run_sync(call, kill_on_cancel=True, limiter=limiter)

    return work
