"""The kernel's benchmark in its short form, as a person runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from bench.__main__ import main
from bench.figures import OWN
from bench.kernel.metrics import tasks
from bench.machine import pinned
from bench.measure import ROOT
from tests.support.short_bench import WITHIN, run_short, short_form


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    return short_form("kernel", OWN, "trio")


def test_every_metric_has_our_figure(quick: dict[str, Any]):
    for task in tasks(quick=True):
        metric = quick["metrics"][task.metric.name]
        assert (metric["unit"], metric["better"]) == (task.metric.unit, task.metric.better)
        figure = metric[OWN]
        assert 0 < figure["min"] <= figure["median"] <= figure["max"] < 1e9
        assert figure["runs"] == 1


def test_a_channel_has_all_but_a_restart(quick: dict[str, Any]):
    assert {name for name, metric in quick["metrics"].items() if "trio" not in metric} == {"restart"}


def test_nothing_is_missing_and_the_machine_is_described(quick: dict[str, Any]):
    assert quick["bench"] == "kernel"
    assert quick["missing"] == {}
    assert "failed" not in quick
    assert set(quick["machine"]["subjects"]) == {OWN, "trio"}
    assert quick["machine"]["cores"] == os.cpu_count()


def test_one_metric_as_a_table():
    done = run_short("kernel", "--subjects", OWN, "trio", "--only", "ask", "--runs", "2")
    assert "ask: round trips of one asker" in done.stdout
    assert "tell" not in done.stdout
    assert done.stderr.splitlines() == [f"ask: {name}, run {run} of 2" for run in (1, 2) for name in (OWN, "trio")]


def test_the_benchmarks_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    assert re.search("^  kernel +The actor kernel", capsys.readouterr().out, re.MULTILINE)


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["kernels"]) == 2
    assert capsys.readouterr().err.startswith("no benchmark is called 'kernels'; there are: kernel, ")


@pytest.mark.parametrize("option", [["--runs", "0"], ["--only", "telling"], ["--subjects", "akka"]])
def test_an_option_that_makes_no_sense_is_refused(option: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["kernel", *option])
    assert option[0] in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not pin")
def test_programs_run_on_one_core_and_the_cores_are_given_back():
    before = os.sched_getaffinity(0)
    with pinned() as one_core:
        assert one_core
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_ctrl_c_prints_what_there_is():
    options = ["--subjects", OWN, "--only", "tell", "ask", "--runs", "100"]
    command = [sys.executable, "-m", "bench", "kernel", "--quick", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while f"tell: {OWN}, run 3 of 100" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=WITHIN)
    assert process.returncode == 130, stderr
    assert re.search(rf"^tell: .*\n +{OWN} .* 2\b", stdout, re.MULTILINE), stdout
    assert "ask:" not in stdout
    assert stderr.endswith("stopped: what had not been measured is missing\n")
