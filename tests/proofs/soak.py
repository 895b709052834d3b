"""Spawn, crash, restart, stop: a hundred thousand times, with flat memory and nothing for the cyclic collector.

    python -m tests.proofs.soak [--cycles 100000] [--warm-up 10000]

Each cycle starts a child under a name of its own, asks it, crashes it, asks its next incarnation, watches it, times out
at it, leaves messages with it, and stops it. The collector is off: whatever is not freed by its last reference stays,
and is seen. After the warm-up the resident set may grow by no more than `BOUND`, and a hundred cycles more are made
under `no_cycles`. Exit code 0 if both hold.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import resource
import sys
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from runtime import Actor, Crash, Ended, HandlerFailed, Report, TimedOut
from runtime.testing import ActorTestKit, Probe, no_cycles, open_test_system, run_in_virtual_time, settle
from supervisors import ChildSpec, DynamicSupervisor, Intensity

BOUND: Final = 2 * 1024 * 1024
"""Bytes by which the resident set may grow after the warm-up. One object of 100 bytes kept from each of a hundred
thousand cycles would be 10 MB."""
MANY: Final = Intensity(1000, 5.0)


class Victim(Actor):
    """Crashes on "boom", waits on "wait", answers everything else."""

    async def started(self) -> None:
        self.register(f"name of {self.ref.path}")
        self.subscribe("news")
        self.timer("tick", 3600.0, "tick")
        self.start(trio.sleep_forever)

    async def receive(self, message: Any) -> object:
        if message == "boom":
            raise ValueError("asked for")
        if message == "wait":
            await trio.sleep(1.0)
        return message


class Victims(DynamicSupervisor):
    """Starts and stops by message."""

    budget = MANY

    async def receive(self, message: Any) -> object:
        match message:
            case ("start", name):
                return self.start_child(ChildSpec(name, Victim))
            case ("stop", name):
                return self.stop_child(name)
        return await super().receive(message)


async def cycle(victims: Any, probe: Probe, number: int) -> None:
    """The life of one child."""
    name = f"victim{number}"
    ref = await victims.ask(("start", name), within=1.0)
    assert await ref.ask("hello", within=1.0) == "hello"
    probe.watch(ref)
    with contextlib.suppress(HandlerFailed):
        await ref.ask("boom", within=1.0)
    assert await ref.ask("again", within=1.0) == "again"
    with contextlib.suppress(TimedOut):
        await ref.ask("wait", within=0.5)
    ref.tell("left behind")
    await victims.ask(("stop", name), within=1.0)
    await probe.fish(Ended, within=10.0)
    probe.forget()


def resident() -> int:
    """The resident set in bytes."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@attrs.define
class Soaked:
    """What a soak has found.

    Attributes:
        samples: (cycles, resident set in bytes), the first one after the warm-up.
        crashes: how many incarnations crashed.
    """

    samples: list[tuple[int, int]] = attrs.field(factory=list)
    crashes: int = 0

    @property
    def growth(self) -> int:
        """Bytes by which the resident set has grown since the warm-up."""
        return max(size for _, size in self.samples) - self.samples[0][1]


def soak(cycles: int, warm_up: int, *, say: Any = lambda line: None) -> Soaked:
    """Run `cycles` after `warm_up`, with the collector off, then some more that look for cycles."""
    found = Soaked()

    def count(report: Report) -> None:
        found.crashes += isinstance(report, Crash)

    def sample(number: int) -> None:
        found.samples.append((number, resident()))
        say(f"{number:>9,} cycles  {found.samples[-1][1] / 2**20:8.2f} MiB")

    async def main() -> None:
        async with open_test_system(ChildSpec("victims", Victims), report=count) as kit:
            await run(kit)

    async def run(kit: ActorTestKit) -> None:
        probe = await kit.probe()
        victims = kit.system.ref("/")
        await settle()
        every = max(1, cycles // 10)
        for number in range(-warm_up, cycles):
            if number >= 0 and number % every == 0:
                sample(number)
            await cycle(victims, probe, number)
            kit.reports.clear()
            kit.dead_letters.clear()
        sample(cycles)
        with no_cycles():
            for number in range(100):
                await cycle(victims, probe, cycles + number)

    gc.collect()
    gc.disable()
    try:
        run_in_virtual_time(main)
    finally:
        gc.enable()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=100_000)
    parser.add_argument("--warm-up", type=int, default=10_000)
    given = parser.parse_args()
    found = soak(given.cycles, given.warm_up, say=lambda line: print(line, flush=True))
    flat = found.growth <= BOUND
    print(
        f"grown by {found.growth / 2**20:.2f} MiB after the warm-up (allowed: {BOUND / 2**20:g}); no reference cycles"
    )
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
