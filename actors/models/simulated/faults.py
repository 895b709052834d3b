"""What the simulated model can be told to do wrong, and how it is told.

`PUT /faults` takes one JSON object, `{MODEL: {"fault": NAME, "requests": N or null, …parameters}}`, and replaces
everything told before; `{}` ends all faults. MODEL is the `model` of a request. A fault holds for the next N requests
for that model, without `requests` (or with null) until it is replaced.

| fault | what happens | parameters (default) |
|---|---|---|
| status | the answer is an error with this status | status, retry_after (none), code (none), message |
| insufficient_quota | 429 with the code that says the account is empty | |
| refuse | the connection is reset before any answer | |
| silent | not even the head of an answer comes | |
| page | the answer is a page for people, with status 200 | |
| slow_first_token | the first token comes late | seconds (30) |
| slow | tokens come slowly | tokens_per_second (1) |
| stall | the stream falls silent, for ever or for some seconds | after_tokens (5), seconds (for ever) |
| cut | the connection is closed in mid-stream | after_tokens (5) |
| reset | the connection is reset in mid-stream | after_tokens (5) |
| truncate | the stream ends properly, but without a finish_reason | after_tokens (5) |
| length | finish_reason is `length` | after_tokens (5) |
| content_filter | finish_reason is `content_filter` | after_tokens (5) |
| malformed | an event is broken JSON | after_tokens (5) |
| bad_utf8 | an event is not UTF-8 | after_tokens (5) |
| wrong_shape | an event is JSON of another shape | after_tokens (5), payload ("123") |
| error_event | an event is the provider's error | after_tokens (5), code ("server_error"), message |
| huge_event | an event is very long | after_tokens (5), bytes (4194304) |
| keep_alive_only | comments, and never content | after_tokens (0), interval (0.05 s) |
| no_usage | a good answer without a usage | |
| no_done | a good answer, after which the stream stays open and silent | |
| endless | the answer has no end | tokens_per_second (200) |
| tool_call | a good answer that wants a tool to be called; see `wanted_tools` | tool, arguments ("{}"), calls (1) |

Without streaming, faults of a stream do the like to the whole answer: see `server`.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["status", "count", "seconds", "rate", "text", "retry_after"]
LONGEST_NAME = 200


@attrs.frozen
class Parameter:
    """One parameter of a fault: what it may be, and what it is when left out; `required` cannot be left out."""

    kind: Kind
    default: float | str | None = None
    required: bool = False


_AFTER = Parameter("count", 5)
_FORMS: Mapping[str, Mapping[str, Parameter]] = MappingProxyType(
    {
        "status": {
            "status": Parameter("status", required=True),
            "retry_after": Parameter("retry_after"),
            "code": Parameter("text"),
            "message": Parameter("text", "The simulated model was told to answer so."),
        },
        "insufficient_quota": {},
        "refuse": {},
        "silent": {},
        "page": {},
        "slow_first_token": {"seconds": Parameter("seconds", 30.0)},
        "slow": {"tokens_per_second": Parameter("rate", 1.0)},
        "stall": {"after_tokens": _AFTER, "seconds": Parameter("seconds")},
        "cut": {"after_tokens": _AFTER},
        "reset": {"after_tokens": _AFTER},
        "truncate": {"after_tokens": _AFTER},
        "length": {"after_tokens": _AFTER},
        "content_filter": {"after_tokens": _AFTER},
        "malformed": {"after_tokens": _AFTER},
        "bad_utf8": {"after_tokens": _AFTER},
        "wrong_shape": {"after_tokens": _AFTER, "payload": Parameter("text", "123")},
        "error_event": {
            "after_tokens": _AFTER,
            "code": Parameter("text", "server_error"),
            "message": Parameter("text", "The simulated model was told to fail here."),
        },
        "huge_event": {"after_tokens": _AFTER, "bytes": Parameter("count", 4 * 1024 * 1024)},
        "keep_alive_only": {"after_tokens": Parameter("count", 0), "interval": Parameter("seconds", 0.05)},
        "no_usage": {},
        "no_done": {},
        "endless": {"tokens_per_second": Parameter("rate", 200.0)},
        "tool_call": {
            "tool": Parameter("text", required=True),
            "arguments": Parameter("text", "{}"),
            "calls": Parameter("count", 1),
        },
    }
)
FAULTS: tuple[str, ...] = tuple(_FORMS)

_MEANING: Mapping[Kind, str] = MappingProxyType(
    {
        "status": "a whole number from 400 to 599",
        "count": "a whole number, 0 or more",
        "seconds": "a number of seconds, 0 or more",
        "rate": "a number above 0",
        "text": "a string",
        "retry_after": "what the header shall say, as a string or a number",
    }
)


@attrs.frozen
class Fault:
    """A fault with all of its parameters."""

    name: str
    parameters: Mapping[str, Any]

    def __getitem__(self, parameter: str) -> Any:
        return self.parameters[parameter]


@attrs.frozen
class Planned:
    """A fault and how many requests it still meets; None: until it is replaced."""

    fault: Fault
    requests: int | None


class FaultsRefused(Exception):
    """The document asks for what cannot be done. `fields` maps each place to a sentence that names what is allowed."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{place}: {sentence}" for place, sentence in fields.items()))
        self.fields = dict(fields)


