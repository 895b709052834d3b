"""The shape of `[engines.…]`: limits and tuning of the three engines, one class a table, one attribute a key.

What each key is for stands in default.toml, beside its default.
"""

from typing import Annotated

import attrs

from understudy.configuration.kinds import NAMED, Range

Few = Annotated[int, Range(1, 10_000)]
Waiting = Annotated[int, Range(0, 100_000)]
Seconds = Annotated[float, Range(0.01, 86_400, "seconds")]
Name = Annotated[str, NAMED]


@attrs.frozen
class RecallSettings:
    """`[engines.perfect_recall]`: the searchable memory."""

    limit: Few
    queue: Waiting
    timeout: Seconds
    memories: Annotated[int, Range(1, 100_000)]
    characters: Annotated[int, Range(100, 64_000)]
    scan_events: Annotated[int, Range(1, 1_000_000)]
    embeddings_model: Name | None = None


@attrs.frozen
class ParallelSettings:
    """`[engines.parallel_mind]`: graphs of tasks."""

    limit: Few
    queue: Waiting
    timeout: Seconds
    tasks: Annotated[int, Range(1, 1_000)]
    workers: Few
    retries: Annotated[int, Range(0, 10)]
    task_timeout: Seconds
    models: tuple[Name, ...]


@attrs.frozen
class CreativeSettings:
    """`[engines.creative]`: drafts that are judged and merged."""

    limit: Few
    queue: Waiting
    timeout: Seconds
    candidates: Annotated[int, Range(1, 8)]
    temperatures: tuple[Annotated[float, Range(0, 2)], ...]
    models: tuple[Name, ...]
    judge: tuple[Name, ...]


@attrs.frozen
class EngineSettings:
    """`[engines]`."""

    perfect_recall: RecallSettings
    parallel_mind: ParallelSettings
    creative: CreativeSettings
