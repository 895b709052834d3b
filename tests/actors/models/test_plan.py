"""What a plan refuses, where things will be found, and who may stand in for whom."""

from __future__ import annotations

import random
from typing import Any

import pytest

from actors.models.endpoint import Endpoint
from actors.models.model_call import CallLimits
from actors.models.plan import ModelsPlan, chain_name
from actors.models.resources import EndpointResources, may_stand_in
from actors.models.retry_budget import RetryBudget
from runtime import InvalidSpec
from supervisors import Ledger, Policy


def endpoint(name: str, *, simulated: bool = False, url: str = "https://models.test/v1") -> Endpoint:
    return Endpoint(name, "" if simulated else url, None, name, simulated=simulated)


A, B, SIM, SIM2 = endpoint("a"), endpoint("b"), endpoint("sim", simulated=True), endpoint("sim2", simulated=True)
ALL = (A, B, SIM, SIM2)


@pytest.mark.parametrize(
    ("endpoints", "chains", "more", "message"),
    [
        ((A, A), (), {}, "endpoints is 'a'; allowed: each name once"),
        ((A,), ((),), {}, r"chains is \(\); allowed: at least one"),
        ((A, B), (("a", "c"),), {}, "chains is 'c'; allowed: one of: a, b"),
        ((A, B), (("a", "b", "a"),), {}, "chains is 'a'; allowed: each endpoint once"),
        ((A,), (), {"waiting": 0}, "waiting is 0"),
    ],
)
def test_what_cannot_work_is_refused(endpoints: Any, chains: Any, more: Any, message: str):
    with pytest.raises(InvalidSpec, match=message):
        ModelsPlan(endpoints, chains, **more)


def test_simulated_endpoints_never_stand_beside_real_ones():
    plan = ModelsPlan(ALL, (("a", "sim"), ("sim", "a", "b"), ("sim", "sim2"), ("a",)))
    assert [plan.effective(chain) for chain in plan.chains] == [("a",), ("a", "b"), ("sim", "sim2"), ("a",)]
    assert plan.distinct_chains() == (("a",), ("a", "b"), ("sim", "sim2"))
    assert plan.simulated
    assert not ModelsPlan((A,), ()).simulated


def test_equal_chains_are_found_at_one_address():
    plan = ModelsPlan(ALL, (("a", "b"), ("a", "sim"), ("a",), ("b", "a")))
    paths = [plan.chain_path(chain) for chain in plan.chains]
    assert paths == ["/models/chain-a+b", "/models/chain-a", "/models/chain-a", "/models/chain-b+a"]
    assert plan.gate_path("a/b") == "/models/gate-a%2Fb"
    assert chain_name(("a+b", "c")) != chain_name(("a", "b+c"))
    with pytest.raises(InvalidSpec, match="a chain of the plan"):
        plan.chain_path(("b",))


def resources(of: Endpoint, answered_as: str | None = None) -> EndpointResources:
    made = EndpointResources(of, None, Ledger(of.name, Policy(), random.Random(1)), RetryBudget())  # type: ignore[arg-type]
    if answered_as is not None:
        made.answered_as(answered_as)
    return made


OTHER = endpoint("other", url="https://elsewhere.test/v1")


@pytest.mark.parametrize(
    ("lead", "understudy", "allowed"),
    [
        (resources(A), resources(B), True),
        (resources(A, "gpt"), resources(B, "gpt"), True),
        (resources(A, "gpt"), resources(SIM), False),
        (resources(SIM), resources(SIM2), True),
        (resources(SIM), resources(A), True),
        (resources(A, "gpt"), resources(B, "simulated"), False),
        (resources(A, "simulated"), resources(OTHER, "simulated"), True),
        (resources(A), resources(OTHER, "simulated"), False),
        # never heard, at the address of a simulated model: another name of it
        (resources(A), resources(B, "simulated"), True),
    ],
)
def test_who_may_stand_in_for_whom(lead: EndpointResources, understudy: EndpointResources, allowed: bool):
    assert may_stand_in(lead, understudy) is allowed
    assert may_stand_in(lead, lead)


@pytest.mark.parametrize("name", ["attempts", "first_token", "idle", "attempt", "total"])
def test_limits_of_nothing_are_refused(name: str):
    with pytest.raises(ValueError, match=f"{name} is 0"):
        CallLimits(**{name: 0})
