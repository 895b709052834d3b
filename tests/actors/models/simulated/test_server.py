"""The simulated model over bare sockets: HTTP, routes, counts, containment."""

from __future__ import annotations

import json
import random
import socket
import struct
from typing import Any

import httpx2
import pytest
import trio
import trio.testing

from actors.models.simulated import connection as connections
from actors.models.simulated import server as servers
from actors.models.simulated.program import simulate_program
from actors.models.simulated.simulation import OTHERS, Advertised, Counts, Pace, Simulation


def chat(model: str = "m", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Lend books."}], **more}


@pytest.fixture
async def site(simulated: Any) -> Any:
    """A simulated model and an HTTP client for it."""
    simulation, url = await simulated()
    async with httpx2.AsyncClient(base_url=url.removesuffix("/v1"), trust_env=False, timeout=60) as http:
        yield simulation, http


async def raw(http: httpx2.AsyncClient) -> trio.SocketStream:
    return await trio.open_tcp_stream(http.base_url.host, http.base_url.port)


async def read_all(stream: trio.SocketStream) -> bytes:
    return b"".join([data async for data in stream])


def events(text: str) -> list[Any]:
    datas = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]


async def test_health_and_models(site: Any):
    _, http = site
    assert (await http.get("/health")).json() == {"status": "ok", "model": "simulated"}
    assert [model["id"] for model in (await http.get("/v1/models")).json()["data"]] == ["simulated"]


async def test_a_streamed_answer(site: Any):
    simulation, http = site
    answer = await http.post("/v1/chat/completions", json=chat(stream=True, stream_options={"include_usage": True}))
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, *pieces, stop, usage, done = events(answer.text)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert {chunk["model"] for chunk in (first, *pieces, stop, usage)} == {"simulated"}
    assert len({chunk["id"] for chunk in (first, *pieces, stop, usage)}) == 1
    assert stop["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == len(pieces)
    assert done == "[DONE]"
    whole = (await http.post("/v1/chat/completions", json=chat())).json()
    text = "".join(piece["choices"][0]["delta"]["content"] for piece in pieces)
    assert whole["choices"][0]["message"]["content"] == text
    assert whole["usage"] == usage["usage"]
    assert whole["model"] == "simulated"
    assert simulation.counts("m") == Counts(total=2, ok=2)


async def test_no_usage_unless_asked(site: Any):
    _, http = site
    answer = await http.post("/v1/chat/completions", json=chat(stream=True))
    assert not any("usage" in chunk for chunk in events(answer.text)[:-1])


async def test_content_may_be_in_parts_or_absent(site: Any):
    _, http = site
    parts = [{"type": "text", "text": "Lend"}, {"type": "text", "text": "books."}, {"type": "image_url"}]
    body = chat() | {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]}
    assert "Lend books." in (await http.post("/v1/chat/completions", json=body)).text.replace('\\"', '"').replace(
        's"', 's."'
    )


async def test_another_name_and_limits_on_request(simulated: Any):
    _, url = await simulated(model_name="mine", advertised=Advertised(60, 6000), models=("a", "b"))
    async with httpx2.AsyncClient(base_url=url.removesuffix("/v1"), trust_env=False) as http:
        answer = await http.post("/v1/chat/completions", json=chat("a"))
        assert answer.json()["model"] == "mine"
        assert answer.headers["x-ratelimit-limit-requests"] == "60"
        assert answer.headers["x-ratelimit-reset-requests"] == "1.000s"
        unknown = await http.post("/v1/chat/completions", json=chat("c"))
        assert unknown.status_code == 404
        assert unknown.json()["error"]["code"] == "model_not_found"
        assert "a, b" in unknown.json()["error"]["message"]
        assert [model["id"] for model in (await http.get("/v1/models")).json()["data"]] == ["a", "b"]


async def test_faults_are_told_and_reported_and_used_up(site: Any):
    _, http = site
    told = await http.put("/faults", json={"m": {"fault": "status", "status": 500, "requests": 2}})
    assert told.status_code == 200
    assert told.json()["faults"]["m"]["requests"] == 2
    statuses = [(await http.post("/v1/chat/completions", json=chat())).status_code for _ in range(3)]
    assert statuses == [500, 500, 200]
    assert (await http.post("/v1/chat/completions", json=chat("other"))).status_code == 200
    report = (await http.get("/faults")).json()
    assert report["faults"] == {}
    assert report["requests"]["m"] == {"total": 3, "ok": 1, "faulted": 2, "open": 0, "closed_by_client": 0}
    assert report["requests"]["other"]["ok"] == 1


