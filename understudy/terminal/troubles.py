"""What the terminal says when a daemon cannot be reached, or does not do what it was asked."""

from __future__ import annotations

from typing import Final

from understudy.client import CommandRefused, ConnectionEnded, NoAnswer, Unreachable
from understudy.terminal.words import printable

TROUBLES: Final = (Unreachable, ConnectionEnded, CommandRefused, NoAnswer, ValueError)
"""What may come of one command on a connection of its own; ValueError for an address that is none."""


def trouble_words(trouble: Exception, about: str = "") -> str:
    """One line for any of `TROUBLES`. `about` is what the command named, as "Run 7": the daemon says "this"."""
    if isinstance(trouble, Unreachable | ConnectionEnded):
        return ended_words(trouble)
    return refusal_words(trouble, about) if isinstance(trouble, CommandRefused) else str(trouble)


def unreachable_words(trouble: Unreachable) -> str:
    line = f"Cannot reach a daemon at {trouble.url}: {trouble.why}."
    if trouble.status is None:
        return f"{line} Is it running? Start it with: understudy serve"
    if trouble.retry_after is not None:
        return f"{line} Try again in {trouble.retry_after:g} s."
    return line


def ended_words(trouble: Unreachable | ConnectionEnded) -> str:
    if isinstance(trouble, Unreachable):
        return unreachable_words(trouble)
    said = printable(trouble.message or trouble.reason or "no reason given")
    return f"The daemon closed the connection ({trouble.code}): {said}"


def refusal_words(refused: CommandRefused, about: str = "") -> str:
    """The daemon's sentence, field by field, and what can be done where this program knows more."""
    parts = [printable(refused.message) or f"The daemon refused: {refused.code}."]
    if about and refused.code in ("not_found", "conflict", "expired"):
        parts[0] = f"{printable(about)}: {parts[0]}"
    if decision := refused.metadata.get("decision"):
        parts.append(f"It was decided already: {printable(str(decision))}.")
    parts += [f"{name}: {printable(why)}" for name, why in refused.fields.items()]
    if refused.code == "already_running" and (run_id := refused.metadata.get("run_id")):
        parts.append(f"The run in progress is {run_id}.")
    if refused.retry_after is not None:
        parts.append(f"Try again in {refused.retry_after:g} s.")
    return " ".join(parts)
