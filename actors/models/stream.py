"""One attempt at an answer: a streamed chat completion or response, read by the raw path.

Why not the client's typed stream: it costs 45 to 100 µs more a chunk, takes an end without `finish_reason` for a
success, checks no shape, has no limit for an event, and knows only a timeout between bytes, which a provider's
keep-alive comments move for ever. Here three deadlines are moved by content alone. They are one cancel scope with a
moving deadline: a scope for each would cost more than the chunk.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import trio

from actors.models.answer import Answer, chat_body
from actors.models.bodies import let_go
from actors.models.chat import ChatRequest, Completion, StreamLimits, Usage
from actors.models.events import EventReader, EventTooLarge
from actors.models.failure import (
    AnswerBroken,
    AttemptFailed,
    FailureFacts,
    classify,
    expired,
    headers_of,
    transport_errors,
)
from actors.models.gulps import Gulps
from actors.models.provider_limits import ProviderLimits, parse_provider_limits
from actors.models.responses import ResponsesAnswer, responses_body, responses_parameters
from actors.models.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2
    import openai

    from actors.models.events import ServerSentEvent
    from actors.models.failure import Deadline
    from actors.models.gathering import Gathering

CHUNKS_A_TURN = 32
"""Chunks after which the task lets others run: hundreds can arrive in one segment, without any wait between them."""

AFTER_FINISH = 5.0
"""Seconds that a finished answer still waits for its usage and the end of its stream."""

ARM_EVERY = 0.005
"""Part of the idle deadline: content that follows content within it does not move the deadline, which costs as much as
taking the content."""

DRAIN = 0.1
"""Seconds after the end of an answer in which the connection may end by itself, and be used again."""


async def stream_chat(
    client: openai.AsyncOpenAI,
    request: ChatRequest,
    limits: StreamLimits,
    on_text: Callable[[str], None],
    *,
    on_model: Callable[[str], None] | None = None,
    on_caught_up: Callable[[], None] | None = None,
    ticks: Ticks | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> Completion:
    """Makes one attempt, and passes on each piece of text as it comes.

    `on_text` is called in this task, must not block, and what it raises ends the attempt and is raised as it is. So is
    `on_model`, once, with what the answer calls its model: before the first text, unless it is named only after it.
    `on_caught_up` is called in the same way whenever all that was there has been passed on, and what follows may take a
    while. Attempts that are given the same `ticks` wake up together, which is cheaper.
    `wall_clock` gives seconds since the epoch, for a Retry-After that is a date. Raises AttemptFailed for everything
    that a provider or a network can do. Cancelled, it closes the connection, so that the provider stops, and raises
    nothing of its own; a deadline of the whole request is therefore a scope of the caller's, and counts for nothing.
    An answer whose `finish_reason` has come is complete, whatever then becomes of its stream.
    """
    attempt = _Attempt(request, limits, on_text, on_model, on_caught_up, Ticks() if ticks is None else ticks)
    failure: FailureFacts | None = None
    with attempt.scope:
        try:
            await attempt.run(client)
        except transport_errors(UnicodeEncodeError) as exc:
            if isinstance(exc, UnicodeEncodeError) and attempt.opened:
                raise  # not from building the request, so it is of on_text or on_model
            failure = classify(
                exc,
                wall_time=wall_clock(),
                after_first_delta=bool(attempt.answer.text),
                secrets=(client.api_key,),
            )
            headers = headers_of(exc)
            if headers is not None:
                attempt.provider_limits = parse_provider_limits(headers)
    # Raised out here, the failure has no context: no frames, and no request with its key, outlive the attempt.
    return attempt.outcome(failure)


class _Attempt:
    def __init__(
        self,
        request: ChatRequest,
        limits: StreamLimits,
        on_text: Callable[[str], None],
        on_model: Callable[[str], None] | None,
        on_caught_up: Callable[[], None] | None,
        ticks: Ticks,
    ) -> None:
        kind = ResponsesAnswer if request.api == "responses" else Answer
        self.answer: Gathering = kind(limits.answer_characters)
        self.provider_limits: ProviderLimits | None = None
        self.opened = False
        self._request = request
        self._limits = limits
        self._on_text = on_text
        self._on_model = on_model  # None once it has been called
        self._on_caught_up = on_caught_up
        self._ticks = ticks
        self._reader = EventReader(limits.event_bytes)
        self._chunks = 0
        self._started_at = trio.current_time()
        self._first_token_at: float | None = None
        self._armed_at = -math.inf
        self._total_at = self._started_at + limits.total
        self._armed: Deadline = "total"
        self.scope = trio.CancelScope()
        self._arm("first_token", self._started_at + limits.first_token)

    def _arm(self, deadline: Deadline, at: float) -> None:
        self._armed, self.scope.deadline = ("total", self._total_at) if self._total_at <= at else (deadline, at)

    async def run(self, client: openai.AsyncOpenAI) -> None:
        from openai import AsyncStream  # noqa: PLC0415 - see `client`

        request = self._request
        # The parameters come last and as they are: they may name what only this provider knows. Posted by the path,
        # since the client's typed way in goes through the body by its annotations, which costs over a millisecond.
        if request.api == "responses":
            path, body = "/responses", responses_body(request) | responses_parameters(request)
        else:
            path, body = "/chat/completions", chat_body(request) | dict(request.parameters)
        stream = await client.post(
            path, body=body | {"stream": True}, cast_to=object, stream=True, stream_cls=AsyncStream[object]
        )
        async with stream:  # never iterated, which is the expensive way: it only holds the answer, and closes it
            response = stream.response
            self.opened = True
            self.provider_limits = parse_provider_limits(response.headers)
            with Gulps(response, self._ticks) as gulps:
                await self._read(response, gulps)
            self._check_end(response.headers.get("content-type", ""))

    async def _read(self, response: httpx2.Response, gulps: Gulps) -> None:
        patience = 0.0
        pieces = response.aiter_bytes()
        try:
            async for piece in pieces:
                gulps.gave(piece)
                more: bytes | None = piece
                while more is not None:
                    await self._hear(more)
                    if self._on_caught_up is not None:
                        self._on_caught_up()
                    if self.answer.over:
                        patience = DRAIN
                        return
                    gulps.on = self._first_token_at is not None and self.answer.finish_reason is None
                    more = await gulps.more()
        finally:
            gulps.on = False
            await let_go(pieces, patience)

    async def _hear(self, piece: bytes) -> None:
        """The next piece of the stream, up to the end of the answer."""
        events = self._reader.feed(piece)
        while (event := _next(events)) is not None:
            self._take(event.data, event.name)
            if self.answer.over:
                return
            self._chunks += 1
            if self._chunks % CHUNKS_A_TURN == 0:
                await trio.lowlevel.checkpoint()

    def _take(self, data: str, name: str) -> None:
        if self.answer.finish_reason is not None:
            self.answer.take(data, name)  # its usage
            return
        taken = self.answer.take(data, name)
        if self.answer.finish_reason is not None:
            self._arm("idle", trio.current_time() + AFTER_FINISH)
        elif taken.content:
            now = trio.current_time()
            if now - self._armed_at >= ARM_EVERY * self._limits.idle:
                self._armed_at = now
                self._arm("idle", now + self._limits.idle)
        if taken.content and self._first_token_at is None:
            self._first_token_at = trio.current_time()
        if self._on_model is not None and self.answer.model:
            on_model, self._on_model = self._on_model, None
            on_model(self.answer.model)
        if taken.text:
            self._on_text(taken.text)

    def _check_end(self, content_type: str) -> None:
        if self.answer.finish_reason is not None:
            return
        if not self.answer.model and content_type and not content_type.startswith("text/event-stream"):
            raise AnswerBroken("malformed", f"the answer is {content_type[:60]}, not a stream of events")
        raise AnswerBroken("truncated", "the stream ended without a finish_reason")

    def outcome(self, failure: FailureFacts | None) -> Completion:
        """What came of it. A failure after the `finish_reason` is none: the answer was whole by then."""
        answer = self.answer
        text = answer.text
        if answer.finish_reason is None:
            if failure is None:
                seconds = {"first_token": self._limits.first_token, "idle": self._limits.idle}
                failure = expired(
                    self._armed, seconds.get(self._armed, self._limits.total), after_first_delta=bool(text)
                )
            raise AttemptFailed(
                failure,
                text,
                usage=Usage.estimate(self._request, answer.written) if self.opened else None,
                provider_limits=self.provider_limits,
            )
        counted = answer.counted
        return Completion(
            text=text,
            finish_reason=answer.finish_reason,
            model=answer.model,
            usage=Usage(*counted, estimated=False) if counted else Usage.estimate(self._request, answer.written),
            tool_calls=answer.tool_calls,
            provider_limits=self.provider_limits,
            started_at=self._started_at,
            first_token_at=self._first_token_at,
            ended_at=trio.current_time(),
        )


def _next(events: Iterator[ServerSentEvent]) -> ServerSentEvent | None:
    try:
        return next(events, None)
    except (EventTooLarge, UnicodeDecodeError) as exc:
        raise AnswerBroken("malformed", f"{type(exc).__name__}: {exc}") from None
