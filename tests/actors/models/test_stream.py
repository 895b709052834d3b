"""One attempt against scripted bytes, under a mock clock: deadlines, ends, and what is passed on."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.models.chat import StreamLimits, Usage
from actors.models.failure import AttemptFailed
from actors.models.stream import AFTER_FINISH, CHUNKS_A_TURN, stream_chat

pytestmark = pytest.mark.usefixtures("collected")

ROLE = b'data: {"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"


def piece(text: str | None, finish_reason: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return f"data: {json.dumps({'model': 'm', 'choices': [choice]})}\n\n".encode()


STOP = piece(None, "stop")
LIMITS = StreamLimits(first_token=20, idle=10, total=60)


class Attempt:
    """Runs scripts. The first call warms the client up on the real clock's terms: it uses a thread."""

    def __init__(self, client: Any, scripted: Any, ask: Any, clock: MockClock) -> None:
        self.client, self.scripted, self.ask, self.clock = client, scripted, ask, clock
        self.heard: list[str] = []
        self.limits = LIMITS

    async def run(self, *script: float | bytes) -> Any:
        self.scripted.script = list(script)
        self.heard.clear()
        return await stream_chat(self.client, self.ask(), self.limits, self.heard.append)

    async def fail(self, *script: float | bytes) -> AttemptFailed:
        with pytest.raises(AttemptFailed) as caught:
            await self.run(*script)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert self.scripted.body.closed
        assert caught.value.text == "".join(self.heard)
        return caught.value


@pytest.fixture
async def attempt(mock_clock: MockClock, scripted_client: Any, scripted: Any, ask: Any) -> Attempt:
    assert trio.lowlevel.current_clock() is mock_clock, "a test has to ask for the mock clock itself"
    attempt = Attempt(scripted_client, scripted, ask, mock_clock)
    await attempt.run(STOP, DONE)
    mock_clock.autojump_threshold = 0
    return attempt


async def test_a_complete_answer(mock_clock: MockClock, attempt: Attempt):
    start = trio.current_time()
    answer = await attempt.run(ROLE, 2, piece("Hello"), 1, piece(", world"), STOP, USAGE, DONE)
    assert attempt.heard == ["Hello", ", world"]
    assert (answer.text, answer.finish_reason, answer.model) == ("Hello, world", "stop", "m")
    assert answer.usage == Usage(3, 4, estimated=False)
    assert not answer.cut_at_length
    assert answer.tool_calls == ()
    assert answer.provider_limits is None
    assert [answer.started_at - start, answer.first_token_at - start, answer.ended_at - start] == [0, 2, 3]


async def test_what_is_asked(mock_clock: MockClock, attempt: Attempt, ask: Any):
    attempt.scripted.script = [STOP, DONE]
    request = ask("mine", temperature=0.5, max_tokens=9, strange={"x": 1})
    await stream_chat(attempt.client, request, LIMITS, attempt.heard.append)
    body = json.loads(attempt.scripted.requests[-1].content)
    assert body == {
        "model": "mine",
        "messages": [
            {"role": "system", "content": "You are the Analyst of a team."},
            {"role": "user", "content": "Build a library that lends books."},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 9,
        "strange": {"x": 1},
    }


async def test_usage_is_estimated_where_there_is_none(mock_clock: MockClock, attempt: Attempt, ask: Any):
    answer = await attempt.run(piece("x" * 40), STOP, DONE)
    assert answer.usage == Usage(ask().prompt_tokens, 10, estimated=True)


async def test_headers_teach_limits(mock_clock: MockClock, attempt: Attempt):
    attempt.scripted.headers["x-ratelimit-limit-requests"] = "60"
    answer = await attempt.run(piece("a"), STOP, DONE)
    assert answer.provider_limits.limit_requests == 60
    assert (await attempt.fail(piece("a"))).provider_limits.limit_requests == 60


async def test_no_first_token_in_time(mock_clock: MockClock, attempt: Attempt):
    start = trio.current_time()
    failed = await attempt.fail(ROLE, math.inf)
    assert trio.current_time() - start == 20
    assert (failed.facts.kind, failed.facts.expired, failed.facts.retryable) == ("timeout", "first_token", True)
    assert "20 s" in failed.facts.detail


async def test_silence_between_pieces(mock_clock: MockClock, attempt: Attempt):
    start = trio.current_time()
    failed = await attempt.fail(5, piece("a"), 9, piece("b"), math.inf)
    assert trio.current_time() - start == 24
    assert (failed.facts.expired, failed.facts.after_first_delta, failed.facts.retryable) == ("idle", True, False)
    assert failed.text == "ab"
    assert failed.usage.estimated


async def test_the_whole_attempt_has_an_end(mock_clock: MockClock, attempt: Attempt):
    start = trio.current_time()
    failed = await attempt.fail(*[9, piece("a")] * 100)
    assert trio.current_time() - start == 60
    assert failed.facts.expired == "total"
    assert failed.text == "a" * 6


async def test_total_is_total_also_before_the_first_token(mock_clock: MockClock, attempt: Attempt):
    attempt.limits = StreamLimits(first_token=20, idle=20, total=5)
    assert (await attempt.fail(math.inf)).facts.expired == "total"


@pytest.mark.parametrize("noise", [COMMENT, ROLE, piece(None), piece(""), USAGE, b"event: ping\n\n"])
async def test_only_content_moves_the_deadlines(mock_clock: MockClock, attempt: Attempt, noise: bytes):
    start = trio.current_time()
    assert (await attempt.fail(*[1, noise] * 100)).facts.expired == "first_token"
    assert trio.current_time() - start == 20
    start = trio.current_time()
    assert (await attempt.fail(piece("a"), *[1, noise] * 100)).facts.expired == "idle"
    assert trio.current_time() - start == 10


async def test_content_moves_the_deadlines(mock_clock: MockClock, attempt: Attempt):
    answer = await attempt.run(19, piece("a"), *[9, piece("b")] * 4, STOP, DONE)
    assert answer.text == "abbbb"


async def test_thinking_is_content_but_no_text(mock_clock: MockClock, attempt: Attempt):
    thought = b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}\n\n'
    answer = await attempt.run(*[9, thought] * 4, piece("a"), STOP, DONE)
    assert attempt.heard == ["a"]
    assert answer.text == "a"
    assert not (await attempt.fail(thought, math.inf)).facts.after_first_delta


