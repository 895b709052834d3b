"""How long a server takes to answer, asked every 50 ms on a connection of its own by a process of its own.

`python -m bench.delivery.probe SUBJECT PORT CONNECTIONS` asks until its standard input ends, then prints a list of
pairs: when it asked, in seconds of the machine's monotonic clock, and the seconds until the answer. An answer that
never came counts with the time that it was waited for. A line of its own says that the first one is there. With more
than one connection the server may close them: it is asked on one of those that are left, as long as there are any.
"""

from __future__ import annotations

import json
import select
import sys
from time import monotonic, sleep
from typing import Final

from bench.delivery.dialects import dialect
from bench.delivery.leaving import LeavingSwarm
from bench.delivery.swarm import Swarm

EVERY: Final = 0.05
WITHIN: Final = 60.0


def main(subject: str, port: int, connections: int) -> None:
    swarm = (Swarm if connections == 1 else LeavingSwarm)(port, dialect(subject))
    clients = swarm.join(["probe"] * connections, prefix="probe")
    swarm.open_all(clients)
    swarm.run(lambda: swarm.inside == connections, WITHIN, "the probe's opening")
    answered = 0

    def heard(payload: bytes) -> None:
        nonlocal answered
        answered += swarm.dialect.pong(payload)

    swarm.heard = heard
    found: list[tuple[float, float]] = []
    asked = 0
    while not over():
        client = next((each for each in clients if each.welcome is not None), None)
        if client is None:
            swarm.run(over, WITHIN, "the end")
            break
        asked += 1
        began = monotonic()
        swarm.listener = client
        client.say(swarm.dialect.ping(asked))
        swarm.run(lambda: answered >= asked or client.welcome is None or over(), WITHIN, "the probe's question")  # noqa: B023 - used at once
        found.append((began, monotonic() - began))
        if asked == 1:
            print("asking", flush=True)
        answered = asked  # also where a Close came instead
        sleep(max(0.0, began + EVERY - monotonic()))
    print(json.dumps(found), flush=True)


def over() -> bool:
    """Whether standard input has ended."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
