"""The delivery benchmark in its short form, as a person runs it."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from bench.__main__ import main
from bench.delivery.command import COMPARISON
from bench.delivery.metrics import SCENARIOS
from bench.delivery.scenarios import EVERYBODY
from bench.delivery.subjects import NAMES, TRIO_WEBSOCKET, subject
from bench.figures import OWN
from bench.peers import environments
from bench.peers.environments import Missing
from tests.support.short_bench import belongs_to_one_scenario, leaves_the_large_out, sane, short_form

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and waits with epoll")

ALONE = ("commit_20",)
COMPARED = ("push_100",)


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return short_form("delivery", OWN, only=ALONE)


@pytest.fixture(scope="module")
def compared() -> dict[str, Any]:
    return short_form("delivery", OWN, TRIO_WEBSOCKET, only=COMPARED)


def test_every_metric_has_our_figure(alone: dict[str, Any], compared: dict[str, Any]):
    values = sane(COMPARISON, alone, ALONE)
    assert values["commit_20_median"] <= values["commit_20_p99"]
    assert 1 < sane(COMPARISON, compared, COMPARED)["push_100_cpu"] < 100_000


def test_a_bare_server_has_them_too(compared: dict[str, Any]):
    assert all(entry[TRIO_WEBSOCKET]["median"] > 0 for entry in compared["metrics"].values())
    assert set(compared["machine"]["subjects"]) == {OWN, TRIO_WEBSOCKET}
    assert compared["machine"]["subjects"][TRIO_WEBSOCKET].startswith("0.")


def test_every_metric_belongs_to_one_scenario():
    belongs_to_one_scenario(COMPARISON)
    assert {scenario.name for scenario in SCENARIOS if scenario.subjects == EVERYBODY} == {"idle_1k", "push_100"}


def test_the_short_form_leaves_the_large_loads_out():
    leaves_the_large_out(COMPARISON, most=40)


def test_a_peer_that_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
    monkeypatch.setattr(environments, "HOME", tmp_path)
    for name in NAMES[2:]:
        with pytest.raises(Missing, match="bench-peers"):
            subject(name)
    assert subject(OWN).name == OWN
    assert "bench.peers.trio_websocket" in subject(TRIO_WEBSOCKET).command


def test_the_benchmark_is_listed(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    assert re.search("^  delivery +The daemon under load", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("option", [["--runs", "0"], ["--only", "pushing"], ["--subjects", "pykka"]])
def test_an_option_that_makes_no_sense_is_refused(option: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["delivery", *option])
    assert option[0] in capsys.readouterr().err
