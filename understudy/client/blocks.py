"""A nursery around an application's block, whose errors come out as the application raised them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@asynccontextmanager
async def block() -> AsyncGenerator[trio.Nursery, None]:
    """A nursery for tasks that serve the block; they are cancelled at its end.

    What the block raises comes out as it is, in no group. What a task raises does come in one, the tasks of a client
    being written to raise nothing: it is a defect, and shown whole.
    """
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                failure = error
                raise
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        expected = [] if failure is None else _leaves(failure)
        if any(
            not isinstance(leaf, trio.Cancelled) and all(leaf is not one for one in expected) for leaf in _leaves(group)
        ):
            raise
    if failure is not None:
        raise failure


def _leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group, however deep, or the lone one. Trio regroups on its way, the leaves stay the same."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
