"""Where a model is reached, and under which limits."""

from __future__ import annotations

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

import attrs

Api = Literal["chat", "responses"]
"""What an endpoint speaks: OpenAI's chat completions, or its Responses."""

SIMULATED_MODEL = "simulated"
"""What the simulated model calls itself in every answer."""


def _positive(_: object, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{attribute.name} is {value}: it must be at least 1, or be left out")


@attrs.frozen
class Endpoint:
    """One model at one address.

    `requests_per_minute`, `tokens_per_minute` and `in_flight` (requests at a time) are what the operator configured;
    None leaves the limit to what the provider says (see `limiter`). `api_key` None is sent as a placeholder, because
    a local server needs none and the client insists on one. `simulated` is set where the daemon started the endpoint
    itself. `api` is what it speaks. Raises ValueError for a limit below 1.
    """

    name: str
    base_url: str
    api_key: str | None = attrs.field(repr=False)
    model: str
    requests_per_minute: int | None = attrs.field(default=None, validator=_positive, kw_only=True)
    tokens_per_minute: int | None = attrs.field(default=None, validator=_positive, kw_only=True)
    in_flight: int | None = attrs.field(default=None, validator=_positive, kw_only=True)
    simulated: bool = attrs.field(default=False, kw_only=True)
    api: Api = attrs.field(default="chat", kw_only=True)


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine by a loopback name or address. No name is resolved."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    if not host:
        return False
    host = host.rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # `is_loopback` of ::ffff:127.0.0.1 is False before Python 3.13
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


def names_simulated(model: str) -> bool:
    """Whether an answer's `model` says that nobody real has answered."""
    return model.strip().casefold() == SIMULATED_MODEL
