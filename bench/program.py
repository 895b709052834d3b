"""What every measuring program shares: its load, its rounds, its latch, and the one line that it prints.

A subject of a benchmark is a program of its own, in an environment of its own, that measures one metric and prints one
JSON object. So this module needs nothing but the standard library.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import platform
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence

    Measure = Callable[["Load"], float]
    AsyncMeasure = Callable[["Load"], Coroutine[Any, Any, float]]

ASK_WITHIN = 60.0
"""Seconds that an ask may take: every subject that knows deadlines gives one, and none is ever reached."""
STARVED_AFTER = 10.0
"""Seconds without an answer after which a neighbour is called starved."""
ENOUGH_ASKS = 5
"""An ask beside saturated actors is repeated for the load's seconds, but at least this often."""
OTHER_LOADS = {"ask_64": "ask", "neighbour_working": "neighbour"}
"""Metric → the one that is measured in the same way, with another load."""


class Load(NamedTuple):
    """What one run of a program has to do.

    Attributes:
        metric: which figure is wanted.
        seconds: how long to go on with rounds.
        actors: how many take part.
        burst: messages that each sender sends when it is woken; crashes, for `restart`.
        work: seconds of computing that a saturated actor does for each message.
    """

    metric: str
    seconds: float
    actors: int
    burst: int
    work: float

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Load:
        """From `key=value` arguments, in any order, each key once."""
        given = dict(argument.split("=", 1) for argument in arguments)
        return cls(
            given["metric"], float(given["seconds"]), int(given["actors"]), int(given["burst"]), float(given["work"])
        )

    def arguments(self) -> list[str]:
        """As `parse` reads them; the program that is not Python reads them too."""
        return [f"{key}={value}" for key, value in self._asdict().items()]


class Rounds:
    """Rounds of the same work, until the time is over: one to warm up, then at least one that counts.

    for _ in rounds:
        ...  # the work
    rounds.rate(1000)  # if a round is a thousand of something
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.count = 0
        self.begun = self.now = 0.0

    def __iter__(self) -> Iterator[None]:
        yield
        self.begun = perf_counter()
        while True:
            yield
            self.count += 1
            self.now = perf_counter()
            if self.now - self.begun >= self.seconds:
                return

    def rate(self, each: int) -> float:
        """How many a second, of what each round has `each` of."""
        return self.count * each / (self.now - self.begun)


class Latch:
    """Counted down by the handlers; the last of a round wakes the one who waits, once.

    Handlers do it in place (`latch.left -= 1`, then `if not latch.left: latch.event.set()`), for a call a message would
    weigh as much as a message.
    """

    __slots__ = ("_make", "event", "left")

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self.arm(0)

    def arm(self, count: int) -> None:
        """Open again after `count`."""
        self.left = count
        self.event = self._make()


def rss() -> int:
    """Bytes of memory that this process holds, after a full collection."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    return int(shown.stdout) * 1024


def compute(seconds: float) -> None:
    """Keep the processor busy for so long."""
    end = perf_counter() + seconds
    while perf_counter() < end:
        pass


@contextmanager
def answered() -> Iterator[None]:
    """End the program, saying why, if the block takes longer than `STARVED_AFTER`.

    By a thread: where a saturated actor never gives the loop up, nothing that the loop runs could say so.
    """

    def give_up() -> None:
        print(
            f"starved: no answer in {STARVED_AFTER:g} s beside actors that are never idle", file=sys.stderr, flush=True
        )
        os._exit(1)

    timer = threading.Timer(STARVED_AFTER, give_up)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def middle(values: Iterable[float]) -> float:
    """The median, of an odd number of values; of an even number, the upper of the two."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


async def bursts(
    load: Load, latch: Latch, put: Callable[[Any], Awaitable[Any]], kind: Callable[[int, str], Any], *, fresh: bool
) -> float:
    """Rounds of as many messages as a burst has, each put with an await: how many a second.

    Args:
        put: hands over one message.
        kind: makes one; one for all, or with `fresh` each.
    """
    note, rounds = kind(1, "a note"), Rounds(load.seconds)
    for _ in rounds:
        latch.arm(load.burst)
        if fresh:
            for number in range(load.burst):
                await put(kind(number, "a note"))
        else:
            for _ in range(load.burst):
                await put(note)
        await latch.event.wait()
    return rounds.rate(load.burst)


def run_asyncio(function: AsyncMeasure, load: Load) -> float:
    """Run a measure in an event loop of its own."""
    return asyncio.run(function(load))


def asynchronous(run: Callable[[AsyncMeasure, Load], float], *functions: AsyncMeasure) -> dict[str, Measure]:
    """Measures by the names of their functions. Some serve for a second metric, with another load.

    Args:
        run: runs one in an event loop of its own.
        functions: async, each called as its metric.
    """
    found: dict[str, Measure] = {function.__name__: partial(run, function) for function in functions}
    return found | {metric: found[same] for metric, same in OTHER_LOADS.items() if same in found}


def main(measures: Mapping[str, Measure], version: str) -> None:
    """Measure what the arguments name, and print it.

    Args:
        measures: metric → what measures it. A metric that is not there cannot be had of this subject.
        version: of the subject.
    """
    load = Load.parse(sys.argv[1:])
    measure = measures.get(load.metric)
    begun, used = perf_counter(), process_time()
    value = None if measure is None else measure(load)
    share = (process_time() - used) / (perf_counter() - begun)
    runtime = f"{platform.python_implementation()} {platform.python_version()}"
    print(json.dumps({"value": value, "version": version, "runtime": runtime, "share": share}), flush=True)
