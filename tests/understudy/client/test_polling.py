"""What an answer over HTTP means (pure), and how the client goes on after each kind (mock clock, no socket)."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

from understudy.client import CommandRefused, Polling, Position, Unreachable, Waiting, open_client
from understudy.client.envelope import MalformedFrame
from understudy.client.polling import read_answer, read_command_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from understudy.client import State
    from understudy.client.envelope import Address

HERE = Position("e1", 4)


def body(*seqs: int, epoch: str = "e1", top: int = 9, resumed: bool = True) -> bytes:
    events = [{"type": "message", "seq": seq} for seq in seqs]
    return json.dumps({"epoch": epoch, "seq": top, "resumed": resumed, "events": events, "new": None}).encode()


def brought(answer: bytes, after: Position | None) -> tuple[Position, list[tuple[str, Position | None]]]:
    start, items = read_answer(answer, after)
    return start, [(str(event.metadata.get("reason", event.seq)), at) for event, at in items]


def test_events_follow_the_position() -> None:
    assert brought(body(5, 6), HERE) == (HERE, [("5", Position("e1", 5)), ("6", Position("e1", 6))])
    assert brought(body(), HERE) == (HERE, [])


def test_without_a_position_it_begins_where_the_daemon_says() -> None:
    assert brought(body(resumed=False), None) == (Position("e1", 9), [])
    assert brought(body(7, 8), None)[0] == Position("e1", 6)


@pytest.mark.parametrize(
    ("answer", "reason", "start"),
    [
        (body(epoch="e2", top=3, resumed=False), "epoch", Position("e2", 3)),
        (body(top=3, resumed=False), "ahead", Position("e1", 3)),
        (body(top=90, resumed=False), "trimmed", Position("e1", 90)),
        (body(5, epoch="e2", resumed=True), "epoch", Position("e2", 4)),
    ],
)
def test_what_is_not_resumed_begins_with_a_gap(answer: bytes, reason: str, start: Position) -> None:
    began, items = brought(answer, HERE)
    assert began == start
    assert items[0] == (reason, start)


@pytest.mark.parametrize("answer", [b"", b"[]", b"<html>", b"{}", body(6), body(5, 7), body(5, 5), b"\xff"])
def test_what_is_no_answer_or_has_a_hole_is_not_taken(answer: bytes) -> None:
    with pytest.raises(MalformedFrame):
        read_answer(answer, HERE)
    with pytest.raises(MalformedFrame):
        read_answer(b'{"epoch":"e","seq":1,"resumed":true,"events":[{"type":3,"seq":1}]}', None)


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (200, {"type": "reply", "metadata": {"reply_to": "c", "x": 1}}, ("reply", 1)),
        (409, {"type": "error", "metadata": {"reply_to": "c", "code": "conflict", "x": 2}}, ("error", 2)),
        (500, {"type": "error", "metadata": {"reply_to": "c", "code": "internal", "x": 3}}, ("error", 3)),
        (422, {"code": "invalid_fields", "message": "No.", "x": 4}, ("error", 4)),
        (503, {"code": "unavailable", "message": "Later."}, None),
        (200, {"type": "reply", "metadata": {"reply_to": "other"}}, None),
        (200, {"type": "message"}, None),
        (200, {"type": 4}, None),
        (200, {}, None),
        (200, [], None),
        (502, "<html>", None),
    ],
)
def test_what_is_an_answer_to_a_command(status: int, answer: Any, expected: tuple[str, int] | None) -> None:
    event = read_command_answer(status, json.dumps(answer).encode(), "c")
    assert (None if event is None else (event.type, event.metadata["x"])) == expected
    if event is not None:
        assert event.metadata["reply_to"] == "c"


async def nobody(_: Address) -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    raise OSError


def transport(answer: Callable[[httpx2.Request], httpx2.Response]) -> httpx2.MockTransport:
    async def handle(request: httpx2.Request) -> httpx2.Response:
        await trio.lowlevel.checkpoint()
        return answer(request)

    return httpx2.MockTransport(handle)


def at_top(seq: int) -> httpx2.Response:
    return httpx2.Response(200, content=body(top=seq, resumed=False))


async def test_failing_polls_are_repeated_with_backoff_and_a_retry_after_is_kept(autojump_clock: MockClock) -> None:
    times: list[float] = []
    states: list[State] = []

    def answer(_: httpx2.Request) -> httpx2.Response:
        times.append(trio.current_time())
        match len(times):
            case 1:
                return httpx2.Response(503, headers={"Retry-After": "40"})
            case 2:
                raise httpx2.ConnectError("refused")
            case 3:
                return httpx2.Response(200, content=b"<html>")
            case _:
                return at_top(3)

    async with open_client(
        "daemon.test", rng=random.Random(2), dial=nobody, http=transport(answer), on_state=states.append
    ) as client:
        await client.until(Polling)
        assert client.position == Position("e1", 3)
    assert 40 <= times[1] - times[0] <= 40.5
    assert times[2] - times[1] <= 1
    assert times[3] - times[2] <= 2
    assert all(isinstance(state.trouble, Unreachable) for state in states if isinstance(state, Waiting))


async def test_a_websocket_is_tried_all_the_while_at_most_20_seconds_apart(autojump_clock: MockClock) -> None:
    dialled: list[float] = []
    states: list[State] = []

    async def dial(address: Address) -> trio.abc.Stream:
        dialled.append(trio.current_time())
        return await nobody(address)

    async with open_client(
        "daemon.test",
        rng=random.Random(2),
        dial=dial,
        http=transport(lambda _: at_top(3)),
        on_state=states.append,
    ) as client:
        await client.until(Polling)
        assert len(dialled) == 3
        known = len(states)
        await trio.sleep(600)
        assert states[known:] == []  # polling goes on undisturbed by the tries
        assert 30 <= len(dialled) <= 120
        assert max(later - earlier for earlier, later in pairwise(dialled)) <= 20


async def test_a_daemon_that_does_not_hold_the_question_open_is_not_stormed(autojump_clock: MockClock) -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.params["wait"])
        return httpx2.Response(200, content=body(top=4))

    async with open_client(
        "daemon.test", rng=random.Random(2), dial=nobody, http=transport(answer), resume=HERE
    ) as client:
        with trio.move_on_after(60):
            await anext(client)
    assert asked[0] == "0"
    assert set(asked[1:-1]) == {"25"}
    assert len(asked) < 250


async def test_a_refused_token_ends_the_client_unless_it_can_be_renewed(autojump_clock: MockClock) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        right = request.headers.get("authorization") == "Bearer second"
        return at_top(3) if right else httpx2.Response(401)

    async with open_client(
        "daemon.test", rng=random.Random(2), dial=nobody, http=transport(answer), token="first"
    ) as client:
        with pytest.raises(Unreachable) as refused:
            await anext(client)
        assert refused.value.status == 401
        with pytest.raises(Unreachable):
            client.post("typing")
        with pytest.raises(Unreachable):
            await client.until(Polling)

    tokens = ["first", "second"]

    async def renew() -> str:
        await trio.lowlevel.checkpoint()
        return tokens.pop(0)

    async with open_client(
        "daemon.test", rng=random.Random(2), dial=nobody, http=transport(answer), token=renew
    ) as client:
        await client.until(Polling)


async def test_where_both_ways_are_refused_it_is_over(autojump_clock: MockClock) -> None:
    """A wrong address: nothing of the daemon's answers, on either way."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await stream.aclose()

    autojump_clock.autojump_threshold = 0.05  # there is a socket
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(
            lambda task_status: trio.serve_tcp(serve, 0, host="127.0.0.1", task_status=task_status)
        )
        async with open_client(f"127.0.0.1:{listener.socket.getsockname()[1]}", rng=random.Random(2)) as client:
            with pytest.raises(Unreachable) as refused:
                await anext(client)
            assert refused.value.status == 404
        nursery.cancel_scope.cancel()


