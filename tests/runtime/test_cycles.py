from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import (
    HandlerFailed,
    Refused,
    RefusedTell,
    TimedOut,
    WaitCycle,
)
from tests.support.actors import LONG, Bench, Probe, Subject, asking, bounded, hang, settle


async def test_asking_oneself_is_a_cycle(bench: Bench):
    a = await bench.spawn("a")
    with pytest.raises(HandlerFailed, match="/a -> /a"):
        await a.do(asking(a))


async def test_a_cycle_through_others_is_found_with_its_path(bench: Bench):
    caught: list[WaitCycle] = []
    a = await bench.spawn("a", on={"go": asking(lambda: b, "go")})
    b = await bench.spawn("b", on={"go": asking(lambda: c, "go")})

    async def close(_: Any) -> str:
        try:
            return str(await a.ref.ask("back", within=LONG))
        except WaitCycle as cycle:
            caught.append(cycle)
            return "found"

    c = await bench.spawn("c", on={"go": close})
    assert await a.ref.ask("go", within=5) == "found"
    assert caught[0].path == ("/c", "/a", "/b", "/c")
    assert str(caught[0]) == "waiting would close a cycle: /c -> /a -> /b -> /c"
    assert bench.counters(a).offered == 1


async def test_a_send_that_closes_a_cycle_is_found(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={"go": asking(lambda: b, "go", LONG)})

    async def close(_: Any) -> str:
        a.ref.tell("fills it")
        with pytest.raises(WaitCycle, match="/b -> /a -> /b"):
            await a.ref.send("back", within=LONG)
        return "found"

    b = await bench.spawn("b", on={"go": close})
    assert await a.ref.ask("go", within=5) == "found"


async def test_a_task_is_no_handler_and_has_no_edge(bench: Bench):
    async def in_task(actor: Probe) -> None:
        reply = actor.defer()

        async def ask() -> None:
            reply.answer(await actor.ref.ask("me", within=5))

        actor.start(ask)

    a = await bench.spawn("a", on={"go": in_task})
    assert await a.ref.ask("go", within=5) == "me"


async def test_a_task_that_a_handler_opened_has_no_edge(bench: Bench):
    async def inside(_: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asked)

    async def asked() -> None:
        with pytest.raises(TimedOut):
            await a.ref.ask("me", within=0.5)

    a = await bench.spawn("a", on={"go": inside})
    assert await a.ref.ask("go", within=5) is None


async def test_forwarding_moves_the_edge(bench: Bench):
    """a asks b, b hands that on to c: b may ask a, c may not."""
    c = await bench.spawn("c", on={"go": lambda _: refused(asking(a)(_))})

    async def refused(ask: Any) -> str:
        with pytest.raises(WaitCycle, match="/c -> /a -> /c"):
            await ask
        return "c may not"

    async def forward(actor: Probe) -> None:
        actor.forward(c.ref)
        kept.append(await a.ref.ask("from b", within=5))

    kept: list[str] = []
    b = await bench.spawn("b", on={"go": forward})
    a = await bench.spawn("a", on={"go": asking(b, "go")})
    assert await a.ref.ask("go", within=5) == "c may not"
    await settle()
    assert kept == ["from b"]


async def test_deferring_removes_the_edge(bench: Bench):
    """a asks b, which defers and then asks a: a answers that when it comes to it, which is after its own answer."""

    async def defer(actor: Probe) -> None:
        reply = actor.defer()
        with pytest.raises(TimedOut):
            await a.ref.ask("later", within=0.5)
        reply.answer("free")

    b = await bench.spawn("b", on={"go": defer})
    a = await bench.spawn("a", on={"go": asking(b, "go")})
    assert await a.ref.ask("go", within=5) == "free"


