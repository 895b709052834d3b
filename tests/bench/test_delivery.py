"""The delivery benchmark in its short form, as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from bench.__main__ import main
from bench.delivery.metrics import BY_NAME, EVERYBODY, LARGE, SCENARIOS, scenario_of, tasks
from bench.delivery.subjects import NAMES, TRIO_WEBSOCKET, Missing, subject
from bench.figures import OWN
from bench.measure import ROOT
from bench.peers import environments

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and waits with epoll")

SHORT = ("idle_1k", "push_100", "storm_shared", "commit_20")
QUICK = [sys.executable, "-m", "bench", "delivery", "--quick", "--subjects", OWN, TRIO_WEBSOCKET, "--only"]


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    done = subprocess.run(
        [*QUICK, *SHORT, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_every_metric_has_our_figure(quick: dict[str, Any]):
    wanted = [task.metric for task in tasks(quick=True) if scenario_of(task.metric.name).name in SHORT]
    assert list(quick["metrics"]) == [metric.name for metric in wanted]
    for metric in wanted:
        found = quick["metrics"][metric.name]
        assert (found["unit"], found["better"]) == (metric.unit, metric.better)
        figure = found[OWN]
        assert 0 < figure["min"] <= figure["median"] <= figure["max"] < 1e7
        assert figure["runs"] == 1


def test_a_bare_server_has_what_can_be_compared(quick: dict[str, Any]):
    compared = {name for name, found in quick["metrics"].items() if TRIO_WEBSOCKET in found}
    assert compared == {metric.name for name in ("idle_1k", "push_100") for metric in BY_NAME[name].metrics}


def test_nothing_is_missing_and_the_machine_is_described(quick: dict[str, Any]):
    assert quick["bench"] == "delivery"
    assert quick["missing"] == {}
    assert "failed" not in quick
    assert set(quick["machine"]["subjects"]) == {OWN, TRIO_WEBSOCKET}
    assert quick["machine"]["subjects"][TRIO_WEBSOCKET].startswith("0.")


def test_figures_are_such_as_can_be(quick: dict[str, Any]):
    values = {name: found[OWN]["median"] for name, found in quick["metrics"].items()}
    assert values["commit_20_median"] <= values["commit_20_p99"]
    assert values["storm_shared_back"] <= values["storm_shared_whole"]
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
    assert "delivery  The daemon under load" in capsys.readouterr().out


@pytest.mark.parametrize("option", [["--runs", "0"], ["--only", "pushing"], ["--subjects", "pykka"]])
def test_an_option_that_makes_no_sense_is_refused(option: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["delivery", *option])
    assert option[0] in capsys.readouterr().err
