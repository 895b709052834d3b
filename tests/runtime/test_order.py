from __future__ import annotations

import trio

from runtime import Overflow
from tests.support.actors import Bench, bounded, settle


async def test_one_sender_is_heard_in_the_order_of_its_messages(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(200))
    for n in range(150):
        a.ref.tell(n)
    await settle()
    assert a.log.heard == list(range(150))


async def test_tell_send_and_ask_of_one_sender_keep_their_order(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(2), on={0: lambda _: trio.sleep(1)})

    async def offer() -> None:
        for n in range(0, 30, 3):
            await a.ref.send(n, within=60)
            await a.ref.send(n + 1, within=60)
            while a.cell.depth >= 2:
                await trio.sleep(0.1)
            await a.ref.ask(n + 2, within=60)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(offer)
    assert a.log.heard == list(range(30))


async def test_several_senders_each_keep_their_order(bench: Bench):
    a = await bench.spawn("a", mailbox=bounded(3))

    async def offer(who: str) -> None:
        for n in range(40):
            await a.ref.send((who, n), within=60)
            if n % 7 == 0:
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for who in "xyz":
            nursery.start_soon(offer, who)
    await settle()
    for who in "xyz":
        assert [n for name, n in a.log.heard if name == who] == list(range(40))


async def test_at_most_once(bench: Bench):
    """The message that an incarnation ended with is not given to the next one."""
    a = await bench.spawn("a", on={"boom": lambda _: 1 // 0})
    for message in (1, "boom", 2):
        a.ref.tell(message)
    await settle()
    assert a.log.heard == [1, "boom", 2]


async def test_conflation_is_the_one_exception(bench: Bench):
    mailbox = bounded(2, Overflow.CONFLATE, key=lambda message: message[0])
    a = await bench.spawn("a", mailbox=mailbox, on={"wait": lambda _: trio.sleep(1)})
    a.ref.tell("wait")
    await settle()
    for message in ("x1", "y1", "x2"):
        a.ref.tell(message)
    await trio.sleep(2)
    assert a.log.heard == ["wait", "x2", "y1"]
