"""The transport is killed at every boundary between two frames, on both sides: what comes of it is the server's log.

    python -m tests.chaos.boundaries [--seed S] [--events N] [--stride N]

One case is one user, one run of 1,000 events, and two clients behind a proxy each: a device that acks, and the client
that is shipped. The proxy counts the frames of one side over all connections of a client, and cuts the connection
behind the frames FIRST, FIRST + STRIDE, FIRST + 2 STRIDE and so on. With each FIRST up to STRIDE, every boundary of a
run is cut once. Both clients come back by the rules and resume. Then

- what each got as durable is the log in the database, the device's byte for byte, the client's event for event,
- each connection of the device, the log that they make together, and all that the client handed out, ephemeral events
  too, obey the grammar.

The real gateway, contexts and journal over real sockets and a real file; only what the run says is written beforehand.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.protocol.events import with_seq
from actors.protocol.stamps import Stamps
from actors.storage.attending import Read
from actors.storage.database import DATABASE_NAME, Database
from actors.storage.journal import Journal, Top
from supervisors import ChildSpec, Restart
from tests.support.cutting_proxy import Cut, CuttingProxy, Side, cutting_proxy
from tests.support.device import Device
from tests.support.gateway_system import GatewaySystem, gateway_system
from tests.support.grammar import check
from tests.support.grammar_handed import check_handed, frame_of
from tests.support.hasty import Hasty
from tests.support.scripted_log import Go, Narrator, scripted_run
from understudy.client import Open, Polling, Position, State, open_client
from understudy.client.envelope import Event, decode_frame
from understudy.client.errors import Unreachable
from understudy.client.events import typed
from understudy.client.socket import Ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from runtime import Ref

EVENTS: Final = 1000
STRIDE: Final = 25
NEVER: Final = 10**9
"""A stride behind which there is no second cut."""
CAUGHT_UP_WITHIN: Final = 1.0
WITHIN: Final = 60.0
AT_ONCE: Final = 4
BUSY: Final = {"commands_per_minute": 10**6, "in_flight": 10**4, "connections": 100}
SIDES: Final[tuple[Side, Side]] = ("server", "client")


@attrs.frozen
class Case:
    """Both clients are cut behind the frames `first`, `first + stride`, … of `side`; `first` None: never."""

    seed: int
    side: Side = "server"
    first: int | None = None
    stride: int = STRIDE
    events: int = EVENTS

    @property
    def user(self) -> str:
        return f"{self.side}-{self.first}-{self.stride}"

    @property
    def chatty(self) -> int:
        """An ack for so many events: for each, where it is the client's frames that matter."""
        return 1 if self.side == "client" else 20


class Cuts:
    """The plan for the proxy of one client: where its next connection is to be cut."""

    def __init__(self, case: Case, which: str) -> None:
        self._case = case
        self._rng = random.Random(f"{case.seed} {case.user} {which}")
        self.proxy: CuttingProxy | None = None

    def __call__(self) -> Cut | None:
        case, rng = self._case, self._rng
        if case.first is None or self.proxy is None:
            return None
        passed = sum(each.frames[case.side] for each in self.proxy.connections)
        behind = next_boundary(passed, case.first, case.stride)
        torn, reset_server, reset_client = (rng.random() < 0.2, rng.random() < 0.5, rng.random() < 0.5)
        return Cut(case.side, behind - passed, torn=torn, reset_server=reset_server, reset_client=reset_client)


