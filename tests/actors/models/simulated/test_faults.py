from __future__ import annotations

from typing import Any

import pytest

from actors.models.simulated import faults
from actors.models.simulated.faults import FAULTS, FaultsRefused, parse_faults


def refused(document: object, models: tuple[str, ...] = ()) -> dict[str, str]:
    with pytest.raises(FaultsRefused) as caught:
        parse_faults(document, models)
    return caught.value.fields


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_can_be_told_and_is_documented(name: str):
    needs = {"status": {"status": 500}, "tool_call": {"tool": "look"}}.get(name, {})
    planned = parse_faults({"m": {"fault": name, **needs}})["m"]
    assert planned.fault.name == name
    assert planned.requests is None
    assert f"| {name} |" in (faults.__doc__ or "")
    for parameter in planned.fault.parameters:
        assert parameter in (faults.__doc__ or "")


def test_parameters_and_their_defaults():
    planned = parse_faults({"m": {"fault": "stall", "requests": 3, "after_tokens": 0}})["m"]
    assert planned.requests == 3
    assert planned.fault["after_tokens"] == 0
    assert planned.fault["seconds"] is None


def test_an_unknown_fault_or_model_names_what_is_allowed():
    assert "stall" in refused({"m": {"fault": "explode"}})["m.fault"]
    assert "stall" in refused({"m": {}})["m.fault"]
    assert refused({"x": {"fault": "cut"}}, ("lead", "second")) == {"x": "no such model; there are lead, second"}
    assert parse_faults({"lead": {"fault": "cut"}}, ("lead",))


def test_all_mistakes_are_named_at_once_and_nothing_is_taken():
    fields = refused({
        "a": {"fault": "cut", "requests": 0, "after_token": 1},
        "b": {"fault": "status", "status": 200},
        "c": {"fault": "slow", "tokens_per_second": 0},
        "d": 5,
        "e": {"fault": "refuse", "x": 1},
        "": {"fault": "cut"},
        "x" * 201: {"fault": "cut"},
    })  # fmt: skip
    assert set(fields) == {"a.requests", "a.after_token", "b.status", "c.tokens_per_second", "d", "e.x", "", "x" * 200}
    assert "after_tokens" in fields["a.after_token"]
    assert "400 to 599" in fields["b.status"]
    assert "none" in fields["e.x"]


@pytest.mark.parametrize("document", [None, 5, [], "x"])
def test_what_is_no_object_is_refused(document: object):
    assert "" in refused(document)


@pytest.mark.parametrize(
    "wanted",
    [
        {"fault": ["cut"]},
        {"fault": "cut", "requests": True},
        {"fault": "cut", "requests": 1.5},
        {"fault": "cut", "after_tokens": -1},
        {"fault": "cut", "after_tokens": True},
        {"fault": "stall", "seconds": "long"},
        {"fault": "stall", "seconds": float("inf")},
        {"fault": "status"},
        {"fault": "status", "status": 429, "retry_after": "5\r\nx: y"},
        {"fault": "status", "status": 429, "retry_after": True},
        {"fault": "status", "status": 429, "code": 5},
        {"fault": "wrong_shape", "payload": "a\n\ndata: b"},
    ],
)
def test_senseless_values_are_refused(wanted: dict[str, Any]):
    assert len(refused({"m": wanted})) == 1
