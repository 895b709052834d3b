"""A tool as a model is told of it, and a call of one as the model words it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping


@attrs.frozen
class Tool:
    """A function that the model may want to be called.

    `parameters` is the JSON schema of its arguments, an object's. The name has up to 64 letters, digits, `_` and `-`:
    providers take no other.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]

    @property
    def text(self) -> str:
        """What of it counts as prompt."""
        return f"{self.name}{self.description}{msgspec.json.encode(self.parameters).decode()}"


@attrs.frozen
class ToolCall:
    """A tool that the model wants to be called. `arguments` is the model's own JSON text.

    In an answer, `id` is never empty, and no two calls share one.
    """

    id: str
    name: str
    arguments: str

    @cached_property
    def input(self) -> dict[str, Any] | None:
        """The arguments, none counting as an empty object; None where they are no JSON object."""
        try:
            decoded = msgspec.json.decode(self.arguments or "{}")
        except (ValueError, RecursionError):
            return None
        return decoded if isinstance(decoded, dict) else None

    @property
    def problem(self) -> str | None:
        """What the model is to be told instead of a result, where its arguments cannot be read."""
        if self.input is not None:
            return None
        return f"The arguments of {self.name} are not a JSON object. Call it again with arguments that fit its schema."


def with_ids(calls: tuple[ToolCall, ...], rng: random.Random) -> tuple[ToolCall, ...]:
    """The calls, each with an id of its own, which some providers leave out or give twice."""
    seen: set[str] = set()
    named: list[ToolCall] = []
    for call in calls:
        if not call.id or call.id in seen:
            call = attrs.evolve(call, id=f"call_{rng.getrandbits(96):024x}")
        seen.add(call.id)
        named.append(call)
    return tuple(named)
