"""What of a tool's input and output may be shown."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from actors.tools.sanitising import REDACTED, shown_input, shown_output, shown_text, smells

SECRET = "hunter2hunter2"
KEYS = ["password", "API-Key", "apiKey", "X-Auth-Token", "client_secret", "Authorization", "set-cookie", "key", "JWT",
        "aws_secret_access_key", "privateKey", "refresh_token", "db.password", "Connection String"]  # fmt: skip
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("key", KEYS)
def test_keys_that_smell(key: str) -> None:
    assert smells(key)


@pytest.mark.parametrize("key", ["city", "author", "keyboard", "monkey", "limit", "path", "name", "message"])
def test_keys_that_do_not(key: str) -> None:
    assert not smells(key)


@st.composite
def hiding(draw: st.DrawFn) -> Any:
    """A value with the secret under a key that smells, at some depth, among others."""
    value: Any = draw(st.sampled_from([SECRET, [SECRET], {"a": SECRET}, {"a": [{"b": SECRET}]}]))
    value = {**draw(st.dictionaries(st.text(max_size=5), plain, max_size=2)), draw(st.sampled_from(KEYS)): value}
    for _ in range(draw(st.integers(0, 8))):
        match draw(st.integers(0, 2)):
            case 0:
                value = {draw(st.text(max_size=5)): value}
            case 1:
                value = [draw(plain), value]
            case _:
                value = {"body": json.dumps(value)}
    return value


@given(hiding())
def test_no_secret_is_shown_at_any_depth(value: Any) -> None:
    assert SECRET not in json.dumps(shown_output(value).value)
    assert SECRET not in json.dumps(shown_input({"in": value}).value)


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in strings(item)]


@given(st.dictionaries(st.text(max_size=20), plain | st.text(min_size=150, max_size=400), max_size=5))
def test_inputs_are_cut_at_200_and_said_to_be(value: dict[str, Any]) -> None:
    shown = shown_input(value)
    assert all(len(text) <= 200 for text in strings(shown.value))
    if any(len(text) > 200 for text in strings(value)) and REDACTED not in json.dumps(shown.value):
        assert shown.truncated


@given(st.lists(st.text(min_size=0, max_size=3_000), max_size=30))
def test_what_is_shown_is_small_and_plain_whatever_comes(value: list[str]) -> None:
    shown = shown_output(value)
    assert len(json.dumps(shown.value, ensure_ascii=False)) <= 3 * 10_000 + 100
    assert shown.truncated or shown.value == [
        REDACTED if REDACTED in t else s for t, s in zip(shown.value, value, strict=True)
    ]


@given(plain)
def test_small_values_without_secrets_are_shown_as_they_are(value: Any) -> None:
    shown = shown_output({"x": value})
    json.dumps(shown.value, allow_nan=False)
    if isinstance(value, str) and "key" not in value and "{" not in value and ":" not in value and "=" not in value:
        assert shown.value == {"x": value.encode("utf-8", "replace").decode()} or not value.isprintable()


@pytest.mark.parametrize("length", [9_999, 10_000, 10_001])
def test_outputs_are_cut_at_ten_thousand(length: int) -> None:
    shown = shown_output("x" * length)
    assert len(shown.value) == min(length, 10_000)
    assert shown.truncated is (length > 10_000)


def test_depth_has_an_end() -> None:
    value: Any = "deep"
    for _ in range(60):
        value = [value]
    assert shown_output(value).truncated


@pytest.mark.parametrize("levels", [33, 600])
def test_deeper_than_python_can_walk_is_no_trouble(levels: int) -> None:
    text = '{"a":' * levels + "1" + "}" * levels
    value = msgspec.json.decode(text)
    for shown in (shown_input(value), shown_output(value), shown_output([value])):
        assert shown.truncated
        assert json.dumps(shown.value).count("a") <= 33


def test_what_has_no_word_on_the_wire_is_left_out_or_told_as_text() -> None:
    shown = shown_output(
        {"none": None, "password": None, "nan": float("nan"), "big": 2**60, "\ud800": "x\ud800", "in": [None, 1e999]}
    )
    assert shown.value == {"big": str(2**60), "\ufffd": "x\ufffd", "in": [None, None]}
    text = shown_output('{"password": "x", "a": "\\ud800"}').value
    assert "\ufffd" in text
    assert "\ud800" not in text


def test_counts_of_tokens_are_no_secrets() -> None:
    assert shown_output({"total_tokens": 7, "tokens": ["a"]}).value == {"total_tokens": 7, "tokens": REDACTED}


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f"password: '{SECRET}'",
        f'{{"a": 1, "token": "{SECRET}"',
        f"Authorization: Bearer {SECRET}",
        f"curl -H 'x: bearer {SECRET}'",
        f"https://x/?api_key={SECRET}&a=b",
        f"sk-{SECRET}",
    ],
)
def test_secrets_in_text(text: str) -> None:
    assert SECRET not in shown_text(text, 200)
    assert SECRET not in shown_output({"log": text}).value["log"]