async def test_faults_replace_those_before_and_a_bad_document_changes_nothing(site: Any):
    _, http = site
    await http.put("/faults", json={"a": {"fault": "cut"}, "b": {"fault": "stall", "seconds": 1}})
    refused = await http.put("/faults", json={"a": {"fault": "explode"}})
    assert refused.status_code == 422
    assert refused.json()["code"] == "invalid_fields"
    assert "keep_alive_only" in refused.json()["fields"]["a.fault"]
    assert (await http.put("/faults", content=b"{")).status_code == 400
    assert (await http.put("/faults", content=b"[" * 100_000)).status_code == 400
    assert set((await http.get("/faults")).json()["faults"]) == {"a", "b"}
    assert (await http.put("/faults", json={})).json()["faults"] == {}


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ({"fault": "truncate"}, lambda answer: answer.json()["choices"][0]["finish_reason"] is None),
        ({"fault": "length"}, lambda answer: answer.json()["choices"][0]["finish_reason"] == "length"),
        ({"fault": "content_filter"}, lambda answer: answer.json()["choices"][0]["finish_reason"] == "content_filter"),
        ({"fault": "no_usage"}, lambda answer: "usage" not in answer.json()),
        ({"fault": "wrong_shape"}, lambda answer: answer.json() == 123),
        ({"fault": "error_event"}, lambda answer: answer.json()["error"]["code"] == "server_error"),
        ({"fault": "malformed"}, lambda answer: not answer.text.endswith("}")),
        ({"fault": "bad_utf8"}, lambda answer: b"\xff\xfe" in answer.content),
        ({"fault": "huge_event", "bytes": 100_000}, lambda answer: len(answer.content) > 100_000),
        ({"fault": "slow", "tokens_per_second": 1e6}, lambda answer: answer.json()["object"] == "chat.completion"),
        ({"fault": "slow_first_token", "seconds": 0}, lambda answer: answer.json()["object"] == "chat.completion"),
        ({"fault": "stall", "seconds": 0}, lambda answer: answer.json()["object"] == "chat.completion"),
        ({"fault": "insufficient_quota"}, lambda answer: answer.status_code == 429),
        ({"fault": "status", "status": 429, "retry_after": 9}, lambda answer: answer.headers["retry-after"] == "9"),
    ],
)
async def test_faults_without_streaming(site: Any, fault: dict[str, Any], check: Any):
    simulation, http = site
    simulation.tell({"m": fault})
    assert check(await http.post("/v1/chat/completions", json=chat()))
    assert simulation.counts("m").faulted == 1


@pytest.mark.parametrize("name", ["cut", "reset", "refuse"])
async def test_broken_connections_without_streaming(site: Any, name: str):
    simulation, http = site
    simulation.tell({"m": {"fault": name}})
    with pytest.raises(httpx2.TransportError):
        await http.post("/v1/chat/completions", json=chat())
    await simulation.wait_for("m", lambda counts: counts.open == 0)


@pytest.mark.parametrize("name", ["stall", "keep_alive_only"])
@pytest.mark.parametrize("stream", [True, False])
async def test_silence_ends_when_the_client_leaves(site: Any, name: str, stream: bool):
    simulation, http = site
    simulation.tell({"m": {"fault": name}})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: http.post("/v1/chat/completions", json=chat(stream=stream)))
        await simulation.wait_for("m", lambda counts: counts.open == 1)
        nursery.cancel_scope.cancel()
    counts = await simulation.wait_for("m", lambda counts: counts.open == 0)
    assert counts == Counts(total=1, faulted=1, closed_by_client=1)


async def test_a_reset_by_the_client_is_a_client_that_left(site: Any):
    simulation, http = site
    simulation.tell({"m": {"fault": "stall"}})
    stream = await raw(http)
    await stream.send_all(request(chat(stream=True)))
    await simulation.wait_for("m", lambda counts: counts.open == 1)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()
    assert (await simulation.wait_for("m", lambda counts: counts.open == 0)).closed_by_client == 1


def request(body: Any, *headers: str) -> bytes:
    data = json.dumps(body).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


async def test_what_is_wrong_is_said(site: Any):
    _, http = site
    for content in (b"{", b"{}", b"[" * 100_000, json.dumps(chat() | {"messages": 5}).encode()):
        answer = await http.post("/v1/chat/completions", content=content)
        assert answer.status_code == 400
        assert "not the request that belongs" in answer.json()["error"]["message"]
    assert (await http.post("/v1/chat/completions", json=chat(""))).status_code == 400
    missing = await http.get("/v1/nothing?x=1")
    assert missing.status_code == 404
    assert "/v1/chat/completions" in missing.json()["error"]["message"]
    wrong = await http.post("/health")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")


