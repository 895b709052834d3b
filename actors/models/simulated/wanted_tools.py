"""Which tools the simulated model wants to be called, and when: as it is told, so that one can watch a loop over tools.

Told by the prompt: where tools are offered, each line of the user's messages of the form

    call-tool: NAME {"argument": "value"}

is played once, one an answer, in their order; the arguments may be left out. The answers of tools in the conversation
say how many have been played. After the last, the answer is text, and quotes what the tools have said.

Told by a fault (`tool_call`): every request that meets it is answered so, whether the tool is offered or not. So one
can play a tool that does not exist, arguments that are no JSON, and a model that never stops asking.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from actors.models.simulated.forms import WantedCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.models.simulated.brain import Prompt
    from actors.models.simulated.faults import Fault

_DIRECTIVE = re.compile(r"^\s*call-tool:\s*([\w-]{1,64})\s*(\{.*\})?\s*$", re.MULTILINE)
_QUOTED = 200  # characters of a tool's answer


def wanted_tools(
    prompts: Sequence[Prompt], *, offered: bool, fault: Fault | None, new_id: Callable[[], str]
) -> list[WantedCall]:
    """The calls to answer with, none for an answer in text."""
    if fault is not None and fault.name == "tool_call":
        return [WantedCall(new_id(), fault["tool"], fault["arguments"]) for _ in range(max(1, fault["calls"]))]
    if not offered or fault is not None:
        return []
    told = [found.groups() for prompt in prompts if prompt.role == "user" for found in _DIRECTIVE.finditer(prompt.text)]
    played = sum(prompt.role == "tool" for prompt in prompts)
    return [WantedCall(new_id(), name, arguments or "{}") for name, arguments in told[played : played + 1]]


def quoted_tools(prompts: Sequence[Prompt]) -> str:
    """What an answer says of what the tools have said."""
    said = [" ".join(prompt.text.split())[:_QUOTED] for prompt in prompts if prompt.role == "tool"]
    return "".join(f"> A tool has said: {text}\n" for text in said) + ("\n" if said else "")
