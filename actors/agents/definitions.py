"""What an agent is, before any is started: a role, its instructions, and the models that may speak for it."""

from __future__ import annotations

from typing import Any

import attrs

GENERAL_DEGRADED = (
    "No model could be reached for this step, so this text was not written by a model and answers nothing. The steps "
    "that follow are told that this answer is missing. Please run the brief again later."
)
"""The degraded answer of an agent that was given none of its own: honest in any role."""


@attrs.frozen
class AgentDefinition:
    """One agent of the configuration.

    Parameters:
        name: its key in the configuration, by which workflows name it.
        role: its title, one line for people: "Architect".
        prompt: the instructions that it works by, sent as the system message.
        models: names of models, the lead first, each next one the understudy of those before it; never empty.
        temperature: what the model is asked for, from 0 to 2; None leaves it to the model.
        max_tokens: the longest answer in tokens; None leaves it to the model.
        tools: names of the tools that it may have called.
        capabilities: what it can do, in words that tasks are matched by.
        max_concurrent_tasks: how much it works on at once, for all users together.
        approval: whether a person releases each of its answers, in any mode of the session.
        degraded: what is answered, marked as degraded, where none of the models can be reached.
    """

    name: str
    role: str
    prompt: str
    models: tuple[str, ...] = ("default",)
    temperature: float | None = None
    max_tokens: int | None = None
    degraded: str = GENERAL_DEGRADED
    tools: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    max_concurrent_tasks: int = 100
    approval: bool = False

    def parameters(self, temperature: float | None = None) -> dict[str, Any]:
        """What a model is asked for besides; `temperature`: instead of the agent's own."""
        wanted = {
            "temperature": self.temperature if temperature is None else temperature,
            "max_tokens": self.max_tokens,
        }
        return {name: value for name, value in wanted.items() if value is not None}
