"""Which Python a peer gets, and what is said when it cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.delivery import subjects as delivery
from bench.kernel import subjects
from bench.kernel.subjects import NAMES, Missing, subject
from bench.peers import environments
from bench.peers.__main__ import main
from bench.peers.environments import ENVIRONMENTS, find_python, wanted


def test_like_is_compared_with_like_where_the_peer_allows():
    assert wanted((3, 11), (3, 11))[0] == (3, 11)
    assert wanted((3, 13), (3, 11))[0] == (3, 13)
    assert wanted((3, 11), (3, 12)) == [(3, 12), (3, 13), (3, 14)]
    assert wanted((3, 12), (3, 11)) == [(3, 12), (3, 11), (3, 13), (3, 14)]


def test_our_own_python_will_do_for_a_package_that_takes_it():
    assert find_python((3, 11)) == sys.executable


def test_a_command_that_is_another_python_than_its_name_says_is_passed_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environments, "candidates", lambda version: [f"python{version[0]}.{version[1]}"])
    monkeypatch.setattr(environments, "output", lambda command: "3 13" if "3.13" in command[0] else "3 9")
    assert find_python((3, 12)) == "python3.13"
    monkeypatch.setattr(environments, "output", lambda _command: None)
    assert find_python((3, 12)) is None


def test_every_peer_has_an_environment_and_a_program():
    peers = {environment.name for environment in ENVIRONMENTS}
    modules = {**subjects.MODULES, **delivery.MODULES}
    assert peers == set(modules) - {delivery.TRIO_WEBSOCKET}
    for module in modules.values():
        assert (subjects.ROOT / (module.replace(".", "/") + ".py")).is_file()


def test_a_peer_that_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(environments, "HOME", tmp_path)
    for name in subjects.MODULES:
        with pytest.raises(Missing, match="bench-peers"):
            subject(name, tmp_path)


def test_erlang_is_missing_where_there_is_no_erl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match="erlang-base"):
        subject("erlang", tmp_path)


def test_our_own_side_and_the_channel_are_always_there(tmp_path: Path):
    for name in NAMES[:2]:
        assert subject(name, tmp_path).command[0] == sys.executable


def test_a_peer_without_a_python_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(environments, "HOME", tmp_path)
    monkeypatch.setattr("bench.peers.__main__.find_python", lambda _oldest: None)
    assert main(["pykka"]) == 0
    assert capsys.readouterr().out == "pykka: not made: it needs Python 3.11 or later, and none is here\n"


def test_an_unknown_peer_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["akka"])
    assert "no peer is called akka; there are pykka" in capsys.readouterr().err
