"""Clients that break the rules, against a whole daemon: they get the code that the protocol says, and nobody else."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.protocol.commands import KNOWN
from tests.support.daemon import house
from tests.support.device import devices
from tests.support.held_model import held_model
from tests.support.raw_websocket import BINARY, TEXT, RawWebSocket, encode_frame, upgrade_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WITHIN = 30.0
RUNS = {"start_run", "cancel_run", "pause_run", "resume_run", "get_run", "list_runs"}
CHANNELS = {"subscribe", "unsubscribe"}
WORK = {"decide", "set_mode", "submit_task", "task_update", "register_agent", "unregister_agent"}
CARRIED_OUT = {"hello", "heartbeat", "ack", *RUNS, *CHANNELS, *WORK}


@asynccontextmanager
async def beside_a_run(directory: Path) -> AsyncIterator[int]:
    """The port of a daemon in which somebody else's run is in progress, and goes on whatever the block does."""
    async with (
        held_model() as model,
        house(directory, model.base_url) as here,
        devices(here.port, "bystander") as [bystander],
    ):
        run_id = await bystander.run_under_way()
        with trio.fail_after(WITHIN):
            yield here.port
        model.release()
        assert await bystander.run_ended(run_id) == "completed"
        assert bystander.codes == []
        bystander.verify()
        assert here.crashes == 0
        assert here.daemon.counters.give_ups == 0


async def connected(port: int, *, hello: bool) -> RawWebSocket:
    client = await RawWebSocket.connect(port)
    head = await client.handshake()
    assert b"101" in head.splitlines()[0]
    if hello:
        await say(client, "hello", metadata={"user_id": "rude"})
        assert (await heard(client))["type"] == "welcome"
    return client


async def say(client: RawWebSocket, kind: str, **envelope: Any) -> None:
    await client.send_frame(TEXT, json.dumps({"id": "x", "type": kind, **envelope}).encode())


async def heard(client: RawWebSocket) -> dict[str, Any]:
    """The next message."""
    while (frame := await client.read_frame()).opcode != TEXT:
        pass
    message: dict[str, Any] = json.loads(frame.payload)
    return message


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (encode_frame(TEXT, b"{nonsense"), 4400),
        (encode_frame(TEXT, b'{"id": "x", "type": "list_runs"}'), 4400),
        (encode_frame(TEXT, b'{"id": "x", "type": "hello", "metadata": {"user_id": ""}}'), 4400),
        (encode_frame(BINARY, b"{}"), 1003),
        (encode_frame(TEXT, b'{"id": "\xff\xfe"}'), 1007),
        (encode_frame(TEXT, b"", declared=65_537), 1009),
        (encode_frame(TEXT, b"{}", masked=False), 1002),
        (encode_frame(0x3, b""), 1002),
    ],
)
async def test_before_hello(frame: bytes, code: int, tmp_path: Path) -> None:
    async with beside_a_run(tmp_path) as port:
        client = await connected(port, hello=False)
        await client.stream.send_all(frame)
        assert (await client.read_close()).code == code
        await client.stream.aclose()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (encode_frame(BINARY, b"{}"), 1003),
        (encode_frame(TEXT, b'{"id": "\xff\xfe"}'), 1007),
        (encode_frame(TEXT, b"", declared=2 * 1024 * 1024 + 1), 1009),
        (encode_frame(TEXT, b"{}", masked=False), 1002),
    ],
)
async def test_after_welcome(frame: bytes, code: int, tmp_path: Path) -> None:
    async with beside_a_run(tmp_path) as port:
        client = await connected(port, hello=True)
        await client.stream.send_all(frame)
        assert (await client.read_close()).code == code
        await client.stream.aclose()


async def test_no_hello_in_time(tmp_path: Path) -> None:
    more = "[connections]\nhello_within = 0.2\n"
    async with held_model() as model, house(tmp_path, model.base_url, more=more) as here:
        client = await connected(here.port, hello=False)
        with trio.fail_after(WITHIN):
            assert (await client.read_close()).code == 4408
        await client.stream.aclose()


