"""The servers that are measured, as processes: started on a core of their own, watched from outside, ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.delivery.processes import Cores, cpu_seconds, pin, resident_bytes
from bench.delivery.swarm import NotServed
from bench.measure import ROOT, environment, last_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UNDERSTUDY: Final = (sys.executable, "-c", "from understudy.cli import main; main()")
START_WITHIN: Final = 60.0
END_WITHIN: Final = 10.0
RUNNING: Final = "understudy is running"
SIMULATING: Final = "simulated model at"

STREAMS: Final = 20
CONFIGURATION: Final = """
[server]
log_format = "json"
[connections]
total = 100000
per_user = 100000
per_address = 100000
commands_per_minute = 1000000
{model}
[workflows.push]
title = "Many answers at once"
steps = [{steps}]
"""
"""Only limits that the load would run into; all else is as by default. `push` is a run of answers side by side."""
STEP: Final = """{{ name = "answer-{number}", agent = "analyst", depends_on = [] }}"""
MODEL: Final = """
[models.default]
model = "simulated"
base_url = "http://127.0.0.1:{port}/v1"
"""


class Server:
    """A process that listens on `port`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    @property
    def cpu(self) -> float:
        """Processor time so far, in seconds."""
        return cpu_seconds(self.process.pid)

    @property
    def memory(self) -> int:
        """Bytes that it holds."""
        return resident_bytes(self.process.pid)

    def kill(self) -> None:
        """As `kill -9`; returns when it is gone."""
        self.process.kill()
        self.process.wait()


class Site(NamedTuple):
    """Where a scenario takes place: a directory for everything that is written, and who runs on which core."""

    directory: Path
    cores: Cores


def launch(command: Sequence[str], where: frozenset[int], output: Path) -> subprocess.Popen[bytes]:
    """Start a process whose output goes to a file."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=clean(), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    pin(process.pid, where)
    return process


def clean() -> dict[str, str]:
    """Our environment, without what would configure a daemon."""
    given = environment(os.environ)
    return {name: value for name, value in given.items() if not name.startswith(("OPENAI_", "UNDERSTUDY_"))}


def line(process: subprocess.Popen[bytes], output: Path, words: str) -> str:
    """The first line of its output that holds these words, waited for.

    Raises:
        NotServed: it has ended without, or does not come to it.
    """
    end = monotonic() + START_WITHIN
    while True:
        ended = process.poll() is not None
        text = output.read_text(errors="replace")
        # Only whole lines: the last one may still be under way.
        found = next((row for row in text.split("\n")[:-1] if words in row), None)
        if found is not None:
            return found
        if ended:
            raise NotServed(f"it has ended: {last_line(text) or process.returncode}")
        if monotonic() > end:
            raise NotServed(f"it has not started within {START_WITHIN:g} s")
        with_pause(process)


def with_pause(process: subprocess.Popen[bytes]) -> None:
    """Wait a little, or until the process has ended."""
    try:
        process.wait(0.01)
    except subprocess.TimeoutExpired:
        return


class Daemon:
    """`understudy serve` with a data directory of its own, which may be killed and started again.

    Args:
        site: where its data, its configuration and its output go.
        model_port: where the model answers; None: the daemon's own simulated one.
        configuration: of its own, in place of the one above.
    """

    def __init__(self, site: Site, model_port: int | None = None, configuration: str | None = None) -> None:
        self.data = site.directory / "data"
        self._cores = site.cores
        self._output = site.directory / "daemon.log"
        self._file = site.directory / "understudy.toml"
        self._port = 0
        model = "" if model_port is None else MODEL.format(port=model_port)
        steps = ", ".join(STEP.format(number=number) for number in range(STREAMS))
        usual = CONFIGURATION.format(model=model, steps=steps)
        self._file.write_text(usual if configuration is None else configuration)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process; `ready` waits for it. Started again, it takes the same port."""
        options = ("serve", "--config", str(self._file), "--data", str(self.data), "--port", str(self._port))
        return launch([*UNDERSTUDY, *options], self._cores.server, self._output)

    def ready(self, process: subprocess.Popen[bytes]) -> Server:
        """Wait until it listens."""
        found = json.loads(line(process, self._output, RUNNING))
        self._port = int(found["addresses"].rpartition(":")[2])
        return Server(process, self._port)

    @contextmanager
    def running(self) -> Iterator[Server]:
        """Run it for the block."""
        process = self.launch()
        with ending(process):
            yield self.ready(process)


@contextmanager
def bare(command: Sequence[str], site: Site) -> Iterator[Server]:
    """A peer: it says `port NUMBER` when it listens."""
    output = site.directory / "peer.log"
    process = launch(command, site.cores.server, output)
    with ending(process):
        yield Server(process, int(line(process, output, "port ").split()[1]))


@contextmanager
def simulated_model(site: Site, tokens_per_second: float, name: str = "simulated", *more: str) -> Iterator[int]:
    """A model outside of the daemon, which is not to be measured with it; gives its port. `more` of its options."""
    output = site.directory / f"{name}.log"
    options = ("simulate", "--port", "0", "--tokens-per-second", str(tokens_per_second), "--model-name", name, *more)
    process = launch([*UNDERSTUDY, *options], site.cores.others, output)
    with ending(process):
        yield int(line(process, output, SIMULATING).split("http://127.0.0.1:")[1].split("/")[0])


class Probe:
    """What `probe.py` has found; only there when the block is over."""

    def __init__(self) -> None:
        self.found: list[tuple[float, float]] = []

    def longest(self, begin: float, end: float) -> float:
        """Seconds of the longest wait for an answer that was going on between two times."""
        return max(wait for asked, wait in self.found if asked + wait >= begin and asked <= end)


@contextmanager
def probing(subject: str, port: int, site: Site, *, connections: int = 1) -> Iterator[Probe]:
    """Ask a server beside the block how fast it answers; with several `connections`, they may be closed meanwhile."""
    command = [sys.executable, "-m", "bench.delivery.probe", subject, str(port), str(connections)]
    process = subprocess.Popen(command, cwd=ROOT, env=clean(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pin(process.pid, site.cores.others)
    probe = Probe()
    with ending(process):
        assert process.stdout is not None
        if not process.stdout.readline():
            raise NotServed("the probe has got no answer")
        yield probe
        text, _ = process.communicate("over\n", timeout=END_WITHIN)
        if process.returncode:
            raise NotServed("the probe has lost its connection")
        probe.found = [(asked, wait) for asked, wait in json.loads(text)]


@contextmanager
def ending(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> Iterator[None]:
    """Kill it behind the block, if it still runs."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
