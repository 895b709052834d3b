from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import (
    Dead,
    Full,
    HandlerFailed,
    Refused,
    ReplyTo,
    TimedOut,
)
from tests.support.actors import LONG, Bench, Probe, boom, bounded, hang, settle

# --- answering later


async def test_a_deferred_answer_is_given_later(bench: Bench):
    kept: list[ReplyTo] = []
    a = await bench.spawn("a", on={"defer": lambda actor: kept.append(actor.defer())})
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await a.ref.ask("defer", within=5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settle()
        assert await a.ref.ask("meanwhile", within=1) == "meanwhile"
        assert kept[0].wanted
        assert kept[0].answer(42)
    assert answers == [42]
    assert not kept[0].answer(43)
    assert not kept[0].wanted
    assert a.cell.links.held == {}


async def test_deferring_what_nobody_asked_is_harmless(bench: Bench):
    kept: list[ReplyTo] = []
    for name, mailbox in (("a", bounded(9)), ("w", bounded(9, weigher=lambda _: 1))):
        a = await bench.spawn(name, mailbox=mailbox, on={"defer": lambda actor: kept.append(actor.defer())})
        a.ref.tell("defer")
        await settle()
        assert not kept[-1].wanted
        assert not kept[-1].answer(1)
        assert bench.counters(a).handled == 1


async def test_a_deferred_answer_may_refuse(bench: Bench):
    a = await bench.spawn("a", on={"defer": lambda actor: actor.start(later, actor.defer())})

    async def later(reply: ReplyTo) -> None:
        reply.answer(Refused("later"))

    with pytest.raises(Refused, match="later"):
        await a.ref.ask("defer", within=5)


async def test_an_actor_that_ends_while_it_owes_an_answer_gives_the_failure(bench: Bench):
    a = await bench.spawn("a", on={"defer": lambda actor: actor.defer() and None, "boom": boom})
    for end, detail in (("boom", "Boom: asked for"), ("stop", "stopped by its host")):

        async def ask(detail: str) -> None:
            with pytest.raises(HandlerFailed, match=detail):
                await a.ref.ask("defer", within=LONG)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, detail)
            await settle()
            if end == "stop":
                await bench.stop(a)
            else:
                a.ref.tell(end)


async def test_an_answer_after_the_asker_or_the_actor_has_gone_does_nothing(bench: Bench):
    kept: list[ReplyTo] = []
    a = await bench.spawn("a", on={"defer": lambda actor: kept.append(actor.defer()), "boom": boom})
    with trio.move_on_after(1):
        await a.ref.ask("defer", within=LONG)
    assert not kept[0].wanted
    assert not kept[0].answer(1)
    with pytest.raises(TimedOut):
        await a.ref.ask("defer", within=1)
    await bench.stop(a)
    assert not kept[1].answer(1)


async def test_deferring_an_ask_that_is_over_already(bench: Bench):
    kept: list[ReplyTo] = []

    async def slow(actor: Probe) -> None:
        await trio.sleep(1)
        kept.append(actor.defer())

    a = await bench.spawn("a", on={"slow": slow})
    with pytest.raises(TimedOut):
        await a.ref.ask("slow", within=0.5)
    await trio.sleep(1)
    assert not kept[0].wanted
    assert a.cell.links is None or a.cell.links.held == {}


# --- forwarding


async def test_forwarding_passes_the_right_to_the_answer_on(bench: Bench):
    b = await bench.spawn("b", on={"work": lambda _: "done by b"})
    a = await bench.spawn("a", on={"work": lambda actor: actor.forward(b.ref)})
    assert await a.ref.ask("work", within=1) == "done by b"
    a.ref.tell("work")
    await settle()
    assert b.log.heard == ["work", "work"]
    counters = bench.counters(a)
    assert (counters.offered, counters.moved, counters.handled) == (2, 2, 0)
    assert bench.counters(b).handled == 2


async def test_what_the_forwarder_returns_is_no_answer(bench: Bench):
    b = await bench.spawn("b", on={"work": lambda _: trio.sleep(1)})
    a = await bench.spawn("a", on={"work": lambda actor: actor.forward(b.ref) and "mine"})
    assert await a.ref.ask("work", within=5) is None


