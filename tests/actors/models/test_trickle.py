"""A trickle over a real socket, where it is read past the client: it ends in all the ways as it does anywhere else."""

from __future__ import annotations

import json
import socket
import struct
from contextlib import asynccontextmanager, suppress
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors.models import stream as streams
from actors.models.chat import StreamLimits, Usage
from actors.models.failure import AttemptFailed
from actors.models.gulps import Gulps
from actors.models.stream import stream_chat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.usefixtures("collected")

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
COMMENT = b": keep-alive\n\n"
PATIENT = StreamLimits(first_token=30, idle=30, total=30)
SHORTLY = StreamLimits(first_token=30, idle=0.3, total=30)


def event(text: str | None, finish_reason: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return f"data: {json.dumps({'model': 'm', 'choices': [choice]})}\n\n".encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Reset:
    """In a script: the connection is reset."""


class Silence:
    """In a script: nothing more comes, until the other side goes."""


END = b"0\r\n\r\n"
STOP = chunk(event(None, "stop"))
Script = list[bytes | float | type[Reset] | type[Silence]]


def trickle(*more: Any, pieces: int = 12, pause: float = 0.015) -> Script:
    """So many pieces of text, `0 `, `1 `, …, each in a chunk of its own, and then more."""
    script: Script = [HEAD]
    for number in range(pieces):
        script += [chunk(event(f"{number} ")), pause]
    return [*script, *more]


TEXT = "".join(f"{number} " for number in range(12))


@attrs.define
class Provider:
    """Plays its script to each who asks. `answers` counts them, by connection."""

    script: Script
    port: int = 0
    answers: list[int] = attrs.field(factory=list)
    open: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, stream: trio.SocketStream) -> None:
        number = len(self.answers)
        self.answers.append(0)
        self.open += 1
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while await self._asked(stream):
                    self.answers[number] += 1
                    if not await self._play(stream):
                        return
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)

    async def _asked(self, stream: trio.SocketStream) -> bool:
        received = b""
        while b"\r\n\r\n" not in received:
            data = await stream.receive_some()
            if not data:
                return False
            received += data
        head, _, body = received.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < size:
            body += await stream.receive_some()
        return True

    async def _play(self, stream: trio.SocketStream) -> bool:
        """Whether the connection is to go on."""
        for step in self.script:
            if isinstance(step, bytes):
                await stream.send_all(step)
            elif step is Reset:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            elif step is Silence:
                with suppress(trio.BrokenResourceError):
                    await stream.receive_some()
                return False
            else:
                assert isinstance(step, float)
                await trio.sleep(step)
        last = self.script[-1]
        return isinstance(last, bytes) and last.endswith(END)


@asynccontextmanager
async def providing(*script: Any) -> AsyncIterator[Provider]:
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        provider = Provider(list(script), listener.socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, provider.serve, [listener])
        yield provider
        with trio.fail_after(10):
            while provider.open:
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()


