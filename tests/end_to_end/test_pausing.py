"""A pause while a model is failing: no attempt is made at the provider until it is over."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from actors.models.simulated.program import base_urls
from actors.models.simulated.server import serve_simulated
from actors.models.simulated.simulation import Pace, Simulation
from tests.support.daemon import house
from tests.support.device import devices

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "lead-1"


async def test_a_paused_run_makes_no_further_attempt_at_a_model_that_fails(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    pace = Pace(first_token=0, tokens_per_second=float("inf"))
    provider = Simulation(rng=random.Random(1), model_name=MODEL, pace=pace)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(serve_simulated, listeners, provider)
    provider.tell({MODEL: {"fault": "status", "status": 500}})
    async with house(tmp_path, base_urls(listeners)[0]) as here, devices(here.port, "ada") as [ada]:
        run_id = await ada.start_run()
        await ada.wait_for(type="agent_status", status="retrying", run_id=run_id)
        await ada.ask("pause_run", run_id=run_id)
        await ada.wait_for(type="run_status", status="paused", run_id=run_id)
        provider.tell({})
        before = provider.counts(MODEL).total
        assert here.node(f"/runs/{run_id}/writing-1") is not None, "the attempt at the step is the same"
        await ada.ask("resume_run", run_id=run_id)
        assert await ada.run_ended(run_id) == "completed"
        assert provider.counts(MODEL).total == before + 2, "one for each step, and none while it was paused"
        statuses = [f["metadata"]["status"] for f in ada.log if f["type"] == "agent_status"]
        rested = statuses.index("paused")
        assert statuses[rested + 1] == "thinking"
        assert statuses[:rested].count("started") == 1
        ada.verify()
