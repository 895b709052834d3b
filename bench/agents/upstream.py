"""The provider as a process, and the clocks and counts that are read from outside."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from bench.delivery.servers import ending, launch, line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.delivery.servers import Site

PROVIDER: Final = (sys.executable, "-m", "bench.agents.provider")
ANSWER_WITHIN: Final = 10.0


class Provider:
    """What is said of it by itself."""

    def __init__(self, port: int) -> None:
        self.port = port

    def counts(self) -> dict[str, int]:
        """See `provider.Counts`."""
        found: dict[str, int] = get(self.port, "/counts")
        return found


@contextmanager
def provider(site: Site) -> Iterator[Provider]:
    """Run it for the block, on the core of the clients."""
    output = site.directory / "provider.log"
    process = launch(PROVIDER, site.cores.others, output)
    with ending(process):
        yield Provider(int(line(process, output, "port ").split()[1]))


def get(port: int, path: str) -> Any:
    """A document from a local server."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=ANSWER_WITHIN) as answer:
        return json.load(answer)


def put(port: int, path: str, document: Any) -> None:
    """Hand a document to a local server."""
    data = json.dumps(document).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method="PUT")
    with urllib.request.urlopen(request, timeout=ANSWER_WITHIN) as answer:
        answer.read()


def cpu_seconds(pid: int) -> float:
    """Processor time of a process with all its threads, by its own clock: to the nanosecond, not to a tick.

    The number is how Linux names another process's clock (`clock_getcpuclockid`), which Python does not offer.
    """
    return time.clock_gettime((~pid << 3) | 2)
