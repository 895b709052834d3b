"""What users see of a provider that fails: two simulated models as processes, a lead and a spare.

`outage`: the lead answers 503. Three requests find that out; then pairs of requests, one to the chain with the dead
lead and one to the spare alone, show what the dead one still costs; then the lead heals.

`flapping`: the lead fails and heals again and again, by a seed. Two daemons live through it at the same time, one of
them without the spare, each with the same number of users, who ask again and again. Trouble is counted from what came
to the clients: an answer without a model, half an answer, an error.
"""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs
import trio

from bench.agents.asking import Asked, ask
from bench.agents.configuration import USUAL, model, single
from bench.agents.upstream import put
from bench.delivery.servers import Daemon, Site, simulated_model
from bench.delivery.swarm import NotServed
from understudy.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.program import Load

TOKENS_PER_SECOND: Final = 500.0
OPTIONS: Final = ("--first-token", "0.02", "--longest", "20")
FAILURES: Final = 3
DEAD: Final[Mapping[str, Any]] = {"fault": "status", "status": 503}
FAULTS: Final[tuple[Mapping[str, Any], ...]] = (DEAD, {"fault": "refuse"}, {"fault": "cut", "after_tokens": 0})
"""How the lead fails while it flaps: an error, a reset, an answer that breaks off before its first word."""
LEAST_SPELL: Final = 3.0
UP: Final = 5.0
DOWN: Final = 3.0
"""Seconds of a time of health, and of an outage: means of what they last longer than `LEAST_SPELL`."""
THINK: Final = 0.3
"""Seconds until a user asks again: mean."""
BACK_WITHIN: Final = 400.0


class Models(NamedTuple):
    """Ports of the two."""

    lead: int
    spare: int

    def fault(self, fault: Mapping[str, Any] | None) -> None:
        """Have the lead fail so, or not at all."""
        put(self.lead, "/faults", {} if fault is None else {"lead": dict(fault)})

    def configuration(self, chain: tuple[str, ...]) -> str:
        """Of a daemon: `chained` asks the chain, `spared` the spare alone."""
        models = model("lead", "lead", self.lead) + model("spare", "spare", self.spare)
        default = model("default", "spare", self.spare)
        return USUAL + default + models + single("chained", *chain) + single("spared", "spare")


@contextmanager
def models(site: Site) -> Iterator[Models]:
    """Run both for the block."""
    with ExitStack() as stack:
        names = ("lead", "spare")
        yield Models(*(stack.enter_context(simulated_model(site, TOKENS_PER_SECOND, n, *OPTIONS)) for n in names))


def outage(load: Load, site: Site) -> dict[str, float]:
    """The lead is dead for `load.burst` pairs of requests, and for `load.seconds` at least."""
    with models(site) as both, Daemon(site, configuration=both.configuration(("lead", "spare"))).running() as running:
        found, _ = trio.run(partial(one_outage, running.port, both, load))
    return {f"{load.metric}_{name}": value for name, value in found.items()}


async def one_outage(port: int, both: Models, load: Load) -> tuple[dict[str, float], list[tuple[str, Asked]]]:
    """Milliseconds, and of `back` seconds; and each request with what was the matter when it was made."""
    seen: list[tuple[str, Asked]] = []
    rng = random.Random(1)
    async with connect(f"127.0.0.1:{port}", rng=rng, user_id="watcher") as connection:

        async def note(when: str, workflow: str) -> Asked:
            asked = await ask(connection, workflow)
            if asked.status != "completed" or asked.troubles:
                raise NotServed(f"{when}: {asked.status} {asked.troubles}")
            seen.append((when, asked))
            return asked

        for workflow in ("chained", "spared") * 2:
            await note("healthy", workflow)
        both.fault(DEAD)
        failed = [await note("failing", "chained") for _ in range(FAILURES)]
        pairs: list[tuple[Asked, Asked]] = []
        began = trio.current_time()
        while len(pairs) < load.burst or trio.current_time() < began + load.seconds:
            first, second = ("chained", "spared") if len(pairs) % 2 else ("spared", "chained")
            pair = {workflow: await note("dead", workflow) for workflow in (first, second)}
            pairs.append((pair["chained"], pair["spared"]))
        both.fault(None)
        healed = trio.current_time()
        while (await note("healed", "chained")).models != ["lead"]:
            if trio.current_time() > healed + BACK_WITHIN:
                raise NotServed("the lead has not come back")
        back = trio.current_time() - healed
    tokens = [(1000 * chained.first_token, 1000 * spared.first_token) for chained, spared in pairs]
    return {
        "failure": median(1000 * asked.first_token for asked in failed),
        "healthy": median(spared for _, spared in tokens),
        "dead": median(chained for chained, _ in tokens),
        "pays": median(chained - spared for chained, spared in tokens),
        "back": back,
    }, seen


@attrs.define
class Tally:
    """Requests of one daemon's users, and how many of them were not answered in full."""

    requests: int = 0
    troubles: int = 0

    @property
    def percent(self) -> float:
        return 100 * self.troubles / max(1, self.requests)


def flapping(load: Load, site: Site) -> dict[str, float]:
    """`load.actors` users of each daemon, for `load.seconds`; `load.burst` is the seed."""
    chains = {"off": ("lead",), "on": ("lead", "spare")}
    with ExitStack() as stack:
        both = stack.enter_context(models(site))
        ports: dict[str, int] = {}
        for name, chain in chains.items():
            own = Site(site.directory / name, site.cores)
            own.directory.mkdir()
            daemon = Daemon(own, configuration=both.configuration(chain))
            ports[name] = stack.enter_context(daemon.running()).port
        tallies = trio.run(partial(flap, ports, both, load))
    if not tallies["off"].troubles or not tallies["on"].requests:
        raise NotServed("nobody saw anything of the outage")
    return {
        f"{load.metric}_off": tallies["off"].percent,
        f"{load.metric}_on": tallies["on"].percent,
        f"{load.metric}_ratio": tallies["on"].percent / tallies["off"].percent,
    }


async def flap(ports: Mapping[str, int], both: Models, load: Load) -> dict[str, Tally]:
    """Users ask while the lead fails and heals."""
    tallies = {name: Tally() for name in ports}
    end = trio.current_time() + load.seconds
    async with trio.open_nursery() as nursery:
        for name, port in ports.items():
            for number in range(load.actors):
                nursery.start_soon(user, port, number, end, tallies[name])
        rng = random.Random(load.burst)
        for fault in cycle(FAULTS):
            await trio.sleep(THINK)
            both.fault(fault)
            await until(end, LEAST_SPELL + rng.expovariate(1 / DOWN))
            both.fault(None)
            await until(end, LEAST_SPELL + rng.expovariate(1 / UP))
            if trio.current_time() >= end:
                break
    return tallies


async def until(end: float, seconds: float) -> None:
    """Sleep so long, but not beyond the end."""
    await trio.sleep_until(min(end, trio.current_time() + seconds))


async def user(port: int, number: int, end: float, tally: Tally) -> None:
    """Asks until the end."""
    rng = random.Random(number)
    async with connect(f"127.0.0.1:{port}", rng=rng, user_id=f"user-{number}") as connection:
        while trio.current_time() < end:
            asked = await ask(connection, "chained")
            tally.requests += 1
            tally.troubles += bool(asked.troubles) or asked.status != "completed"
            await trio.sleep(rng.expovariate(1 / THINK))
