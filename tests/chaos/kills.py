"""The daemon is killed again and again while people's runs are in progress: nothing is lost, doubled or done again.

    python -m tests.chaos.kills [--kills N] [--clients N] [--seed S] [--data DIRECTORY]

Real processes: `understudy simulate` as the model, which outlives every daemon, and `understudy serve`, which gets
SIGKILL at random moments, and is started again on the same data and port. Each person has two devices and always a run
in progress. In the end

- every accepted run has ended, once, and there is no run that nobody has asked for,
- what both devices of a person got as durable, over all their connections, is byte for byte the same, and the same as
  what somebody reads who comes afterwards and resumes from the beginning,
- each connection and each log obey the grammar,
- the model was asked for no step again that had finished: of a finished step's prompt, every request came before the
  event with its answer was made.
"""

from __future__ import annotations

import argparse
import random
import signal
import socket
import tempfile
import time
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.models.simulated.prompts import text_digest
from actors.protocol.event_types import RUN_ENDS
from tests.support.daemon import Served, http, program, serve
from tests.support.device import Device, devices

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from tests.support.grammar_tables import Frame

EVERYBODY_WITHIN: Final = 240.0
COME_BACK: Final = 0.25
ROUNDING: Final = 0.002
"""Seconds: a timestamp has milliseconds."""
MODEL_PACE: Final = ("--first-token", "0.8", "--tokens-per-second", "24", "--longest", "24")
"""Two seconds for an answer, so that a kill meets most runs in the middle of one."""
TEAM: Final = """
[connections]
per_user = 50
[calls]
first_token = 30.0
[models.default]
model = "lead"
base_url = "http://127.0.0.1:{port}/v1"
[agents.analyst]
role = "Analyst"
prompt = "You are the Analyst."
[agents.developer]
role = "Developer"
prompt = "You are the Developer."
[agents.tester]
role = "Tester"
prompt = "You are the Tester."
[workflows.team]
title = "One, then two at a time"
steps = [
    {{ name = "analysis", agent = "analyst" }},
    {{ name = "code", agent = "developer", depends_on = ["analysis"] }},
    {{ name = "tests", agent = "tester", depends_on = ["analysis"] }},
]
"""


@attrs.define
class Person:
    """A user with two devices, whose runs are started one after the other."""

    devices: Sequence[Device]
    accepted: list[str] = attrs.field(factory=list)

    @property
    def user(self) -> str:
        return self.devices[0].user

    async def work(self, over: trio.Event) -> None:
        """Have a run in progress until it is over, then see the last one to its end."""
        while not over.is_set():
            answer = await self.devices[0].ask("start_run", self._brief(), workflow="team")
            if answer["type"] == "reply":
                self.accepted.append(answer["metadata"]["run_id"])
                for device in self.devices:
                    await device.run_ended(self.accepted[-1])
            else:  # nothing was done; a daemon that has only just started may say so
                assert answer["metadata"]["retryable"], answer
                await trio.sleep(COME_BACK)

    def _brief(self) -> str:
        return f"Kiosk{len(self.accepted)} of {self.user} sells tea by weight"


@attrs.define(kw_only=True)
class Summary:
    """What came of it; printed by the long form."""

    seed: int
    clients: int
    kills: int = 0
    seconds: float = 0.0
    runs: dict[str, int] = attrs.field(factory=dict)
    events: int = 0
    connections: int = 0
    finished_steps: int = 0
    interrupted: int = 0
    requests: int = 0
    largest_log: int = 0

    def lines(self) -> Iterable[str]:
        runs = ", ".join(f"{count} {status}" for status, count in sorted(self.runs.items()))
        yield f"seed {self.seed}: {self.clients} people with two devices each, {self.kills} times kill -9"
        yield f"accepted runs: {sum(self.runs.values())}, all of them ended: {runs}"
        yield f"durable events: {self.events}, the longest log {self.largest_log}; connections: {self.connections}"
        yield "both devices of everybody, and whoever reads afterwards: the same bytes, no event missing or doubled"
        yield (
            f"finished steps: {self.finished_steps}, attempts closed as interrupted: {self.interrupted}, "
            f"requests at the model: {self.requests}; none for a step that had finished"
        )
        yield f"{self.seconds:.0f} s"


@asynccontextmanager
async def model() -> AsyncIterator[Served]:
    """The simulated model in a process of its own."""
    async with program("simulate", "--port", "0", *MODEL_PACE, kind=Served) as served:
        line = await served.line("simulated model at")
        served.port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
        yield served


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def kill_again_and_again(
    file: Path, data: Path, port: int, rng: random.Random, kills: int, up: trio.Event, over: trio.Event
) -> None:
    """A daemon that is killed so many times; the last one is left to run until cancelled."""
    for number in range(kills + 1):
        async with serve(file, data, port=port, within=EVERYBODY_WITHIN) as daemon:
            up.set()
            if number == kills:
                over.set()
                await trio.sleep_forever()
            await trio.sleep(rng.uniform(0.1, 5.0))
            daemon.signal(signal.SIGKILL)
            assert await daemon.process.wait() == -signal.SIGKILL, daemon.text[-2000:]