def parse_faults(document: object, models: Sequence[str] = ()) -> dict[str, Planned]:
    """Reads the document of `PUT /faults`; all or nothing. `models` are the names allowed, none meaning any.

    Raises FaultsRefused with every mistake that is in it.
    """
    if not isinstance(document, dict):
        raise FaultsRefused({"": 'an object {MODEL: {"fault": NAME, "requests": N or null, …}} is needed'})
    fields: dict[str, str] = {}
    plan: dict[str, Planned] = {}
    for model, wanted in document.items():
        if models and model not in models:
            fields[model] = f"no such model; there are {', '.join(models)}"
        elif not model or len(model) > LONGEST_NAME:
            fields[model[:LONGEST_NAME]] = f"the name of a model has 1 to {LONGEST_NAME} characters"
        elif not isinstance(wanted, dict):
            fields[model] = 'an object {"fault": NAME, "requests": N or null, …} is needed'
        else:
            planned = _parse_one(model, wanted, fields)
            if planned is not None:
                plan[model] = planned
    if fields:
        raise FaultsRefused(fields)
    return plan


def _parse_one(model: str, wanted: Mapping[str, Any], fields: dict[str, str]) -> Planned | None:
    name = wanted.get("fault")
    form = _FORMS.get(name) if isinstance(name, str) else None
    if form is None or not isinstance(name, str):
        fields[f"{model}.fault"] = f"no such fault; there are {', '.join(FAULTS)}"
        return None
    requests = wanted.get("requests")
    if requests is not None and not (_is_whole(requests) and requests >= 1):
        fields[f"{model}.requests"] = "a whole number from 1, or null for all requests to come"
    for unknown in sorted(wanted.keys() - form.keys() - {"fault", "requests"}):
        allowed = ", ".join(form) or "none"
        fields[f"{model}.{unknown}"] = f"no such parameter of {name}; there are: {allowed}"
    values: dict[str, Any] = {}
    for parameter, rule in form.items():
        value = wanted.get(parameter)
        if value is None and not rule.required:
            values[parameter] = rule.default
        elif _fits(rule.kind, value):
            values[parameter] = value
        else:
            fields[f"{model}.{parameter}"] = f"{_MEANING[rule.kind]} is needed"
    return Planned(Fault(name, MappingProxyType(values)), requests)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _fits(kind: Kind, value: object) -> bool:
    if kind == "text":
        return isinstance(value, str) and value.isprintable()
    if kind == "retry_after":  # it goes into a header, where a control character would end the line
        return _is_number(value) or (isinstance(value, str) and value.isascii() and value.isprintable())
    if not _is_number(value):
        return False
    assert isinstance(value, (int, float))
    if kind == "status":
        return _is_whole(value) and 400 <= value <= 599
    if kind == "count":
        return _is_whole(value) and value >= 0
    return value > 0 if kind == "rate" else value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
