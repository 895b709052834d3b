from __future__ import annotations

import gc
import random
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import trio

from actors.models.chat import ChatMessage, ChatRequest
from actors.models.client import build_client, close_client
from actors.models.endpoint import Endpoint
from actors.models.simulated.program import base_urls
from actors.models.simulated.server import serve_simulated
from actors.models.simulated.simulation import Pace, Simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import openai


@pytest.fixture
def ask() -> Callable[..., ChatRequest]:
    """Makes a request to the model of this name."""

    def make(model: str = "lead", text: str = "Build a library that lends books.", **parameters: Any) -> ChatRequest:
        messages = (ChatMessage("system", "You are the Analyst of a team."), ChatMessage("user", text))
        return ChatRequest(model, messages, parameters)

    return make


@pytest.fixture
async def simulated(nursery: trio.Nursery) -> Callable[..., Any]:
    """Starts a simulated model on a free port; gives it and its base URL."""

    async def start(**settings: Any) -> tuple[Simulation, str]:
        settings.setdefault("pace", Pace(first_token=0, tokens_per_second=float("inf")))
        simulation = Simulation(rng=random.Random(1), **settings)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(serve_simulated, listeners, simulation)
        return simulation, base_urls(listeners)[0]

    return start


@pytest.fixture
def connect() -> Callable[..., Any]:
    """Opens a client for a base URL, and closes it."""

    @asynccontextmanager
    async def opened(base_url: str, api_key: str | None = None, **settings: Any) -> AsyncIterator[openai.AsyncOpenAI]:
        client = build_client(Endpoint("test", base_url, api_key, "lead"), **settings)
        try:
            yield client
        finally:
            await close_client(client)

    return opened


class Scripted(httpx2.AsyncByteStream):
    """A body that sleeps for the numbers of its script and sends the bytes; `closed` says that the reader let go."""

    def __init__(self, script: list[float | bytes]) -> None:
        self.script = script
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for step in self.script:
            if isinstance(step, bytes):
                yield step
            else:
                await trio.sleep(step)

    async def aclose(self) -> None:
        self.closed = True


class ScriptedTransport(httpx2.AsyncBaseTransport):
    """Answers every request with the script: no socket and no thread, so that the clock may be a mock."""

    def __init__(self) -> None:
        self.script: list[float | bytes] = []
        self.headers = {"content-type": "text/event-stream"}
        self.requests: list[httpx2.Request] = []
        self.body = Scripted([])

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        self.body = Scripted(self.script)
        return httpx2.Response(200, headers=self.headers, stream=self.body)


@pytest.fixture
def scripted() -> ScriptedTransport:
    return ScriptedTransport()


@pytest.fixture
async def scripted_client(scripted: ScriptedTransport, connect: Callable[..., Any]) -> AsyncIterator[Any]:
    async with connect("http://localhost/v1", transport=scripted) as client:
        yield client


def _open_sockets() -> int:
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


@pytest.fixture
def open_sockets() -> Callable[[], int]:
    return _open_sockets


@pytest.fixture
def collected() -> Iterator[None]:
    """What a stream leaves behind warns when it is collected: that has to happen within its own test."""
    yield
    gc.collect()
