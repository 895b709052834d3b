"""Which engine does which type of task. Pure."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class EngineName(StrEnum):
    """Every engine, by the name of its actor; `HYBRID` leads a task through the three others in turn."""

    PERFECT_RECALL = "perfect_recall"
    PARALLEL_MIND = "parallel_mind"
    CREATIVE = "creative"
    HYBRID = "hybrid"


ROUTES: Final[Mapping[str, EngineName]] = MappingProxyType(
    {
        "memory_query": EngineName.PERFECT_RECALL,
        "knowledge_retrieval": EngineName.PERFECT_RECALL,
        "context_search": EngineName.PERFECT_RECALL,
        "parallel_processing": EngineName.PARALLEL_MIND,
        "batch_operation": EngineName.PARALLEL_MIND,
        "concurrent_analysis": EngineName.PARALLEL_MIND,
        "creative_generation": EngineName.CREATIVE,
        "innovation": EngineName.CREATIVE,
        "brainstorming": EngineName.CREATIVE,
        "hybrid": EngineName.HYBRID,
    }
)
STAGES: Final = (EngineName.PERFECT_RECALL, EngineName.PARALLEL_MIND, EngineName.CREATIVE)
"""What a hybrid task goes through, in this order."""

STAGE_TYPES: Final[Mapping[EngineName, str]] = MappingProxyType(
    {
        EngineName.PERFECT_RECALL: "knowledge_retrieval",
        EngineName.PARALLEL_MIND: "concurrent_analysis",
        EngineName.CREATIVE: "creative_generation",
    }
)
"""As what each stage is asked."""

SUPERVISOR: Final = "/engines"


def route(task_type: str) -> EngineName | None:
    """The engine for a type of task; None if there is none."""
    return ROUTES.get(task_type)


def unknown_type(task_type: object) -> str:
    """What a person is told of a type that no engine takes."""
    shown = task_type[:40] if isinstance(task_type, str) else type(task_type).__name__
    return f'"{shown}" is no type of task for an engine. Allowed: {", ".join(ROUTES)}.'


def path_of(engine: EngineName) -> str:
    """Where an engine is reached."""
    return f"{SUPERVISOR}/{engine.value}"


def address(task_type: str) -> str | None:
    """Where the engine for a type of task is reached; None if there is none."""
    engine = route(task_type)
    return None if engine is None else path_of(engine)
