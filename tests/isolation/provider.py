"""A model that looks at every request that it gets, whole, and repeats in its answer whose words it has read.

It calls the tools that a prompt names (`wanted_tools`), breaks an answer off now and then, and refuses one now and
then: retries, fallbacks and partial answers have to keep users apart as well.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import h11
import msgspec
import trio

from actors.models.simulated.connection import HttpConnection, json_headers
from actors.models.simulated.forms import DONE, Writer, error_body, read_chat_call
from actors.models.simulated.wanted_tools import wanted_tools
from tests.isolation.marks import CANARY

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from actors.models.simulated.forms import ChatCall
    from tests.isolation.marks import Marks

NAME: Final = "attentive"
KEY: Final = "sk-nobody-may-read-this-key"
LONGEST_PAUSE: Final = 0.01
ENDING: Final = "and this is my answer, which is long enough for others to come in while it is being written."
REFUSED: Final = 0.03
CUT: Final = 0.02


@attrs.define(eq=False)
class Provider:
    """See the module. `requests`: how many came; `with_tools`: of them, how many held what a tool had said."""

    marks: Marks
    rng: random.Random
    base_url: str = ""
    requests: int = 0
    with_tools: int = 0
    refused: int = 0
    cut: int = 0
    left: int = 0
    """By the client, in the middle."""

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = HttpConnection(stream)
        try:
            while (request := await connection.next_request()) is not None:
                body = request.body.decode()
                self._look(body)
                answer = partial(self._answer, connection, body)
                self.left += not await connection.while_client_stays(answer)
                if not connection.ready_for_next():
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass  # the client has gone, or we have
        finally:
            await trio.aclose_forcefully(stream)

    def _look(self, body: str) -> None:
        self.requests += 1
        self.with_tools += '"role":"tool"' in body
        owners = set(self.marks.of(body).values())
        if len(owners) != 1:
            who = ", ".join(sorted(owners)) or "nobody"
            self.marks.blame(f"a model was sent what is of {who}: {body[-2000:]}")

    async def _answer(self, connection: HttpConnection, body: str) -> None:
        call = read_chat_call(body.encode())
        luck = self.rng.random()
        if luck < REFUSED:
            self.refused += 1
            overloaded = msgspec.json.encode(error_body("overloaded", "server_error", None))
            await connection.answer(500, json_headers(), overloaded)
            return
        await connection.begin(200, [("content-type", "text/event-stream")])
        self.cut += luck < REFUSED + CUT
        await self._stream(connection, call, cut=luck < REFUSED + CUT)

    async def _stream(self, connection: HttpConnection, call: ChatCall, *, cut: bool) -> None:
        writer = Writer(f"chatcmpl-{self.requests}", NAME, 0)
        said = " ".join(prompt.text for prompt in call.prompts)
        wanted = wanted_tools(call.prompts, offered=bool(call.tools), fault=None, new_id=self._new_id)
        text = "" if wanted else f"I have read {' '.join(dict.fromkeys(CANARY.findall(said)))} {ENDING}"
        pieces = text.split(" ")
        await connection.send(writer.opening())
        for number, piece in enumerate(pieces):
            if cut and number == len(pieces) // 2:
                await connection.close()
                return
            await trio.sleep(self.rng.uniform(0, LONGEST_PAUSE))
            await connection.send(writer.text(piece + " "))
        for data in writer.tool_calls(wanted):
            await connection.send(data)
        for data in writer.ending("tool_calls" if wanted else "stop", (10, len(pieces)), text):
            await connection.send(data)
        await connection.send(DONE)
        await connection.end()

    def _new_id(self) -> str:
        """The same ids for everybody: no two conversations may be told apart by them."""
        return "call-0"


@asynccontextmanager
async def attentive_provider(marks: Marks, rng: random.Random) -> AsyncIterator[Provider]:
    """A provider on a port of its own, for the block."""
    provider = Provider(marks, rng)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    provider.base_url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, provider.serve, listeners)
        yield provider
        nursery.cancel_scope.cancel()
