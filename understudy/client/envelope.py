"""The envelope as a client sees it: what comes in as `Event`, `Reply` and `Welcome`, what goes out as bytes. Pure."""

import re
import uuid
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import msgspec

#: What an application is handed. Other types, of a newer daemon, are passed over, their `seq` counted.
EVENT_TYPES: Final = frozenset(
    {"error", "system", "run_status", "agent_status", "agent_progress", "agent_delta", "agent_response"}
    | {"tool_executing", "tool_completed", "approval_request", "approval_result", "message", "session_updated"}
    | {"task_status", "task_assigned", "task_withdrawn", "typing", "presence", "channel", "gap", "draining"}
)
#: What the daemon takes until `welcome` names its limit, and the limit where it names none. Bytes.
OPENING_FRAME_BYTES: Final = 64 * 1024
DEFAULT_FRAME_BYTES: Final = 2 * 1024 * 1024
DEFAULT_HEARTBEAT_INTERVAL: Final = 30.0


class MalformedFrame(Exception):
    """The daemon sent something that is not an envelope."""


@attrs.frozen(kw_only=True)
class Event:
    """One message of the daemon. `seq` is there on durable events only; `metadata` is all that a program reads."""

    type: str
    id: str = ""
    timestamp: str = ""
    seq: int | None = None
    session_id: str | None = None
    run_id: str | None = None
    agent_name: str = ""
    content: str = ""
    metadata: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Reply:
    """The answer to a command that was carried out."""

    content: str
    metadata: dict[str, Any]


@attrs.frozen
class Position:
    """A place in one user's log: everything up to `seq` has been processed. `epoch` says which log."""

    epoch: str
    seq: int


@attrs.frozen(kw_only=True)
class Comeback:
    """How this client came back: tries since its last connection, milliseconds without one, and how that ended."""

    attempts: int
    down_ms: int
    last_code: int


@attrs.frozen(kw_only=True)
class Limits:
    frame_bytes: int = DEFAULT_FRAME_BYTES
    in_flight: int | None = None
    commands_per_minute: int | None = None


@attrs.frozen(kw_only=True)
class Welcome:
    """What `welcome.metadata` says. Durations are seconds."""

    connection_id: str = ""
    client_id: str = ""
    user_id: str = ""
    role: str = ""
    tier: str = ""
    expires_at: str | None = None
    epoch: str
    seq: int
    resumed: bool
    replayed: int
    heartbeat_interval: float = DEFAULT_HEARTBEAT_INTERVAL
    limits: Limits = attrs.field(factory=Limits)
    features: dict[str, Any] = attrs.field(factory=dict)
    subscribed: list[str] = attrs.field(factory=list)
    server_time: str = ""
    protocol: int = 1

    @property
    def start(self) -> Position:
        """The position before the first durable event of this connection."""
        return Position(self.epoch, self.seq - self.replayed)


@attrs.frozen(kw_only=True)
class Command:
    """What a client sends. What is left out stays off the wire."""

    id: str
    type: str
    content: str = ""
    session_id: str | None = None
    metadata: dict[str, Any] = attrs.field(factory=dict)


_decoder: Final = msgspec.json.Decoder(dict[str, Any])


def decode_frame(frame: str) -> Event:
    """The envelope in one text frame. Raises `MalformedFrame`; unknown fields are ignored, null reads as left out."""
    try:
        return read_event(_decoder.decode(frame))
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise MalformedFrame(str(error)) from None


def read_event(fields: Mapping[str, Any]) -> Event:
    """The envelope of a JSON object. Raises `MalformedFrame`."""
    try:
        return msgspec.convert({name: value for name, value in fields.items() if value is not None}, Event)
    except msgspec.ValidationError as error:
        raise MalformedFrame(str(error)) from None


def read_welcome(event: Event) -> Welcome:
    """Raises `MalformedFrame` where a field is missing or of the wrong kind."""
    fields = {name: value for name, value in event.metadata.items() if value is not None}
    try:
        return msgspec.convert(fields, Welcome)
    except msgspec.MsgspecError as error:
        raise MalformedFrame(f"welcome: {error}") from None


def encode(command: Command) -> bytes:
    """One frame, UTF-8. Raises TypeError for metadata that JSON has no form for."""
    fields = {
        name: value
        for name, value in attrs.asdict(command, recurse=False).items()
        if value is not None and value not in ("", {})
    }
    return msgspec.json.encode(fields)


def new_id(rng: Random) -> str:
    """A UUID from `rng`: as unique as its seed, so one of the operating system's in earnest."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def hello(
    command_id: str,
    *,
    user_id: str | None,
    token: str | None,
    client_id: str | None,
    resume: Position | None,
    comeback: Comeback | None,
    version: str,
    subscribe: Sequence[str] = (),
) -> Command:
    metadata: dict[str, Any] = {"client": {"platform": "python", "version": version, "capabilities": []}}
    named = {"user_id": user_id, "token": token, "client_id": client_id}
    metadata.update({name: value for name, value in named.items() if value is not None})
    if resume is not None:
        metadata["resume"] = attrs.asdict(resume)
    if comeback is not None:
        metadata["reconnect"] = attrs.asdict(comeback)
    if subscribe:
        metadata["subscribe"] = list(subscribe)
    return Command(id=command_id, type="hello", metadata=metadata)


@attrs.frozen
class Address:
    """Where a WebSocket is: `host` bare (an IPv6 address without brackets), `resource` with its query."""

    host: str
    port: int
    resource: str
    tls: bool

    @property
    def authority(self) -> str:
        """The `Host` header: brackets around IPv6, the port always."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://{self.authority}{self.resource}"

    def http_url(self, path: str) -> str:
        """The daemon's HTTP address of `path`: beside its WebSocket, under the same prefix where a proxy has one."""
        prefix = self.resource.partition("?")[0].rpartition("/")[0]
        return f"{'https' if self.tls else 'http'}://{self.authority}{prefix}{path}"


def websocket_address(url: str) -> Address:
    """The WebSocket of a daemon, from what a person types: `127.0.0.1:12000`, `http://host`, `wss://host/ws`.

    Raises ValueError with a sentence that says what is wrong.
    """
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", url):
        url = f"ws://{url}"
    parts = urlsplit(url)
    tls = {"ws": False, "http": False, "wss": True, "https": True}.get(parts.scheme)
    if tls is None:
        raise ValueError(
            f"{url!r} is not the address of a daemon: it has to begin with ws://, wss://, http:// or https://"
        )
    if not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"{url!r}: the port has to be a number from 1 to 65535") from None
    path = "/ws" if parts.path in ("", "/") else parts.path
    resource = f"{path}?{parts.query}" if parts.query else path
    return Address(parts.hostname, port or (443 if tls else 80), resource, tls)
