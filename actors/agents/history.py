"""The conversation with a model that calls tools, as it grows: every call in it has its answer. Pure.

A provider refuses a conversation in which a call has no answer, for ever. So there is only one way to put a call into
it, and that takes the answers along; a call that has none is answered as cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from actors.models.chat import ChatMessage
from actors.models.chat import Usage as ModelUsage
from actors.tools.outcome import CANCELLED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actors.models.tools import ToolCall


def round_of(text: str, calls: tuple[ToolCall, ...], said: Mapping[str, str]) -> tuple[ChatMessage, ...]:
    """One round: what the model wrote and wanted, and the answer to each call in its order.

    `said`: the answers by the call's id.
    """
    answers = (ChatMessage("tool", said.get(call.id, CANCELLED.said), tool_call_id=call.id) for call in calls)
    return (ChatMessage("assistant", text, tool_calls=calls), *answers)


def with_own_ids(calls: Iterable[ToolCall], seen: set[str]) -> tuple[ToolCall, ...]:
    """The calls, each with an id that is not in `seen`, which grows: some providers count from 0 in every answer."""
    named: list[ToolCall] = []
    for call in calls:
        name, number = call.id, 1
        while name in seen:
            number += 1
            name = f"{call.id}-{number}"
        seen.add(name)
        named.append(call if name == call.id else attrs.evolve(call, id=name))
    return tuple(named)


def total(before: ModelUsage | None, more: ModelUsage | None) -> ModelUsage | None:
    """What two calls have cost together."""
    if before is None or more is None:
        return before or more
    return ModelUsage(
        before.prompt_tokens + more.prompt_tokens,
        before.completion_tokens + more.completion_tokens,
        estimated=before.estimated or more.estimated,
    )
