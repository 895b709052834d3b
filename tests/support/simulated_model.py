"""The simulated model in the test's own process, for daemons in processes of theirs: it outlives them."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from actors.models.simulated.program import base_urls
from actors.models.simulated.server import serve_simulated
from actors.models.simulated.simulation import Pace, Simulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@attrs.frozen
class SimulatedModel:
    """One that runs."""

    simulation: Simulation
    base_url: str

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2].partition("/")[0])


@asynccontextmanager
async def simulated_model(name: str, *, tokens_per_second: float = 5000.0) -> AsyncIterator[SimulatedModel]:
    """A simulated model for the block, on a port of its own; its answers name this model."""
    simulation = Simulation(rng=random.Random(1), pace=Pace(0, tokens_per_second), model_name=name)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    [base_url] = base_urls(listeners)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_simulated, listeners, simulation)
        yield SimulatedModel(simulation, base_url)
        nursery.cancel_scope.cancel()
