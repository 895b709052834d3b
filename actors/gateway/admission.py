"""Decides from a request's head what becomes of the connection: a WebSocket, plain HTTP, or a refusal.

Pure functions. Rules: PROTOCOL.md, "Transport" and the end of "Closing". Everything that trio-websocket would hang on
is refused here, so that it only ever sees a handshake that it can finish.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import TYPE_CHECKING

import attrs

from actors.gateway.refusal import Refusal

if TYPE_CHECKING:
    from actors.gateway.head import Head

SUBPROTOCOL = "understudy.v1"

_AUTHORITY = re.compile(r"(?:\[(?P<literal>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._~-]+))(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#@]+)", re.IGNORECASE)
_USUAL = frozenset({"localhost", "127.0.0.1"})
"""Names of the loopback that are known without parsing them."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


@attrs.frozen
class Policy:
    """Who may come in.

    `allowed_origins`: origins besides the daemon's own, as browsers send them (`https://console.example.org`).
    `loopback_only`: development mode, in which `Host` must be a loopback name. It keeps a page on the internet from
    reaching a daemon without tokens through a name that it has pointed at 127.0.0.1.
    """

    allowed_origins: frozenset[str] = frozenset()
    loopback_only: bool = True
    path: str = "/ws"


@attrs.frozen
class Upgrade:
    """Let it become a WebSocket, with this sub-protocol (`None`: the client offered none)."""

    subprotocol: str | None


@attrs.frozen
class PlainHttp:
    """Hand it to the HTTP application."""


def judge(head: Head, policy: Policy) -> Upgrade | PlainHttp | Refusal:
    """What becomes of a request with this head."""
    refusal = _judge_request(head) or _judge_host(head, policy) or _judge_origin(head, policy)
    if refusal is not None:
        return refusal
    if not _wants_websocket(head, policy):
        return PlainHttp()
    if head.path != policy.path:
        return Refusal(404, "not_found", f"There is no WebSocket here. Connect to {policy.path}.")
    return _judge_handshake(head) or _choose_subprotocol(head)


def is_loopback(host: str) -> bool:
    """Whether a `Host` header (`name` or `name:port`) names this machine's loopback: localhost, 127.0.0.0/8 or
    [::1]."""
    match = _AUTHORITY.fullmatch(host)
    if match is None:
        return False
    name = match["literal"] or match["name"]
    if match["name"] is not None and name.lower() in _USUAL:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback and (address.version == 6) == (match["literal"] is not None)


def is_same_origin(origin: str, host: str) -> bool:
    """Whether a browser's `Origin` is the site that the request's `Host` names, default ports being filled in.

    Either scheme: behind a proxy that ends TLS the daemon itself speaks http, and the page was loaded over https.
    """
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return False
    port = _DEFAULT_PORTS[match["scheme"].lower()]
    ours = _address(host, port)
    return ours is not None and _address(match["authority"], port) == ours


def _address(authority: str, default_port: int) -> tuple[str, int] | None:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    return (match["literal"] or match["name"]).lower(), int(match["port"] or default_port)


def _judge_request(head: Head) -> Refusal | None:
    if head.http_version not in {"1.0", "1.1"}:
        # The HTTP server behind us would switch to HTTP/2, whose later requests nobody here would see.
        return Refusal(505, "bad_request", "This server speaks HTTP/1.1.")
    if not head.target.startswith("/") and head.target != "*":
        return Refusal(400, "bad_request", "The request names no path on this server.")
    return None


def _judge_host(head: Head, policy: Policy) -> Refusal | None:
    if policy.loopback_only and not all(is_loopback(host) for host in head.values(b"host") or [""]):
        return Refusal(403, "forbidden", "In development mode this server answers only to localhost.")
    return None


def _judge_origin(head: Head, policy: Policy) -> Refusal | None:
    host = "".join(head.values(b"host"))
    for origin in head.values(b"origin"):
        if origin not in policy.allowed_origins and not is_same_origin(origin, host):
            return Refusal(403, "forbidden", "Pages of this origin may not talk to this server.")
    return None


def _wants_websocket(head: Head, policy: Policy) -> bool:
    if any(token.lower() == "websocket" for token in head.tokens(b"upgrade")):
        return True
    # A handshake whose `Upgrade` got lost on the way (a proxy) deserves better than a page that is not there.
    return head.path == policy.path and bool(head.values(b"sec-websocket-key") or head.values(b"sec-websocket-version"))


def _judge_handshake(head: Head) -> Refusal | None:
    if head.method != "GET" or head.http_version != "1.1":
        return _bad_handshake("it must be a GET of HTTP/1.1")
    if head.values(b"transfer-encoding") or head.values(b"content-length") not in ([], ["0"]):
        return _bad_handshake("it must have no body")
    if [token.lower() for token in head.tokens(b"upgrade")] != ["websocket"]:
        return _bad_handshake("the header Upgrade must be websocket")
    if "upgrade" not in [token.lower() for token in head.tokens(b"connection")]:
        return _bad_handshake("the header Connection must hold Upgrade")
    versions = head.values(b"sec-websocket-version")
    if not versions:
        return _bad_handshake("the header Sec-WebSocket-Version is missing")
    if versions != ["13"]:
        return Refusal(
            426,
            "bad_request",
            "This server speaks version 13 of the WebSocket protocol.",
            headers=(("Sec-WebSocket-Version", "13"),),
        )
    keys = head.values(b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        return _bad_handshake("the header Sec-WebSocket-Key must be 16 bytes in base64")
    return None


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _choose_subprotocol(head: Head) -> Upgrade | Refusal:
    offered = head.tokens(b"sec-websocket-protocol")
    if not offered:
        return Upgrade(None)
    if SUBPROTOCOL in offered:
        return Upgrade(SUBPROTOCOL)
    return Refusal(400, "bad_request", f"This server speaks the sub-protocol {SUBPROTOCOL} only.")


def _bad_handshake(why: str) -> Refusal:
    return Refusal(400, "bad_request", f"This is not a WebSocket handshake: {why}.")
