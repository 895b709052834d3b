"""An estimate of tokens, for reserving before a call and for calls whose provider names no usage.

No tokenizer is loaded: each family of models has another, and a reservation is corrected by the provider's own figure
as soon as there is one. The heuristic: four ASCII characters a token (English prose has 4.0 to 4.5, program text 3 to
4), and a token for every three bytes of UTF-8 beyond ASCII (a Chinese character one, a Cyrillic letter two thirds, an
emoji four thirds). It errs on the high side for prose, which costs a little pace and never a refusal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PER_MESSAGE = 4
"""Tokens that a chat's framing adds to each message."""

PER_REQUEST = 3
"""Tokens that open the answer."""

UNKNOWN_ANSWER = 1024
"""Tokens reserved for an answer whose length the request does not limit."""


def estimate_tokens(text: str) -> int:
    """Tokens of a text, estimated; 0 only for the empty one."""
    ascii_characters = len(text.encode("ascii", "ignore"))
    other_bytes = len(text.encode("utf-8", "surrogatepass")) - ascii_characters
    return -(-(3 * ascii_characters + 4 * other_bytes) // 12)


def estimate_prompt(contents: Iterable[str]) -> int:
    """Tokens of a request whose messages have these contents."""
    return PER_REQUEST + sum(PER_MESSAGE + estimate_tokens(content) for content in contents)


def reservation(prompt_tokens: int, max_tokens: int | None, tokens_per_minute: int | None = None) -> int:
    """Tokens to reserve before a call: the prompt, and the answer's limit or, where it has none, a usual length.

    The usual length is 1024, but never above a quarter of a minute's allowance, lest a small account wait for ever.
    """
    if max_tokens is not None:
        return prompt_tokens + max_tokens
    if tokens_per_minute is None:
        return prompt_tokens + UNKNOWN_ANSWER
    return prompt_tokens + min(UNKNOWN_ANSWER, tokens_per_minute // 4)
