from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.models.client import PLACEHOLDER_KEY, ConnectionTimeouts, build_client, close_client, warm_up
from actors.models.endpoint import Endpoint

pytestmark = pytest.mark.usefixtures("collected")


async def test_a_client_never_retries_and_has_all_four_timeouts():
    endpoint = Endpoint("e", "https://api.example.com/v1", None, "m")
    client = build_client(endpoint, timeouts=ConnectionTimeouts(1, 2, 3, 4))
    try:
        assert client.max_retries == 0
        assert client.api_key == PLACEHOLDER_KEY
        assert str(client.base_url) == "https://api.example.com/v1/"
        timeout: Any = client._client.timeout
        assert (timeout.connect, timeout.read, timeout.write, timeout.pool) == (1, 2, 3, 4)
        assert client.timeout == timeout
    finally:
        await close_client(client)


async def test_closing_works_cancelled_and_twice():
    client = build_client(Endpoint("e", "http://localhost/v1", "sk-1", "m"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await close_client(client)
    assert client.is_closed()
    await close_client(client)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, simulated: Any, connect: Any, host: str
):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    _, url = await simulated()
    async with connect(url.replace("127.0.0.1", host)) as client:
        assert [model.id async for model in client.models.list()] == ["simulated"]


async def test_warming_up_needs_no_network_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, open_sockets: Any):
    async def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(trio, "open_tcp_stream", refuse)
    sockets = open_sockets()
    await warm_up()
    assert open_sockets() == sockets
