"""The metrics of tools, in Prometheus' words. Labels are names of the configuration, so no model adds a series."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from actors.tools.counts import BOUNDS, ENDS, OTHER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

    from actors.tools.counts import ToolCounts


def of_tools(counts: ToolCounts) -> Iterable[Metric]:
    """What is counted of the tools of a daemon."""
    calls = CounterMetricFamily(
        "understudy_tool_calls", "Calls of tools by how they ended.", labels=("tool", "outcome")
    )
    seconds = HistogramMetricFamily(
        "understudy_tool_seconds", "How long calls of tools took, that were carried out.", labels=("tool",)
    )
    late = CounterMetricFamily(
        "understudy_tool_late_results", "Results of threads that came when the call was over.", labels=("tool",)
    )
    left = GaugeMetricFamily(
        "understudy_tool_threads_left", "Threads that are busy with a call that is over.", counts.threads_left
    )
    bounds = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")
    for name in counts.names:
        for end in ENDS:
            calls.add_metric((name, end), counts.ends[name, end])
        late.add_metric((name,), counts.late[name])
        durations = counts.durations[name]
        seconds.add_metric((name,), list(zip(bounds, accumulate(durations.counts), strict=True)), durations.seconds)
    for end in ENDS:
        calls.add_metric((OTHER, end), counts.ends[OTHER, end])
    return calls, seconds, late, left