async def test_an_answer_that_is_on_its_way_is_no_edge(bench: Bench):
    """b answers a and, before a has run again, asks a for the next message in its own mailbox."""
    b = await bench.spawn("b", on={"wait": lambda _: trio.sleep(1), "ask back": asking(lambda: a, "hello")})
    a = await bench.spawn("a", on={"go": asking(b, "answered")})
    b.ref.tell("wait")
    await settle()
    a.ref.tell("go")
    await settle()
    assert await b.ref.ask("ask back", within=5) == "hello"


async def test_forwarding_to_one_that_waits_for_the_asker_is_a_cycle(bench: Bench):
    """a asks b, and b hands that to a itself: nobody could ever answer, so a is told at once."""
    b = await bench.spawn("b", on={"go": lambda actor: took.append(actor.forward(a.ref))})
    took: list[bool] = []
    paths: list[Any] = []

    async def go(_: Any) -> None:
        try:
            await b.ref.ask("go", within=LONG)
        except WaitCycle as cycle:
            paths.append(cycle.path)

    a = await bench.spawn("a", on={"go": go})
    await a.ref.ask("go", within=5)
    assert paths == [("/a", "/a")]
    assert took == [False]
    assert bench.counters(b).moved == 1


async def test_a_cycle_that_moved_messages_closed_does_not_hang_those_who_ask_into_it(bench: Bench):
    a = await bench.spawn("a", on={"go": lambda _: hold(b)})
    b = await bench.spawn("b", on={"go": hang})

    async def hold(other: Subject) -> None:
        with pytest.raises(TimedOut):
            await other.ref.ask("go", within=1)

    a.ref.tell("go")
    await settle()
    a.cell.waits_on.holder = a.cell  # as if a switch had moved what a waits for to a
    c = await bench.spawn("c", on={"go": asking(a, "x", within=0.5)})
    with pytest.raises(HandlerFailed, match="TimedOut"):
        await c.ref.ask("go", within=5)
    await trio.sleep(1)
    await bench.stop(b, within=0)


async def test_no_edge_is_left_behind(bench: Bench):
    b = await bench.spawn("b", on={"hang": hang})

    async def twice(_: Any) -> None:
        for _i in range(2):
            with pytest.raises(TimedOut):
                await b.ref.ask("hang", within=0.5)
            assert a.cell.waits_on is None

    a = await bench.spawn("a", on={"go": twice})
    await a.ref.ask("go", within=5)
    await bench.stop(b, within=0)


async def test_a_snapshot_shows_who_waits_on_whom(bench: Bench):
    full = await bench.spawn("full", mailbox=bounded(1), on={"hang": hang})
    full.ref.tell("hang")
    await settle()
    full.ref.tell(1)
    deferring = await bench.spawn("deferring", on={"defer": lambda actor: actor.defer() and None})
    shown = []
    for other, message, how in ((full, "x", "send"), (deferring, "defer", "ask"), (deferring, "echo", "ask")):
        offer = getattr(other.ref, how)
        asker = await bench.spawn(f"{how}-{message}", on={"go": lambda _, o=offer, m=message: o(m, within=1)})
        asker.ref.tell("go")
        await settle()
        shown.append(bench.node(asker).waits_on)
        await trio.sleep(2)
    assert shown == ["room at /full", "a deferred answer", None]
    await bench.stop(full, within=0)


async def test_an_ask_shows_as_waiting_on_its_target(bench: Bench):
    b = await bench.spawn("b", on={"hang": lambda _: trio.sleep(1)})
    a = await bench.spawn("a", on={"go": asking(b, "hang")})
    a.ref.tell("go")
    await settle()
    assert bench.node(a).waits_on == "answer of /b"
    await trio.sleep(2)
    assert bench.node(a).waits_on is None


async def test_refused_to_nobody_is_reported_while_senders_wait(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(1), on={"wait": lambda _: trio.sleep(1), "no": lambda _: Refused("no")})
    a.ref.tell("wait")
    await settle()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(a.ref.send, "no", 5)
    await settle()
    assert bench.reports == [RefusedTell("/a", "str")] * 3
    assert bench.counters(a).handled == 4
