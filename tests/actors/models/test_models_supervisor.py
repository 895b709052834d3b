"""The Models supervisor: what it starts, what outlives a gate, and the simulated model in it."""

from __future__ import annotations

import random
from typing import Any

import attrs
import httpx2
import pytest
import trio

from actors.models.endpoint import Endpoint
from actors.models.lease import Acquire
from actors.models.plan import ModelsPlan
from actors.models.simulated.simulation import Pace, Simulation
from actors.models.supervisor import Models, SimulatedModel, exhausted
from runtime import InvalidSpec, SystemFailed, open_system
from supervisors import ChildSpec, Ledger, Policy, Ticket, supervise
from tests.support.models_system import Crash, models_system

SIMULATED = Endpoint("default", "", None, "any", simulated=True)
REAL = Endpoint("real", "http://127.0.0.1:9/v1", None, "any")


def simulation() -> Simulation:
    return Simulation(rng=random.Random(1), pace=Pace(first_token=0, tokens_per_second=float("inf")))


async def test_the_simulated_model_answers_through_the_same_path():
    model = simulation()
    async with models_system(ModelsPlan((SIMULATED,), (("default",),)), model) as site:
        result = await site.call("default")
        assert (result.model, result.degraded) == ("simulated", False)
        status = await site.status("default")
        assert (status.simulated, status.limiter.in_flight_limit) == (True, None)
        assert model.counts("any").ok == 1


async def test_a_simulated_model_that_crashes_is_found_at_the_same_port(monkeypatch: pytest.MonkeyPatch):
    class Fragile(SimulatedModel):
        async def receive(self, message: Any) -> object:
            if isinstance(message, Crash):
                raise ZeroDivisionError("the test says so")
            return await super().receive(message)

    monkeypatch.setattr("actors.models.supervisor.SimulatedModel", Fragile)
    async with models_system(ModelsPlan((SIMULATED,), (("default",),)), simulation()) as site:
        await site.call("default")
        server = site.system.ref("/models/simulated")
        url = site.resources("default").endpoint.base_url
        server.tell(Crash())
        result = await site.call("default")
        assert (result.target, result.degraded) == ("default", False)
        assert server.target.incarnation == 1
        assert site.resources("default").endpoint.base_url == url
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert (await http.get(url.removesuffix("/v1") + "/health")).status_code == 200


async def test_a_simulated_model_whose_server_ends_is_started_again():
    async with models_system(ModelsPlan((SIMULATED,), (("default",),)), simulation()) as site:
        server = site.system.ref("/models/simulated")
        server.tell("what?")
        [task] = server.target.links.tasks
        task.cancel()
        while server.target.incarnation == 0:
            await trio.sleep(0.001)
        assert (await site.call("default")).model == "simulated"


async def test_beside_a_real_endpoint_the_simulated_one_is_left_out():
    plan = ModelsPlan((SIMULATED, REAL), (("real", "default"), ("real",)))
    model = simulation()
    async with models_system(plan, model) as site:
        names = set(site.models.children)
        assert names == {"simulated", "gate-default", "gate-real", "chain-real"}
        for _ in range(2):
            result = await site.call("real", "default")
            assert result.degraded
            assert {attempt.target for attempt in result.attempts} == {"real"}
    assert model.counts("any").total == 0


async def test_a_provider_that_is_down_or_misconfigured_does_not_keep_it_from_starting():
    broken = Endpoint("broken", "http://[not-an-address/v1", "kä", "any")
    plan = ModelsPlan((broken, REAL), (("broken",), ("real",)))
    async with models_system(plan) as site:
        assert (await site.call("broken")).degraded
        assert (await site.status("broken")).last_failure is not None


async def test_the_clients_are_closed_in_the_end():
    async with models_system(ModelsPlan((REAL,), (("real",),))) as site:
        client = await site.resources("real").client()
        assert not client.is_closed()
    assert client.is_closed()


async def test_two_systems_share_nothing():
    plan = ModelsPlan((SIMULATED,), (("default",),))
    first, second = simulation(), simulation()
    async with models_system(plan, first) as one, models_system(plan, second) as other:
        assert one.resources("default").endpoint.base_url != other.resources("default").endpoint.base_url
        for _ in range(3):
            one.resources("default").ledger.fail(trio.current_time())
        assert (await one.call("default")).degraded
        assert (await other.call("default")).target == "default"
    assert (first.counts("any").total, second.counts("any").total) == (0, 1)


async def test_a_warm_up_that_fails_is_only_told(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    warmed = trio.Event()

    async def fail() -> None:
        warmed.set()
        raise RuntimeError("cold")

    monkeypatch.setattr("actors.models.supervisor.warm_up", fail)
    async with models_system(ModelsPlan((SIMULATED,), (("default",),)), simulation()) as site:
        await warmed.wait()
        assert (await site.call("default")).model == "simulated"
        assert site.system.ref("/models").target.incarnation == 0


async def start(models: Any) -> None:
    async with open_system(supervise("root", [ChildSpec("elsewhere", models)])):
        await trio.sleep_forever()


async def test_at_another_path_than_planned_it_does_not_start():
    with pytest.RaisesGroup(SystemFailed):
        await start(lambda: Models(ModelsPlan((REAL,), (("real",),))))


def test_a_simulated_endpoint_needs_a_simulation():
    with pytest.raises(InvalidSpec, match="simulation is None"):
        Models(ModelsPlan((SIMULATED,), (("default",),)))


def ledgers(now: float, *states: str) -> list[Ledger]:
    made = []
    for number, state in enumerate(states):
        ledger = Ledger(f"m{number}", Policy(), random.Random(1))
        if state == "open":
            for _ in range(3):
                ledger.fail(now)
        elif state == "parked":
            ledger.park(now + 2)
        made.append(ledger)
    return made


@attrs.frozen
class Other:
    pass


async def test_what_a_chain_says_when_nobody_may_be_asked(mock_clock: Any):
    now = trio.current_time()

    def asked(after: int | None) -> Any:
        ticket = None if after is None else Ticket("m", 0, position=after)
        return Acquire(None, (), 0, None, "u", "r", now + 9, after=ticket)  # type: ignore[arg-type]

    answer = exhausted(ledgers(now, "open", "open"), asked(None))
    assert (answer.parked_for, answer.restarting) == (None, False)
    assert 3.75 <= answer.retry_after <= 5
    answer = exhausted(ledgers(now, "open", "parked"), Other())
    assert (answer.retry_after, answer.parked_for, answer.restarting) == (2, 2, False)
    answer = exhausted(ledgers(now, "parked", "open"), asked(0))
    assert (answer.retry_after, answer.parked_for) == (2, None), "what has been tried is not waited for"
    answer = exhausted(ledgers(now, "closed"), asked(0))
    assert (answer.retry_after, answer.parked_for, answer.restarting) == (0, None, False)
    answer = exhausted(ledgers(now, "closed", "parked"), asked(None))
    assert (answer.parked_for, answer.restarting) == (2, True)
