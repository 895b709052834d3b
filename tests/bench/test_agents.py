"""The agents benchmark in its short form, as a person runs it."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import pytest

from bench.__main__ import main
from bench.agents.asking import Asked, take
from bench.agents.command import COMPARISON
from bench.agents.configuration import batches, in_sequence, shipped, streams
from bench.agents.metrics import SCENARIOS
from bench.agents.subjects import NAMES, TRIO_WEBSOCKET, subject
from bench.agents.upstream import cpu_seconds
from bench.agents.work import quantile
from bench.delivery.scenarios import EVERYBODY
from bench.figures import OWN
from tests.support.short_bench import belongs_to_one_scenario, leaves_the_large_out, sane, short_form
from understudy.client import Event
from understudy.configuration import load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and waits with epoll")

WORK = ("tasks",)
COMPARED = ("relay_1",)


@pytest.fixture(scope="module")
def work() -> dict[str, Any]:
    return short_form("agents", OWN, only=WORK)


@pytest.fixture(scope="module")
def compared() -> dict[str, Any]:
    return short_form("agents", *NAMES, only=COMPARED)


def test_tasks_begin(work: dict[str, Any]):
    values = sane(COMPARISON, work, WORK)
    assert values["tasks_p50"] <= values["tasks_p99"]


def test_pieces_are_relayed(compared: dict[str, Any]):
    values = sane(COMPARISON, compared, COMPARED)
    assert values["relay_1_first"] <= values["relay_1_first_max"]
    assert 1 < values["relay_1_cpu"] < 100_000


def test_a_bare_relay_has_them_too(compared: dict[str, Any]):
    assert all(entry[TRIO_WEBSOCKET]["median"] > 0 for entry in compared["metrics"].values())
    assert compared["machine"]["subjects"][TRIO_WEBSOCKET].startswith("0.")
    assert "bench.peers.relay" in subject(TRIO_WEBSOCKET).command


def test_every_metric_belongs_to_one_scenario():
    belongs_to_one_scenario(COMPARISON)
    compared = {scenario.name for scenario in SCENARIOS if scenario.subjects == EVERYBODY}
    assert compared == {"relay_1", "relay_20", "relay_100", "relay_200"}


def test_the_short_form_leaves_the_large_loads_out():
    leaves_the_large_out(COMPARISON, most=10)


def test_the_daemon_takes_the_configuration(tmp_path: Any):
    file = tmp_path / "understudy.toml"
    file.write_text(streams(12001, {"endless": "0x50", "short": "10x50"}))
    settings = load(file=file, environ={}, flags={}).settings
    assert settings.agents["short"].models == ("short",)
    assert settings.models["short"].model == "10x50"
    assert settings.models["short"].base_url == settings.models["default"].base_url


def test_batches_wait_for_the_whole_batch_before_and_a_sequence_for_one_step():
    steps = batches(5, 4)
    assert len(steps) == 20
    assert [len(waits) for _, _, waits in steps] == [0] * 5 + [5] * 15
    assert steps[7][2] == tuple(name for name, _, _ in steps[:5])
    ordered = in_sequence(steps)
    assert [name for name, _, _ in ordered] == [name for name, _, _ in steps]
    assert [waits for _, _, waits in ordered] == [(), *((name,) for name, _, _ in steps[:-1])]


def test_remediation_comes_with_twenty_missions_and_its_validators():
    steps, validators = shipped()
    assert len([name for name, agent, _ in steps if agent not in validators]) == 20
    assert validators == ["batch_validator"]


def test_the_processor_clock_is_that_of_the_other_process():
    used = cpu_seconds(os.getpid())
    assert 0 < used <= cpu_seconds(os.getpid())


def test_a_quantile_is_one_of_the_values():
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert quantile([1.0], 0.99) == 1.0


def test_trouble_is_what_a_user_sees():
    asked = Asked(0.0)
    for event in (
        Event(type="agent_status", metadata={"status": "started"}),
        Event(type="agent_delta", content="a"),
        Event(type="agent_delta", content="b"),
        Event(type="agent_response", seq=4, metadata={"model": "lead", "partial": True}),
        Event(type="agent_status", metadata={"status": "error"}),
        Event(type="run_status", metadata={"status": "failed"}),
    ):
        take(asked, event, 1.0 if event.content != "b" else 2.0)
    assert asked.troubles == ["partial", "error"]
    assert asked.models == ["lead"]
    assert (asked.started, asked.delta, asked.status) == (1.0, 1.0, "failed")
    assert len(asked.seen) == 1


def test_the_benchmark_is_listed(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    assert re.search("^  agents +Agents at work", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("option", [["--runs", "0"], ["--only", "relaying"], ["--subjects", "aiohttp"]])
def test_an_option_that_makes_no_sense_is_refused(option: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["agents", *option])
    assert option[0] in capsys.readouterr().err
