"""What is counted of tools, and how the metrics tell of it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from actors.operations.tool_metrics import of_tools
from actors.protocol.catalogue import Failure
from actors.tools.counts import ENDS, ToolCounts, end_of


def text_of(counts: ToolCounts) -> str:
    class Collector:
        def collect(self) -> object:
            return of_tools(counts)

    registry = CollectorRegistry()
    registry.register(Collector())  # type: ignore[arg-type]  # it collects, which is all that is asked of it
    return generate_latest(registry).decode()


def test_every_series_is_there_from_the_start_and_none_is_added_by_what_a_model_words() -> None:
    counts = ToolCounts()
    counts.expect(("weather", "files"))
    before = text_of(counts)
    for tool in ("weather", "files__read", "weather__x", "made up", "files", "", "x" * 1000):
        for end in ENDS:
            counts.ended(tool, end, 0.2)
    after = text_of(counts)
    assert [line.rpartition(" ")[0] for line in after.splitlines()] == [
        line.rpartition(" ")[0] for line in before.splitlines()
    ]
    assert 'understudy_tool_calls_total{outcome="done",tool="weather"} 2.0' in after
    assert 'understudy_tool_calls_total{outcome="done",tool="files"} 2.0' in after
    assert 'understudy_tool_calls_total{outcome="done",tool="other"} 3.0' in after


def test_durations_are_cumulated_and_leave_out_what_was_not_carried_out() -> None:
    counts = ToolCounts()
    counts.expect(("weather",))
    for seconds in (0.001, 0.2, 4.0, 1e6):
        counts.ended("weather", "done", seconds)
    counts.ended("weather", "unknown", 4.0)
    text = text_of(counts)
    for bound, count in (("0.01", 1), ("0.25", 2), ("5", 3), ("600", 3), ("+Inf", 4)):
        assert f'understudy_tool_seconds_bucket{{le="{bound}",tool="weather"}} {count}.0' in text
    assert 'understudy_tool_seconds_count{tool="weather"} 4.0' in text
    assert 'understudy_tool_seconds_sum{tool="weather"} 1.000004201e+06' in text


def test_how_a_call_counts() -> None:
    ends = {failure: end_of(failure) for failure in Failure if failure.value.startswith("tool")}
    assert set(ends.values()) | {end_of(None)} == set(ENDS)
    assert ends[Failure.TOOL] == "failed"


def test_names_that_are_said_again_keep_their_counts() -> None:
    counts = ToolCounts()
    counts.expect(("weather",))
    counts.ended("weather", "done", 1.0)
    counts.expect(("weather",))
    assert counts.durations["weather"].seconds == 1.0
