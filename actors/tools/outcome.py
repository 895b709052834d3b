"""What a call of a tool comes to: what the model is told, and what everybody else is shown. Pure.

The model is told every failure as JSON, `{"error": {"type": …, "message": …}}`, so that it can tell it from a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from actors.protocol.catalogue import CATALOGUE, Failure
from actors.protocol.event_types import ToolStatus
from actors.protocol.wire_values import without_surrogates
from actors.tools.context import ToolProblem
from actors.tools.sanitising import shown_output

if TYPE_CHECKING:
    from actors.tools.sanitising import Shown

MOST_CHARACTERS: Final = 200_000
"""Of a result: more does not fit into what a model reads."""
MOST_OF_AN_ERROR: Final = 1_000


@attrs.frozen
class Outcome:
    """How a call ended.

    Attributes:
        status: as `tool_completed` has it.
        said: the message of the conversation that answers the call: the exact result, or the error.
        shown: the result as it may be shown; None where there is none.
        failure: why there is none.
    """

    status: ToolStatus
    said: str
    shown: Shown | None = None
    failure: Failure | None = None

    @property
    def sentence(self) -> str | None:
        """The failure as a person reads it."""
        return None if self.failure is None else CATALOGUE[self.failure].sentence


def gave(result: Any) -> Outcome:
    """The tool has given this result. Text goes to the model as it is, everything else as JSON."""
    try:
        said = result if isinstance(result, str) else msgspec.json.encode(result).decode()
        if len(said) > MOST_CHARACTERS:
            much = f"The result has {len(said):,} characters; at most {MOST_CHARACTERS:,} can be read. Ask for less."
            return failed(Failure.TOOL, much)
        plain = result if isinstance(result, str) else msgspec.json.decode(said)
    except (TypeError, ValueError, RecursionError):
        return failed(Failure.TOOL, "The tool gave a result that cannot be written as JSON.")
    return Outcome(ToolStatus.SUCCESS, without_surrogates(said), shown_output(plain))


def raised(error: BaseException) -> Outcome:
    """The tool has failed with this exception: the model is told of it, since it can often do better the next time."""
    if isinstance(error, ToolProblem):
        return failed(Failure.TOOL, str(error))
    if isinstance(error, OSError):  # its words hold paths of this machine, and models repeat what they are told
        return failed(Failure.TOOL, f"The tool has failed: {error.strerror or type(error).__name__}")
    return failed(Failure.TOOL, f"The tool has failed: {type(error).__name__}: {error}")


def overdue(name: str, timeout: float) -> Outcome:
    """The tool has not come to an end in time; `timeout` in seconds."""
    return failed(
        Failure.TOOL_TIMEOUT, f"{name} did not end within {timeout:g} seconds. What it began may still happen."
    )


def not_begun(name: str, timeout: float) -> Outcome:
    """No thread was free in time; `timeout` in seconds."""
    busy = f"{name} was not begun within {timeout:g} seconds: everything that could carry it out is busy."
    return failed(Failure.TOOL_TIMEOUT, busy)


def failed(failure: Failure, message: str) -> Outcome:
    """There is no result."""
    status = ToolStatus.TIMEOUT if failure is Failure.TOOL_TIMEOUT else ToolStatus.ERROR
    body = {"error": {"type": failure.value, "message": without_surrogates(message)[:MOST_OF_AN_ERROR]}}
    return Outcome(status, msgspec.json.encode(body).decode(), failure=failure)


CANCELLED: Final = failed(Failure.TOOL_INTERRUPTED, "This call was cancelled before it was carried out.")
"""What stands in the history for a call that nobody carried out."""
