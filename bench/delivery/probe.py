"""How long a server takes to answer, asked every 50 ms on a connection of its own by a process of its own.

`python -m bench.delivery.probe SUBJECT PORT` asks until its standard input ends, then prints a list of pairs: when it
asked, in seconds of the machine's monotonic clock, and the seconds until the answer. An answer that never came counts
with the time that it was waited for. The first pair is printed as a line of its own when it is there.
"""

from __future__ import annotations

import json
import select
import sys
from time import monotonic, sleep
from typing import Final

from bench.delivery.dialects import dialect
from bench.delivery.swarm import Swarm

EVERY: Final = 0.05
WITHIN: Final = 60.0


def main(subject: str, port: int) -> None:
    swarm = Swarm(port, dialect(subject))
    (client,) = swarm.join(["probe"], prefix="probe")
    swarm.open_all([client])
    swarm.run(lambda: swarm.inside == 1, WITHIN, "the probe's opening")
    answered = 0

    def heard(payload: bytes) -> None:
        nonlocal answered
        answered += swarm.dialect.pong(payload)

    swarm.listener, swarm.heard = client, heard
    found: list[tuple[float, float]] = []
    asked = 0
    while not over():
        asked += 1
        began = monotonic()
        client.say(swarm.dialect.ping(asked))
        swarm.run(lambda: answered >= asked or over(), WITHIN, "the probe's question")  # noqa: B023 - used at once
        found.append((began, monotonic() - began))
        if asked == 1:
            print("asking", flush=True)
        sleep(max(0.0, began + EVERY - monotonic()))
    print(json.dumps(found), flush=True)


def over() -> bool:
    """Whether standard input has ended."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
