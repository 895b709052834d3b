"""One answer of the simulated model, streamed or whole, with the fault that it meets."""

from __future__ import annotations

import math
from itertools import cycle
from typing import TYPE_CHECKING

import attrs
import msgspec
import trio

from actors.models.simulated.brain import pieces
from actors.models.simulated.connection import json_headers
from actors.models.simulated.forms import KEEP_ALIVE, ChatCall, WantedCall, Writer, error_body
from actors.models.tokens import estimate_prompt

if TYPE_CHECKING:
    from actors.models.simulated.connection import Headers, HttpConnection
    from actors.models.simulated.faults import Fault
    from actors.models.simulated.responses_forms import ResponsesCall, ResponsesWriter
    from actors.models.simulated.simulation import Simulation

_ERROR_TYPES = {400: "invalid_request_error", 401: "invalid_api_key", 403: "permission_error", 404: "model_not_found"}
_HUGE_PIECE = 64 * 1024
_PAGE = b"<!doctype html><title>Welcome</title><p>Please sign in to the network.</p>\n"


@attrs.define
class Completing:
    """An answer under way; `text` is the whole of it, `wanted` the tools that it wants to be called instead, and
    `prompt` what the question is known by.

    It is counted as over just before its last bytes are written, so that whoever has read an answer finds it counted.
    `answered` says that it has been.
    """

    simulation: Simulation
    connection: HttpConnection
    call: ChatCall | ResponsesCall
    fault: Fault | None
    created: int
    prompt: str
    text: str
    wanted: list[WantedCall]
    answered: bool = False

    async def run(self) -> None:
        """Writes the answer. Raises trio.BrokenResourceError when the client has gone."""
        fault = self.fault
        if fault is not None and fault.name == "refuse":
            self._finish()
            self.connection.reset()
        elif fault is not None and fault.name == "silent":
            await trio.sleep_forever()
        elif fault is not None and fault.name == "page":
            self._finish()
            await self.connection.answer(200, [("content-type", "text/html")], _PAGE)
        elif fault is not None and fault.name in ("status", "insufficient_quota"):
            await self._refuse(fault)
        elif self.call.stream:
            await self._stream()
        else:
            await self._whole()

    def _finish(self) -> None:
        self.answered = True
        self.simulation.end(self.call.model, "ok" if self.fault is None else "faulted")
        if self.fault is None:
            self.simulation.prompts.answer(self.prompt, self.simulation.wall_clock())

    async def _refuse(self, fault: Fault) -> None:
        self._finish()
        if fault.name == "insufficient_quota":
            body = error_body("You exceeded your current quota.", "insufficient_quota", "insufficient_quota")
            await self.connection.answer(429, json_headers(), msgspec.json.encode(body))
            return
        status: int = fault["status"]
        kind = _ERROR_TYPES.get(status, "rate_limit_error" if status == 429 else "server_error")
        headers: Headers = []
        if fault["retry_after"] is not None:
            headers.append(("retry-after", str(fault["retry_after"])))
        body = error_body(fault["message"], kind, fault["code"])
        await self.connection.answer(status, json_headers(headers), msgspec.json.encode(body))

    def _writer(self) -> Writer | ResponsesWriter:
        return self.call.writer(self.simulation.new_id(), self.simulation.model_name, self.created)

    def _headers(self) -> Headers:
        advertised = self.simulation.advertised
        if advertised is None:
            return []
        tokens = estimate_prompt(prompt.text for prompt in self.call.prompts)
        return [
            ("x-ratelimit-limit-requests", str(advertised.requests)),
            ("x-ratelimit-limit-tokens", str(advertised.tokens)),
            ("x-ratelimit-remaining-requests", str(advertised.requests - 1)),
            ("x-ratelimit-remaining-tokens", str(max(0, advertised.tokens - tokens))),
            ("x-ratelimit-reset-requests", f"{60 / advertised.requests:.3f}s"),
            ("x-ratelimit-reset-tokens", f"{min(60.0, 60 * tokens / advertised.tokens):.3f}s"),
        ]

    async def _stream(self) -> None:
        fault, pace = self.fault, self.simulation.pace
        name = fault.name if fault else ""
        tokens = [] if self.wanted else pieces(self.text)
        writer = self._writer()
        headers = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]
        await self.connection.begin(200, [*headers, *self._headers()])
        await self.connection.send(writer.opening())
        wait = fault["seconds"] if fault and name == "slow_first_token" else pace.first_token
        rate = fault["tokens_per_second"] if fault and name in ("slow", "endless") else pace.tokens_per_second
        breaks_at = math.inf
        if fault is not None and "after_tokens" in fault.parameters:
            breaks_at = min(fault["after_tokens"], len(tokens))  # a shorter answer meets its fault at its end
        await trio.sleep(wait)
        began = trio.current_time()
        sent = 0
        finish_reason = "tool_calls" if self.wanted else "stop"
        for token in cycle(tokens) if name == "endless" else tokens:
            if sent == breaks_at:
                break
            await trio.sleep_until(began + sent / rate)
            await self.connection.send(writer.text(token))
            sent += 1
        for data in writer.tool_calls(self.wanted):
            await self.connection.send(data)
            sent += 1
        if fault is not None and sent == breaks_at:
            if fault.name in ("length", "content_filter"):
                finish_reason = fault.name
            elif not await self._break(fault, writer):
                return
            else:
                for token in tokens[sent:]:
                    await self.connection.send(writer.text(token))
                sent = len(tokens)
        if name != "no_done":
            self._finish()
        prompt_tokens = estimate_prompt(prompt.text for prompt in self.call.prompts)
        usage = (prompt_tokens, sent) if self.call.wants_usage and name != "no_usage" else None
        for data in writer.ending(finish_reason, usage, "".join(tokens[:sent])):
            await self.connection.send(data)
        if name == "no_done":
            await trio.sleep_forever()
        await self.connection.send(writer.done)
        await self.connection.end()

    async def _break(self, fault: Fault, writer: Writer | ResponsesWriter) -> bool:
        """Does what the fault says in mid-stream. Says whether the answer goes on after it."""
        connection = self.connection
        match fault.name:
            case "stall":
                await trio.sleep(math.inf if fault["seconds"] is None else fault["seconds"])
                return True
            case "keep_alive_only":
                while True:
                    await connection.send(KEEP_ALIVE)
                    await trio.sleep(fault["interval"])
        self._finish()
        match fault.name:
            case "cut":
                await connection.close()
                return False
            case "reset":
                connection.reset()
                return False
            case "malformed":
                await connection.send(writer.broken())
            case "bad_utf8":
                await connection.send(writer.bad_utf8())
            case "wrong_shape":
                await connection.send(b"data: " + fault["payload"].encode() + b"\n\n")
            case "error_event":
                await connection.send(writer.error(fault["message"], fault["code"]))
            case "huge_event":
                await self._send_huge(fault["bytes"], writer)
        await connection.end()
        return False

    async def _send_huge(self, size: int, writer: Writer | ResponsesWriter) -> None:
        head, _, tail = writer.text("|").partition(b"|")
        await self.connection.send(head)
        while size > 0:
            await self.connection.send(b"x" * min(size, _HUGE_PIECE))
            size -= _HUGE_PIECE
        await self.connection.send(tail)

    async def _whole(self) -> None:
        """The answer in one piece. Faults of a stream do the like: cut in mid-body, broken bodies, silence."""
        fault, pace = self.fault, self.simulation.pace
        name = fault.name if fault else ""
        tokens = [] if self.wanted else pieces(self.text)
        after = fault.parameters.get("after_tokens") if fault else None
        if name in ("length", "content_filter", "truncate"):
            tokens = tokens[:after]
        rate = fault["tokens_per_second"] if fault and name == "slow" else pace.tokens_per_second
        wait = fault["seconds"] if fault and name == "slow_first_token" else pace.first_token
        if fault and name == "stall":
            wait = math.inf if fault["seconds"] is None else fault["seconds"]
        await trio.sleep(math.inf if name in ("keep_alive_only", "endless") else wait + len(tokens) / rate)
        usual = "tool_calls" if self.wanted else "stop"
        finish_reason = {"length": "length", "content_filter": "content_filter", "truncate": None}.get(name, usual)
        prompt_tokens = estimate_prompt(prompt.text for prompt in self.call.prompts)
        body = self._writer().whole(
            "".join(tokens), self.wanted, finish_reason, prompt_tokens, len(tokens), with_usage=name != "no_usage"
        )
        if fault is not None:
            body = _broken_body(fault, body)
        headers = json_headers(self._headers())
        self._finish()
        if name not in ("cut", "reset"):
            await self.connection.answer(200, headers, body)
            return
        await self.connection.begin(200, [*headers, ("content-length", str(len(body)))])
        await self.connection.send(body[: len(body) // 2])
        if name == "cut":
            await self.connection.close()
        else:
            self.connection.reset()


def _broken_body(fault: Fault, body: bytes) -> bytes:
    match fault.name:
        case "malformed":
            return body[: len(body) // 2]
        case "bad_utf8":
            return body.replace(b'"content":"', b'"content":"\xff\xfe', 1)
        case "wrong_shape":
            return str(fault["payload"]).encode()
        case "error_event":
            return msgspec.json.encode(error_body(fault["message"], "server_error", fault["code"]))
        case "huge_event":
            return body.replace(b'"content":"', b'"content":"' + b"x" * int(fault["bytes"]), 1)
    return body
