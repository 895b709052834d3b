from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from understudy.configuration import ConfigurationError, load
from understudy.configuration.binding import refusal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_addresses_are_allowed(host: str):
    assert refusal(host) is None


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.2", "example.com", "127.1", "[::1]", "*", "localhost.evil.example"]
)
def test_any_other_is_refused_without_looking_it_up(host: str):
    def resolve(_: str) -> list[str]:
        raise AssertionError("looked up")

    said = refusal(host, resolve)
    assert said is not None
    assert "until authentication exists" in said
    assert "can act as any user" in said


def test_localhost_must_lead_to_loopback_alone():
    assert refusal("localhost") is None
    assert refusal("LOCALHOST", lambda _: ["127.0.0.1", "::1"]) is None
    assert "leads to 127.0.0.1, 10.0.0.1 on" in (refusal("localhost", lambda _: ["127.0.0.1", "10.0.0.1"]) or "")
    assert "leads to nothing" in (refusal("localhost", lambda _: []) or "")

    def fails(_: str) -> list[str]:
        raise OSError

    assert "cannot resolve" in (refusal("localhost", fails) or "")


@pytest.mark.parametrize(
    ("environ", "flags", "place"),
    [
        ({"UNDERSTUDY_SERVER_HOST": "0.0.0.0"}, {}, "environment variable UNDERSTUDY_SERVER_HOST"),
        ({}, {"host": "0.0.0.0"}, "flag --host"),
    ],
)
def test_the_line_says_who_asked_for_it(
    environ: dict[str, str], flags: dict[str, object], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        load(file=None, environ=environ, flags=flags)
    (line,) = caught.value.problems
    assert line.startswith(f'{place}: server.host is "0.0.0.0", which is not an address of this machine alone; allowed')
