"""A hybrid task: recall, then work in parallel, then create, each given what came before. No engine of its own.

A stage that fails is named and left out; the next ones go on with what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.engines.fields import Fields
from actors.engines.messages import BadExecution, EngineResult
from actors.engines.routing import STAGE_TYPES, STAGES, EngineName
from actors.engines.strategy import Desk, Misfit, Outcome
from actors.protocol.catalogue import Failure
from runtime import ActorError, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.engines.messages import Execute
    from runtime import Ref

LONGEST_CONTEXT: Final = 20_000


def stage_parameters(parameters: Mapping[str, Any], stage: EngineName) -> dict[str, Any]:
    """What a stage takes of the parameters: the object under the engine's name."""
    own = parameters.get(stage.value)
    return dict(own) if isinstance(own, dict) else {}


def material(results: Mapping[EngineName, EngineResult]) -> str:
    """What the stages so far have brought, as text for the next. Pure."""
    parts: list[str] = []
    recalled = results.get(EngineName.PERFECT_RECALL)
    if recalled is not None:
        parts += [f"Remembered: {memory['content']}" for memory in recalled.result.get("memories", [])]
    worked = results.get(EngineName.PARALLEL_MIND)
    if worked is not None:
        parts += [f"{task['name']}: {task['result']}" for task in worked.result.get("tasks", []) if "result" in task]
    return "\n\n".join(parts)[:LONGEST_CONTEXT]


class Hybrid:
    """See the module.

    Args:
        engine: gives the address of an engine.
        checks: for each engine, what is wrong with a request to it.
    """

    def __init__(
        self, engine: Callable[[EngineName], Ref[Any]], checks: Mapping[EngineName, Callable[[Execute], dict[str, str]]]
    ) -> None:
        self._engine = engine
        self._checks = checks

    def problems(self, execute: Execute) -> dict[str, str]:
        problems: dict[str, str] = {}
        names = [stage.value for stage in STAGES]
        Fields(execute.parameters, names, problems)
        for name in names:
            if not isinstance(execute.parameters.get(name, {}), dict):
                problems[f"parameters.{name}"] = "This must be an object: the parameters of that engine."
        if not execute.description.strip():
            problems["description"] = "Say what is wanted."
        if not problems:  # whole before anything begins, so that no stage is done in vain
            for stage, check in self._checks.items():
                own = check(attrs.evolve(execute, parameters=stage_parameters(execute.parameters, stage)))
                inner = {place.removeprefix("parameters."): sentence for place, sentence in own.items()}
                problems |= {f"parameters.{stage}.{place}": sentence for place, sentence in inner.items()}
        return problems

    async def close(self) -> None:
        """Holds nothing."""

    async def run(self, execute: Execute, desk: Desk) -> Outcome:
        results: dict[EngineName, EngineResult] = {}
        shown: dict[str, Any] = {}
        refused: list[Failure] = []
        for number, stage in enumerate(STAGES):
            desk.told(number, len(STAGES))
            result = await self._stage(execute, stage, material(results))
            if isinstance(result, EngineResult):
                results[stage] = result
                shown[stage.value] = _shown(result)
            else:
                refused.append(result)
                shown[stage.value] = {"status": "failed"}
            desk.so_far.update(shown)
        desk.told(len(STAGES), len(STAGES))
        failures = refused + [result.failure for result in results.values() if result.failure is not None]
        degraded = bool(failures) or any(result.degraded for result in results.values())
        whole = len(failures) < len(STAGES)
        return Outcome(shown, degraded=degraded, failure=None if whole else failures[0])

    async def _stage(self, execute: Execute, stage: EngineName, context: str) -> EngineResult | Failure:
        parameters = stage_parameters(execute.parameters, stage)
        description = execute.description
        if stage is EngineName.PARALLEL_MIND and context:
            description = f"{description}\n\n{context}"
        if stage is EngineName.CREATIVE and context:
            parameters.setdefault("context", context)
        ask = attrs.evolve(
            execute, task_type=STAGE_TYPES[stage], description=description, parameters=parameters, progress=None
        )
        try:
            left = max(0.0, execute.deadline - trio.current_time())
            result: EngineResult = await self._engine(stage).ask(ask, left)
        except Refused as refused:
            if isinstance(refused.reason, BadExecution):
                own = refused.reason.fields.items()
                raise Misfit({f"{stage}.{place}": sentence for place, sentence in own}) from None
            return Failure.INTERRUPTED
        except ActorError:
            return Failure.INTERRUPTED
        return result


def _shown(result: EngineResult) -> dict[str, Any]:
    shown = {
        "status": result.status,
        "engine": result.engine,
        "degraded": result.degraded,
        "diverted_from": result.diverted_from,
        "error": result.error,
        "result": result.result,
    }
    return {name: value for name, value in shown.items() if value is not None}
