"""The table that a benchmark prints."""

from __future__ import annotations

import pytest

from bench.figures import OWN, Figure, Metric, Results
from bench.table import DASH, TIMES, amount, digits, render, spread

RATE = Metric("tell", "messages told", "/s", "higher")
DELAY = Metric("restart", "crash to serving", "µs", "lower")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0213, "0.0213"),
        (0.9996, "1.00"),
        (1.0, "1.00"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (1234, "1234"),
    ],
)
def test_three_digits_say_enough(value: float, text: str):
    assert digits(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2_443_224.3, "/s", "2.44 M/s"),
        (999_600, "/s", "1.00 M/s"),
        (93_099, "/s", "93.1 k/s"),
        (930, "/s", "930/s"),
        (5836, "B", "5.84 kB"),
        (61.14, "µs", "61.1 µs"),
        (1234.0, "ms", "1234 ms"),
    ],
)
def test_an_amount_has_the_unit_that_suits_it(value: float, unit: str, text: str):
    assert amount(value, unit) == text


def test_a_spread_has_one_unit():
    assert spread(900_000, 1_100_000, "/s") == f"0.900 {DASH} 1.10 M/s"


def test_the_whole_table():
    results = Results(
        "kernel",
        {"cores": 2, "subjects": {OWN: "0.1.0"}},
        (RATE, DELAY, Metric("spawn", "actors started", "/s", "higher")),
        {
            "tell": {
                OWN: Figure(2.5e6, 2.4e6, 2.6e6, 5),
                "erlang": Figure(8.5e6, 8.4e6, 8.6e6, 5),
                "pykka": Figure(0.5e6, 0.4e6, 0.6e6, 4),
            },
            "restart": {OWN: Figure(60.0, 55.0, 70.0, 5), "erlang": Figure(30.0, 30.0, 30.0, 5)},
        },
        {"trio": "gone"},
        {"pykka": {"spawn": "out of threads"}},
    )
    text = render(results, [OWN, "trio", "pykka", "erlang"]).replace(DASH, "-").replace(TIMES, "x")
    assert text.splitlines() == [
        "                median        min - max  runs  understudy is better",
        "",
        "tell: messages told (higher is better)",
        "  understudy  2.50 M/s  2.40 - 2.60 M/s     5",
        "  pykka        500 k/s    400 - 600 k/s     4                x 5.00",
        "  erlang      8.50 M/s  8.40 - 8.60 M/s     5               x 0.294",
        "",
        "restart: crash to serving (lower is better)",
        "  understudy   60.0 µs   55.0 - 70.0 µs     5",
        "  erlang       30.0 µs   30.0 - 30.0 µs     5               x 0.500",
        "",
        "spawn: actors started (higher is better)",
        "  nothing was measured",
        "",
        "cores: 2",
        "subjects: understudy 0.1.0",
        "missing: trio: gone",
        "failed: pykka, spawn: out of threads",
    ]


def test_without_our_own_figure_there_is_no_ratio():
    results = Results("kernel", {}, (RATE,), {"tell": {"pykka": Figure(1.0, 1.0, 1.0, 1)}}, {}, {})
    assert TIMES not in render(results, [OWN, "pykka"])
