"""`understudy` as a process of its own that begins with everything loaded, as a copy of one that does nothing else.

To load the program takes as much processor time as most tests with it. That it starts from nothing is for the tests of
its commands and of its start; here it has to be a process: with signals, with locks, and with an end of its own.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

LOADED: Final = ["understudy.cli", "understudy.collector", "understudy.daemon", "understudy.log_writer", "openai"]


class Forked:
    """What a test needs of a `trio.Process`."""

    def __init__(self, process: ForkServerProcess, stdout: trio.abc.ReceiveStream) -> None:
        self._process = process
        self.stdout = stdout

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    async def wait(self) -> int:
        while (code := self.returncode) is None:
            await trio.lowlevel.wait_readable(self._process.sentinel)
        return code

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


async def fork(arguments: tuple[str, ...], environment: dict[str, str]) -> Forked:
    """Run `understudy` with these arguments; what it prints on standard output and standard error is one stream."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)  # heeded by the first
    reading, writing = context.Pipe(duplex=False)
    with reading, writing:
        process = context.Process(target=_run, args=(arguments, environment, writing))
        await trio.to_thread.run_sync(process.start)  # the first waits for everything to be loaded
        return Forked(process, trio.lowlevel.FdStream(os.dup(reading.fileno())))


def _run(arguments: tuple[str, ...], environment: dict[str, str], output: Connection) -> None:
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), line_buffering=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), line_buffering=True)
    sys.argv = ["understudy", *arguments]
    os.environ.clear()
    os.environ.update(environment)
    from understudy.cli import main

    main()
