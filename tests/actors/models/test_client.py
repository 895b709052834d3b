from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from actors.models import client as client_module
from actors.models.client import (
    PLACEHOLDER_KEY,
    QUIET_FOR,
    QUIET_WITHIN,
    ConnectionTimeouts,
    build_client,
    close_client,
    load_library,
    quiet_moment,
    warm_up,
)
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


# --- loading the library


def test_the_daemon_does_not_load_the_library_to_start() -> None:
    ask = "import sys, understudy.cli, understudy.daemon; print({'openai', 'mcp', 'pydantic'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


async def test_it_is_loaded_in_a_thread_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    modules: dict[str, Any] = {}

    def load(name: str) -> None:
        threads.append(threading.get_ident())
        modules[name] = SimpleNamespace(__spec__=None)

    monkeypatch.setattr(client_module, "import_module", load)
    monkeypatch.setattr(client_module, "sys", SimpleNamespace(modules=modules))
    await load_library()
    await load_library()
    (thread,) = threads
    assert thread != threading.get_ident()


async def test_who_comes_while_it_is_being_loaded_waits_in_a_thread_too(monkeypatch: pytest.MonkeyPatch) -> None:
    half = SimpleNamespace(__spec__=SimpleNamespace(_initializing=True))
    waited: list[str] = []
    monkeypatch.setattr(client_module, "import_module", waited.append)
    monkeypatch.setattr(client_module, "sys", SimpleNamespace(modules={"openai": half}))
    await load_library()
    assert waited == ["openai"]


@pytest.mark.parametrize(("busy", "moments"), [(0, 1), (3, 4)])
async def test_a_quiet_moment_is_waited_for(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, busy: int, moments: int
) -> None:
    used = iter([number * QUIET_FOR for number in range(busy + 1) for _ in range(2)][1:])
    clock = SimpleNamespace(process_time=lambda: next(used, busy * QUIET_FOR))
    monkeypatch.setattr(client_module, "time", clock)
    began = trio.current_time()
    await quiet_moment()
    assert trio.current_time() - began == pytest.approx(moments * QUIET_FOR)


async def test_but_not_for_ever(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "time", SimpleNamespace(process_time=trio.current_time))
    began = trio.current_time()
    await quiet_moment()
    assert trio.current_time() - began == pytest.approx(QUIET_WITHIN)


async def test_where_the_loop_is_late_it_is_not_quiet(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    late = iter([0.0, QUIET_FOR + 0.1, 10.0, 10.0 + QUIET_FOR])
    times = SimpleNamespace(**{**vars(trio), "current_time": lambda: next(late)})
    monkeypatch.setattr(client_module, "trio", times)
    monkeypatch.setattr(client_module, "time", SimpleNamespace(process_time=lambda: 0.0))
    await quiet_moment()
    assert list(late) == []
