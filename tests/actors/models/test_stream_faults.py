"""One attempt against the simulated model, over real sockets and by both APIs, for every fault it can be told.

Each ends in the stated way, inside its deadline, and leaves neither task nor socket.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio

from actors.models import stream as streams
from actors.models.chat import StreamLimits
from actors.models.failure import AttemptFailed
from actors.models.simulated.faults import FAULTS
from actors.models.simulated.simulation import Pace
from actors.models.stream import stream_chat

pytestmark = pytest.mark.usefixtures("collected")

# Long enough for a busy machine where nothing is to expire, short where the fault is that nothing comes.
PATIENT = StreamLimits(first_token=60, idle=60, total=60)
NOT_BEFORE = StreamLimits(first_token=0.2, idle=60, total=60)
NOT_AFTER = StreamLimits(first_token=60, idle=0.2, total=60)
NOT_ON = StreamLimits(first_token=60, idle=60, total=0.5)
APIS = ("chat", "responses")

CASES: list[tuple[dict[str, Any], StreamLimits, dict[str, Any]]] = [
    ({"fault": "status", "status": 429, "retry_after": 3}, PATIENT,
     {"kind": "rate_limit", "park_for": 3.0, "counts": False}),
    ({"fault": "status", "status": 429}, PATIENT, {"kind": "rate_limit", "park_for": None, "counts": True}),
    ({"fault": "status", "status": 500}, PATIENT, {"kind": "server_error", "counts": True}),
    ({"fault": "status", "status": 503, "retry_after": "2"}, PATIENT, {"kind": "server_error", "retry_after": 2.0}),
    ({"fault": "status", "status": 408}, PATIENT, {"kind": "timeout", "counts": True}),
    ({"fault": "status", "status": 409}, PATIENT, {"kind": "server_error", "counts": True}),
    ({"fault": "status", "status": 401}, PATIENT, {"kind": "configuration", "opens_at_once": True}),
    ({"fault": "status", "status": 403}, PATIENT, {"kind": "configuration", "opens_at_once": True}),
    ({"fault": "status", "status": 404}, PATIENT, {"kind": "configuration", "opens_at_once": True}),
    ({"fault": "status", "status": 400}, PATIENT, {"kind": "bad_request", "counts": False}),
    ({"fault": "status", "status": 400, "code": "content_filter"}, PATIENT,
     {"kind": "content_policy", "counts": False}),
    ({"fault": "insufficient_quota"}, PATIENT, {"kind": "configuration", "opens_at_once": True}),
    ({"fault": "refuse"}, PATIENT, {"kind": "unreachable", "counts": True}),
    ({"fault": "slow_first_token"}, NOT_BEFORE, {"kind": "timeout", "expired": "first_token"}),
    ({"fault": "slow", "tokens_per_second": 0.001}, NOT_AFTER, {"kind": "timeout", "expired": "idle"}),
    ({"fault": "stall"}, NOT_AFTER, {"kind": "timeout", "expired": "idle", "after_first_delta": True}),
    ({"fault": "keep_alive_only", "interval": 0.01}, NOT_BEFORE, {"kind": "timeout", "expired": "first_token"}),
    ({"fault": "keep_alive_only", "after_tokens": 2}, NOT_AFTER, {"kind": "timeout", "expired": "idle"}),
    ({"fault": "cut"}, PATIENT, {"kind": "truncated", "counts": True}),
    ({"fault": "reset"}, PATIENT, {"kind": "truncated", "counts": True}),
    ({"fault": "truncate"}, PATIENT, {"kind": "truncated", "counts": True}),
    ({"fault": "content_filter"}, PATIENT, {"kind": "content_policy", "counts": False}),
    ({"fault": "malformed"}, PATIENT, {"kind": "malformed", "counts": True}),
    ({"fault": "bad_utf8"}, PATIENT, {"kind": "malformed", "counts": True}),
    ({"fault": "wrong_shape"}, PATIENT, {"kind": "malformed", "counts": True}),
    ({"fault": "wrong_shape", "payload": '{"foo": 1}'}, PATIENT, {"kind": "malformed", "counts": True}),
    ({"fault": "wrong_shape", "payload": '{"choices": [{"delta": {"content": 5}}]}'}, PATIENT, {"kind": "malformed"}),
    ({"fault": "wrong_shape", "payload": '{"type": "response.output_text.delta", "delta": 5}'}, PATIENT,
     {"kind": "malformed"}),
    ({"fault": "error_event"}, PATIENT, {"kind": "server_error", "counts": True}),
    ({"fault": "huge_event"}, PATIENT, {"kind": "malformed", "counts": True}),
    ({"fault": "silent"}, NOT_BEFORE, {"kind": "timeout", "expired": "first_token"}),
    ({"fault": "page"}, PATIENT, {"kind": "malformed", "counts": True}),
    ({"fault": "endless", "tokens_per_second": 50}, NOT_ON, {"kind": "timeout", "expired": "total"}),
]  # fmt: skip


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("fault", "limits", "expected"), CASES, ids=lambda case: case.get("fault") if isinstance(case, dict) else ""
)
async def test_every_fault_is_told_for_what_it_is(
    simulated: Any,
    connect: Any,
    ask: Any,
    open_sockets: Any,
    api: Any,
    fault: dict[str, Any],
    limits: StreamLimits,
    expected: dict[str, Any],
):
    simulation, url = await simulated()
    simulation.tell({"lead": {**fault, "requests": 1}})
    request = attrs.evolve(ask(), api=api)
    heard: list[str] = []
    sockets, tasks = open_sockets(), trio.lowlevel.current_statistics().tasks_living
    async with connect(url) as client:
        with pytest.raises(AttemptFailed) as caught, trio.fail_after(55):  # below the deadlines that are not to expire
            await stream_chat(client, request, limits, heard.append)
        facts = caught.value.facts
        assert {name: getattr(facts, name) for name in expected} == expected
        assert caught.value.text == "".join(heard)
        assert facts.after_first_delta is bool(heard)
        assert facts.retryable <= (not heard)
        # A reset may overtake what was sent before it, and on a busy machine the deadline may too.
        if limits is PATIENT and fault["fault"] not in ("reset", "content_filter"):
            assert len(heard) == fault.get("after_tokens", _usual_tokens(fault["fault"]))
        counts = await simulation.wait_for("lead", lambda counts: counts.open == 0)
        assert (counts.total, counts.faulted, counts.ok) == (1, 1, 0)
        # The fault was for one request: the client is as good as new.
        answer = await stream_chat(client, request, PATIENT, heard.append)
    assert answer.model == "simulated"
    assert (await simulation.wait_for("lead", lambda counts: counts.open == 0)).ok == 1
    await nothing_left(open_sockets, sockets, tasks)


async def nothing_left(open_sockets: Any, sockets: int, tasks: int) -> None:
    """The server closes its side a moment after ours; what stays was leaked."""
    with trio.fail_after(10):
        while (open_sockets(), trio.lowlevel.current_statistics().tasks_living) != (sockets, tasks):
            await trio.sleep(0.005)


def _usual_tokens(fault: str) -> int:
    in_the_middle = ("cut", "truncate", "malformed", "bad_utf8", "wrong_shape", "error_event", "huge_event")
    return 5 if fault in in_the_middle else 0


LEAVE_AN_ANSWER = {"length", "no_usage", "no_done", "tool_call"}


@pytest.mark.parametrize("api", APIS)
async def test_faults_that_leave_an_answer(
    simulated: Any, connect: Any, ask: Any, api: Any, open_sockets: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(streams, "AFTER_FINISH", 0.1)
    simulation, url = await simulated()
    sockets, tasks = open_sockets(), trio.lowlevel.current_statistics().tasks_living
    request = attrs.evolve(ask(), api=api)
    async with connect(url) as client:
        simulation.tell({"lead": {"fault": "length", "requests": 1}})
        answer = await stream_chat(client, request, PATIENT, len)
        assert answer.cut_at_length
        assert answer.usage.completion_tokens == 5
        simulation.tell({"lead": {"fault": "no_usage", "requests": 1}})
        answer = await stream_chat(client, request, PATIENT, len)
        assert answer.usage.estimated
        simulation.tell({"lead": {"fault": "stall", "seconds": 0, "requests": 1}})
        whole = await stream_chat(client, request, PATIENT, len)
        assert whole.text == answer.text
        assert not whole.usage.estimated
        simulation.tell({"lead": {"fault": "no_done", "requests": 1}})
        answer = await stream_chat(client, request, PATIENT, len)
        assert answer.text == whole.text
        simulation.tell({"lead": {"fault": "tool_call", "tool": "look", "arguments": '{"at": "é"}', "requests": 1}})
        answer = await stream_chat(client, request, PATIENT, len)
        assert (answer.text, answer.finish_reason) == ("", "tool_calls")
        [call] = answer.tool_calls
        assert (call.name, call.input) == ("look", {"at": "é"})
        counts = await simulation.wait_for("lead", lambda counts: counts.open == 0)
    assert (counts.total, counts.faulted, counts.closed_by_client) == (5, 5, 1)
    await nothing_left(open_sockets, sockets, tasks)


def test_every_fault_has_a_case():
    tried = {fault["fault"] for fault, _, _ in CASES}
    assert tried | LEAVE_AN_ANSWER == set(FAULTS)
    assert not tried & LEAVE_AN_ANSWER


async def test_nobody_listens(connect: Any, ask: Any):
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with connect(f"http://127.0.0.1:{port}/v1") as client:
        with pytest.raises(AttemptFailed) as caught:
            await stream_chat(client, ask(), PATIENT, len)
    assert (caught.value.facts.kind, caught.value.facts.counts) == ("unreachable", True)


@pytest.mark.parametrize("url", ["localhost:1/v1", "ftp://localhost/v1"])
async def test_an_address_that_is_none(connect: Any, ask: Any, url: str):
    async with connect(url) as client:
        with pytest.raises(AttemptFailed) as caught:
            await stream_chat(client, ask(), PATIENT, len)
    assert (caught.value.facts.kind, caught.value.facts.opens_at_once) == ("configuration", True)


@pytest.mark.parametrize("fault", [None, "slow_first_token", "stall", "keep_alive_only"])
async def test_the_provider_sees_that_we_cancelled(simulated: Any, connect: Any, ask: Any, fault: str | None):
    simulation, url = await simulated(pace=Pace(0, 50))
    if fault is not None:
        simulation.tell({"lead": {"fault": fault}})
    async with connect(url) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream_chat, client, ask(), PATIENT, len)
            await simulation.wait_for("lead", lambda counts: counts.open == 1)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        counts = await simulation.wait_for("lead", lambda counts: counts.open == 0)
    assert (counts.closed_by_client, counts.ok) == (1, 0)


async def test_many_attempts_leave_no_socket_and_no_task(
    simulated: Any, connect: Any, ask: Any, open_sockets: Any, nursery: trio.Nursery
):
    simulation, url = await simulated()
    sockets, tasks = open_sockets(), trio.lowlevel.current_statistics().tasks_living
    faults = ("cut", "reset", "malformed", "stall", "error_event", "huge_event", "refuse", "truncate")
    simulation.tell({name: {"fault": name} for name in faults})

    async def one(client: Any, model: str, after: float) -> None:
        with trio.move_on_after(after):
            with suppress(AttemptFailed):
                await stream_chat(client, ask(model), StreamLimits(first_token=0.3, idle=0.3), len)

    async with connect(url) as client:
        async with trio.open_nursery() as callers:
            for n in range(60):
                callers.start_soon(one, client, (*faults, "good")[n % 9], 0.01 * (n % 7) if n % 2 else 60)
        for model in (*faults, "good"):
            await simulation.wait_for(model, lambda counts: counts.open == 0)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert open_sockets() == sockets
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_connections_are_used_again(simulated: Any, connect: Any, ask: Any, open_sockets: Any):
    _, url = await simulated()
    async with connect(url) as client:
        await stream_chat(client, ask(), PATIENT, len)
        sockets = open_sockets()
        for _ in range(3):
            await stream_chat(client, ask(), PATIENT, len)
        assert open_sockets() == sockets
