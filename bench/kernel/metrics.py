"""What is measured of a kernel, and with what load."""

from __future__ import annotations

from typing import Final

from bench.figures import Metric
from bench.measure import Task
from bench.program import Load

SECONDS: Final = 1.0
"""How long a run goes on with rounds, beside starting up and one round to warm up."""
QUICK_SECONDS: Final = 0.02
FULL_LIMIT: Final = 60.0
"""Seconds that a program may take. A peer that starves its neighbours never answers at all."""
WORK: Final = 0.00002

TELL: Final = Metric("tell", "one ready-made message told again and again, in bursts of 1,000", "/s", "higher")
TELL_FRESH: Final = Metric("tell_fresh", "the same, a message made for each tell", "/s", "higher")
ASK: Final = Metric("ask", "round trips of one asker, an actor, one after the other", "/s", "higher")
ASK_TASK: Final = Metric("ask_task", "the same, the asker a task that is no actor", "/s", "higher")
ASK_64: Final = Metric("ask_64", "round trips of 64 askers of one actor, together", "/s", "higher")
FAN_IN: Final = Metric("fan_in", "1,000 actors, each woken once, send 10 messages each to one", "/s", "higher")
FAN_OUT: Final = Metric("fan_out", "deliveries to 1,000 parked actors, one message each", "/s", "higher")
SPAWN: Final = Metric("spawn", "actors started until the last of 10,000 has started", "/s", "higher")
RESTART: Final = Metric("restart", "from a crash until the next message is handled, on an idle loop", "µs", "lower")
MEMORY: Final = Metric("memory", "resident memory of an idle actor that has handled a message, of 10,000", "B", "lower")
NEIGHBOUR: Final = Metric("neighbour", "an ask beside 100 actors whose mailboxes are never empty", "ms", "lower")
NEIGHBOUR_WORKING: Final = Metric("neighbour_working", "the same, each message 20 µs of computing", "ms", "lower")


def tasks(*, quick: bool = False) -> tuple[Task, ...]:
    """Every metric with its load. `quick` shows that all of it works, and is no measurement."""
    seconds = QUICK_SECONDS if quick else SECONDS
    many = 50 if quick else 1000
    crowd = 1000 if quick else 10_000

    def task(metric: Metric, actors: int, burst: int, *, work: float = 0.0) -> Task:
        return Task(metric, Load(metric.name, seconds, actors, burst, work), FULL_LIMIT)

    return (
        task(TELL, 1, 1000),
        task(TELL_FRESH, 1, 1000),
        task(ASK, 1, 1000),
        task(ASK_TASK, 1, 1000),
        task(ASK_64, 64, 50),
        task(FAN_IN, many, 10),
        task(FAN_OUT, many, 1),
        task(SPAWN, crowd, 1),
        task(RESTART, 1, 20 if quick else 1000),
        task(MEMORY, crowd, 1),
        task(NEIGHBOUR, 100, 1),
        task(NEIGHBOUR_WORKING, 100, 1, work=WORK),
    )
