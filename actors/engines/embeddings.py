"""Vectors of meaning through a provider's embeddings: an option, and never what a memory depends on.

A request goes the way of every other to this provider: through the chain of its endpoint, with a lease of the gate,
within the endpoint's limits, and its ledger hears how it went. So three failures in a row, or a Retry-After, keep the
memories away from it without delay, until the gate's own probe comes back.

Where there is no vector to be had, a memory is stored, or looked for, without one: by its words it is found. That is
why nothing is tried again here, and why nobody stands in line for long.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec
import trio

from actors.engines.asking import Silent
from actors.engines.ranking import pack
from actors.engines.recall import Vector
from actors.models.acquisition import Acquisition
from actors.models.bodies import whole
from actors.models.failure import AnswerBroken, classify, expired, headers_of, transport_errors
from actors.models.lease import Acquire, Settle
from actors.models.next_move import Retry, Standing, next_move
from actors.models.provider_limits import parse_provider_limits
from actors.models.tokens import estimate_tokens
from supervisors import Outcome

if TYPE_CHECKING:
    from random import Random

    import openai

    from actors.models.lease import Lease
    from actors.models.leaseholder import Leaseholder
    from runtime import Ref

PATIENCE: Final = 2.0
"""Seconds of waiting for a lease."""
WITHIN: Final = 5.0
"""Seconds that the provider has."""
LONGEST: Final = 8_000
"""Characters of a text that are sent: models take some eight thousand tokens, and a head says what a text is about."""
ANSWER_BYTES: Final = 1024 * 1024
"""Of an answer: many times the largest vector that there is, in decimal figures."""


class _Made(msgspec.Struct, frozen=True):
    embedding: list[float]


class _Usage(msgspec.Struct, frozen=True):
    total_tokens: int | None = None


class _Answer(msgspec.Struct, frozen=True):
    data: list[_Made]
    usage: _Usage | None = None


_DECODER: Final = msgspec.json.Decoder(_Answer)


class Embeddings:
    """Makes vectors with one endpoint, which must not be a simulated one.

    Args:
        chain: the address of the chain that holds this endpoint alone.
        endpoint: its name.
        leases: where leases are held.
        rng: for jitter.
    """

    def __init__(self, chain: Ref[Any], endpoint: str, leases: Leaseholder, rng: Random) -> None:
        self._chain = chain
        self._models = (endpoint,)
        self._leases = leases
        self._rng = rng

    async def __call__(self, text: str, user: str) -> Vector | None:
        """The vector of a text, for this user; None where there is none to be had within 7 s.

        Cancellation closes the request, and gives the lease back.
        """
        head = text[:LONGEST].encode("utf-8", "replace").decode()
        question = Acquire(
            self._leases.ref,
            self._models,
            estimate_tokens(head),
            0,
            user,
            "",
            trio.current_time() + PATIENCE + WITHIN,
            patience=PATIENCE,
            key=self._leases.next_key(),
        )
        lease = None
        with trio.move_on_after(PATIENCE):
            lease = await Acquisition(self._chain, self._leases, question, Silent(), self._rng).through_chain(None)
        return None if lease is None else await self._ask(lease, head)

    async def _ask(self, lease: Lease, text: str) -> Vector | None:
        self._leases.take(lease)
        settlement = Settle(lease, Outcome.CANCELLED, sent=not lease.resources.retired)
        try:
            if lease.resources.retired:  # since it was granted
                return None
            async with lease.resources.in_use() as client:
                settlement, vector = await _answer(lease, client, text)
            return vector
        finally:
            self._leases.settle(settlement)


async def _answer(lease: Lease, client: openai.AsyncOpenAI, text: str) -> tuple[Settle, Vector | None]:
    """One request: how it is to be settled, and the vector."""
    model = lease.resources.endpoint.model
    settlement = Settle(lease, Outcome.SUCCESS)
    try:
        with trio.fail_after(WITHIN):
            ask = client.embeddings.with_streaming_response.create
            async with ask(model=model, input=text, encoding_format="float") as raw:
                settlement = attrs.evolve(settlement, provider_limits=parse_provider_limits(raw.headers))
                packed, tokens = _read(await whole(raw.http_response, ANSWER_BYTES))
        return attrs.evolve(settlement, tokens_used=tokens), Vector(model, packed)
    except transport_errors(ValueError, trio.TooSlowError) as error:
        return _failed(settlement, error, client.api_key), None


def _read(answer: bytes) -> tuple[bytes, int | None]:
    """The vector, and what it cost."""
    try:
        read = _DECODER.decode(answer)
        usage = read.usage
        return pack(read.data[0].embedding), None if usage is None else usage.total_tokens
    except (ValueError, IndexError, RecursionError):
        raise AnswerBroken("malformed", "there is no vector in the answer") from None


def _failed(settlement: Settle, error: Exception, key: str) -> Settle:
    if isinstance(error, trio.TooSlowError):
        facts = expired("total", WITHIN)
    else:
        facts = classify(error, wall_time=time.time(), secrets=(key,))
    headers = headers_of(error)
    if headers is not None:
        settlement = attrs.evolve(settlement, provider_limits=parse_provider_limits(headers))
    move = next_move(Standing(1, 1, counted=False, left=0.0), facts, delay=0.0, affordable=False)
    assert not isinstance(move, Retry)  # it was the only attempt
    return attrs.evolve(
        settlement,
        outcome=move.outcome,
        tokens_used=None if facts.kind == "timeout" else 0,
        park_until=None if facts.park_for is None else trio.current_time() + facts.park_for,
        facts=facts,
    )