@pytest.mark.parametrize("script", [(), (ROLE,), (ROLE, piece("a")), (piece("a"), DONE), (piece("a"), USAGE, DONE)])
async def test_an_end_without_finish_reason_is_truncated(
    mock_clock: MockClock, attempt: Attempt, script: tuple[bytes, ...]
):
    failed = await attempt.fail(*script)
    assert (failed.facts.kind, failed.facts.counts) == ("truncated", True)


async def test_length_is_an_answer_cut_at_its_length(mock_clock: MockClock, attempt: Attempt):
    answer = await attempt.run(piece("a"), piece("b", "length"), DONE)
    assert (answer.text, answer.finish_reason, answer.cut_at_length) == ("ab", "length", True)


async def test_content_filter(mock_clock: MockClock, attempt: Attempt):
    failed = await attempt.fail(piece("a"), piece("b", "content_filter"), DONE)
    assert (failed.facts.kind, failed.facts.counts, failed.text) == ("content_policy", False, "a")


async def test_an_answer_is_complete_whatever_follows_its_finish_reason(mock_clock: MockClock, attempt: Attempt):
    attempt.limits = StreamLimits(event_bytes=100_000)
    for rest in (
        (),
        (b"data: nope\n\n",),
        (b"data: \xff\n\n",),
        (b'data: {"error": {"message": "x"}}\n\n',),
        (b"x" * 200_000,),
    ):
        assert (await attempt.run(piece("a"), STOP, *rest)).text == "a"
        assert attempt.scripted.body.closed


async def test_a_finished_answer_waits_a_little_for_its_usage(mock_clock: MockClock, attempt: Attempt):
    answer = await attempt.run(piece("a"), STOP, AFTER_FINISH - 1, USAGE, DONE)
    assert not answer.usage.estimated
    start = trio.current_time()
    answer = await attempt.run(piece("a"), STOP, *[1, COMMENT] * 100, USAGE, DONE)
    assert answer.usage.estimated
    assert trio.current_time() - start == AFTER_FINISH


async def test_after_done_the_stream_has_a_tenth_of_a_second(mock_clock: MockClock, attempt: Attempt):
    start = trio.current_time()
    answer = await attempt.run(piece("a"), STOP, DONE, *[0.01, COMMENT] * 1000)
    assert answer.text == "a"
    assert trio.current_time() - start == pytest.approx(0.1)
    assert attempt.scripted.body.closed


async def test_an_event_has_a_limit(mock_clock: MockClock, attempt: Attempt):
    attempt.limits = StreamLimits(event_bytes=1000)
    failed = await attempt.fail(piece("a"), b"data: " + b"x" * 2000)
    assert (failed.facts.kind, failed.text) == ("malformed", "a")
    assert "EventTooLarge" in failed.facts.detail


