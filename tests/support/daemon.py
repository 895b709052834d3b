"""Daemons for tests: one in this process on a free port, or `understudy serve` as a process of its own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from contextlib import asynccontextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

import attrs
import trio

from tests.support.forked import Forked, fork
from understudy.configuration import load
from understudy.daemon import Daemon, open_daemon
from understudy.logs import open_log

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from runtime import Node, System

WITHIN = 40.0
"""Seconds for anything that a test waits for: only ever reached where something is broken."""
STARTED_WITHIN = 90.0
"""Seconds for a program to start in: two of processor time, of which a busy machine gives little."""
LOOK_AGAIN = 0.005
GONE_WITHIN = 5.0

QUICK = """
[calls]
first_token = 20.0
attempts = 3
[fallback]
open_first = 0.3
open_cap = 1.0
[models.default]
model = "lead-1"
base_url = "{base_url}"
[agents.writer]
role = "Writer"
prompt = "You are the Writer of a team. Write a little."
models = ["default"]
[agents.critic]
role = "Critic"
prompt = "You are the Critic of a team. Say what is wrong."
models = ["default"]
[workflows.short]
title = "Two short steps"
steps = [{{ name = "writing", agent = "writer" }}, {{ name = "critique", agent = "critic" }}]
"""
"""A configuration whose workflow `short` has two steps."""


def quick_file(directory: Path, base_url: str, more: str = "") -> Path:
    """A file with the quick configuration, the models at `base_url`, and what is `more`."""
    file = directory / "quick.toml"
    file.write_text(QUICK.format(base_url=base_url) + more)
    return file


async def until(holds: Callable[[], Any]) -> Any:
    """Wait until `holds` gives something true, and give it: for what has no event to wait for."""
    await trio.lowlevel.checkpoint()
    with trio.fail_after(WITHIN):
        while not (found := holds()):
            await trio.sleep(LOOK_AGAIN)
    return found


@attrs.frozen
class Response:
    """An answer over HTTP."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def http(
    port: int, path: str, *, method: str = "GET", body: object = None, headers: dict[str, str] | None = None
) -> Response:
    """One request, on a connection of its own."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    with trio.fail_after(WITHIN):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(head.encode() + data)
            received = b"".join([piece async for piece in stream])
    first, _, answer = received.partition(b"\r\n\r\n")
    return Response(int(first.split()[1]), answer)


@attrs.define(eq=False)
class House:
    """A daemon in this process."""

    daemon: Daemon
    _out: StringIO

    @property
    def system(self) -> System:
        return self.daemon.system

    @property
    def port(self) -> int:
        return int(self.daemon.addresses[0].rpartition(":")[2])

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._out.getvalue().splitlines()]

    def paths(self) -> list[str]:
        """Every actor of the live tree."""
        return [node.path for node in self.system.tree().walk()]

    def node(self, path: str) -> Node | None:
        return self.system.tree().find(path)

    def crash(self, path: str) -> None:
        """Have the actor there end as if its handler had raised."""
        assert self.system.fail(path, RuntimeError("injected")), f"nothing runs at {path}"

    async def crash_and_see(self, path: str) -> None:
        """As `crash`; returns when the crash has happened, and the actor runs again or is gone."""
        before = self.crashes
        self.crash(path)
        await until(lambda: self.crashes > before)
        await self.settled()

    @property
    def crashes(self) -> int:
        return self.daemon.counters.crashes.total()

    async def crash_while(self, path: str, holds: Callable[[], bool]) -> None:
        """Crash the actor there, again each time that it is back, while this holds."""
        while holds():
            before = self.crashes
            if self.runs(path) and self.system.fail(path, RuntimeError("injected")):
                await until(lambda before=before: self.crashes > before)
            await until(lambda: self.runs(path) or not holds())

    def runs(self, path: str) -> bool:
        """Whether an actor runs there: one that is ending would not hear of another crash."""
        node = self.node(path)
        return node is not None and node.state == "running"

    async def settled(self) -> None:
        """Wait until every actor of the tree runs."""
        try:
            await until(lambda: not self.unsettled())
        except trio.TooSlowError:
            raise AssertionError(f"not running: {self.unsettled()}; the log: {self.log[-20:]}") from None

    def unsettled(self) -> list[tuple[str, str]]:
        """Actors that do not run, and what they do."""
        nodes = self.system.tree().walk()
        return [(node.path, node.state) for node in nodes if node.state not in {"running", "ended"}]

    async def metric(self, name: str) -> float:
        """The value of one series of `/metrics`."""
        text = (await http(self.port, "/metrics")).body.decode()
        return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.rpartition(" ")[0] == name)


@asynccontextmanager
async def house(
    data: Path,
    base_url: str | None,
    *,
    more: str = "",
    seed: int = 1,
    within: float = 5.0,
) -> AsyncIterator[House]:
    """A daemon with the models at `base_url`, all of its data under `data`; None: with the simulated model inside.

    `more`: TOML behind the quick configuration. `within`: seconds to stop in.
    """
    data.mkdir(parents=True, exist_ok=True)
    file = data / "understudy.toml"
    quick = QUICK.format(base_url=base_url) if base_url else QUICK.replace('base_url = "{base_url}"\n', "")
    file.write_text((quick if base_url else quick.replace("{{", "{").replace("}}", "}")) + more)
    flags: dict[str, object] = {"port": 0, "data": data / "data", "shutdown_deadline": within}
    settings = load(file=file, environ={}, flags=flags).settings
    out = StringIO()
    async with open_daemon(settings, open_log(out, style="json"), rng=random.Random(seed)) as daemon:
        here = House(daemon, out)
        await here.settled()
        try:
            yield here
        except BaseException:
            sys.stdout.write(out.getvalue())  # pytest shows it beside the failure
            raise


# --- processes


def environment() -> dict[str, str]:
    """Ours, without what would configure a daemon."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "UNDERSTUDY_"))}


