"""The gateway over real sockets, in front of contexts with a journal in memory."""

from __future__ import annotations

import itertools
import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import structlog
import trio

from actors.gateway.admission import Policy
from actors.gateway.entrance import EntranceLimits
from actors.gateway.gateway import gateway_spec
from actors.gateway.http import http_config
from actors.gateway.settings import GatewayServices, GatewaySettings
from actors.operations.counters import DaemonCounters
from actors.protocol.connection_events import Limits
from actors.protocol.stamps import Stamps
from actors.storage.journal import StorageStatus
from actors.users.context import ContextSettings, Services
from actors.users.users import Users
from runtime import Mailbox, System
from supervisors import ChildSpec, Intensity, supervise
from tests.support.grammar import check
from tests.support.memory_journal import MemoryJournal, Plan
from tests.support.raw_websocket import CLOSE, PING, PONG, TEXT, RawWebSocket, close_payload
from tests.support.users_system import OFTEN, START, WORKFLOW, Orders, Say, Voice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runtime import Actor, Ref, Report

WITHIN = 20.0
LIMITS = Limits(
    frame_bytes=100_000,
    outbound_bytes=1_000_000,
    commands_per_minute=600,
    in_flight=20,
    connections=10,
    sessions=1,
    runs=1,
    log_events=20_000,
    log_seconds=604_800,
)
SETTINGS = GatewaySettings(
    policy=Policy(),
    limits=LIMITS,
    heartbeat_interval=30.0,
    silent_intervals=3,
    hello_within=10.0,
    send_within=10.0,
    close_within=2.0,
)


class Client:
    """One client on one WebSocket: every frame is kept, pings are answered."""

    ids = itertools.count()

    def __init__(self, raw: RawWebSocket) -> None:
        self.raw = raw
        self.frames: list[dict[str, Any]] = []
        self.pings = 0
        self.code: int | None = None
        self.reason = ""

    async def send(self, kind: str, content: str = "", **metadata: Any) -> str:
        """Send a command; gives its id."""
        command_id = metadata.pop("id", None) or f"c{next(self.ids)}"
        fields = {"id": command_id, "type": kind, "content": content, "metadata": metadata}
        await self.text(json.dumps(fields))
        return str(command_id)

    async def text(self, text: str) -> None:
        await self.raw.send_frame(TEXT, text.encode())

    async def next(self) -> dict[str, Any] | None:
        """The next message; None at the end."""
        with trio.fail_after(WITHIN):
            while self.code is None:
                try:
                    frame = await self.raw.read_frame()
                except (EOFError, trio.BrokenResourceError):
                    self.code = 1006
                    break
                if frame.opcode == PING:
                    self.pings += 1
                    await self.raw.send_frame(PONG, frame.payload)
                elif frame.opcode == CLOSE:
                    self.code, self.reason = frame.code, frame.reason
                    await self.answer_close()
                else:
                    assert frame.opcode == TEXT
                    message: dict[str, Any] = json.loads(frame.payload)
                    self.frames.append(message)
                    return message
        return None

    async def answer_close(self) -> None:
        try:
            await self.raw.send_frame(CLOSE, close_payload(self.code or 1000))
            await self.raw.stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def until(self, kind: str, **metadata: Any) -> dict[str, Any]:
        """Read on to a message of this type with this metadata."""
        while (message := await self.next()) is not None:
            if message["type"] == kind and metadata.items() <= message["metadata"].items():
                return message
        raise AssertionError(f"closed with {self.code} before a {kind}: {self.frames[-3:]}")

    async def ended(self) -> int:
        """Read on to the end. The close code."""
        while await self.next() is not None:
            pass
        assert self.code is not None
        return self.code

    async def ask(self, kind: str, content: str = "", **metadata: Any) -> dict[str, Any]:
        """Send a command and read on to its answer."""
        command_id = await self.send(kind, content, **metadata)
        while (message := await self.next()) is not None:
            if message["metadata"].get("reply_to") == command_id:
                return message
        raise AssertionError(f"closed with {self.code} before an answer")

    async def hello(self, user: str = "ada", **metadata: Any) -> dict[str, Any]:
        await self.send("hello", user_id=user, **metadata)
        message = await self.next()
        assert message is not None
        return message

    @property
    def seqs(self) -> list[int]:
        return [frame["seq"] for frame in self.frames if "seq" in frame]

    @property
    def contents(self) -> list[str]:
        """What came of notices and signs of life."""
        return [f["content"] for f in self.frames if f["type"] in {"system", "agent_progress", "agent_delta"}]

    def errors(self) -> list[str]:
        return [frame["metadata"]["code"] for frame in self.frames if frame["type"] == "error"]

    def verify(self) -> None:
        found = check(self.frames, ends_midrun=True, lossy=True)
        violations = [violation for violation in found if violation.rule != "not_started"]
        assert not violations, violations


