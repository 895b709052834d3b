"""A user's device in a test: comes back by the rules, resumes, keeps every frame, and has all of them checked.

Nothing is forgiven but what the test says: `verify` runs the grammar over each connection, and over the log that the
connections together make, whose seqs must follow each other without a gap or a repeat.
"""

from __future__ import annotations

import json
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.protocol.codes import Reconnect, close
from actors.protocol.event_types import RUN_ENDS
from tests.support.grammar import Violation, check
from understudy.client.envelope import websocket_address
from understudy.client.errors import Unreachable
from understudy.client.socket import Ended, Socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.grammar_tables import Frame

BRIEF = "A shop that sells tea by weight"
WITHIN = 40.0
"""Seconds for anything that a test waits for: only ever reached where something is broken."""
COME_BACK = 0.02


@attrs.define(eq=False)
class Connection:
    """One connection of a device: its frames in order, and the code that it ended with."""

    frames: list[Frame] = attrs.field(factory=list)
    code: int | None = None


@attrs.define(eq=False)
class Device:
    """See the module. Made by `device`."""

    port: int
    user: str
    client_id: str = attrs.field(factory=lambda: uuid.uuid4().hex)
    resume: dict[str, Any] | None = None
    comes_back: bool = True
    says_where: bool = True
    """Whether its hello says how far it is; else the daemon has to know."""
    pause: float = COME_BACK
    """Seconds before it comes back."""
    within: float = WITHIN
    """Seconds for anything that is waited for."""
    connections: list[Connection] = attrs.field(factory=list)
    refusals: list[Unreachable] = attrs.field(factory=list)
    ended: bool = False
    repeated: set[str] = attrs.field(factory=set)
    texts: list[str] = attrs.field(factory=list)
    """The durable events as they came, to the letter, over all connections."""
    _socket: Socket | None = None
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    # --- what came

    @property
    def frames(self) -> list[Frame]:
        """Everything that came, over all connections."""
        return [frame for connection in self.connections for frame in connection.frames]

    @property
    def log(self) -> list[Frame]:
        """The durable events, over all connections."""
        return [frame for frame in self.frames if "seq" in frame]

    @property
    def welcome(self) -> Frame:
        return next(frame for frame in self.connections[-1].frames if frame["type"] == "welcome")

    @property
    def codes(self) -> list[int | None]:
        """How the connections ended that have."""
        return [connection.code for connection in self.connections if connection.code is not None]

    async def until(self, holds: Callable[[], Any]) -> Any:
        """Wait until `holds` gives something true, and give it; looked at after every frame and every end."""
        with trio.fail_after(self.within):
            while not (found := holds()):
                await self._changed.park()
        return found

    async def wait_for(self, *, after: int = 0, **wanted: Any) -> Frame:
        """The first frame, from the place `after` on, with these members, else with this metadata."""

        def fits(frame: Frame) -> bool:
            return all(
                frame.get(name) == value or frame.get("metadata", {}).get(name) == value
                for name, value in wanted.items()
            )

        found: Frame = await self.until(lambda: next(filter(fits, self.frames[after:]), None))
        return found

    async def run_ended(self, run_id: str) -> str:
        """Wait for the last event of a run; its status."""

        def end() -> str | None:
            statuses = [
                f["metadata"]["status"] for f in self.log if f["type"] == "run_status" and f["run_id"] == run_id
            ]
            return next((status for status in statuses if status in RUN_ENDS), None)

        status: str = await self.until(end)
        return status

    # --- what is said

    async def send(self, kind: str, content: str = "", *, id: str | None = None, **metadata: Any) -> str:  # noqa: A002
        """Send a command, and give its id. Raises Ended."""
        assert self._socket is not None
        command = {"id": id or uuid.uuid4().hex, "type": kind, "content": content, "metadata": metadata}
        session_id = metadata.pop("session_id", None)
        if session_id is not None:
            command["session_id"] = session_id
        await self._socket.send(json.dumps(command))
        return str(command["id"])

    async def ask(self, kind: str, content: str = "", *, id: str | None = None, **metadata: Any) -> Frame:  # noqa: A002
        """Send a command and wait for its answer; over a lost connection it is sent again with the same id."""
        command_id = id or uuid.uuid4().hex
        while True:
            at = len(self.connections)
            here = len(self.frames)
            try:
                await self.send(kind, content, id=command_id, **metadata)
            except Ended:
                await self._next_connection(at)
                continue

            def answered(here: int = here, at: int = at) -> Frame | bool:
                for frame in self.frames[here:]:
                    if frame["type"] in {"reply", "error"} and frame["metadata"].get("reply_to") == command_id:
                        return frame
                return self.connections[at - 1].code is not None

            found = await self.until(answered)
            if isinstance(found, dict):
                return found
            self.repeated.add(command_id)
            await self._next_connection(at)

    async def _next_connection(self, at: int) -> None:
        def there() -> bool:
            assert not self.ended, f"{self.user} does not come back after {self.codes}"
            return len(self.connections) > at and any(f["type"] == "welcome" for f in self.connections[-1].frames)

        await self.until(there)

    async def start_run(self, brief: str = BRIEF, **options: Any) -> str:
        """Start a run, and give its id."""
        options.setdefault("workflow", "short")
        answer = await self.ask("start_run", brief, **options)
        assert answer["type"] == "reply", answer
        return str(answer["metadata"]["run_id"])

    async def run_under_way(self, brief: str = BRIEF) -> str:
        """Start a run, and wait for its first piece of text."""
        run_id = await self.start_run(brief)
        await self.wait_for(type="agent_delta", run_id=run_id)
        return run_id

    async def close(self) -> None:
        """Leave, as a person does."""
        self.comes_back = False
        if self._socket is not None:
            await self._socket.close(1000, "", within=2.0)
        await self.until(lambda: self.ended)

    async def drop(self) -> None:
        """Lose the connection without a Close, and do not come back."""
        self.comes_back = False
        assert self._socket is not None
        self._socket.release()
        await self.until(lambda: self.ended)

    # --- the connections

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, and come back as long as the daemon's codes say so. Tells that it has started at `welcome`."""
        status = [task_status]
        while True:
            async with trio.open_nursery() as nursery:
                socket = Socket(websocket_address(f"127.0.0.1:{self.port}"))
                try:
                    await nursery.start(socket.hold)
                except Unreachable as refused:
                    self.refusals.append(refused)
                    self._changed.unpark_all()
                else:
                    await self._attend(socket, status)
                nursery.cancel_scope.cancel()
            if not self.comes_back:
                self.ended = True
                self._changed.unpark_all()
                return
            await trio.sleep(self.pause)

    async def _attend(self, socket: Socket, status: list[trio.TaskStatus[None]]) -> None:
        """One connection, to its end."""
        connection = Connection()
        self.connections.append(connection)
        self._socket = socket
        hello: dict[str, Any] = {"user_id": self.user, "client_id": self.client_id}
        if self.resume is not None and self.says_where:
            hello["resume"] = self.resume
        try:
            await socket.send(json.dumps({"id": uuid.uuid4().hex, "type": "hello", "metadata": hello}))
            while True:
                text = await socket.receive()
                frame: Frame = json.loads(text)
                connection.frames.append(frame)
                if "seq" in frame:
                    self.texts.append(str(text))
                self._note(frame)
                self._changed.unpark_all()
                if frame["type"] == "welcome" and status:
                    status.pop().started()
        except Ended as ended:
            connection.code = int(ended.code)
        if close(connection.code).reconnect in {Reconnect.NEVER, Reconnect.WITH_NEW_TOKEN}:
            self.comes_back = False
        self._changed.unpark_all()

    def _note(self, frame: Frame) -> None:
        if frame["type"] == "welcome":
            metadata = frame["metadata"]
            self.resume = {"epoch": metadata["epoch"], "seq": metadata["seq"] - metadata["replayed"]}
        elif "seq" in frame:
            assert self.resume is not None
            self.resume = {**self.resume, "seq": frame["seq"]}

    # --- the rules

    def verify(self, *, lossy: bool = False, midrun: bool = False) -> None:
        """Every connection by the grammar, and the log that they make. `lossy`, `midrun`: as `grammar.check` has it."""
        for connection in self.connections:
            if connection.frames:
                cut_off = midrun or connection is not self.connections[-1]
                found = check(connection.frames, ends_midrun=cut_off, lossy=lossy)
                wrong = [each for each in found if not self._of_a_repeat(each, connection)]
                assert wrong == [], (self.user, wrong, [connection.frames[: each.index + 1][-5:] for each in wrong])
        seqs = [frame["seq"] for frame in self.log]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True, (self.user, seqs)
        wrong = check(self.log, connection=False, ends_midrun=midrun, lossy=lossy)
        assert wrong == [], (self.user, wrong)

    def _of_a_repeat(self, violation: Violation, connection: Connection) -> bool:
        """Whether it is a reply behind its event to a command that was first sent on an earlier connection."""
        frame = connection.frames[min(violation.index, len(connection.frames) - 1)]
        return violation.rule == "reply_late" and frame["metadata"]["reply_to"] in self.repeated


@asynccontextmanager
async def devices(port: int, *users: str, **options: Any) -> AsyncIterator[list[Device]]:
    """A connected device for each of these users; verified by the test itself."""
    async with trio.open_nursery() as nursery:
        here = [Device(port, user, **options) for user in users]
        with trio.fail_after(options.get("within", WITHIN)):
            async with trio.open_nursery() as opening:
                for each in here:
                    opening.start_soon(nursery.start, each.live)
        yield here
        for each in here:
            each.comes_back = False
        nursery.cancel_scope.cancel()