@pytest.fixture
def past(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what was read past the client."""
    sizes: list[int] = []
    original = Gulps.more

    async def counted(self: Gulps) -> bytes | None:
        more = await original(self)
        if more is not None:
            sizes.append(len(more))
        return more

    monkeypatch.setattr(Gulps, "more", counted)
    return sizes


async def test_it_comes_whole_and_the_connection_is_used_again(connect: Any, ask: Any, past: list[int]):
    heard: list[str] = []
    told: list[str] = []
    async with (
        providing(*trickle(STOP, chunk(USAGE), chunk(DONE), END)) as provider,
        connect(provider.url) as client,
    ):
        for _ in range(3):
            heard.clear()
            told.clear()
            answer = await stream_chat(
                client, ask(), PATIENT, heard.append, on_caught_up=lambda: told.append("".join(heard))
            )
            assert answer.text == "".join(heard) == told[-1] == TEXT
            assert told[0] == "0 ", "the first is not kept waiting"
            assert len(set(told)) < 12, "later ones have come together"
            assert answer.usage == Usage(3, 4, estimated=False)
        assert provider.answers == [3]
    assert len(past) >= 6


@pytest.mark.parametrize(
    "ending",
    [
        [chunk(event(None, "stop") + USAGE + DONE) + END],
        [chunk(event(None, "stop") + USAGE + DONE), 0.02, END],
        [STOP + chunk(USAGE) + chunk(DONE) + END],
        [STOP, 0.06, chunk(USAGE)[:20], 0.06, chunk(USAGE)[20:] + chunk(DONE), END],
    ],
)
async def test_however_the_end_is_cut(connect: Any, ask: Any, past: list[int], ending: list[Any]):
    async with providing(*trickle(*ending)) as provider, connect(provider.url) as client:
        for _ in range(2):
            answer = await stream_chat(client, ask(), PATIENT, len)
            assert (answer.text, answer.usage) == (TEXT, Usage(3, 4, estimated=False))
        assert provider.answers == [2], "the connection was used again"
    assert past


async def test_an_end_by_responses(connect: Any, ask: Any, past: list[int]):
    """Their last event is the end: nothing follows it but the last chunk, later."""

    def of(kind: str, **more: Any) -> bytes:
        return chunk(f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode())

    deltas = [part for n in range(12) for part in (of("response.output_text.delta", delta=f"{n} "), 0.02)]
    end = of("response.completed", response={"model": "m", "usage": {"input_tokens": 3, "output_tokens": 4}})
    async with providing(HEAD, *deltas, end, 0.02, END) as provider, connect(provider.url) as client:
        for _ in range(2):
            answer = await stream_chat(client, attrs.evolve(ask(), api="responses"), PATIENT, len)
            assert (answer.text, answer.usage) == (TEXT, Usage(3, 4, estimated=False))
        assert provider.answers == [2]
    assert past


async def test_neither_the_first_text_nor_what_follows_the_last_is_kept_waiting(
    connect: Any, ask: Any, past: list[int], monkeypatch: pytest.MonkeyPatch
):
    heard: list[str] = []
    reads: list[tuple[int, bool]] = []
    original = Gulps._gulp

    async def noted(self: Gulps, most: int) -> bytes:
        reads.append((len(heard), self.on))
        return await original(self, most)

    monkeypatch.setattr(Gulps, "_gulp", noted)
    role = chunk(event(""))
    script = [HEAD, role, 0.03, role, 0.03, *trickle()[1:], STOP, 0.03, chunk(USAGE), 0.03, END]
    async with providing(*script) as provider, connect(provider.url) as client:
        await stream_chat(client, ask(), PATIENT, heard.append)
    before = [on for pieces, on in reads if not pieces]
    assert len(before) >= 2
    assert not any(before)
    assert past
    assert not reads[-1][1]


FAULTS: list[tuple[str, list[Any], StreamLimits, dict[str, Any]]] = [
    ("reset", [Reset], PATIENT, {"kind": "truncated", "counts": True}),
    ("cut", [], PATIENT, {"kind": "truncated", "counts": True}),
    ("cut in a chunk", [STOP[:-9]], PATIENT, {"kind": "truncated", "counts": True}),
    ("truncate", [chunk(DONE), END], PATIENT, {"kind": "truncated", "counts": True}),
    ("silence", [Silence], SHORTLY, {"kind": "timeout", "expired": "idle"}),
    ("keep-alive", [chunk(COMMENT), 0.03] * 60, SHORTLY, {"kind": "timeout", "expired": "idle"}),
    ("endless", [chunk(event("")), 0.03] * 60, SHORTLY, {"kind": "timeout", "expired": "idle"}),
    ("malformed", [chunk(b"data: {nope\n\n"), Silence], PATIENT, {"kind": "malformed", "counts": True}),
    ("bad UTF-8", [chunk(b"data: \xff\xfe\n\n"), Silence], PATIENT, {"kind": "malformed"}),
    ("wrong shape", [chunk(b'data: {"choices": 5}\n\n'), Silence], PATIENT, {"kind": "malformed"}),
    ("huge event", [chunk(b"data: " + b"x" * 3_000_000), Silence], PATIENT, {"kind": "malformed"}),
    ("huge line", [*[chunk(b"x" * 3000)] * 800, Silence], PATIENT, {"kind": "malformed"}),
    ("error event", [chunk(b'data: {"error": {"message": "no"}}\n\n'), Silence], PATIENT, {"kind": "server_error"}),
    ("content filter", [chunk(event("", "content_filter")), Silence], PATIENT, {"kind": "content_policy"}),
    ("bad chunk", [b"zz\r\nabc\r\n", Silence], PATIENT, {"kind": "truncated"}),
]


@pytest.mark.parametrize(("_name", "then", "limits", "expected"), FAULTS, ids=[fault[0] for fault in FAULTS])
async def test_faults_in_the_middle(
    connect: Any,
    ask: Any,
    past: list[int],
    open_sockets: Any,
    _name: str,
    then: list[Any],
    limits: StreamLimits,
    expected: dict[str, Any],
):
    heard: list[str] = []
    sockets, tasks = open_sockets(), trio.lowlevel.current_statistics().tasks_living
    async with providing(*trickle(*then)) as provider, connect(provider.url) as client:
        with pytest.raises(AttemptFailed) as caught, trio.fail_after(25):
            await stream_chat(client, ask(), limits, heard.append)
    facts = caught.value.facts
    assert {name: getattr(facts, name) for name in expected} == expected
    assert facts.after_first_delta
    assert caught.value.text == "".join(heard)
    assert TEXT.startswith(caught.value.text)
    if then != [Reset]:  # which may overtake what was sent before it
        assert caught.value.text == TEXT
    assert past
    with trio.fail_after(10):
        while (open_sockets(), trio.lowlevel.current_statistics().tasks_living) != (sockets, tasks):
            await trio.sleep(0.005)


async def test_content_moves_the_deadline_there_too(connect: Any, ask: Any, past: list[int]):
    async with providing(*trickle(STOP, chunk(DONE), END, pieces=40)) as provider, connect(provider.url) as client:
        answer = await stream_chat(client, ask(), SHORTLY, len)
    assert answer.text.endswith("39 ")
    assert past


async def test_the_total_ends_it_there_too(connect: Any, ask: Any, past: list[int]):
    limits = StreamLimits(first_token=30, idle=30, total=0.6)
    async with providing(*trickle(Silence, pieces=100)) as provider, connect(provider.url) as client:
        with pytest.raises(AttemptFailed) as caught:
            await stream_chat(client, ask(), limits, len)
    assert (caught.value.facts.kind, caught.value.facts.expired) == ("timeout", "total")
    assert past


async def test_cancelled_it_is_closed_upstream(connect: Any, ask: Any, past: list[int]):
    async with providing(*trickle(Silence, pieces=1000)) as provider, connect(provider.url) as client:
        with trio.CancelScope() as scope:
            heard = count()

            def stop(_: str) -> None:
                if next(heard) == 20:
                    scope.cancel()

            await stream_chat(client, ask(), PATIENT, stop)
        assert scope.cancelled_caught
        with trio.fail_after(10):
            while provider.open:
                await trio.sleep(0.005)
    assert past


async def test_what_on_text_raises_leaves_from_there_as_it_is(connect: Any, ask: Any, past: list[int]):
    heard = count()

    def refuse(_: str) -> None:
        if next(heard) == 8:
            raise ValueError("mine")

    async with providing(*trickle(Silence)) as provider, connect(provider.url) as client:
        with pytest.raises(ValueError, match="mine"):
            await stream_chat(client, ask(), PATIENT, refuse)
    assert past


async def test_others_have_their_turn_while_a_flood_follows_the_trickle(connect: Any, ask: Any, past: list[int]):
    heard: list[str] = []
    turns: list[int] = []
    over = trio.Event()

    async def neighbour() -> None:
        while not over.is_set():
            turns.append(len(heard))
            await trio.lowlevel.checkpoint()

    flood = b"".join(chunk(event("x")) for _ in range(streams.CHUNKS_A_TURN * 20))
    async with (
        providing(*trickle(flood, STOP, chunk(DONE), END)) as provider,
        connect(provider.url) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(neighbour)
        answer = await stream_chat(client, ask(), PATIENT, heard.append)
        over.set()
    assert answer.text == TEXT + "x" * streams.CHUNKS_A_TURN * 20
    assert max(later - earlier for earlier, later in pairwise(turns)) <= 2 * streams.CHUNKS_A_TURN
    assert past
