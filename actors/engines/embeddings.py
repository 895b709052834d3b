"""Vectors of meaning through a provider's embeddings: an option, and never what a memory depends on.

Where the provider does not answer, a memory is stored, or looked for, without a vector: by its words it is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import openai
import trio

from actors.engines.ranking import pack
from actors.engines.recall import Vector
from actors.models.client import build_client, close_client

if TYPE_CHECKING:
    import httpx2
    from structlog.typing import FilteringBoundLogger

    from actors.models.endpoint import Endpoint

WITHIN: Final = 5.0
LONGEST: Final = 8_000
"""Characters of a text that are sent: models take some eight thousand tokens, and a head says what a text is about."""
REST: Final = 30.0
"""Seconds for which a provider that has failed is left alone: each memory would pay for it otherwise."""


class Embeddings:
    """Makes vectors with one endpoint, which must not be a simulated one.

    Args:
        endpoint: its `model` is an embeddings model.
        log: for failures.
        transport: replaces the network, for tests.
    """

    def __init__(
        self, endpoint: Endpoint, log: FilteringBoundLogger, *, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._model = endpoint.model
        self._client = build_client(endpoint, transport=transport)
        self._log = log
        self._rests_until = float("-inf")

    async def __call__(self, text: str) -> Vector | None:
        """The vector of a text; None where there is none to be had within 5 s. Cancellation closes the call."""
        if trio.current_time() < self._rests_until:
            return None
        try:
            with trio.fail_after(WITHIN):
                answer = await self._client.embeddings.create(
                    model=self._model, input=text[:LONGEST], encoding_format="float"
                )
            return Vector(self._model, pack(answer.data[0].embedding))
        except (openai.OpenAIError, trio.TooSlowError, ValueError, TypeError, IndexError, AttributeError) as error:
            # The last four: an answer of another shape. The library checks none.
            self._rests_until = trio.current_time() + REST
            self._log.warning("no embeddings", model=self._model, cause=f"{type(error).__name__}: {error}"[:300])
            return None

    async def close(self) -> None:
        await close_client(self._client)
