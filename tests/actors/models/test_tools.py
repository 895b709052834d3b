"""Tool calls through the whole path: offered, wanted, validated, answered, and never from another endpoint."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from actors.models.chat import ChatMessage, Tool, ToolCall
from actors.models.endpoint import Endpoint
from actors.models.model_call import ModelCall
from actors.models.plan import ModelsPlan
from actors.models.tools import with_ids
from supervisors import Policy
from tests.support import models_system as support
from tests.support.models_system import NEVER, ONCE, Heard, fails, models_system

LOOK = Tool("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}})
ASKED = ChatMessage("user", 'Find it.\ncall-tool: look {"at": "the sea"}\ncall-tool: look')


@pytest.fixture
async def provider(simulated: Any) -> Any:
    return await simulated(model_name="test-model")


def plan(url: str, api: Any = "chat", *, chain: tuple[str, ...] = ("lead",)) -> ModelsPlan:
    return ModelsPlan(tuple(Endpoint(name, url, "sk-test-key", name, api=api) for name in chain), (chain,), NEVER)


def asking(monkeypatch: pytest.MonkeyPatch, call: ModelCall) -> None:
    """Has the caller of the system ask this."""
    monkeypatch.setattr(support, "ModelCall", lambda models, *rest: attrs.evolve(call, models=models))


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_loop_over_tools(provider: Any, monkeypatch: pytest.MonkeyPatch, api: Any):
    simulation, url = provider
    history: tuple[ChatMessage, ...] = (ChatMessage("system", "You are the Analyst."), ASKED)
    found = []
    async with models_system(plan(url, api)) as site:
        for number in range(3):
            asking(monkeypatch, ModelCall((), history, "u1", "r1", tools=(LOOK,)))
            result = await site.call("lead")
            assert not result.partial
            if not result.tool_calls:
                break
            [call] = result.tool_calls
            found.append((call.name, call.input))
            history += (
                ChatMessage("assistant", result.text or "", result.tool_calls),
                ChatMessage("tool", f"seen {number}", tool_call_id=call.id),
            )
    assert found == [("look", {"at": "the sea"}), ("look", {})]
    assert "A tool has said: seen 0" in result.text
    assert "A tool has said: seen 1" in result.text
    assert result.usage.prompt_tokens > 0
    assert simulation.counts("lead").ok == 3


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_arguments_that_cannot_be_read_are_data_and_not_a_failure(provider: Any, api: Any):
    simulation, url = provider
    async with models_system(plan(url, api)) as site:
        simulation.tell({"lead": {"fault": "tool_call", "tool": "look", "arguments": '{"at":', "calls": 2}})
        result = await site.call("lead")
        assert [call.input for call in result.tool_calls] == [None, None]
        assert "not a JSON object" in (result.tool_calls[0].problem or "")
        assert len({call.id for call in result.tool_calls}) == 2
        assert (await site.status("lead")).failures == 0


@pytest.mark.parametrize(
    ("arguments", "value"),
    [("", {}), ("{}", {}), ('{"a": 1}', {"a": 1}), ("[1]", None), ("5", None), ("{", None), ("{" * 9999, None)],
)
def test_what_arguments_come_to(arguments: str, value: Any):
    call = ToolCall("1", "look", arguments)
    assert call.input == value
    assert (call.problem is None) == (value is not None)


def test_ids_that_a_provider_leaves_out_or_gives_twice():
    given = (ToolCall("", "a", ""), ToolCall("x", "b", ""), ToolCall("x", "c", ""), ToolCall("", "d", ""))
    calls = with_ids(given, random.Random(1))
    assert len({call.id for call in calls}) == 4
    assert all(call.id for call in calls)
    assert calls[1].id == "x"
    assert [call.name for call in calls] == ["a", "b", "c", "d"]


async def test_no_other_endpoint_goes_on_with_what_one_has_begun(provider: Any, monkeypatch: pytest.MonkeyPatch):
    simulation, url = provider
    chain = ("lead", "understudy")
    async with models_system(plan(url, chain=chain)) as site:
        simulation.tell(fails("lead"))
        asking(monkeypatch, ModelCall((), (ASKED,), "u1", "r1", keep_to="lead"))
        result = await site.call(*chain, limits=ONCE)
        assert result.degraded
        assert simulation.counts("understudy").total == 0
        asking(monkeypatch, ModelCall((), (ASKED,), "u1", "r1", keep_to="understudy"))
        result = await site.call(*chain)
        assert (result.target, simulation.counts("lead").total) == ("understudy", 1)


async def test_who_keeps_to_an_understudy_stands_in_no_other_line(provider: Any, monkeypatch: pytest.MonkeyPatch):
    """The lead is busy all the time, and well; and what it is asked for is its own."""
    simulation, url = provider
    chain, ahead = ("lead", "understudy"), Heard()
    lead, spare = (Endpoint(name, url, "sk-test-key", name) for name in chain)
    busy = ModelsPlan((attrs.evolve(lead, in_flight=1), spare), (chain,), NEVER)
    async with models_system(busy) as site, trio.open_nursery() as nursery:
        simulation.tell(fails("lead", fault="stall", after_tokens=2))
        nursery.start_soon(partial(site.ended, *chain, observer=ahead))
        await ahead.first_text.wait()
        asking(monkeypatch, ModelCall((), (ASKED,), "u1", "r1", keep_to="understudy"))
        result = await site.call(*chain)
        assert (result.target, result.degraded) == ("understudy", False)
        status = await site.status("lead")
        assert (status.limiter.in_flight, status.traffic.turned_away, status.waiting) == (1, 0, 0)
        nursery.cancel_scope.cancel()


async def test_who_keeps_to_one_takes_no_probe_of_another(provider: Any, monkeypatch: pytest.MonkeyPatch):
    simulation, url = provider
    chain = ("lead", "understudy")
    endpoints = tuple(Endpoint(name, url, "sk-test-key", name) for name in chain)
    soon = ModelsPlan(endpoints, (chain,), Policy(failures=1, open_first=0.05, open_cap=0.05, probe_within=60))
    async with models_system(soon) as site:
        simulation.tell(fails("lead", requests=1))
        assert (await site.call(*chain, limits=ONCE)).target == "understudy"
        with trio.fail_after(20):
            while (await site.status("lead")).open_for:
                await trio.sleep(0.01)
        asking(monkeypatch, ModelCall((), (ASKED,), "u1", "r1", keep_to="understudy"))
        assert (await site.call(*chain)).target == "understudy"
        assert simulation.counts("lead").total == 1
        assert (await site.status("lead")).state == "open"
        monkeypatch.undo()
        assert (await site.call(*chain)).target == "lead", "the probe is left for who may use it"


async def test_who_keeps_to_one_that_is_parked_does_not_wait_for_it(provider: Any, monkeypatch: pytest.MonkeyPatch):
    simulation, url = provider
    chain = ("lead", "understudy")
    async with models_system(plan(url, chain=chain)) as site:
        simulation.tell(fails("lead", status=429, retry_after=20, requests=1))
        assert (await site.call(*chain, limits=ONCE)).target == "understudy"
        heard = Heard()
        asking(monkeypatch, ModelCall((), (ASKED,), "u1", "r1", keep_to="lead"))
        assert (await site.call(*chain, observer=heard)).degraded
        assert [event[0] for event in heard.events] == ["fell_over"]
        assert simulation.counts("understudy").total == 1


async def test_nor_where_nothing_else_is_left(provider: Any, monkeypatch: pytest.MonkeyPatch):
    simulation, url = provider
    async with models_system(plan(url, chain=("lead",))) as site:
        simulation.tell(fails("lead", status=429, retry_after=5, requests=1))
        assert (await site.call("lead", limits=ONCE)).degraded
        heard = Heard()
        asking(monkeypatch, ModelCall((), (ASKED,), "u1", "r1", keep_to="lead"))
        assert (await site.call("lead", observer=heard)).degraded
        assert [event[0] for event in heard.events] == ["fell_over"]
        assert simulation.counts("lead").total == 1