async def test_a_page_instead_of_a_stream_is_malformed(mock_clock: MockClock, attempt: Attempt):
    attempt.scripted.headers["content-type"] = "text/html"
    failed = await attempt.fail(b"<html><body>Welcome to the proxy!</body></html>")
    assert failed.facts.kind == "malformed"
    assert "text/html" in failed.facts.detail


async def test_characters_cut_in_two_come_whole(mock_clock: MockClock, attempt: Attempt):
    stream = b"".join([ROLE, piece("ä水😀".encode().decode()), STOP, DONE]).replace(b"\\u00e4", "ä".encode())
    stream = 'data: {"choices":[{"index":0,"delta":{"content":"ä水😀"}}]}\n\n'.encode() + stream
    await attempt.run(*[stream[n : n + 1] for n in range(len(stream))])
    assert attempt.heard == ["ä水😀", "ä水😀"]


async def test_what_on_text_raises_is_raised_as_it_is(mock_clock: MockClock, attempt: Attempt):
    for exc in (ValueError("mine"), UnicodeEncodeError("ascii", "x", 0, 1, "mine"), KeyError("mine")):

        def refuse(_: str, exc: Exception = exc) -> None:
            raise exc

        attempt.scripted.script = [piece("a"), math.inf]
        with pytest.raises(type(exc), match="mine"):
            await stream_chat(attempt.client, attempt.ask(), LIMITS, refuse)
        assert attempt.scripted.body.closed


async def test_who_answers_is_said_once_and_before_the_first_text(mock_clock: MockClock, attempt: Attempt):
    said: list[str] = []
    nameless = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    attempt.scripted.script = [ROLE, piece("a"), piece("b"), STOP, DONE]
    await stream_chat(
        attempt.client, attempt.ask(), LIMITS, said.append, on_model=lambda model: said.append(f"<{model}>")
    )
    assert said == ["<m>", "a", "b"]
    attempt.scripted.script = [nameless, STOP, DONE]
    await stream_chat(attempt.client, attempt.ask(), LIMITS, len, on_model=said.append)
    assert said[3:] == ["m"]


async def test_it_says_when_it_has_caught_up(mock_clock: MockClock, attempt: Attempt):
    told: list[str] = []
    heard: list[str] = []
    attempt.scripted.script = [ROLE, piece("a") + piece("b"), 1, piece("c"), 1, piece("d") + STOP + DONE]
    await stream_chat(
        attempt.client, attempt.ask(), LIMITS, heard.append, on_caught_up=lambda: told.append("".join(heard))
    )
    assert told == ["", "ab", "abc", "abcd"]


async def test_what_cannot_be_sent_is_said(
    mock_clock: MockClock, attempt: Attempt, connect: Any, ask: Any, scripted: Any
):
    attempt.clock.autojump_threshold = math.inf  # a client's first request uses a thread
    async with connect("http://localhost/v1", "sk-\u2019\u2019", transport=scripted) as client:
        with pytest.raises(AttemptFailed) as caught:
            await stream_chat(client, ask(), LIMITS, print)
    assert (caught.value.facts.kind, caught.value.facts.opens_at_once) == ("configuration", True)
    assert caught.value.usage is None
    with pytest.raises(AttemptFailed) as caught:
        await stream_chat(attempt.client, ask(text="\ud83d"), LIMITS, print)
    assert caught.value.facts.kind == "bad_request"


async def test_cancelled_it_lets_go_and_raises_nothing_of_its_own(mock_clock: MockClock, attempt: Attempt):
    attempt.scripted.script = [piece("a"), math.inf]
    with trio.move_on_after(3) as scope:
        await stream_chat(attempt.client, attempt.ask(), LIMITS, attempt.heard.append)
    assert scope.cancelled_caught
    assert attempt.heard[-1] == "a"
    assert attempt.scripted.body.closed


async def test_others_have_their_turn_while_hundreds_of_chunks_are_there(
    mock_clock: MockClock, attempt: Attempt, nursery: trio.Nursery
):
    turns: list[int] = []

    async def neighbour() -> None:
        while True:
            turns.append(len(attempt.heard))
            await trio.lowlevel.checkpoint()

    nursery.start_soon(neighbour)
    await attempt.run(piece("x") * (CHUNKS_A_TURN * 10) + STOP + DONE)
    nursery.cancel_scope.cancel()
    longest = max(b - a for a, b in pairwise(turns))
    assert longest <= 2 * CHUNKS_A_TURN  # its turn may come early in one pass and late in the next
