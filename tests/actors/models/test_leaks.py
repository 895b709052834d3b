"""A whole call under every fault of the simulated model: it ends in time, somehow, and leaves nothing."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.models.endpoint import Endpoint
from actors.models.model_call import CallFailed, CallLimits
from actors.models.plan import ModelsPlan
from actors.models.simulated.faults import FAULTS
from tests.support.models_system import NEVER, CancelCall, Heard, models_system

pytestmark = pytest.mark.usefixtures("collected")

# Every deadline is short, so that no fault lasts; the whole call may take no longer than this, and it says so itself.
SHORT = CallLimits(attempts=2, first_token=1.0, idle=1.0, attempt=3.0, total=8.0)
NEEDS: dict[str, dict[str, Any]] = {"status": {"status": 503}, "tool_call": {"tool": "look"}}
WHOLE = {"no_usage", "no_done", "tool_call", "slow", "length", "slow_first_token"}
"""Faults after which the lead's own answer may stand, whole or in part."""


def plan(url: str, api: Any) -> ModelsPlan:
    endpoints = tuple(Endpoint(name, url, "sk-test-key", name, api=api) for name in ("lead", "understudy"))
    return ModelsPlan(endpoints, (("lead", "understudy"),), NEVER)


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_ends_in_time_and_leaves_neither_task_nor_socket(
    simulated: Any, open_sockets: Any, fault: str, api: Any
):
    simulation, url = await simulated(model_name="test-model")
    simulation.tell({"lead": {"fault": fault, **NEEDS.get(fault, {})}})
    sockets, tasks = open_sockets(), trio.lowlevel.current_statistics().tasks_living
    heard = Heard()
    async with models_system(plan(url, api)) as site:
        began = trio.current_time()
        ended = await site.ended("lead", "understudy", observer=heard, limits=SHORT)
        assert trio.current_time() - began < SHORT.total + 4, "with what a busy machine adds"
        status = await site.status("lead")
    if isinstance(ended.error, CallFailed):
        assert fault == "content_filter"
    else:
        result = ended.value
        assert result.text is not None, "the understudy is well"
        assert result.target == "understudy" or result.partial or fault in WHOLE
        assert (result.text == "".join(heard.pieces)) or fault == "content_filter"
        assert not (result.partial and heard.moves), "no other model goes on with what one has begun"
    assert status.limiter.in_flight == 0
    for name in ("lead", "understudy"):
        await simulation.wait_for(name, lambda counts: counts.open == 0)
    with trio.fail_after(10):
        while (open_sockets(), trio.lowlevel.current_statistics().tasks_living) != (sockets, tasks):
            await trio.sleep(0.005)


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_cancelling_many_streams_at_once_leaves_none_open_upstream(simulated: Any, api: Any):
    """The bench does this with 200, and measures that the last is gone within a second."""
    simulation, url = await simulated(model_name="test-model")
    simulation.tell({"lead": {"fault": "endless", "tokens_per_second": 20}})
    many = 40
    heard = [Heard() for _ in range(many)]
    async with models_system(plan(url, api)) as site:
        async with trio.open_nursery() as nursery:
            for one in heard:
                nursery.start_soon(lambda one=one: site.ended("lead", "understudy", observer=one))
            for one in heard:
                await one.first_text.wait()
            assert simulation.counts("lead").open == many
            site.caller.tell(CancelCall())
        counts = await simulation.wait_for("lead", lambda counts: counts.open == 0)
        assert counts.closed_by_client == many
        assert (await site.status("lead")).limiter.in_flight == 0
        assert (await site.status("lead")).failures == 0, "a cancelled call says nothing of its model"
