"""Reading in gulps: when a read waits, and that it really stands before the socket of a response."""

from __future__ import annotations

from typing import Any

import attrs
import httpx2
import trio
from trio.testing import MockClock

from actors.models.chat import StreamLimits
from actors.models.gulps import GRID, SHORTEST, TRICKLE, Gulps, next_gulp
from actors.models.simulated.simulation import Pace
from actors.models.stream import stream_chat


class Wire:
    def __init__(self, *sizes: int) -> None:
        self.sizes = list(sizes)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"x" * self.sizes.pop(0)


class Sealed:
    __slots__ = ()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return b""


def over(stream: Any) -> Gulps:
    return Gulps(httpx2.Response(200, extensions={} if stream is None else {"network_stream": stream}))


async def test_only_a_trickle_waits_and_only_while_it_is_on(autojump_clock: MockClock):
    wire: Any = Wire(10, 10, TRICKLE + 1, 10, 10)
    began = trio.current_time()
    times = []
    with over(wire) as gulps:
        for on in (False, True, True, True, False):
            gulps.on = on
            await wire.read(65536, timeout=5)
            times.append(trio.current_time() - began)
    assert times[0] == 0
    assert SHORTEST <= times[1] <= SHORTEST + GRID
    assert SHORTEST <= times[2] - times[1] <= SHORTEST + 2 * GRID
    assert times[3] == times[2], "much was there: the next follows at once"
    assert times[4] == times[3]
    assert "read" not in vars(wire), "the connection is used again, as it was"


async def test_streams_wake_up_together():
    assert next_gulp(7.0012) == next_gulp(7.0088)
    assert next_gulp(7.0) - 7.0 < SHORTEST + 2 * GRID


async def test_without_a_stream_that_allows_it_nothing_is_slowed():
    for stream in (None, Sealed()):
        with over(stream) as gulps:
            gulps.on = True


async def test_a_real_answer_is_read_in_fewer_wakings_than_it_has_chunks(
    simulated: Any, connect: Any, ask: Any, monkeypatch: Any
):
    _, url = await simulated(pace=Pace(0, 200))
    reads: list[int] = []
    original = Gulps.read

    async def counted(self: Gulps, *arguments: Any, **more: Any) -> bytes:
        data = await original(self, *arguments, **more)
        reads.append(len(data))
        return data

    monkeypatch.setattr(Gulps, "read", counted)
    heard: list[str] = []
    request = attrs.evolve(ask(), parameters={})
    async with connect(url) as client:
        answer = await stream_chat(client, request, StreamLimits(), heard.append)
    assert answer.text == "".join(heard)
    assert len(reads) < len(heard) / 3