@attrs.define(eq=False)
class GatewaySystem:
    """What a test holds on to."""

    system: System
    port: int
    plan: Plan
    counters: DaemonCounters
    logs: list[dict[str, Any]]
    reports: list[Report]
    said: list[str]
    raws: list[RawWebSocket] = attrs.field(factory=list)

    async def dial(self) -> RawWebSocket:
        raw = await RawWebSocket.connect(self.port)
        self.raws.append(raw)
        return raw

    async def connect(self) -> Client:
        """A WebSocket on which nothing was said."""
        raw = await self.dial()
        head = await raw.handshake()
        assert b" 101 " in head, head
        return Client(raw)

    async def welcomed(self, user: str = "ada", **hello: Any) -> Client:
        client = await self.connect()
        welcome = await client.hello(user, **hello)
        assert welcome["type"] == "welcome", welcome
        return client

    def say(self, *names: str) -> None:
        self.system.ref("/voice").tell(Say(names))

    def crash(self, path: str) -> None:
        self.system.fail(path, RuntimeError("planned"))

    def connection(self, client: Client) -> Ref[Any]:
        welcome = next(frame for frame in client.frames if frame["type"] == "welcome")
        return self.system.ref(f"/gateway/connections/{welcome['metadata']['connection_id']}")

    def connections(self) -> list[str]:
        """The paths of those that there are."""
        paths = [node.path for node in self.system.tree().walk() if node.state != "ended"]
        return [path for path in paths if path.startswith("/gateway/connections/")]

    async def alive(self, path: str) -> None:
        """Wait until an actor is there."""
        await self.holds(lambda: self.system.ref(path).target.watchable() is not None)

    async def gone(self) -> None:
        """Wait until no connection is left."""
        with trio.fail_after(WITHIN):
            while self.connections():
                await trio.sleep(0.005)

    async def holds(self, condition: Callable[[], Any]) -> None:
        with trio.fail_after(WITHIN):
            while not condition():
                await trio.sleep(0.005)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says what was asked for; `/slow` waits for the end of the request's body."""
    if scope["path"] == "/raise":
        raise RuntimeError("planned")
    if scope["path"] == "/slow":
        await receive()
    body = scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def logger(logs: list[dict[str, Any]]) -> Any:
    def keep(_logger: Any, level: str, fields: Any) -> Any:
        logs.append({"level": level, **fields})
        raise structlog.DropEvent

    return structlog.wrap_logger(None, processors=[keep], wrapper_class=structlog.BoundLogger)


@asynccontextmanager
async def gateway_system(
    *,
    most: int = 100,
    per_address: int = 1000,
    rate: float = 1e6,
    burst: int = 1000,
    spare: int = 64,
    plan: Plan | None = None,
    context_budget: Intensity = OFTEN,
    limits: dict[str, Any] | None = None,
    mailbox: int | None = None,
    journal: Callable[[], Actor] | None = None,
    **settings: Any,
) -> AsyncIterator[GatewaySystem]:
    """`settings` are of `GatewaySettings`, `limits` of `Limits`; the rest of the gateway.

    `journal`: another than the one in memory, which then has nothing to do with `plan`.
    """
    plan = plan or Plan()
    counters, logs, reports, said = DaemonCounters(), [], [], []
    stamps = Stamps(random.Random(1), lambda: START + trio.current_time() % 1000)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    system = System(report=reports.append, rng=random.Random(2))
    chosen = attrs.evolve(SETTINGS, limits=attrs.evolve(LIMITS, **(limits or {})), **settings)
    services = Services(system.ref("/storage"), system.ref("/runs"), stamps, {"delivery": WORKFLOW}, counters)
    gateway = GatewayServices(
        users=system.ref("/users"),
        journal=system.ref("/storage"),
        app=application,  # type: ignore[arg-type]
        http=http_config(lambda _: None),
        stamps=stamps,
        counters=counters,
        log=logger(logs),
    )

    class Contexts(Users):
        budget = context_budget

    root = supervise(
        "root",
        [
            ChildSpec("storage", journal or (lambda: MemoryJournal(plan)), mailbox=Mailbox(65_536), budget=OFTEN),
            ChildSpec(
                "users",
                lambda: Contexts(
                    ContextSettings(600.0, 20_000, 604_800.0, connections=chosen.limits.connections), lambda: services
                ),
            ),
            ChildSpec("runs", lambda: Orders([])),
            ChildSpec("voice", lambda: Voice(system.ref("/users"), "ada", stamps, said), budget=OFTEN),
            gateway_spec(
                chosen,
                lambda: gateway,
                listeners,
                limits=EntranceLimits(total=most, per_address=per_address, rate=rate, burst=burst, come_back=5.0),
                spare=spare,
                connections=lambda: system.ref("/gateway/connections"),
            ),
        ],
        intensity=OFTEN,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(system.run, root)
        with trio.fail_after(WITHIN):
            await system.ref("/storage").ask(StorageStatus(), WITHIN)
        here = GatewaySystem(system, port, plan, counters, logs, reports, said)
        try:
            yield here
        finally:
            plan.gate.set()
            for raw in here.raws:
                raw.stream.socket.close()
            system.stop(10.0)
            for listener in listeners:
                await trio.aclose_forcefully(listener)
