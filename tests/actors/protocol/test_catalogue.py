"""The catalogue of failures: complete, in the words of the protocol, and free of anybody else's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.models.failure import _RULES, AnswerBroken, FailureKind, classify
from actors.models.model_call import CallFailed
from actors.protocol import catalogue
from actors.protocol.catalogue import CATALOGUE, USUAL, Failure, fallback, retrying
from actors.protocol.catalogue_page import render
from actors.protocol.codes import ErrorType
from tests.support.sentences import every_sentence, usual

ROOT = Path(__file__).parents[3]


def test_every_failure_of_a_model_is_in_it_and_judged_alike():
    for kind in get_args(FailureKind):
        assert CATALOGUE[Failure(kind)].error_type == _RULES[kind].error_type
    assert set(CATALOGUE) == set(Failure)


def test_every_error_type_has_a_usual_failure_of_its_own_type():
    assert set(ErrorType) == set(USUAL)
    assert all(CATALOGUE[failure].error_type is kind for kind, failure in USUAL.items())
    assert {entry.error_type for entry in CATALOGUE.values()} == set(ErrorType)


def test_the_sentences_of_the_protocol_to_the_letter():
    assert usual(ErrorType.CONFIGURATION) == "AI service configuration needed. Please check setup."
    assert retrying(ErrorType.RATE_LIMIT) == "AI service is busy. Retrying in a moment..."
    assert catalogue.CONNECTION_LOST == "Connection lost. Reconnecting automatically..."


def test_a_sentence_is_one_for_people():
    for sentence in every_sentence():
        assert re.fullmatch(r"[A-Z][^\n_{}<>/\\]*[.!]", sentence), sentence
        assert len(sentence) <= 120
    for failure, entry in CATALOGUE.items():
        if failure is not Failure.INTERRUPTED and entry.retryable and entry.error_type is not ErrorType.INTERRUPTED:
            assert "Please" in entry.sentence or "please" in entry.sentence or failure is Failure.TOOL_INTERRUPTED, (
                "it says what to do next"
            )
        assert not entry.missing.endswith(".")


def test_of_each_status_by_its_reason():
    assert retrying(ErrorType.TIMEOUT) == catalogue.SILENT_RETRYING
    assert fallback(ErrorType.RATE_LIMIT, another=True) == catalogue.ANOTHER_MODEL
    assert fallback(ErrorType.RATE_LIMIT, another=False) == catalogue.NO_MODEL_IN_TIME
    assert fallback(ErrorType.CONFIGURATION, another=False) == usual(ErrorType.CONFIGURATION)
    assert fallback(None, another=False) == catalogue.NO_MODEL


def test_the_page_of_the_documentation_is_up_to_date():
    assert (ROOT / "docs" / "errors.md").read_text() == render()


NASTY = (
    "Incorrect API key provided: sk-proj-abcDEF123456789. You can find your API key at https://provider.test/keys",
    "Traceback (most recent call last):\n  File \"/srv/app/worker.py\", line 7, in run\nKeyError: 'user'",
    "openai.error.RateLimitError: org-42 on tokens per min. Limit: 90000",
    "Authorization: Bearer eyJhbGciOi.J9.x",
    "\x1b[31mfatal\x00\u202e <script>alert(1)</script>",
)
MESSAGES = st.one_of(st.sampled_from(NASTY), st.text(max_size=200))
CODES = st.one_of(
    st.none(), st.text(max_size=30), st.sampled_from(["insufficient_quota", "content_filter", "invalid_api_key", "429"])
)


@given(st.integers(300, 599), MESSAGES, CODES, st.sampled_from(["status", "event", "broken"]))
def test_nothing_of_a_provider_gets_into_what_people_read(status: int, message: str, code: Any, how: str):
    body = {"error": {"message": message, "code": code, "type": code}}
    if how == "status":
        response = httpx2.Response(status, json=body, request=httpx2.Request("POST", "https://provider.test/v1"))
        exc: Exception = openai.APIStatusError(message, response=response, body=body)
    elif how == "event":
        exc = AnswerBroken("server_error", "error event", error=body["error"])
    else:
        exc = AnswerBroken("malformed", message)
    facts = classify(exc, wall_time=0, secrets=("sk-proj-abcDEF123456789",))
    assert "abcDEF123456789" not in facts.detail
    assert CallFailed(facts, ()).sentence in every_sentence()
    told = ErrorType(facts.error_type)
    for sentence in (retrying(told), fallback(told, another=False), usual(told)):
        assert sentence in every_sentence()


@pytest.mark.parametrize("kind", ["bad_request", "content_policy"])
def test_a_call_that_failed_says_what_to_do(kind: Any):
    failed = CallFailed(classify(AnswerBroken(kind, "secret detail"), wall_time=0), ())
    assert failed.sentence == CATALOGUE[Failure(kind)].sentence
    assert "secret" not in failed.sentence
