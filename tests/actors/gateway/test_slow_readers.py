"""One client that stops reading, among many: it is spared what can be spared, closed, and made whole; others see
nothing of it.

Among a hundred here; the long form is `UNDERSTUDY_READERS=1000 pytest tests/actors/gateway/test_slow_readers.py`.
"""

from __future__ import annotations

import itertools
import os
import socket
from typing import Any

import pytest
import trio
import trio.testing

from actors.gateway.outbound import Out
from actors.protocol.codes import TOO_SLOW
from tests.support.gateway_system import Client, GatewaySystem, gateway_system
from tests.support.raw_websocket import RawWebSocket
from tests.support.said import delivery, delta, ephemeral

LIMIT = 60_000
TEXT = " " + "x" * 4_000


async def wedged(here: GatewaySystem, **hello: Any) -> Client:
    """A client of which the system takes little, and which does not read after its welcome."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(("127.0.0.1", here.port))
    raw = RawWebSocket(trio.SocketStream(sock))
    here.raws.append(raw)
    await raw.handshake()
    client = Client(raw)
    await client.hello(**hello)
    return client


def texts_of(client: Client) -> dict[str, str]:
    """The answers as the client shows them: each piece at its offset, by the rules."""
    texts: dict[str, str] = {}
    for frame in client.frames:
        if frame["type"] == "agent_delta":
            message, offset = frame["metadata"]["message_id"], frame["metadata"]["offset"]
            if len(texts.get(message, "")) >= offset:
                texts[message] = texts.get(message, "")[:offset] + frame["content"]
    return texts


@pytest.mark.parametrize("readers", [int(os.environ.get("UNDERSTUDY_READERS", "100"))])
async def test_one_wedged_reader_among_many_changes_nothing_for_the_others(readers: int) -> None:
    limits = {"outbound_bytes": LIMIT, "connections": readers + 1}
    async with gateway_system(limits=limits, most=readers + 10, send_within=1000.0, close_within=1000.0) as here:
        slow = await wedged(here, client_id="slow")
        stuck = here.connection(slow)
        others = [await here.welcomed() for _ in range(readers - 1)]
        closed_in = None
        for number in itertools.count(1):
            here.say(f"d{number}{TEXT}", f"w{number}", f"p{number}")
            async with trio.open_nursery() as nursery:
                for other in others:
                    nursery.start_soon(read_to, other, number)
            # Everybody else has it all by now, and nothing that the wedged one does or does not was waited for.
            actor = getattr(stuck.target, "actor", None)
            assert actor is None or actor.inspect()["outbound_bytes"] <= LIMIT
            if closed_in is None and (actor is None or actor._closing is not None):
                closed_in = number
            if closed_in is not None and number == closed_in + 5:
                break
            assert number < 1000
        assert closed_in is not None
        assert closed_in > 10
        for other in others:
            assert other.seqs == list(range(1, number + 1))
            assert other.code is None
            other.verify()
        # It reads again: what it is given is whole, and then it learns why.
        assert await slow.ended() == TOO_SLOW
        had = slow.seqs
        assert had == list(range(1, len(had) + 1))
        assert len(had) < number
        slow.verify()
        epoch = slow.frames[0]["metadata"]["epoch"]
        again = await here.welcomed(client_id="slow", resume={"epoch": epoch, "seq": len(had)})
        while len(had) + len(again.seqs) < number:
            await again.next()
        assert had + again.seqs == list(range(1, number + 1))
        again.verify()
        assert here.counters.connections_closed == {TOO_SLOW: 1}


async def read_to(client: Client, seq: int) -> None:
    while client.seqs[-1:] != [seq]:
        await client.next()


async def test_a_client_that_lags_is_spared_what_newer_events_stand_for() -> None:
    async with gateway_system(limits={"outbound_bytes": 500_000}, send_within=1000.0) as here:
        slow, quick = await wedged(here), await here.welcomed()
        connections = [here.connection(slow), here.connection(quick)]
        size = 0
        for number in range(4000):
            piece = f"{number:06}" * 10
            outs = [delta("m", size, piece), ephemeral("agent_progress", str(number), step="m")]
            size += len(piece)
            for connection, out in itertools.product(connections, outs):
                assert connection.tell(delivery("ada", out))
            if number % 100 == 0:
                await trio.testing.wait_all_tasks_blocked()
                while len(quick.frames) < 2 * number + 1:
                    await quick.next()
        assert slow.code is None
        while slow.frames[-1]["content"] != "3999":
            assert await slow.next() is not None, slow.code
        while len(quick.frames) < 8001:
            await quick.next()
        assert texts_of(slow) == texts_of(quick)
        assert len(slow.frames) < len(quick.frames)
        assert here.counters.ephemeral_merged == len(quick.frames) - len(slow.frames)
        assert all(frame["metadata"]["offset"] >= 0 for frame in slow.frames if frame["type"] == "agent_delta")
        progress = [int(frame["content"]) for frame in slow.frames if frame["type"] == "agent_progress"]
        assert progress == sorted(progress)


async def test_a_client_that_takes_a_little_at_a_time_is_not_cut_off() -> None:
    """What is too long is to take nothing for so long, not to need long for much."""
    async with gateway_system(limits={"outbound_bytes": 10**8}, send_within=1.0, close_within=0.3) as here:
        slow = await wedged(here)
        connection = here.connection(slow)
        frame = b'{"type":"agent_progress","metadata":{},"content":"%s"}' % (b"x" * 2_000_000)
        assert connection.tell(delivery("ada", Out(frame)))
        received = 0
        for _ in range(40):  # one message, one batch: several times the time for a send
            received += len(await slow.raw.stream.receive_some(40_000))
            await trio.sleep(0.075)
        assert received < 2_000_000
        assert connection.target.watchable() is not None
        assert here.counters.connections_closed == {}
        # And now nothing any more.
        await here.holds(lambda: here.counters.connections_closed == {TOO_SLOW: 1})


async def test_much_in_one_turn_is_no_lag() -> None:
    """A turn may bring more than may wait, and a client that reads has it all."""
    async with gateway_system(limits={"outbound_bytes": 20_000}) as here:
        client = await here.welcomed()
        connection = here.connection(client)
        frame = b'{"type":"agent_progress","metadata":{},"content":"%s"}' % (b"x" * 5_000)
        for _ in range(20):
            assert connection.tell(delivery("ada", Out(frame)))
        for _ in range(20):
            assert (await client.next() or {})["type"] == "agent_progress"
        assert here.counters.ephemeral_merged == 0
