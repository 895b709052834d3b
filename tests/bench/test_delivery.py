"""The delivery benchmark in its short form, as a person runs it."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from bench.__main__ import main
from bench.delivery.metrics import BY_NAME, LARGE, SCENARIOS, scenario_of, tasks
from bench.delivery.scenarios import EVERYBODY
from bench.delivery.subjects import NAMES, TRIO_WEBSOCKET, Missing, subject
from bench.figures import OWN
from bench.peers import environments
from tests.support.short_bench import short_form

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
    for found, scenarios in ((alone, ALONE), (compared, COMPARED)):
        metrics = [metric for name in scenarios for metric in BY_NAME[name].metrics]
        assert set(found["metrics"]) == {metric.name for metric in metrics}
        for metric in metrics:
            entry = found["metrics"][metric.name]
            assert (entry["unit"], entry["better"]) == (metric.unit, metric.better)
            assert 0 < entry[OWN]["min"] <= entry[OWN]["median"] <= entry[OWN]["max"] < 1e7
            assert entry[OWN]["runs"] == 1


def test_a_bare_server_has_them_too(compared: dict[str, Any]):
    assert all(entry[TRIO_WEBSOCKET]["median"] > 0 for entry in compared["metrics"].values())
    assert set(compared["machine"]["subjects"]) == {OWN, TRIO_WEBSOCKET}
    assert compared["machine"]["subjects"][TRIO_WEBSOCKET].startswith("0.")


def test_nothing_is_missing_and_nothing_failed(alone: dict[str, Any], compared: dict[str, Any]):
    for found in (alone, compared):
        assert found["bench"] == "delivery"
        assert found["missing"] == {}
        assert "failed" not in found


def test_figures_are_such_as_can_be(alone: dict[str, Any], compared: dict[str, Any]):
    every = {**alone["metrics"], **compared["metrics"]}
    values = {name: entry[OWN]["median"] for name, entry in every.items()}
    assert values["commit_20_median"] <= values["commit_20_p99"]
    assert 1 < values["push_100_cpu"] < 100_000


def test_every_metric_belongs_to_one_scenario():
    names = [metric.name for scenario in SCENARIOS for metric in scenario.metrics]
    assert len(set(names)) == len(names)
    assert {scenario_of(name).name for name in names} == set(BY_NAME)
    assert {name for name, scenario in BY_NAME.items() if scenario.subjects == EVERYBODY} == {"idle_1k", "push_100"}


def test_the_short_form_leaves_the_large_loads_out():
    short, whole = ({scenario_of(task.metric.name).name for task in tasks(quick=quick)} for quick in (True, False))
    assert whole - short == set(LARGE)
    assert max(task.load.actors for task in tasks(quick=True)) <= 40


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