async def test_what_is_not_http_gets_400_and_hurts_nobody(site: Any):
    _, http = site
    stream = await raw(http)
    await stream.send_all(b"\x16\x03\x01 hello\r\n\r\n")
    assert (await read_all(stream)).startswith(b"HTTP/1.1 400 ")
    await stream.aclose()
    for beginning in (b"", b"GET / HT", request(chat())[:-5]):
        stream = await raw(http)
        await stream.send_all(beginning)
        await stream.aclose()
    assert (await http.get("/health")).status_code == 200


async def test_a_body_above_the_limit_gets_413(site: Any, monkeypatch: pytest.MonkeyPatch):
    _, http = site
    monkeypatch.setattr(connections, "BODY_BYTES", 1000)
    assert (await http.put("/faults", content=b" " * 2000)).status_code == 413


async def test_expect_continue_and_a_request_that_follows_early(site: Any):
    _, http = site
    stream = await raw(http)
    head, _, body = request(chat(), "Expect: 100-continue").partition(b"\r\n\r\n")
    await stream.send_all(head + b"\r\n\r\n")
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
    await stream.send_all(body + request(chat()) + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await read_all(stream)).count(b"HTTP/1.1 200 ") == 3
    await stream.aclose()


async def test_who_floods_while_being_answered_is_let_go(site: Any):
    simulation, http = site
    simulation.tell({"m": {"fault": "stall"}})
    stream = await raw(http)
    await stream.send_all(request(chat(stream=True)))
    await simulation.wait_for("m", lambda counts: counts.open == 1)
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x" * 50_000_000)
    await stream.aclose()
    assert (await simulation.wait_for("m", lambda counts: counts.open == 0)).closed_by_client == 1


async def test_a_silent_connection_is_closed(site: Any, monkeypatch: pytest.MonkeyPatch):
    _, http = site
    monkeypatch.setattr(connections, "IDLE", 0.05)
    stream = await raw(http)
    assert await read_all(stream) == b""
    await stream.aclose()


async def test_a_bug_in_one_connection_does_not_reach_another(site: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    simulation, http = site
    simulation.tell({"m": {"fault": "slow", "tokens_per_second": 500}})
    answers: list[Any] = []

    async def neighbour() -> None:
        answers.append(await http.post("/v1/chat/completions", json=chat(stream=True)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(neighbour)
        await simulation.wait_for("m", lambda counts: counts.open == 1)

        async def break_down(*_: Any) -> None:
            raise RuntimeError("planted")

        monkeypatch.setattr(servers, "_tell", break_down)
        with pytest.raises(httpx2.TransportError):
            await http.put("/faults", json={})
    assert events(answers[0].text)[-1] == "[DONE]"
    assert "planted" in capsys.readouterr().out
    assert (await http.get("/health")).status_code == 200


async def test_cancelled_it_closes_everything(open_sockets: Any):
    sockets = open_sockets()
    simulation = Simulation(rng=random.Random(1), pace=Pace(float("inf"), 1))
    urls: list[str] = []
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def program() -> None:
            with scope:
                await simulate_program("127.0.0.1", 0, simulation, announce=urls.append)

        nursery.start_soon(program)
        await trio.testing.wait_all_tasks_blocked()
        assert urls[0].startswith("http://127.0.0.1:")
        stream = await trio.open_tcp_stream("127.0.0.1", int(urls[0].split(":")[2].removesuffix("/v1")))
        await stream.send_all(request(chat(stream=True)))
        await simulation.wait_for("m", lambda counts: counts.open == 1)
        scope.cancel()
        received = await read_all(stream)
        await stream.aclose()
    assert received.startswith(b"HTTP/1.1 200") or received == b""
    assert simulation.counts("m") == Counts(total=1)
    assert open_sockets() == sockets


async def test_a_port_that_is_taken(simulated: Any):
    _, url = await simulated()
    with pytest.raises(OSError, match="in use"):
        await simulate_program(
            "127.0.0.1", int(url.split(":")[2].removesuffix("/v1")), Simulation(rng=random.Random(1)), announce=print
        )


async def test_an_address_of_version_six_is_bracketed():
    simulation, urls = Simulation(rng=random.Random(1)), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: simulate_program("::1", 0, simulation, announce=urls.append))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert urls[0].startswith("http://[::1]:")


def test_counts_are_kept_for_a_thousand_names():
    simulation = Simulation(rng=random.Random(1))
    for n in range(1005):
        simulation.begin(f"m{n}")
        simulation.end(f"m{n}", "ok")
    assert simulation.counts(OTHERS).ok == 5
    assert len(simulation.report()["requests"]) == 1001


async def test_the_pace_is_the_simulations_own(mock_clock: trio.testing.MockClock):
    assert Pace() == Pace(0.02, 200.0)
    assert Simulation(rng=random.Random(1)).pace == Pace()
