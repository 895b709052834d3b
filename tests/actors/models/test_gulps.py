"""Reading in gulps: when a read waits, and that nothing is lost where it goes past the client."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import h11
import httpx2
import hypothesis.strategies as st
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from trio.testing import MockClock

from actors.models.gulps import PAUSE, TRICKLE, Gulps, next_gulp, whole_chunks
from actors.models.ticks import CROWD, EVERY, Ticks
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

SHORTEST = (PAUSE - 1) * EVERY
LONGEST = (PAUSE + 1) * EVERY


class Wire:
    """A stream that gives what it is told to, or raises it."""

    def __init__(self, *gives: bytes | Exception) -> None:
        self.gives = list(gives)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        given = self.gives.pop(0)
        if isinstance(given, Exception):
            raise given
        if len(given) > max_bytes:
            self.gives.insert(0, given[max_bytes:])
        return given[:max_bytes]


class Sealed:
    __slots__ = ()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return b""


def over(stream: Any) -> Gulps:
    return Gulps(httpx2.Response(200, extensions={} if stream is None else {"network_stream": stream}), Ticks())


async def test_only_a_trickle_waits_and_only_while_it_is_on(autojump_clock: MockClock):
    wire: Any = Wire(*(b"x" * size for size in (10, 10, TRICKLE + 1, 10, 10)))
    began = trio.current_time()
    times = []
    with over(wire) as gulps:
        for on in (False, True, True, True, False):
            gulps.on = on
            await wire.read(65536, timeout=5)
            times.append(trio.current_time() - began)
    assert times[0] == 0
    assert SHORTEST <= times[1] <= LONGEST
    assert SHORTEST <= times[2] - times[1] <= LONGEST
    assert times[3] == times[2], "much was there: the next follows at once"
    assert times[4] == times[3]
    assert "read" not in vars(wire), "the connection is used again, as it was"


async def test_a_connection_that_the_next_call_has_got_already_is_left_to_it(autojump_clock: MockClock):
    """The client gives it away as soon as the answer has ended, which may be long before its reader hears of that."""
    one = chunk(EVENT)
    wire: Any = Wire(one, one, one + one[:9], one[9:], END)
    client = Client(wire, b"")
    earlier = over(wire)
    earlier.__enter__()
    left = 0
    body = b""
    with over(wire) as gulps:
        async for piece in client.pieces():
            gulps.gave(piece)
            gulps.on = True
            more: bytes | None = piece
            while more is not None:
                body += more
                more = await gulps.more()
                if isinstance(gulps._left, bytes) and not left:  # the worst moment: the client has still to take it
                    left = len(gulps._left)
                    earlier.__exit__(None, None, None)
    assert left == 9
    assert body == EVENT * 4
    assert "read" not in vars(wire)


async def test_streams_share_their_moments_evenly(autojump_clock: MockClock, nursery: trio.Nursery):
    ticks = Ticks()
    read_at: list[int] = []

    async def stream() -> None:
        for _ in range(40):
            tick = next_gulp(trio.current_time(), ticks)
            await ticks.wait(tick)
            read_at.append(tick)

    for _ in range(200):
        nursery.start_soon(stream)
    await trio.sleep(1)
    late = [tick for tick in read_at if 50 <= tick < 100]
    crowds = [late.count(tick) for tick in range(50, 100)]
    assert max(crowds) <= 200 / (PAUSE + 1) + 2 * CROWD, "all have begun in one step"
    assert min(crowds) >= 1


async def test_without_a_stream_that_allows_it_nothing_is_slowed():
    for stream in (None, Sealed()):
        with over(stream) as gulps:
            gulps.on = True
            gulps.gave(b"data: 1\n\n")
            assert await gulps.more() is None


def chunk(data: bytes, form: str = "%x") -> bytes:
    return (form % len(data)).encode() + b"\r\n" + data + b"\r\n"


@pytest.mark.parametrize(
    ("data", "contents", "end"),
    [
        (b"", [], 0),
        (chunk(b"abc"), [b"abc"], 8),
        (chunk(b"abc") + chunk(b"d" * 26, "%X"), [b"abc", b"d" * 26], 40),
        (chunk(b"abc") + b"3\r\nab", [b"abc"], 8),
        (b"3\r\nabc", [], 0),
        (b"3\r\nabc\r", [], 0),
        (b"3\r\nabcde", [], 0),
        (b"0\r\n\r\n", [], 0),
        (chunk(b"abc") + b"0\r\n\r\n", [b"abc"], 8),
        (b"3;name=value\r\nabc\r\n", [], 0),
        (b"3\nabc\r\n", [], 0),
        (b" 3\r\nabc\r\n", [], 0),
        (b"+3\r\nabc\r\n", [], 0),
        (b"0x3\r\nabc\r\n", [], 0),
        (b"-3\r\nabc\r\n", [], 0),
        (b"000000003\r\nabc\r\n", [], 0),
        (b"\r\nabc\r\n", [], 0),
    ],
)
def test_whole_chunks(data: bytes, contents: list[bytes], end: int):
    assert whole_chunks(data) == (contents, end)


class Client:
    """Reads a body as the HTTP client does: with h11, which has more of it in hand than it says."""

    def __init__(self, wire: Wire, early: bytes) -> None:
        self.wire = wire
        self.h11 = h11.Connection(h11.CLIENT)
        self.h11.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
        self.h11.send(h11.EndOfMessage())
        self.h11.receive_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + early)
        assert isinstance(self.h11.next_event(), h11.Response)
        self.reads = 0

    async def pieces(self) -> AsyncGenerator[bytes]:
        while True:
            event = self.h11.next_event()
            if event is h11.NEED_DATA:
                self.reads += 1
                self.h11.receive_data(await self.wire.read(65536, timeout=5))
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                return


async def read_all(client: Client, gulps: Gulps, *, on: bool = True) -> tuple[bytes, int]:
    """The body as it comes out, and how often it came past the client."""
    body, past = b"", 0
    with gulps:
        async for piece in client.pieces():
            gulps.gave(piece)
            gulps.on = on
            more: bytes | None = piece
            while more is not None:
                body += more
                more = await gulps.more()
                past += more is not None
    return body, past


EVENTS = st.sampled_from([b'data: {"a": 1}\n\n', b"event: x\ndata: 1\n\n", b"data: " + b"x" * 5000 + b"\n\n"])
NASTY = st.sampled_from(
    [
        b"7\r\n7\r\n7",
        b"\r\n",
        b"\n",
        b"d\r\n",
        b"da",
        b": ping\n\n",
        b"0\r\n\r\n",
        b"data: 5\r\nabcde\r\n",
        b"e\r\ndata: 1\n\n",
    ]
)
CONTENTS = st.one_of(EVENTS, EVENTS, EVENTS, NASTY, st.binary(min_size=1, max_size=20))
FORMS = st.sampled_from(["%x", "%x", "%x", "%X", "%04x", "%x;a=b"])
CUTS = st.one_of(st.just("whole"), st.just("whole"), st.integers(1, 40))


def test_whatever_comes_however_cut_comes_out_as_it_was():
    """The reads give whole chunks, or so many bytes; the first bytes came with the head, unseen."""
    went_past: list[int] = []

    @settings(max_examples=examples(2), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.tuples(CONTENTS, FORMS), min_size=1, max_size=12),
        st.lists(CUTS, min_size=1, max_size=20),
        st.integers(0, 60),
    )
    def tried(chunks: list[tuple[bytes, str]], cuts: list[int | str], early: int) -> None:
        framed = [chunk(content, form) for content, form in chunks] + [b"0\r\n\r\n"]
        stream = b"".join(framed)
        ends = [sum(map(len, framed[: n + 1])) for n in range(len(framed))]
        reads: list[bytes | Exception] = []
        at = min(early, len(stream))
        number = 0
        while at < len(stream):
            cut = cuts[number % len(cuts)]
            number += 1
            end = min(e for e in ends if e > at) if isinstance(cut, str) else min(len(stream), at + cut)
            reads.append(stream[at:end])
            at = end
        wire = Wire(*reads)
        client = Client(wire, stream[:early])
        body, past = trio.run(read_all, client, over(wire), clock=MockClock(autojump_threshold=0))
        went_past.append(past)
        assert body == b"".join(content for content, _ in chunks)
        assert client.h11.their_state is h11.DONE
        assert not wire.gives

    tried()
    assert sum(map(bool, went_past)) > 10, "it is worth something only if much does go past the client"


EVENT = b'data: {"n": 1}\n\n'
END = b"0\r\n\r\n"


async def test_whole_chunks_are_read_past_the_client(autojump_clock: MockClock):
    wire = Wire(*[chunk(EVENT)] * 20, chunk(EVENT) + END)
    client = Client(wire, chunk(EVENT))
    body, past = await read_all(client, over(wire))
    assert body == EVENT * 22
    assert past == 20, "the first read shows where the client stands"
    assert client.reads == 2


async def test_the_client_has_what_is_no_whole_chunk_and_then_stands_between_two_again(autojump_clock: MockClock):
    one = chunk(EVENT)
    wire = Wire(one, one, one + one[:9], one[9:], one, one, one, END)
    client = Client(wire, b"")
    body, past = await read_all(client, over(wire))
    assert body == EVENT * 7
    assert past == 4


@pytest.mark.parametrize("early", [b"10\r\n", chunk(EVENT)[:-1], chunk(EVENT)[:-2], b"3", b"5\r\n7\r\n", b"e"])
async def test_where_the_client_stands_elsewhere_nothing_goes_past_it(autojump_clock: MockClock, early: bytes):
    """What is read then would look like whole chunks, were it not for what the client has already."""
    wire = Wire(chunk(EVENT), chunk(EVENT))
    client = Client(wire, early)
    with over(wire) as gulps:
        gulps.on = True
        try:
            async for piece in client.pieces():
                gulps.gave(piece)
                assert await gulps.more() is None
        except (h11.RemoteProtocolError, IndexError):
            pass  # nonsense to the client, or the script is over


async def test_what_only_looks_like_whole_chunks_is_no_proof(autojump_clock: MockClock):
    """In a chunk of which seven bytes are missing, these read like a chunk with just what comes out."""
    contents = b"7\r\n7\r\n7"
    wire = Wire(chunk(contents), chunk(b"ab"), b"\r\n" + chunk(EVENT), END)
    client = Client(wire, b"7\r\n")
    body, past = await read_all(client, over(wire))
    assert body == contents + chunk(b"ab") + EVENT
    assert past == 0


async def test_what_is_compressed_or_has_a_length_goes_the_clients_way(autojump_clock: MockClock):
    wire = Wire(EVENT, EVENT, chunk(EVENT))
    with over(wire) as gulps:
        gulps.on = True
        for _ in range(3):
            await wire.read(65536)
            gulps.gave(EVENT[:3])
            assert await gulps.more() is None


async def test_what_breaks_past_the_client_is_met_by_the_client(autojump_clock: MockClock):
    wire = Wire(chunk(EVENT), chunk(EVENT), httpx2.ReadError("reset"))
    client = Client(wire, b"")
    with over(wire) as gulps, pytest.raises(httpx2.ReadError, match="reset"):
        async for piece in client.pieces():
            gulps.gave(piece)
            gulps.on = True
            while await gulps.more() is not None:
                pass
    assert client.reads == 2


async def test_an_end_past_the_client_is_met_by_the_client(autojump_clock: MockClock):
    wire = Wire(chunk(EVENT), chunk(EVENT), b"")
    client = Client(wire, b"")
    with pytest.raises(h11.RemoteProtocolError, match="incomplete chunked read"):
        await read_all(client, over(wire))


async def test_cancelled_in_the_pause_nothing_was_read(autojump_clock: MockClock):
    wire = Wire(chunk(EVENT), chunk(EVENT), chunk(EVENT))
    client = Client(wire, b"")
    with over(wire) as gulps:
        gulps.on = True
        async with aclosing(client.pieces()) as pieces:
            gulps.gave(await anext(pieces))
            with trio.move_on_after(0.01) as scope:
                await gulps.more()
            assert scope.cancelled_caught
            assert await gulps.more() == EVENT
    assert len(wire.gives) == 1