BAD = (
    (b"not json", "bad_request", None),
    (b"[1, 2]", "bad_request", None),
    (b'{"type": "list_runs"}', "bad_request", None),
    (b'{"id": "b", "type": "no_such_command"}', "unknown_type", "b"),
    (b'{"id": "c", "type": "hello", "metadata": {}}', "bad_request", "c"),
    (b'{"id": "d", "metadata": ' + b'{"a":' * 80 + b"1" + b"}" * 81, "bad_request", None),
)


@pytest.mark.parametrize(("text", "code", "reply_to"), BAD)
async def test_bad_frames_are_answered_and_the_tenth_closes(
    text: bytes, code: str, reply_to: str | None, tmp_path: Path
) -> None:
    async with beside_a_run(tmp_path) as port:
        client = await connected(port, hello=True)
        for _ in range(9):
            await client.send_frame(TEXT, text)
            answer = await heard(client)
            assert (answer["type"], answer["metadata"]["code"]) == ("error", code)
            assert answer["metadata"].get("reply_to") == reply_to
        await say(client, "list_runs", id="fine")
        assert (await heard(client))["metadata"]["runs"] == []
        await client.send_frame(TEXT, text)
        assert (await client.read_close()).code == 4400
        await client.stream.aclose()


async def test_invalid_fields_do_not_count_towards_the_close(tmp_path: Path) -> None:
    async with beside_a_run(tmp_path) as port:
        client = await connected(port, hello=True)
        for number in range(12):
            await say(client, "get_run", id=f"n{number}", metadata={"run_id": 7})
            answer = (await heard(client))["metadata"]
            assert (answer["code"], set(answer["fields"])) == ("invalid_fields", {"run_id"})
        await client.stream.aclose()


async def test_what_later_issues_bring_is_unavailable_and_never_unknown(tmp_path: Path) -> None:
    async with beside_a_run(tmp_path) as port, devices(port, "ada") as [ada]:
        later = sorted(KNOWN - CARRIED_OUT)
        assert len(later) > 20
        for kind in later:
            answer = await ada.ask(kind)
            assert (answer["type"], answer["metadata"]["code"]) == ("error", "unavailable"), kind
        ada.verify()


async def test_a_command_above_the_limits_is_rate_limited_and_the_fiftieth_closes(tmp_path: Path) -> None:
    more = "[connections]\ncommands_per_minute = 5\n"
    async with held_model() as model, house(tmp_path, model.base_url, more=more) as here:
        client = await connected(here.port, hello=True)
        codes = []
        with trio.fail_after(WITHIN):
            for numbers in (range(5), range(5, 55)):  # answers still under way at the close are dropped
                for number in numbers:
                    await say(client, "list_runs", id=f"n{number}")
                for _ in numbers:
                    answer = await heard(client)
                    codes.append(answer["metadata"].get("code", "fine"))
            assert (await client.read_close()).code == 4429
        assert sorted(codes) == ["fine"] * 5 + ["rate_limited"] * 50
        await client.stream.aclose()


async def test_strangers_at_the_port(tmp_path: Path) -> None:
    """Connections that never become WebSockets, or break in the middle: nobody hears of them."""
    async with beside_a_run(tmp_path) as port:
        for first in (b"", b"\x16\x03\x01\x02\x00", b"GET / HT", b"GET /ws HTTP/1.1\r\nHost: evil.example\r\n\r\n"):
            stranger = await RawWebSocket.connect(port)
            await stranger.stream.send_all(first)
            stranger.reset()
        for request, status in (
            (upgrade_request("/elsewhere"), b"404"),
            (upgrade_request(also=(("Origin", "https://evil.example"),)), b"403"),
            (upgrade_request(without=("Host",), also=(("Host", "evil.example"),)), b"403"),
            (upgrade_request(also=(("Sec-WebSocket-Protocol", "other.v1"),)), b"400"),
            (upgrade_request(without=("Sec-WebSocket-Key",)), b"400"),
        ):
            stranger = await RawWebSocket.connect(port)
            assert status in (await stranger.handshake(request)).splitlines()[0]
            await stranger.stream.aclose()
        for _ in range(20):
            reset = await connected(port, hello=True)
            reset.reset()
