from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest
import trio

from actors.models.failure import AnswerBroken, AttemptFailed, FailureFacts, classify, expired

REQUEST = httpx2.Request("POST", "http://x/v1/chat/completions")
NOW = 1_790_000_000.0


def judged(exc: BaseException, **more: Any) -> FailureFacts:
    return classify(exc, wall_time=NOW, **more)


def status(code: int, headers: dict[str, str] | None = None, body: object = None) -> openai.APIStatusError:
    response = httpx2.Response(code, headers=headers, request=REQUEST)
    return openai.APIStatusError("Error", response=response, body=body)


def caused(exc: Exception, cause: BaseException) -> Exception:
    exc.__cause__ = cause
    return exc


def test_a_timeout_is_asked_for_before_a_connection_error():
    facts = judged(caused(openai.APITimeoutError(REQUEST), httpx2.ConnectTimeout("")))
    assert (facts.kind, facts.error_type, facts.expired) == ("timeout", "timeout", "transport")
    assert facts.counts
    assert facts.retryable
    assert not facts.opens_at_once
    assert judged(openai.APITimeoutError(REQUEST)).kind == "timeout"
    assert judged(httpx2.ReadTimeout("")).kind == "timeout"


def test_waiting_for_our_own_pool_is_not_the_targets_failure():
    facts = judged(caused(openai.APITimeoutError(REQUEST), httpx2.PoolTimeout("")))
    assert facts.kind == "timeout"
    assert not facts.counts


def test_connection_errors_count():
    for cause in (httpx2.ConnectError("refused"), httpx2.ReadError("reset"), httpx2.RemoteProtocolError("gone")):
        facts = judged(caused(openai.APIConnectionError(request=REQUEST), cause))
        assert (facts.kind, facts.counts, facts.retryable) == ("unreachable", True, True)
        assert type(cause).__name__ in facts.detail
    assert judged(openai.APIConnectionError(request=REQUEST)).kind == "unreachable"
    assert judged(OSError(111, "refused")).kind == "unreachable"
    assert judged(httpx2.ConnectError("x")).kind == "unreachable"


@pytest.mark.parametrize(
    "exc",
    [
        caused(openai.APIConnectionError(request=REQUEST), httpx2.UnsupportedProtocol("no scheme")),
        caused(openai.APIConnectionError(request=REQUEST), httpx2.LocalProtocolError("bad header")),
        caused(openai.APIConnectionError(request=REQUEST), httpx2.TooManyRedirects("")),
        httpx2.InvalidURL("bad"),
        openai.OpenAIError("The api_key client option must be set"),
        UnicodeEncodeError("ascii", "sk-\u2019", 3, 4, "ordinal not in range(128)"),
    ],
)
def test_an_address_or_key_that_cannot_be_sent_is_configuration(exc: Exception):
    facts = judged(exc)
    assert (facts.kind, facts.opens_at_once, facts.retryable) == ("configuration", True, False)
    assert "\u2019" not in facts.detail


@pytest.mark.parametrize("code", [401, 402, 403, 404, 301])
def test_configuration_opens_at_once(code: int):
    facts = judged(status(code, {"retry-after": "5"}))
    assert (facts.kind, facts.error_type, facts.opens_at_once) == ("configuration", "configuration", True)
    assert not facts.retryable
    assert facts.park_for is None


@pytest.mark.parametrize("body", [{"code": "insufficient_quota"}, {"error": {"type": "insufficient_quota"}}])
def test_an_empty_account_opens_at_once_even_with_retry_after(body: object):
    facts = judged(status(429, {"retry-after": "5"}, body))
    assert (facts.kind, facts.opens_at_once, facts.retryable, facts.park_for) == ("configuration", True, False, None)


def test_429_with_retry_after_parks_and_does_not_count():
    facts = judged(status(429, {"retry-after": "7"}))
    assert (facts.kind, facts.counts, facts.retryable) == ("rate_limit", False, True)
    assert facts.park_for == facts.retry_after == 7.0


@pytest.mark.parametrize("headers", [{}, {"retry-after": "0"}, {"retry-after": "soon"}])
def test_429_without_retry_after_counts(headers: dict[str, str]):
    facts = judged(status(429, headers))
    assert (facts.kind, facts.counts, facts.retryable) == ("rate_limit", True, True)
    assert facts.park_for is None
    assert facts.retry_after is None


def test_429_with_a_date():
    facts = judged(
        status(429, {"retry-after": "Fri, 20 Nov 2026 08:30:09 GMT", "date": "Fri, 20 Nov 2026 08:30:00 GMT"})
    )
    assert facts.park_for == 9.0


@pytest.mark.parametrize(
    ("code", "kind"), [(408, "timeout"), *((code, "server_error") for code in (409, 500, 502, 503, 529))]
)
def test_the_servers_trouble_counts_and_never_parks(code: int, kind: str):
    facts = judged(status(code, {"retry-after": "3"}))
    assert (facts.kind, facts.counts, facts.retryable) == (kind, True, True)
    assert facts.retry_after == 3.0
    assert facts.park_for is None
    assert facts.status == code