COMMAND = (sys.executable, "-c", "from understudy.cli import main; main()")


@attrs.define(eq=False)
class Program:
    """A program of ours that runs, and everything that it printed."""

    process: trio.Process | Forked
    lines: list[str] = attrs.field(factory=list)
    over: bool = False
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    async def read(self, stream: trio.abc.ReceiveStream) -> None:
        """Keep what it prints, line by line."""
        rest = b""
        async for piece in stream:
            *whole, rest = (rest + piece).split(b"\n")
            self.lines += [line.decode() for line in whole]
            self._changed.unpark_all()
        if rest:
            self.lines.append(rest.decode())
        self.over = True
        self._changed.unpark_all()

    async def line(self, words: str, within: float = WITHIN) -> str:
        """The first line that holds these words, waited for."""
        with trio.fail_after(within):
            while not (found := next((line for line in self.lines if words in line), None)):
                assert not self.over, f"it ended without {words!r}: {self.text}"
                await self._changed.park()
        return found

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, when it has ended and all that it printed is here."""
        with trio.fail_after(WITHIN):
            code = await self.process.wait()
            while not self.over:
                await self._changed.park()
        return code


@attrs.define(eq=False)
class Served(Program):
    """`understudy serve`, or `understudy simulate`; `port` is where it listens."""

    port: int = 0


@asynccontextmanager
async def program(
    *arguments: str, kind: type[Any] = Program, command: tuple[str, ...] | None = COMMAND, **options: Any
) -> AsyncIterator[Any]:
    """Run `understudy`, or what `command` makes of it, with these arguments for the block; what still runs at the end
    is ended. None: without starting Python and loading it all anew, see `forked`."""
    process: trio.Process | Forked
    if command is None:
        process = await fork(arguments, environment())
    else:
        process = await trio.lowlevel.open_process(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            **options,
        )
    here = kind(process)
    assert process.stdout is not None
    async with process.stdout, trio.open_nursery() as nursery:
        nursery.start_soon(here.read, process.stdout)  # ends with the process
        try:
            yield here
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.terminate()  # and not killed, so that what it covered is counted
                    with trio.move_on_after(GONE_WITHIN):
                        await process.wait()
                if process.returncode is None:
                    process.kill()
                await process.wait()


@asynccontextmanager
async def serve(
    file: Path,
    data: Path,
    *arguments: str,
    port: int = 0,
    command: tuple[str, ...] | None = None,
    within: float = STARTED_WITHIN,
) -> AsyncIterator[Served]:
    """`understudy serve` with the configuration `file`, running; on this port, 0 for a free one. `command`: see
    `program`.

    `within`: seconds to start in.
    """
    options = ("--config", str(file), "--data", str(data), "--port", str(port))
    async with program("serve", *options, *arguments, kind=Served, command=command) as served:
        line = json.loads(await served.line("understudy is running", within))
        served.port = int(line["addresses"].rpartition(":")[2])
        yield served


@asynccontextmanager
async def simulate(name: str, *, tokens_per_second: float = 5000.0) -> AsyncIterator[Served]:
    """`understudy simulate` on a free port; its answers name this model."""
    options = ("--port", "0", "--model-name", name, "--tokens-per-second", str(tokens_per_second))
    async with program("simulate", *options, kind=Served) as served:
        line = await served.line("simulated model at", STARTED_WITHIN)
        served.port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
        yield served
