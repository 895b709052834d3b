"""`python -m bench first_token`: a daemon as its user starts it, its simulated model, and one client at a time.

`first_token`: from handing `start_run` to the socket to the first `agent_delta`. `status`: from the moment at which the
daemon stamped an `agent_status` to its arrival; both clocks are this machine's, the stamp has milliseconds.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

import trio

from bench.figures import OWN, Figure, Metric, Results
from bench.machine import describe
from bench.measure import INTERRUPTED
from bench.options import say
from bench.table import render
from understudy.client import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNS: Final = 20
QUICK_RUNS: Final = 3
WITHIN: Final = 60.0
BRIEF: Final = "Build a small web shop for hand-made candles, with payments."
METRICS: Final = (
    Metric("first_token", "start_run to the first piece of the first answer", "ms", "lower"),
    Metric("status", "an agent's status, from its change to the client", "ms", "lower"),
)


def main(arguments: Sequence[str]) -> int:
    """Run it, until Ctrl-C: then 130."""
    found = argparse.ArgumentParser(prog="python -m bench first_token", description=sys.modules[__name__].__doc__)
    found.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    found.add_argument("--quick", action="store_true", help="show that all of it works: few runs")
    options = found.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as data, daemon(data) as process:
        values: dict[str, list[float]] = {metric.name: [] for metric in METRICS}
        whole = gather(port_of(process), QUICK_RUNS if options.quick else RUNS, values)
        process.terminate()
        process.communicate(timeout=WITHIN)
    figures = {name: {OWN: Figure.of(times)} for name, times in values.items() if times}
    results = Results("first_token", describe(), list(METRICS), figures, {}, {})
    print(json.dumps(results.as_json(), ensure_ascii=False, indent=1) if options.json else render(results, [OWN]))
    return 0 if whole else INTERRUPTED


def gather(port: int, runs: int, values: dict[str, list[float]]) -> bool:
    """Fill `values`; False if Ctrl-C has ended it, with what there is by then."""
    try:
        trio.run(measure, port, runs, values)
    except* KeyboardInterrupt:
        say("stopped: what had not been measured is missing")
        whole = False
    else:
        whole = True
    return whole


def daemon(data: str) -> subprocess.Popen[str]:
    """`understudy serve` on a free port."""
    program = "from understudy.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", "--port", "0", "--data", f"{data}/data"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def port_of(process: subprocess.Popen[str]) -> int:
    """Where it listens, by its own log."""
    assert process.stderr is not None
    for line in process.stderr:
        if "understudy is running" in line:
            return int(json.loads(line)["addresses"].rpartition(":")[2])
    raise RuntimeError("the daemon ended before it ran")


async def measure(port: int, runs: int, values: dict[str, list[float]]) -> None:
    """Milliseconds: of each run its first token, and of each status its way."""
    for number in range(runs):
        with trio.fail_after(WITHIN):
            await one_run(port, f"user-{number}", values)


async def one_run(port: int, user: str, values: dict[str, list[float]]) -> None:
    """Start a run, take the times until its first piece of text, and cancel it."""
    async with connect(f"127.0.0.1:{port}", rng=random.Random(), user_id=user) as client:
        began = time.perf_counter()
        reply = await client.command("start_run", content=BRIEF)
        async for event in client:
            now = time.time()
            if event.type == "agent_status":
                stamped = datetime.fromisoformat(event.timestamp).timestamp()
                values["status"].append(max(0.001, (now - stamped) * 1000))
            if event.type == "agent_delta":
                values["first_token"].append((time.perf_counter() - began) * 1000)
                await client.command("cancel_run", metadata={"run_id": reply.metadata["run_id"]})
                return