@pytest.mark.parametrize("code", [400, 405, 413, 422, 499])
def test_our_bad_request_does_not_count(code: int):
    facts = judged(status(code))
    assert (facts.kind, facts.counts, facts.retryable, facts.opens_at_once) == ("bad_request", False, False, False)


def test_content_policy_does_not_count():
    for exc in (
        status(400, body={"code": "content_filter"}),
        status(400, body={"error": {"code": "content_policy_violation"}}),
        AnswerBroken("content_policy", "finish_reason content_filter"),
        AnswerBroken("server_error", "", error={"code": "content_filter"}),
    ):
        facts = judged(exc)
        assert (facts.kind, facts.error_type, facts.counts) == ("content_policy", "content_policy", False)
        assert not facts.retryable


@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (httpx2.ReadError("reset"), "truncated"),
        (httpx2.RemoteProtocolError("incomplete chunked read"), "truncated"),
        (httpx2.StreamClosed(), "truncated"),
        (AnswerBroken("truncated", "no finish_reason"), "truncated"),
        (AnswerBroken("malformed", "x"), "malformed"),
        (httpx2.DecodingError("gzip"), "malformed"),
        (json.JSONDecodeError("x", "y", 0), "malformed"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "malformed"),
        (RecursionError(), "malformed"),
        (openai.APIResponseValidationError(httpx2.Response(200, request=REQUEST), None), "malformed"),
    ],
)
def test_broken_answers_count(exc: Exception, kind: str):
    facts = judged(exc)
    assert (facts.kind, facts.error_type, facts.counts, facts.retryable) == (kind, "truncated", True, True)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "boom", "code": "server_error"}, "server_error"),
        ({"message": "boom"}, "server_error"),
        ("overloaded", "server_error"),
        (True, "server_error"),
        ({"code": 502}, "server_error"),
        ({"code": "429"}, "rate_limit"),
        ({"code": "rate_limit_exceeded"}, "rate_limit"),
        ({"code": "insufficient_quota"}, "configuration"),
        ({"type": "authentication_error"}, "configuration"),
        ({"code": 400}, "bad_request"),
        ({"type": "invalid_request_error"}, "bad_request"),
    ],
)
def test_error_events_are_judged_by_what_they_name(error: object, kind: str):
    assert judged(AnswerBroken("server_error", "", error=error)).kind == kind
    if isinstance(error, dict):
        assert judged(openai.APIError("x", REQUEST, body=error)).kind == kind
    assert judged(AnswerBroken("server_error", "", error=error)).counts is (kind != "bad_request")


async def test_cancellation_counts_for_nothing():
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            facts = judged(exc)
            raise
    assert (facts.kind, facts.error_type, facts.counts, facts.retryable) == ("interrupted", "interrupted", False, False)
    assert judged(KeyboardInterrupt()).kind == "interrupted"


def test_our_own_bugs_are_internal_and_count_for_nothing():
    for exc in (KeyError("x"), AttributeError("x"), RuntimeError("x")):
        facts = judged(exc)
        assert (facts.kind, facts.counts, facts.retryable, facts.opens_at_once) == ("internal", False, False, False)
    assert judged(UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates not allowed")).kind == "bad_request"


def test_nothing_is_tried_again_after_the_first_delta():
    facts = judged(httpx2.ReadError("reset"), after_first_delta=True)
    assert facts.counts
    assert not facts.retryable
    assert facts.after_first_delta


@pytest.mark.parametrize("deadline", ["first_token", "idle", "total"])
def test_deadlines_of_ours_count(deadline: Any):
    facts = expired(deadline, 20)
    assert (facts.kind, facts.expired, facts.counts, facts.retryable) == ("timeout", deadline, True, True)
    assert not expired(deadline, 20, after_first_delta=True).retryable


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcDEF123456789.",
        "Incorrect API key provided: sk-abcd****wxyz.",
        "header Authorization: Bearer abcDEF123456789",
        '{"api_key": "abcDEF123456789"}',
        "https://x/v1?api-key=abcDEF123456789&y=1",
        "the key s3cr3t-value-abcDEF123456789 is wrong",
    ],
)
def test_no_key_gets_into_the_detail(text: str):
    detail = judged(status(401, body={"message": text}), secrets=("s3cr3t-value-abcDEF123456789", "")).detail
    assert "123456789" not in detail
    assert "wxyz" not in detail
    assert "***" in detail


def test_the_detail_is_one_short_line():
    detail = judged(status(500, body={"message": "a\nb\x1b[31m\r" + "x" * 100_000})).detail
    assert len(detail) <= 300
    assert detail.isprintable()


def test_a_key_on_the_edge_of_the_detail_is_still_known_as_one():
    text = "x " * 140 + "sk-abcDEF123456789"
    assert "sk-" not in judged(status(500, body={"message": text})).detail


def test_an_attempt_failed_says_what_and_why():
    failed = AttemptFailed(judged(status(500, body="upstream is gone")), "text so far")
    assert str(failed) == "server_error: 500: upstream is gone"
    assert failed.text == "text so far"
    assert failed.usage is None
