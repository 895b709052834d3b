"""The client of one endpoint: made when it is first needed, closed at the end, shared by all calls in between.

One client an endpoint: each has a pool of connections, and making one costs some 20 ms for its TLS context. It never
retries: retries have one owner, and it is not the client.

The library takes half a second to load, a quarter of what the daemon needs to start. So it is not imported above, here
or anywhere else, but loaded in a thread by the first who needs a client: the warm-up, in a quiet moment after the
start, or a call that comes before that.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Final

import attrs
import httpx2
import trio

from actors.models.bodies import cut_words
from actors.models.chat import ChatMessage, ChatRequest, StreamLimits
from actors.models.endpoint import Endpoint, is_loopback
from actors.models.stream import stream_chat

if TYPE_CHECKING:
    import openai

LIBRARY: Final = "openai"
QUIET_FOR: Final = 0.2
"""Seconds of a moment that may be quiet."""
QUIET_SHARE: Final = 0.3
"""Of such a moment, what the process may compute."""
LATE: Final = 0.02
"""Seconds by which it may be over too late."""
QUIET_WITHIN: Final = 60.0

PLACEHOLDER_KEY = "no-key"
"""Sent where no key is configured: the client insists on one, local servers ignore it."""

CLOSING = 1.0
"""Seconds that closing may take before the rest of the connections is dropped."""


@attrs.frozen
class ConnectionTimeouts:
    """Seconds for connecting, for silence while reading and writing, and for a free connection of the pool.

    The last defence only: the deadlines of an attempt are shorter, and know content from keep-alive.
    """

    connect: float = 5.0
    read: float = 120.0
    write: float = 10.0
    pool: float = 5.0


@attrs.frozen
class ConnectionLimits:
    """How many connections at once, how many of them kept when idle, and for how long (seconds)."""

    connections: int = 1000
    idle_connections: int = 100
    idle_seconds: float = 15.0


def build_client(
    endpoint: Endpoint,
    *,
    timeouts: ConnectionTimeouts | None = None,
    limits: ConnectionLimits | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> openai.AsyncOpenAI:
    """Makes the client of an endpoint; nothing is connected yet, and a wrong address or key shows in the first attempt.

    The library has to be loaded (`load_library`), or this holds up the loop.

    Whoever makes it closes it with `close_client`. `transport` replaces the network, for tests and for `warm_up`.
    """
    import openai  # noqa: PLC0415 - see the module

    timeouts = timeouts or ConnectionTimeouts()
    limits = limits or ConnectionLimits()
    return openai.AsyncOpenAI(
        api_key=endpoint.api_key or PLACEHOLDER_KEY,
        base_url=endpoint.base_url,
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(
            timeout=httpx2.Timeout(
                connect=timeouts.connect, read=timeouts.read, write=timeouts.write, pool=timeouts.pool
            ),
            limits=httpx2.Limits(
                max_connections=limits.connections,
                max_keepalive_connections=limits.idle_connections,
                keepalive_expiry=limits.idle_seconds,
            ),
            # A proxy from the environment cannot reach what listens on this machine's loopback address.
            trust_env=not is_loopback(endpoint.base_url),
            transport=transport,
            event_hooks={"response": [cut_words]},
        ),
    )


async def load_library() -> None:
    """Load the library in a thread, if it is not loaded yet. Cancelled, it is loaded all the same."""
    there = sys.modules.get(LIBRARY)
    if there is None or getattr(there.__spec__, "_initializing", False):  # then importing it would wait for the thread
        await trio.to_thread.run_sync(import_module, LIBRARY, abandon_on_cancel=True)


async def quiet_moment() -> None:
    """Wait until this process has had little to do for a moment; for a minute at most.

    A daemon that has just started again may have thousands of clients to let in, who come first.
    """
    with trio.move_on_after(QUIET_WITHIN):
        quiet = False
        while not quiet:
            began, used = trio.current_time(), time.process_time()
            await trio.sleep(QUIET_FOR)
            took = trio.current_time() - began
            # Late means busy too, also where it is others who leave us no time to compute.
            quiet = took < QUIET_FOR + LATE and time.process_time() - used < QUIET_SHARE * took


async def close_client(client: openai.AsyncOpenAI) -> None:
    """Closes the client and its connections, also when cancelled; takes at most a second. Closing twice is fine."""
    with trio.move_on_after(CLOSING, shield=True):
        await client.close()


async def warm_up() -> None:
    """Streams a canned answer through a throw-away client, without any network.

    The first stream of a process imports and builds much that is needed later. Paid here, the first user does not pay
    it. Changes nothing but what is loaded; may be cancelled at any time.
    """
    await load_library()
    endpoint = Endpoint("warm-up", "http://localhost/v1", None, "none")
    client = build_client(endpoint, transport=httpx2.MockTransport(_canned))
    try:
        await stream_chat(client, ChatRequest("none", (ChatMessage("user", "?"),)), StreamLimits(), _ignore)
    finally:
        await close_client(client)


_CANNED = (
    b'data: {"model":"none","choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\ndata: [DONE]\n\n'
)


def _canned(_: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=_CANNED)


def _ignore(_: str) -> None:
    pass