@pytest.mark.parametrize("weighed", [False, True])
async def test_forwarding_to_one_who_does_not_take_it(bench: Bench, weighed: bool):
    full = await bench.spawn("full", mailbox=bounded(1), on={"hang": hang})
    full.ref.tell("hang")
    await settle()
    full.ref.tell(1)
    dead = bench.system.ref("/dead")
    took: list[bool] = []
    mailbox = bounded(9, weigher=lambda _: 1) if weighed else bounded(9)
    on = {"full": lambda actor: took.append(actor.forward(full.ref)), "dead": lambda a: took.append(a.forward(dead))}
    a = await bench.spawn("a", mailbox=mailbox, on=on)
    for name, error in (("full", Full), ("dead", Dead)):
        with pytest.raises(error) as refused:
            await a.ref.ask(name, within=1)
        assert refused.value.message == name
        a.ref.tell(name)
        await settle()
    assert took == [False] * 4
    assert bench.counters(a).moved == 4


async def test_forwarding_for_an_asker_who_has_gone(bench: Bench):
    b = await bench.spawn("b")

    async def slow(actor: Probe) -> None:
        await trio.sleep(1)
        actor.forward(b.ref)

    a = await bench.spawn("a", on={"slow": slow})
    with pytest.raises(TimedOut):
        await a.ref.ask("slow", within=0.5)
    await trio.sleep(2)
    assert b.log.heard == []
    assert bench.counters(b).expired == 1
    assert bench.counters(a).moved == 1


async def test_a_message_that_is_forwarded_twice_moves_once(bench: Bench):
    b, c = await bench.spawn("b"), await bench.spawn("c")
    a = await bench.spawn("a", on={"work": lambda actor: (actor.forward(b.ref), actor.forward(c.ref))})
    assert await a.ref.ask("work", within=1) == "work"
    await settle()
    assert b.log.heard == c.log.heard == ["work"]
    counters = bench.counters(a)
    assert (counters.moved, counters.handled) == (1, 0)


async def test_a_crash_after_forwarding_is_no_failure_of_the_message(bench: Bench):
    b = await bench.spawn("b")

    async def work(actor: Probe) -> None:
        actor.forward(b.ref)
        node = bench.node(a)
        assert (node.counters.missing, node.counters.moved, node.counters.in_hand) == (0, 1, 0)
        assert node.handling is not None
        assert node.handling.message == "str"
        await boom()

    a = await bench.spawn("a", on={"work": work})
    assert await a.ref.ask("work", within=1) == "work"
    await settle()
    counters = bench.counters(a)
    assert (counters.moved, counters.failed, counters.handled) == (1, 0, 0)
    assert bench.crashes()[0].message == "str"


async def test_forwarding_a_message_of_the_kernel_moves_nothing(bench: Bench):
    b = await bench.spawn("b")
    a = await bench.spawn("a", on={"tick": lambda actor: actor.forward(b.ref)})
    await a.do(lambda actor: actor.timer("t", 1, "tick"))
    await trio.sleep(2)
    assert b.log.heard == ["tick"]
    counters = bench.counters(a)
    assert (counters.moved, counters.handled) == (0, 1)


async def test_forwarding_needs_a_message_in_hand(bench: Bench):
    async def start(actor: Probe) -> None:
        with pytest.raises(RuntimeError, match="one message"):
            actor.forward(actor.ref)

    await bench.spawn("a", start=start)
    assert bench.crashes() == []


async def test_an_actor_may_forward_to_itself(bench: Bench):
    def later(actor: Probe) -> Any:
        return actor.forward(actor.ref) if actor.log.heard.count("later") < 3 else "third time"

    a = await bench.spawn("a", on={"later": later})
    assert await a.ref.ask("later", within=1) == "third time"


async def test_deferring_after_forwarding_keeps_nothing(bench: Bench):
    b = await bench.spawn("b")

    def both(actor: Probe) -> None:
        actor.forward(b.ref)
        assert not actor.defer().wanted

    a = await bench.spawn("a", on={"work": both})
    assert await a.ref.ask("work", within=1) == "work"
    a.ref.tell("work")
    await settle()
    assert a.log.started == [0]


async def test_forwarding_after_deferring_is_a_tell(bench: Bench):
    b = await bench.spawn("b")
    a = await bench.spawn("a", on={"work": lambda actor: (kept.append(actor.defer()), actor.forward(b.ref))})
    kept: list[ReplyTo] = []
    with pytest.raises(TimedOut):
        await a.ref.ask("work", within=1)
    assert b.log.heard == ["work"]
    assert a.log.started == [0]