async def test_commands_over_http_are_repeated_until_they_are_answered_each_in_its_turn(
    autojump_clock: MockClock,
) -> None:
    posted: list[dict[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return at_top(3)
        command = json.loads(request.content)
        posted.append(command)
        match len(posted):
            case 1:
                return httpx2.Response(502)
            case 2:
                raise httpx2.ReadError("reset")
            case 3:
                busy = {"code": "rate_limited", "message": "Slow down.", "retry_after": 30, "retryable": True}
                return httpx2.Response(429, json=busy)
            case 5:
                return httpx2.Response(404, json={"code": "not_found", "message": "No such run."})
            case _:
                return httpx2.Response(200, json={"type": "reply", "metadata": {"reply_to": command["id"]}})

    async with open_client("daemon.test", rng=random.Random(2), dial=nobody, http=transport(answer)) as client:
        first = client.post("typing", metadata={"active": True})
        with pytest.raises(CommandRefused, match="No such run"):
            await client.command("get_run", metadata={"run_id": "r"})
        assert trio.current_time() > 30
    assert [command["id"] for command in posted[:4]] == [first] * 4
    assert [command["type"] for command in posted] == ["typing"] * 4 + ["get_run"]


@pytest.mark.parametrize("seed", range(4))
async def test_what_the_token_source_raises_while_it_polls_is_raised_where_the_application_reads(
    seed: int, autojump_clock: MockClock
) -> None:
    tokens = ["first"]

    async def renew() -> str:
        await trio.lowlevel.checkpoint()
        if not tokens:
            raise LookupError("no token today")
        return tokens.pop()

    refusing = transport(lambda _: httpx2.Response(401))
    async with open_client("daemon.test", rng=random.Random(seed), dial=nobody, http=refusing, token=renew) as client:
        with pytest.raises(LookupError):
            await anext(client)
        with pytest.raises(LookupError):
            client.post("typing")
