from __future__ import annotations

from collections.abc import Callable

import pytest

from actors.gateway.admission import PlainHttp, Policy, Upgrade, is_loopback, is_same_origin, judge
from actors.gateway.head import Head
from actors.gateway.refusal import Refusal
from tests.support.raw_websocket import KEY

HANDSHAKE = {
    "host": "localhost:12000",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": KEY,
}


def _head(target: str = "/ws", method: str = "GET", version: str = "1.1", **changes: str | None) -> Head:
    """A good handshake with some headers changed (`_` for `-`), or left out by None."""
    headers = dict(HANDSHAKE)
    for name, value in changes.items():
        headers.pop(name.replace("_", "-"), None)
        if value is not None:
            headers[name.replace("_", "-")] = value
    return Head(method, target, version, tuple((n.encode(), v.encode("latin-1")) for n, v in headers.items()), 0)


def _plain(target: str = "/", **headers: str) -> Head:
    none = dict.fromkeys(("upgrade", "connection", "sec_websocket_version", "sec_websocket_key"))
    return _head(target, **(none | headers))  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["/ws", "/ws?token=x"])
def test_a_good_handshake(target: str) -> None:
    assert judge(_head(target), Policy()) == Upgrade(None)


@pytest.mark.parametrize(
    ("offered", "verdict"),
    [
        ("understudy.v1", Upgrade("understudy.v1")),
        ("other, understudy.v1", Upgrade("understudy.v1")),
        ("", Upgrade(None)),
    ],
)
def test_the_sub_protocol(offered: str, verdict: Upgrade) -> None:
    assert judge(_head(sec_websocket_protocol=offered), Policy()) == verdict


def test_connection_may_hold_more_tokens() -> None:
    assert judge(_head(connection="keep-alive, upgrade", upgrade="WebSocket"), Policy()) == Upgrade(None)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"sec_websocket_key": None}, 400),
        ({"sec_websocket_key": "short"}, 400),
        ({"sec_websocket_key": "AAAA"}, 400),
        ({"sec_websocket_key": "\xff" * 24}, 400),
        ({"sec_websocket_version": None}, 400),
        ({"sec_websocket_version": "8"}, 426),
        ({"connection": None}, 400),
        ({"connection": "keep-alive"}, 400),
        ({"upgrade": None}, 400),
        ({"upgrade": "websocket, h2c"}, 400),
        ({"sec_websocket_protocol": "other"}, 400),
        ({"content_length": "3"}, 400),
        ({"transfer_encoding": "chunked"}, 400),
        ({"method": "POST"}, 400),
        ({"version": "1.0"}, 400),
        ({"target": "/"}, 404),
        ({"target": "/ws/"}, 404),
        ({"target": "http://localhost:12000/ws"}, 400),
        ({"version": "2.0"}, 505),
    ],
)
def test_a_handshake_that_is_refused(changes: dict[str, str | None], status: int) -> None:
    verdict = judge(_head(**changes), Policy())  # type: ignore[arg-type]
    assert isinstance(verdict, Refusal)
    assert verdict.status == status


def test_the_wrong_version_is_told_the_right_one() -> None:
    verdict = judge(_head(sec_websocket_version="8"), Policy())
    assert isinstance(verdict, Refusal)
    assert ("Sec-WebSocket-Version", "13") in verdict.headers


@pytest.mark.parametrize("target", ["/", "/health", "/ws", "*"])
def test_plain_http(target: str) -> None:
    assert judge(_plain(target), Policy()) == PlainHttp()


def test_an_offer_of_another_protocol_is_plain_http() -> None:
    assert judge(_plain(upgrade="h2c", connection="Upgrade"), Policy()) == PlainHttp()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:12000", "127.9.8.7", "[::1]", "[::1]:12000"])
def test_loopback_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "example.org", "localhost.example.org", "127.0.0.1.example.org", "10.0.0.1", "[::2]", "::1", "127.1"),
        *("[::1", "localhost@example.org", "0.0.0.0", "[127.0.0.1]", "localhost:x", "xn--", "loc\xe4lhost"),
    ],
)
def test_other_names(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("make", [_head, _plain])
def test_the_host_in_development_mode(make: Callable[..., Head]) -> None:
    verdict = judge(make(host="evil.example:12000"), Policy())
    assert isinstance(verdict, Refusal)
    assert (verdict.status, verdict.code) == (403, "forbidden")
    assert not isinstance(judge(make(host="evil.example:12000"), Policy(loopback_only=False)), Refusal)


def test_no_host_at_all_in_development_mode() -> None:
    verdict = judge(_head("/", upgrade=None, version="1.0", host=None), Policy())
    assert isinstance(verdict, Refusal)
    assert verdict.status == 403


@pytest.mark.parametrize("make", [_head, _plain])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://localhost:3000", "null", "file://", "http://localhost"]
)
def test_a_foreign_origin(make: Callable[..., Head], origin: str) -> None:
    verdict = judge(make(origin=origin), Policy())
    assert isinstance(verdict, Refusal)
    assert (verdict.status, verdict.code) == (403, "forbidden")


@pytest.mark.parametrize("origin", ["http://localhost:12000", "https://console.example"])
def test_an_own_or_allowed_origin(origin: str) -> None:
    policy = Policy(allowed_origins=frozenset({"https://console.example"}))
    assert judge(_head(origin=origin), policy) == Upgrade(None)


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://a.example", "a.example", True),
        ("http://a.example", "A.example:80", True),
        ("https://a.example", "a.example", True),
        ("https://a.example:443", "a.example", True),
        ("http://[::1]:5", "[::1]:5", True),
        ("http://a.example", "a.example:81", False),
        ("http://b.example", "a.example", False),
        ("http://a.example@b.example", "a.example", False),
        ("http://a.example/x", "a.example", False),
        ("ftp://a.example", "a.example", False),
        ("http://?", "?", False),
        ("http://a.example", "", False),
    ],
)
def test_same_origin(origin: str, host: str, same: bool) -> None:
    assert is_same_origin(origin, host) is same
