"""What happens in one actor stays there."""

from __future__ import annotations

import contextvars
from typing import Any

import pytest
import trio

from runtime import ChildEnded, HandlerFailed, Killed
from tests.support.actors import (
    Bench,
    Boom,
    OpenHost,
    Probe,
    boom,
    hang,
    settle,
)


async def test_a_group_with_the_hosts_own_cancellation_in_it_still_lets_the_host_end(bench: Bench):
    """A handler's nursery, cancelled with the host, with a child that fails on the way out."""

    async def work(_: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang)
            try:
                await hang()
            finally:
                raise Boom("on the way out")

    host = await bench.spawn("host", OpenHost)
    a = await bench.spawn("a", under=host, on={"work": work})
    a.ref.tell("work")
    await settle()
    host.cell.kill("by hand")
    await settle()
    assert host.log.ended == [Killed("by hand")]
    assert "ExceptionGroup" in str(a.log.ended[0])
    assert host.cell.incarnation == 1


async def test_a_nursery_in_a_handler_whose_child_fails(bench: Bench):
    async def work(_: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang)
            nursery.start_soon(boom)

    sibling = await bench.spawn("sibling")
    a = await bench.spawn("a", on={"work": work})
    with pytest.raises(HandlerFailed, match="ExceptionGroup"):
        await a.ref.ask("work", within=5)
    await settle()
    assert a.log.started == [0, 1]
    assert sibling.log.ended == []


async def test_context_variables_leak_from_whoever_spawns(bench: Bench):
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    user.set("the test's user")
    seen: list[str] = []

    def begin(actor: Probe) -> None:
        seen.append(user.get())
        user.set(f"{actor.ref.path} {actor.incarnation}")
        actor.start(in_task)

    async def in_task() -> None:
        seen.append(user.get())

    host = await bench.spawn("host", OpenHost, start=lambda _: user.set("the host's user"))
    a = await bench.spawn("a", under=host, start=begin)
    b = await bench.spawn("b", start=begin, on={"boom": boom})
    b.ref.tell("boom")
    await settle()
    assert seen == ["nobody"] * 6
    assert await a.do(lambda _: user.get()) == "/host/a 0"
    assert await b.do(lambda _: user.get()) == "/b 1"


async def test_an_end_that_the_host_never_hears_of(bench: Bench):
    """A group, a cancelled task, an odd error: the host hears of each end, with a reason."""
    host = await bench.spawn("host", OpenHost)
    for n, error in enumerate([Boom(), SystemExit(), ExceptionGroup("g", [Boom()]), GeneratorExit()]):

        async def fail(_: Any, error: BaseException = error) -> None:
            raise error

        a = await bench.spawn(str(n), under=host, on={"x": fail})
        a.ref.tell("x")
        await settle()
        ended = host.log.heard[-1]
        assert isinstance(ended, ChildEnded)
        assert ended.reason.error is error