def next_boundary(passed: int, first: int, stride: int) -> int:
    """The next one to cut at, when so many frames have passed."""
    return first if passed < first else first + ((passed - first) // stride + 1) * stride


@attrs.define
class Handed:
    """What the shipped client has handed out: a list for each connection, or for the polling, that it came over.

    A client reads from the new source from the moment at which it says that it is open: what was left unread in the old
    one is not handed out any more.
    """

    sources: list[list[Event]] = attrs.field(factory=list)
    count: int = 0
    top: int = 0

    @property
    def events(self) -> list[Event]:
        return [event for source in self.sources for event in source]

    def heard(self, state: State) -> None:
        """For `on_state`."""
        if isinstance(state, Open | Polling):
            self.sources.append([])

    def add(self, event: Event) -> None:
        self.sources[-1].append(event)
        self.count += 1
        self.top = event.seq or self.top


@attrs.define
class Outcome:
    """What happened in one case, of each client: behind which frames it was cut, over all its connections, and how many
    frames of each side there were."""

    case: Case
    cut: dict[str, list[int]] = attrs.field(factory=dict)
    frames: dict[str, dict[Side, int]] = attrs.field(factory=dict)
    connections: int = 0


@asynccontextmanager
async def bed(data: Path) -> AsyncIterator[GatewaySystem]:
    """The gateway before contexts and a journal whose database is under `data`."""

    def opened() -> Database:
        return Database(data / DATABASE_NAME, random=random.Random(3), wall_clock=time.time)

    async with gateway_system(journal=lambda: Journal(opened), limits=BUSY) as here:
        yield here


async def run_case(here: GatewaySystem, case: Case) -> Outcome:
    """One case, from the empty log to the comparison. Raises AssertionError for whatever is not as it must be."""
    stamps = Stamps(random.Random(f"{case.seed} {case.user} stamps"), time.time)
    run_id = stamps.id()
    rng = random.Random(f"{case.seed} {case.user} run")
    script = scripted_run(rng, stamps, run_id=run_id, session_id="s", events=case.events)
    durable = sum(event.durable for event in script)
    narrator = Narrator(here.system.ref("/users"), case.user, script)
    root: Any = here.system.root
    storage = here.system.ref("/storage")
    position = await storage.ask(Top(case.user), WITHIN)
    async with (
        cutting_proxy(here.port, device_cuts := Cuts(case, "device")) as first,
        cutting_proxy(here.port, client_cuts := Cuts(case, "client")) as second,
        trio.open_nursery() as nursery,
    ):
        device_cuts.proxy, client_cuts.proxy = first, second
        device = Device(first.port, case.user, resume={"epoch": position.epoch, "seq": 0})
        nursery.start_soon(device.live)
        nursery.start_soon(chatter, device, case.chatty)
        got = Handed()
        gone = trio.Event()
        nursery.start_soon(read_all, second.port, case, Position(position.epoch, 0), got, gone)
        with trio.fail_after(WITHIN):
            await joined(first)
            await joined(second)
            ref = root.actor.start_child(ChildSpec(f"of-{case.user}", lambda: narrator, restart=Restart.TEMPORARY))
            nursery.start_soon(conduct, ref, narrator, device, got, rng)
            try:
                await device.until(lambda: len(device.texts) >= durable)
                await gone.wait()
                await narrator.finished.wait()
            except trio.TooSlowError:
                raise AssertionError(_stuck(here, case, device, got, first, second)) from None
        nursery.cancel_scope.cancel()
    stored = await storage.ask(Read(case.user, 0, case.events + 1), WITHIN)
    log = [with_seq(each.body, each.seq).decode() for each in stored]
    compare(device, got, log, durable)
    assert sum(event.seq is None for event in got.events) > 0
    return _outcome(case, device=first, shipped=second)


def _stuck(here: GatewaySystem, case: Case, device: Device, got: Handed, *proxies: CuttingProxy) -> str:
    """How things stand where a client did not get to the end in time."""
    node = here.system.tree().find(f"/users/{case.user}")
    passed = [[(each.frames, each.cut) for each in proxy.connections] for proxy in proxies]
    last = [frame["type"] for frame in device.frames[-3:]]
    return (
        f"device at {device.resume} after {device.codes}, last {last}; client at {got.top}; "
        f"through the proxies {passed}; context {node and node.details}; log {here.logs[-4:]}"
    )


async def joined(proxy: CuttingProxy) -> None:
    """Wait until frames go through, or the first cut has come before any."""
    while not proxy.connections or not (proxy.connections[0].frames["server"] or proxy.connections[0].cut):
        await trio.sleep(0.001)


async def chatter(device: Device, every: int) -> None:
    """An ack for so many durable events, and a question for five acks: frames of the client's, to be cut between."""
    said = 0
    while True:
        await device._changed.park()
        while said < len(device.texts):
            said += 1
            if said % every:
                continue
            seq = json.loads(device.texts[said - 1])["seq"]
            with suppress(Ended, Unreachable, AssertionError):  # the connection is being replaced
                await device.send("ack", seq=seq)
                if said % (5 * every) == 0:
                    await device.send("list_runs", limit=1)


async def conduct(ref: Ref[Any], narrator: Narrator, device: Device, got: Handed, rng: random.Random) -> None:
    """Have the script said: mostly so that both clients hear it live, now and then while they are away."""
    while not narrator.finished.is_set():
        narrator.quiet = trio.Event()
        ref.tell(Go())
        await narrator.quiet.wait()
        if rng.random() < 0.7:
            with trio.move_on_after(CAUGHT_UP_WITHIN):
                while len(device.texts) < narrator.durable or got.top < narrator.durable:
                    await trio.sleep(0.002)


async def read_all(port: int, case: Case, resume: Position, got: Handed, gone: trio.Event) -> None:
    """The shipped client, to the end of the run."""
    url = f"ws://127.0.0.1:{port}/ws"
    rng = Hasty(case.seed)
    async with open_client(url, rng=rng, user_id=case.user, resume=resume, on_state=got.heard) as client:
        async for event in client:
            got.add(event)
            if got.count % (5 * case.chatty) == 0:
                client.post("list_runs", metadata={"limit": 1})
            if event.type == "run_status" and event.metadata["status"] == "completed":
                break
    gone.set()


def compare(device: Device, got: Handed, log: list[str], durable: int) -> None:
    """That both clients have the log, the whole log, and nothing but the log, and the rest where it belongs."""
    assert len(log) == durable, (len(log), durable)
    assert device.texts == log
    device.verify(midrun=True)  # it may be on its way back for the last time
    events = [event for event in got.events if event.seq is not None]
    assert events == [typed(decode_frame(text)) for text in log]
    assert check_handed(map(frame_of, source) for source in got.sources) == []
    frames = [json.loads(text) for text in log]
    assert check(frames, connection=False) == []


def _outcome(case: Case, **proxies: CuttingProxy) -> Outcome:
    outcome = Outcome(case)
    for which, proxy in proxies.items():
        frames: dict[Side, int] = {"server": 0, "client": 0}
        cut: list[int] = []
        for each in proxy.connections:
            for side in SIDES:
                frames[side] += each.frames[side]
            if each.cut:
                cut.append(frames[case.side])
        outcome.cut[which], outcome.frames[which] = cut, frames
        outcome.connections += len(proxy.connections)
    return outcome


async def run_cases(
    here: GatewaySystem, cases: Iterable[Case], told: Callable[[Outcome], None], *, at_once: int = AT_ONCE
) -> None:
    """All of them, some at a time. The first that fails ends it, and says which it was."""
    limiter = trio.CapacityLimiter(at_once)

    async def one(case: Case) -> None:
        try:
            told(await run_case(here, case))
        except Exception as error:
            raise AssertionError(f"{case}: {error!r}") from error
        finally:
            limiter.release_on_behalf_of(case)

    async with trio.open_nursery() as nursery:
        for case in cases:
            await limiter.acquire_on_behalf_of(case)
            nursery.start_soon(one, case)


@attrs.define
class Summary:
    """What all cases came to: behind which frames the connections were cut."""

    cases: int = 0
    connections: int = 0
    cut: dict[tuple[str, Side], Counter[int]] = attrs.field(factory=dict)

    def add(self, outcome: Outcome) -> None:
        self.cases += 1
        self.connections += outcome.connections
        for which, behind in outcome.cut.items():
            self.cut.setdefault((which, outcome.case.side), Counter()).update(behind)

    def missed(self, uncut: dict[Side, Outcome]) -> list[tuple[Side, int]]:
        """The boundaries of uncut runs at which one of the clients was not cut."""
        return sorted(
            {
                (side, boundary)
                for side, outcome in uncut.items()
                for which, frames in outcome.frames.items()
                for boundary in range(1, frames[side] + 1)
                if boundary not in self.cut.get((which, side), ())
            }
        )

    def line(self, which: str, side: Side, frames: int) -> str:
        """How many of the boundaries of an uncut run were cut."""
        cut = self.cut.get((which, side), Counter())
        every = sum(boundary in cut for boundary in range(1, frames + 1))
        name = {"device": "the device", "shipped": "the shipped client"}[which]
        missed = [boundary for boundary in range(1, frames + 1) if boundary not in cut][:10]
        return f"{name}, behind frames of the {side}'s: {every} of {frames} boundaries, {cut.total()} cuts" + (
            f"; not {missed}" if missed else ""
        )


async def every_boundary(seed: int, events: int, stride: int) -> int:
    """The long form. Prints a summary."""
    began = time.monotonic()
    summary = Summary()
    with tempfile.TemporaryDirectory() as folder:
        async with bed(Path(folder)) as here:
            uncut: dict[Side, Outcome] = {}
            for side in SIDES:
                await run_cases(
                    here, [Case(seed, side, events=events)], lambda each: uncut.update({each.case.side: each})
                )
            cases = [Case(seed, side, first, stride, events) for side in SIDES for first in range(1, stride + 1)]
            await run_cases(here, cases, lambda outcome: _tell(summary, outcome, len(cases)))
            # A run that was cut often has fewer frames: the last boundaries are left, and get one cut each.
            left = [Case(seed, *each, NEVER, events) for each in summary.missed(uncut)]
            await run_cases(here, left, lambda outcome: _tell(summary, outcome, len(cases) + len(left)))
            violations = here.counters.isolation_violations
    print(f"a run of {events} events in {summary.cases} cases, seed {seed}: {summary.connections} connections")
    for side in SIDES:
        for which, frames in uncut[side].frames.items():
            print(summary.line(which, side, frames[side]))
    print(f"isolation violations: {violations}")
    print("every client's log was the server's, and obeyed the grammar")
    print(f"{time.monotonic() - began:.0f} s")
    return 0


def _tell(summary: Summary, outcome: Outcome, all_cases: int) -> None:
    summary.add(outcome)
    print(f"{summary.cases} of {all_cases}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.boundaries")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--stride", type=int, default=STRIDE, help="frames between two cuts of one run")
    chosen = parser.parse_args()
    return trio.run(every_boundary, chosen.seed, chosen.events, chosen.stride)


if __name__ == "__main__":
    raise SystemExit(main())
