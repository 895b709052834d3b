"""The state of one simulated model: what it was told to do wrong, and what it has done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio

from actors.models.endpoint import SIMULATED_MODEL
from actors.models.simulated.brain import Brain
from actors.models.simulated.faults import Fault, Planned, parse_faults
from actors.models.simulated.prompts import Prompts

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

Outcome = Literal["ok", "faulted", "closed_by_client", "aborted"]
"""`aborted`: by the end of the server itself."""

_MOST_MODELS = 1000
OTHERS = "(others)"
"""Under this name stand the counts of models beyond the first thousand names."""


@attrs.frozen
class Pace:
    """How quickly an answer comes: seconds to the first token, and tokens a second after it (`inf` is allowed)."""

    first_token: float = 0.02
    tokens_per_second: float = 200.0


@attrs.frozen
class Advertised:
    """The limits a minute that the server names in `x-ratelimit-*` headers. It names them, and enforces nothing."""

    requests: int
    tokens: int


@attrs.frozen
class Counts:
    """Requests for one model.

    `total`: all that came. `ok`: answered whole, without a fault. `faulted`: met a fault. `open`: not over yet.
    `closed_by_client`: the client went away before the end; a stalled request that was given up is faulted as well.
    """

    total: int = 0
    ok: int = 0
    faulted: int = 0
    open: int = 0
    closed_by_client: int = 0


class Simulation:
    """One simulated model's settings and memory. Two of them share nothing.

    `models` are the names it answers to, none meaning any. `model_name` is what it calls itself. `rng` is only used
    for the ids of answers. `wall_clock` gives seconds since 1970, for `prompts`: what it was asked, and when.
    """

    def __init__(
        self,
        *,
        rng: random.Random,
        brain: Brain | None = None,
        pace: Pace | None = None,
        models: Sequence[str] = (),
        model_name: str = SIMULATED_MODEL,
        advertised: Advertised | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.brain = brain or Brain()
        self.pace = pace or Pace()
        self.models = tuple(models)
        self.model_name = model_name
        self.advertised = advertised
        self.wall_clock = wall_clock
        self.prompts = Prompts()
        self._rng = rng
        self._planned: dict[str, Planned] = {}
        self._counts: dict[str, Counts] = {}
        self._changed = trio.lowlevel.ParkingLot()

    def tell(self, document: object) -> None:
        """Takes a document of faults in the place of the one before. Raises FaultsRefused, and then changes nothing."""
        self._planned = parse_faults(document, self.models)

    def counts(self, model: str) -> Counts:
        return self._counts.get(model, Counts())

    async def wait_for(self, model: str, holds: Callable[[Counts], bool]) -> Counts:
        """Waits until the counts of a model are as wanted, and gives them. For tests: no polling, no sleeping."""
        await trio.lowlevel.checkpoint()
        while not holds(counts := self.counts(model)):
            await self._changed.park()
        return counts

    def report(self) -> dict[str, Any]:
        """What `GET /faults` answers: faults that are left, and counts."""
        return {
            "faults": {
                model: {
                    "fault": planned.fault.name,
                    "requests": planned.requests,
                    **{name: value for name, value in planned.fault.parameters.items() if value is not None},
                }
                for model, planned in self._planned.items()
            },
            "requests": {model: attrs.asdict(counts) for model, counts in self._counts.items()},
        }

    def begin(self, model: str) -> Fault | None:
        """A request has come: counts it as open, and says which fault it meets, which is then used up by one."""
        counts = self.counts(self._counted_as(model))
        planned = self._planned.get(model)
        self._set(
            model,
            attrs.evolve(
                counts, total=counts.total + 1, open=counts.open + 1, faulted=counts.faulted + (planned is not None)
            ),
        )
        if planned is None:
            return None
        if planned.requests is not None:
            if planned.requests == 1:
                del self._planned[model]
            else:
                self._planned[model] = attrs.evolve(planned, requests=planned.requests - 1)
        return planned.fault

    def end(self, model: str, outcome: Outcome) -> None:
        """A request that had begun is over."""
        counts = self.counts(self._counted_as(model))
        self._set(
            model,
            attrs.evolve(
                counts,
                open=counts.open - 1,
                ok=counts.ok + (outcome == "ok"),
                closed_by_client=counts.closed_by_client + (outcome == "closed_by_client"),
            ),
        )

    def new_id(self) -> str:
        return f"chatcmpl-{self._rng.getrandbits(96):024x}"

    def new_call_id(self) -> str:
        return f"call_{self._rng.getrandbits(96):024x}"

    def _counted_as(self, model: str) -> str:
        return model if model in self._counts or len(self._counts) < _MOST_MODELS else OTHERS

    def _set(self, model: str, counts: Counts) -> None:
        self._counts[self._counted_as(model)] = counts
        self._changed.unpark_all()
