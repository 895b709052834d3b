"""What a failed attempt means: one record that feeds retry, ledger, fallback, metrics and the sentence for a person.

The rules, by what went wrong:

| what | kind | counts | tried again | besides |
|---|---|---|---|---|
| cannot connect, connection lost before the answer | unreachable | yes | yes | |
| a timeout of ours or of the transport, 408 | timeout | yes | yes | waiting for our own pool does not count |
| 5xx, 409, a provider's error event | server_error | yes | yes | an event that names a status is judged by it |
| 429 with Retry-After | rate_limit | no | yes | parks the target until then |
| 429 without | rate_limit | yes | yes | |
| 401, 402, 403, 404, 3xx, `insufficient_quota`, an unusable URL or key | configuration | yes | no | opens at once |
| stream ended, cut or reset before its `finish_reason` | truncated | yes | yes | |
| broken JSON or UTF-8, wrong shape, too large | malformed | yes | yes | |
| content policy, `content_filter` | content_policy | no | no | |
| any other 4xx | bad_request | no | no | |
| cancelled | interrupted | no | no | |
| anything else | internal | no | no | our own fault, never the target's |

After the first delta nothing is tried again: the answer is finished as a partial one.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import attrs
import httpx2

from actors.models.retry import parse_retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.models.chat import Usage
    from actors.models.provider_limits import ProviderLimits

FailureKind = Literal[
    "rate_limit",
    "timeout",
    "unreachable",
    "configuration",
    "content_policy",
    "truncated",
    "malformed",
    "bad_request",
    "server_error",
    "interrupted",
    "internal",
]
ErrorType = Literal[
    "rate_limit", "timeout", "unreachable", "configuration", "content_policy", "truncated", "interrupted", "internal"
]
Deadline = Literal["first_token", "idle", "total", "transport"]


@attrs.frozen
class _Rule:
    error_type: ErrorType
    counts: bool
    retryable: bool


_RULES: Mapping[FailureKind, _Rule] = MappingProxyType(
    {
        "rate_limit": _Rule("rate_limit", counts=True, retryable=True),
        "timeout": _Rule("timeout", counts=True, retryable=True),
        "unreachable": _Rule("unreachable", counts=True, retryable=True),
        "configuration": _Rule("configuration", counts=True, retryable=False),
        "content_policy": _Rule("content_policy", counts=False, retryable=False),
        "truncated": _Rule("truncated", counts=True, retryable=True),
        "malformed": _Rule("truncated", counts=True, retryable=True),
        "bad_request": _Rule("internal", counts=False, retryable=False),
        "server_error": _Rule("unreachable", counts=True, retryable=True),
        "interrupted": _Rule("interrupted", counts=False, retryable=False),
        "internal": _Rule("internal", counts=False, retryable=False),
    }
)

# What providers call an account without money, in `code` or `type`. Waiting does not help, whatever the status says.
_NO_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_POLICY = frozenset({"content_filter", "content_policy_violation"})
_SETUP = frozenset({"invalid_api_key", "authentication_error", "permission_error", "model_not_found"})
_THROTTLED = frozenset({"rate_limit_exceeded", "rate_limit_error", "rate_limit"})
_REFUSED = frozenset({"invalid_request_error", "context_length_exceeded"})

_DETAIL_CHARACTERS = 300
_SECRETS = re.compile(
    r"(?i)\b(?:sk|pk|rk|gsk|xai|key)-[\w*.-]{6,}"
    r"|\bbearer\s+\S+"
    r"|(?:api[-_ ]?key|token|secret|password)[\"']?\s*[=:]\s*[\"']?[^\s\"'&,}]+"
)


@attrs.frozen
class FailureFacts:
    """One failed attempt, judged. Times in seconds.

    `error_type` is the wire protocol's word. `counts`: it is a failed attempt of the target. `opens_at_once`: the
    target is not to be tried again before its probe. `park_for`: the target is to be left alone so long, and nothing
    is counted. `retry_after`: what the provider asked for, with whatever status. `after_first_delta`: text had already
    been passed on. `expired`: which deadline, of a timeout. `detail` is for operators and logs: it holds no key, but
    may hold the provider's own words, so it is never shown to a user.
    """

    kind: FailureKind
    error_type: ErrorType
    counts: bool
    retryable: bool
    detail: str
    opens_at_once: bool = False
    park_for: float | None = None
    retry_after: float | None = None
    after_first_delta: bool = False
    status: int | None = None
    expired: Deadline | None = None


class AttemptFailed(Exception):
    """One attempt at an answer has failed: the provider's fault, or the network's, unless `facts` say otherwise.

    `text` is what had been passed on by then, `usage` the tokens it cost by estimate, `provider_limits` what the
    provider's headers said, where there were any. It keeps no other exception, and so no frames and no request.
    """

    def __init__(
        self,
        facts: FailureFacts,
        text: str,
        *,
        usage: Usage | None = None,
        provider_limits: ProviderLimits | None = None,
    ) -> None:
        super().__init__(f"{facts.kind}: {facts.detail}")
        self.facts = facts
        self.text = text
        self.usage = usage
        self.provider_limits = provider_limits


class AnswerBroken(Exception):
    """The provider's stream is not one that can be gone on with. `error` is the provider's own error event."""

    def __init__(self, kind: FailureKind, detail: str, *, error: object = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.error = error


def classify(
    exc: BaseException, *, wall_time: float, after_first_delta: bool = False, secrets: Sequence[str] = ()
) -> FailureFacts:
    """Judges whatever ended an attempt; the table above is its specification.

    `wall_time` (seconds since the epoch) is only needed for a Retry-After that is a date. `secrets` are struck out of
    the detail, besides all that looks like a key.
    """
    found = _judge(exc, wall_time)
    return attrs.evolve(
        found,
        detail=_operator_detail(found.detail, secrets),
        after_first_delta=after_first_delta,
        retryable=found.retryable and not after_first_delta,
    )


def expired(
    deadline: Deadline, seconds: float, *, after_first_delta: bool = False, status: int | None = None
) -> FailureFacts:
    """The facts of a deadline of ours (seconds) that passed."""
    facts = _facts("timeout", f"{deadline} deadline of {seconds:g} s passed", expired=deadline, status=status)
    return attrs.evolve(facts, after_first_delta=after_first_delta, retryable=not after_first_delta)


def _facts(
    kind: FailureKind,
    detail: str,
    *,
    status: int | None = None,
    retry_after: float | None = None,
    counts: bool | None = None,
    expired: Deadline | None = None,
) -> FailureFacts:
    rule = _RULES[kind]
    parked = retry_after if kind == "rate_limit" else None
    if counts is None:
        counts = rule.counts and parked is None
    return FailureFacts(
        kind=kind,
        error_type=rule.error_type,
        counts=counts,
        retryable=rule.retryable,
        detail=detail,
        opens_at_once=kind == "configuration",
        park_for=parked,
        retry_after=retry_after,
        status=status,
        expired=expired,
    )


def transport_errors(*also: type[Exception]) -> tuple[type[Exception], ...]:
    """What is raised where the transport, not our own code, has failed; and `also` these."""
    import openai  # noqa: PLC0415 - as below

    return openai.OpenAIError, httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, AnswerBroken, *also


def headers_of(exc: BaseException) -> httpx2.Headers | None:
    """Of the answer by which a provider has refused, if that is what was raised."""
    import openai  # noqa: PLC0415 - as below

    return exc.response.headers if isinstance(exc, openai.APIStatusError) else None


def _judge(exc: BaseException, wall_time: float) -> FailureFacts:
    import openai  # noqa: PLC0415 - loaded by now, by whoever made the client; see `client`

    if not isinstance(exc, Exception):  # trio's Cancelled, KeyboardInterrupt: somebody wanted it to end
        return _facts("interrupted", type(exc).__name__)
    if isinstance(exc, AnswerBroken):
        return _facts(exc.kind, exc.detail) if exc.error is None else _judge_event(exc.error)
    # A timeout is a connection error in the client's classes, so it has to be asked for first.
    if isinstance(exc, openai.APITimeoutError):
        return _judge_timeout(exc.__cause__)
    if isinstance(exc, openai.APIConnectionError):
        cause = exc.__cause__
        if isinstance(cause, _UNSENDABLE):
            return _facts("configuration", _named(cause))
        return _facts("unreachable", _named(exc if cause is None else cause))
    if isinstance(exc, openai.APIStatusError):
        return _judge_status(
            exc.status_code,
            _words(exc.body),
            _message(exc.body) or exc.message,
            parse_retry_after(exc.response.headers, wall_time),
        )
    if isinstance(exc, openai.APIResponseValidationError):
        return _facts("malformed", _named(exc), status=exc.status_code)
    if isinstance(exc, openai.APIError):
        return _judge_event(exc.body)
    if isinstance(exc, openai.OpenAIError):  # bare, it is about credentials that are missing
        return _facts("configuration", _named(exc))
    if isinstance(exc, httpx2.TimeoutException):
        return _judge_timeout(exc)
    if isinstance(exc, _UNSENDABLE):
        return _facts("configuration", _named(exc))
    if isinstance(exc, httpx2.DecodingError):
        return _facts("malformed", _named(exc))
    if isinstance(exc, (httpx2.ConnectError, httpx2.ProxyError)):
        return _facts("unreachable", _named(exc))
    if isinstance(exc, (httpx2.HTTPError, httpx2.StreamError)):  # bare, not wrapped: the head of the answer had come
        return _facts("truncated", _named(exc))
    if isinstance(exc, UnicodeEncodeError):
        # A header is ASCII, and the key is the only part of it that an operator types; a body is UTF-8.
        kind: FailureKind = "configuration" if exc.encoding == "ascii" else "bad_request"
        return _facts(kind, f"cannot be sent as {exc.encoding}: {exc.reason}")  # the exception quotes the key
    if isinstance(exc, (ValueError, RecursionError)):  # JSON, UTF-8 and msgspec's errors are all ValueErrors
        return _facts("malformed", _named(exc))
    if isinstance(exc, OSError):
        return _facts("unreachable", _named(exc))
    return _facts("internal", _named(exc))


_UNSENDABLE = (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.TooManyRedirects)


def _judge_timeout(cause: BaseException | None) -> FailureFacts:
    detail = "timed out" if cause is None else _named(cause)
    # No connection of our own pool was free: the target has not been asked.
    return _facts("timeout", detail, expired="transport", counts=not isinstance(cause, httpx2.PoolTimeout))


def _judge_status(status: int, words: frozenset[str], message: str, retry_after: float | None) -> FailureFacts:
    detail = f"{status} {' '.join(sorted(words))}: {message}" if words else f"{status}: {message}"
    kind: FailureKind = "bad_request"
    if words & _POLICY:
        kind = "content_policy"
    elif words & _NO_QUOTA or status in (401, 402, 403, 404) or 300 <= status < 400:
        kind = "configuration"
    elif status == 429:
        kind = "rate_limit"
    elif status == 408:
        kind = "timeout"
    elif status == 409 or status >= 500:
        kind = "server_error"
    return _facts(kind, detail, status=status, retry_after=retry_after)


def _judge_event(error: object) -> FailureFacts:
    """An error inside of a stream that began with 200. Some providers put a status into `code`, most a word."""
    words, message = _words(error), _message(error) or "no message"
    status = next((int(word) for word in words if re.fullmatch(r"[3-5][0-9][0-9]", word)), None)
    if status is not None:
        return _judge_status(status, words - {str(status)}, message, None)
    detail = f"error event {' '.join(sorted(words))}: {message}"
    if words & _POLICY:
        return _facts("content_policy", detail)
    if words & (_NO_QUOTA | _SETUP):
        return _facts("configuration", detail)
    if words & _THROTTLED:
        return _facts("rate_limit", detail)
    if words & _REFUSED:
        return _facts("bad_request", detail)
    return _facts("server_error", detail)


def _inner(body: object) -> Mapping[str, Any] | None:
    if isinstance(body, dict):
        inner = body.get("error")
        return inner if isinstance(inner, dict) else body
    return None


def _words(body: object) -> frozenset[str]:
    inner = _inner(body) or {}
    return frozenset(str(inner[name])[:60] for name in ("code", "type") if isinstance(inner.get(name), (str, int)))


def _message(body: object) -> str:
    if isinstance(body, str):
        return body
    message = (_inner(body) or {}).get("message")
    return message if isinstance(message, str) else ""


def _named(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"


def _operator_detail(detail: str, secrets: Sequence[str]) -> str:
    # Cut first at a generous length: a provider's page of HTML need not be searched to its end. Cut last for the log;
    # in between nothing is cut, or a key could lose the part by which it is known.
    detail = detail[: _DETAIL_CHARACTERS * 20]
    for secret in secrets:
        if secret:
            detail = detail.replace(secret, "***")
    detail = _SECRETS.sub("***", detail)
    detail = " ".join("".join(c if c.isprintable() else " " for c in detail).split())
    return detail if len(detail) <= _DETAIL_CHARACTERS else detail[: _DETAIL_CHARACTERS - 1] + "…"
