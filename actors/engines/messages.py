"""What is said between the engines and those who have work for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import attrs

from actors.protocol.catalogue import CATALOGUE, Failure
from actors.protocol.task_events import Priority

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime import Ref


@attrs.frozen
class Execute:
    """Asks an engine for one execution; to be sent by `ask` or `request`. Answered with an `EngineResult`.

    Refused with `BadExecution` (nothing was done, and would not be another time), `EngineBusy` or `EngineUnavailable`.
    When nobody waits for the answer any more, the execution is cancelled within half a second; `Cancel` does it at
    once.

    Attributes:
        task_type: see `routing`.
        description: what is wanted, in words.
        user: for whom; nothing of another user is read or written.
        deadline: trio's time; what is not finished by then is cancelled, and answered as failed.
        parameters: what the engine takes besides; see each.
        key: names the execution, for `Cancel`, and is the idempotency key of what it stores; empty: none.
        progress: is told `EngineProgress` on the way, where the engine counts any.
        priority: of its calls at the models' gates.
    """

    task_type: str
    description: str
    user: str
    deadline: float
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    key: str = ""
    progress: Ref[Any] | None = None
    priority: Priority = Priority.MEDIUM


@attrs.frozen
class Cancel:
    """Told to an engine: nobody wants the executions of this user's key any more, whoever of the engine has them.

    `passed_on`: from one actor of the engine to the other.
    """

    user: str
    key: str
    passed_on: bool = False


@attrs.frozen
class EngineProgress:
    """So many parts of an execution are finished, of all."""

    key: str
    finished: int
    total: int


@attrs.frozen
class EngineResult:
    """How an execution ended.

    Attributes:
        engine: who did it.
        task_type: as it was asked.
        status: completed or failed.
        result: what came of it, as plain JSON values; where it failed, as far as it came.
        degraded: it was done in a plainer way than the engine's own, or part of it was.
        diverted_from: the engine that should have done it and did not.
        failure: why it failed.
        duration_ms: from its arrival at the engine to its end.
        defect: it failed through the engine's own fault: a failure in the sense of supervision.
    """

    engine: str
    task_type: str
    status: Literal["completed", "failed"]
    result: dict[str, Any]
    degraded: bool
    diverted_from: str | None
    failure: Failure | None
    duration_ms: int
    defect: bool = False

    @property
    def error(self) -> str | None:
        """The failure as a person reads it."""
        return None if self.failure is None else CATALOGUE[self.failure].sentence


@attrs.frozen
class BadExecution:
    """Refused: what was asked cannot be done so. `fields` maps each place to a sentence."""

    fields: Mapping[str, str]


@attrs.frozen
class EngineBusy:
    """Refused: neither the engine nor what stands in for it has room. `retry_after` in seconds."""

    retry_after: float


@attrs.frozen
class EngineUnavailable:
    """Refused: what the engine needs cannot be reached now, or nothing of it is left. `retry_after` in seconds."""

    retry_after: float
