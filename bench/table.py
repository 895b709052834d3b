"""The table that a benchmark prints. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.figures import OWN, advantage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.figures import Figure, Metric, Results

DASH: Final = "\N{EN DASH}"
TIMES: Final = "\N{MULTIPLICATION SIGN}"
PREFIXES: Final = ((1e6, " M"), (1e3, " k"))
SCALED: Final = ("/s", "B")
"""Units that take a prefix. A thousand milliseconds stay milliseconds."""
HEADINGS: Final = ("", "median", f"min {DASH} max", "runs", f"{OWN} is better")


def scale(value: float, unit: str) -> tuple[float, str]:
    """What to divide by, and the unit with its prefix, so that the value is short."""
    for factor, prefix in PREFIXES:
        if unit in SCALED and value >= factor * 0.9995:
            return factor, prefix + unit
    return 1.0, unit if unit == "/s" else f" {unit}"


def amount(value: float, unit: str) -> str:
    """A value with three digits that say something, and its unit."""
    factor, name = scale(value, unit)
    return digits(value / factor) + name


def digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 99.95:
        return f"{value:.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    if value >= 0.9995:
        return f"{value:.2f}"
    if value >= 0.09995:
        return f"{value:.3f}"
    return f"{value:.3g}"


def spread(low: float, high: float, unit: str) -> str:
    """From the least to the most, both in the unit that suits the most."""
    factor, name = scale(high, unit)
    return f"{digits(low / factor)} {DASH} {digits(high / factor)}{name}"


def rows(metric: Metric, figures: Mapping[str, Figure], subjects: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The lines of one metric, a subject each; who cannot do it, or failed, has none."""
    own = figures.get(OWN)
    for subject in subjects:
        figure = figures.get(subject)
        if figure is None:
            continue
        ratio = ""
        if own is not None and subject != OWN:
            ratio = f"{TIMES} {digits(advantage(own.median, figure.median, metric.better))}"
        yield (
            subject,
            amount(figure.median, metric.unit),
            spread(figure.min, figure.max, metric.unit),
            str(figure.runs),
            ratio,
        )


def render(results: Results, subjects: Sequence[str]) -> str:
    """The whole table, then what is missing or went wrong."""
    blocks = [
        (metric, list(rows(metric, results.figures.get(metric.name, {}), subjects))) for metric in results.metrics
    ]
    lines = [HEADINGS, *(row for _, block in blocks for row in block)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = [aligned(HEADINGS, widths)]
    for metric, block in blocks:
        text += ["", f"{metric.name}: {metric.title} ({metric.better} is better)"]
        text += [aligned(row, widths) for row in block] or ["  nothing was measured"]
    text += ["", *machine_lines(results)]
    text += [f"missing: {subject}: {reason}" for subject, reason in results.missing.items()]
    text += [
        f"failed: {subject}, {metric}: {reason}"
        for subject, failures in results.failed.items()
        for metric, reason in failures.items()
    ]
    return "\n".join(text)


def aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, figures to the right."""
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return "  " + "  ".join(cells).rstrip()


def machine_lines(results: Results) -> Iterator[str]:
    """What it ran on, and who ran."""
    for key, value in results.machine.items():
        if isinstance(value, dict):
            yield f"{key}: " + "; ".join(f"{name} {text}" for name, text in value.items())
        else:
            yield f"{key}: {value}"
