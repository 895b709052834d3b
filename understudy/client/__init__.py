"""A Python client of the daemon, on trio. README.md beside this says what it holds to.

    async with open_client("127.0.0.1:12000", rng=random.Random()) as client:
        await client.command("start_run", content="A shop that sells tea by weight")
        async for event in client:
            print(event.type, event.content)

`open_client` stays in touch over any number of connections; `connect` is one of them, for those who decide themselves.
"""

from understudy.client import events
from understudy.client.client import Client, open_client
from understudy.client.connection import Connection, connect
from understudy.client.envelope import Comeback, Event, Position, Reply, Welcome, websocket_address
from understudy.client.errors import (
    CommandRefused,
    CommandTooLarge,
    ConnectionEnded,
    NoAnswer,
    NotSent,
    Unreachable,
)
from understudy.client.events import CommandDropped, Gap
from understudy.client.reconnect import Course, reconnect_delay, wait_after
from understudy.client.states import Closed, Connecting, Open, Polling, State, Waiting
from understudy.client.view import RunView, StepView, apply, apply_delta, load

__all__ = [
    "Client",
    "Closed",
    "Comeback",
    "CommandDropped",
    "CommandRefused",
    "CommandTooLarge",
    "Connecting",
    "Connection",
    "ConnectionEnded",
    "Course",
    "Event",
    "Gap",
    "NoAnswer",
    "NotSent",
    "Open",
    "Polling",
    "Position",
    "Reply",
    "RunView",
    "State",
    "StepView",
    "Unreachable",
    "Waiting",
    "Welcome",
    "apply",
    "apply_delta",
    "connect",
    "events",
    "load",
    "open_client",
    "reconnect_delay",
    "wait_after",
    "websocket_address",
]
