from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.models.chat import ChatMessage, ChatRequest, ToolCall, Usage
from actors.models.endpoint import Endpoint, is_loopback, names_simulated
from actors.models.provider_limits import ProviderLimits, parse_duration, parse_provider_limits
from actors.models.tokens import estimate_prompt, estimate_tokens, reservation


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8080/v1", "http://LOCALHOST./v1", "http://a.localhost", "http://127.0.0.1", "https://127.9.9.9:1/",
     "http://[::1]:8000/v1", "http://[::ffff:127.0.0.1]/v1", "http://[::1%lo]/"],
)  # fmt: skip
def test_loopback(url: str):
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com/v1", "http://localhost.example.com", "http://127.0.0.1.example.com", "http://0.0.0.0",
     "http://10.0.0.1", "http://[::]/", "http://[2001:db8::1]", "localhost", "", "http://[::1", "http://user@example.com",
     "http://127.0.0.1@example.com/"],
)  # fmt: skip
def test_not_loopback(url: str):
    assert not is_loopback(url)


def test_an_endpoint_hides_its_key_and_refuses_senseless_limits():
    assert "sk-1" not in repr(Endpoint("a", "http://x", "sk-1", "m"))
    for limit in ("requests_per_minute", "tokens_per_minute", "in_flight"):
        with pytest.raises(ValueError, match=limit):
            Endpoint("a", "http://x", None, "m", **{limit: 0})


def test_who_is_simulated():
    assert names_simulated("simulated")
    assert names_simulated(" Simulated ")
    assert not names_simulated("simulated-annealing-7b")
    assert not names_simulated("")


def test_estimates():
    assert estimate_tokens("") == 0
    assert estimate_tokens("a") == 1
    assert estimate_tokens("a" * 400) == 100
    assert estimate_tokens("水" * 100) == 100
    assert estimate_tokens("ж" * 90) == 60
    assert estimate_tokens("\ud83d") >= 1
    assert estimate_prompt(["a" * 40, ""]) == 3 + 4 + 10 + 4


@given(st.text(), st.text())
def test_an_estimate_grows_with_the_text(a: str, b: str):
    assert (
        max(estimate_tokens(a), estimate_tokens(b)) <= estimate_tokens(a + b) <= estimate_tokens(a) + estimate_tokens(b)
    )


def test_reservation():
    assert reservation(100, 50) == 150
    assert reservation(100, None) == 1124
    assert reservation(100, None, 1000) == 350


def test_a_request_knows_its_limit_and_its_size():
    message = ChatMessage("assistant", "", (ToolCall("1", "look", "{}"),))
    request = ChatRequest("m", (message,), {"max_tokens": 7})
    assert request.max_tokens == 7
    assert request.prompt_tokens == 3 + 4 + 2
    assert ChatRequest("m", (), {"max_completion_tokens": 8, "max_tokens": 7}).max_tokens == 8
    assert ChatRequest("m", (), {"max_tokens": True}).max_tokens is None
    assert Usage.estimate(request, "a" * 8).total == 9 + 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("2m59.56s", 179.56), ("7", 7), ("1d", 86400),
     ("", None), ("s", None), ("1x", None), ("1s?", None), ("-1s", None), ("1" * 400, None)],
)  # fmt: skip
def test_durations(text: str, seconds: float | None):
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))


def test_rate_limit_headers():
    headers = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
        "x-ratelimit-limit-tokens": "many",
    }
    expected = ProviderLimits(limit_requests=500, remaining_requests=499, reset_requests=pytest.approx(0.12))
    assert parse_provider_limits(headers) == expected
    assert parse_provider_limits({"x-ratelimit-limit-tokens": "-1", "x-ratelimit-limit-requests": "9" * 5000}) is None
    assert parse_provider_limits({}) is None