async def chaos(data: Path, *, kills: int, clients: int, seed: int) -> Summary:
    """All of it. Raises AssertionError for whatever is not as it must be."""
    began = time.monotonic()
    rng = random.Random(seed)
    port = free_port()
    up, over = trio.Event(), trio.Event()
    async with model() as served, trio.open_nursery() as daemons:
        file = data / "understudy.toml"
        file.write_text(TEAM.format(port=served.port))
        daemons.start_soon(kill_again_and_again, file, data / "data", port, rng, kills, up, over)
        await up.wait()
        users = [f"u{number:02d}" for number in range(clients) for _ in range(2)]
        async with devices(port, *users, pause=COME_BACK, within=EVERYBODY_WITHIN) as everybody:
            people = [Person(everybody[at : at + 2]) for at in range(0, len(everybody), 2)]
            async with trio.open_nursery() as nursery:
                for person in people:
                    nursery.start_soon(person.work, over)
                await over.wait()
                nursery.cancel_scope.deadline = trio.current_time() + EVERYBODY_WITHIN
            assert not nursery.cancel_scope.cancelled_caught, "not every run has ended"
            logs = {person.user: await read_afterwards(port, person) for person in people}
        summary = Summary(seed=seed, clients=clients, kills=kills)
        for person in people:
            look_through(person, logs[person.user], summary)
        asked = (await http(served.port, "/prompts")).json
        look_at_the_model(asked, [frame for frames in logs.values() for frame in frames], summary)
        daemons.cancel_scope.cancel()
    summary.seconds = time.monotonic() - began
    return summary


async def read_afterwards(port: int, person: Person) -> list[Frame]:
    """The log as one reads it who resumes from its beginning; compared with what the devices got."""
    epoch = person.devices[0].welcome["metadata"]["epoch"]
    async with devices(port, person.user, resume={"epoch": epoch, "seq": 0}, within=EVERYBODY_WITHIN) as [late]:
        metadata = late.welcome["metadata"]
        assert metadata["resumed"], metadata
        await late.until(lambda: len(late.log) == metadata["seq"])
        late.verify(lossy=True)
        for device in person.devices:
            await device.until(lambda device=device: len(device.log) >= len(late.log))
            assert device.texts == late.texts, f"{person.user}: a device has another log than the daemon"
        return late.log


def look_through(person: Person, log: list[Frame], summary: Summary) -> None:
    """One person's log: the grammar, and each accepted run with its one end."""
    for device in person.devices:
        device.verify(lossy=True)
        summary.connections += len(device.connections)
    statuses = [(frame["run_id"], frame["metadata"]["status"]) for frame in log if frame["type"] == "run_status"]
    queued = [run_id for run_id, status in statuses if status == "queued"]
    assert queued == person.accepted, f"{person.user}: {queued} began, {person.accepted} were accepted"
    for run_id in person.accepted:
        [end] = [status for of, status in statuses if of == run_id and status in RUN_ENDS]
        summary.runs[end] = summary.runs.get(end, 0) + 1
    summary.events += len(log)
    summary.largest_log = max(summary.largest_log, len(log))


def look_at_the_model(report: dict[str, Any], log: list[Frame], summary: Summary) -> None:
    """That nothing finished was asked for again, as the model counted it.

    A step is known to it by its answer, for which every brief has words of its own.
    """
    assert report["left_out"] == 0
    asked: dict[str, list[float]] = {}
    for prompt in report["prompts"].values():
        asked.setdefault(prompt["answer"], []).extend(prompt["asked"])
    finished: set[str] = set()
    summary.requests = sum(map(len, asked.values()))
    for frame in log:
        metadata = frame["metadata"]
        if frame["type"] == "agent_status" and metadata.get("error_type") == "interrupted":
            summary.interrupted += 1
        if frame["type"] != "agent_response" or metadata.get("degraded") or metadata.get("partial"):
            continue
        summary.finished_steps += 1
        made = datetime.fromisoformat(frame["timestamp"]).timestamp()
        answer = text_digest(frame["content"])
        assert answer not in finished, "two steps with one answer: the count would mean nothing"
        finished.add(answer)
        late = [at for at in asked[answer] if at > made + ROUNDING]
        assert not late, f"{metadata['step']} of {frame['run_id']} had finished, and was asked for again: {late}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.kills")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="keep everything here; else it is removed")
    chosen = parser.parse_args()

    def run(data: Path) -> Summary:
        data.mkdir(parents=True, exist_ok=True)
        return trio.run(lambda: chaos(data, kills=chosen.kills, clients=chosen.clients, seed=chosen.seed))

    if chosen.data is not None:
        summary = run(chosen.data)
    else:
        with tempfile.TemporaryDirectory() as folder:
            summary = run(Path(folder))
    print("\n".join(summary.lines()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
