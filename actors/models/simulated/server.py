"""The simulated model's HTTP server: its routes, and its connections, each contained.

| method and path | |
|---|---|
| `POST /v1/chat/completions`, `POST /v1/responses` | an answer, streamed or whole |
| `GET /v1/models` | the models it answers to |
| `GET /health` | `{"status": "ok", "model": NAME}` |
| `GET /prompts` | what it was asked and when, by digests of prompt and answer; see `prompts` |
| `GET /faults`, `PUT /faults` | faults that are left and counts of requests, per model name; see `faults` |

It reads no key, and takes requests from whoever reaches it: it belongs on a loopback address.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import h11
import msgspec
import structlog
import trio

from actors.models.simulated.brain import prompt_digest
from actors.models.simulated.completion import Completing
from actors.models.simulated.connection import HttpConnection, HttpRequest, RequestTooLarge, json_headers
from actors.models.simulated.faults import LONGEST_NAME, FaultsRefused
from actors.models.simulated.forms import ChatCall, error_body, read_chat_call
from actors.models.simulated.responses_forms import ResponsesCall, read_responses_call
from actors.models.simulated.wanted_tools import quoted_tools, wanted_tools

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.models.simulated.simulation import Outcome, Simulation

_READ: Mapping[str, Callable[[bytes], ChatCall | ResponsesCall]] = MappingProxyType(
    {"/v1/chat/completions": read_chat_call, "/v1/responses": read_responses_call}
)
_ALLOWED = {
    "/v1/chat/completions": ("POST",),
    "/v1/responses": ("POST",),
    "/v1/models": ("GET",),
    "/health": ("GET",),
    "/prompts": ("GET",),
    "/faults": ("GET", "PUT"),
}


async def serve_simulated(
    listeners: Sequence[trio.SocketListener],
    simulation: Simulation,
    *,
    wall_clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[Sequence[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until cancelled, then closes the listeners and every connection.

    One coroutine that keeps its connections' tasks to itself: nothing that happens in one of them gets out, and none
    outlives it. `wall_clock` gives seconds since the epoch, for the `created` of answers.
    """
    serve = partial(_serve_connection, simulation, wall_clock)
    await trio.serve_listeners(serve, list(listeners), task_status=task_status)


async def _serve_connection(simulation: Simulation, wall_clock: Callable[[], float], stream: trio.SocketStream) -> None:
    connection = HttpConnection(stream)
    try:
        await _serve_requests(simulation, connection, wall_clock)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client has gone, or a fault has closed on it
    except Exception:  # noqa: BLE001  the task of one client: whatever is wrong with it must not end the others
        structlog.get_logger().exception("simulated model: a connection failed")
    finally:
        await stream.aclose()


async def _serve_requests(simulation: Simulation, connection: HttpConnection, wall_clock: Callable[[], float]) -> None:
    while True:
        try:
            request = await connection.next_request()
        except h11.RemoteProtocolError as exc:
            await _complain(connection, exc.error_status_hint, "This is not HTTP/1.1 as it should be.")
            return
        except RequestTooLarge:
            await _complain(connection, 413, "The request is too large.")
            return
        if request is None:
            return
        await _answer(simulation, connection, request, wall_clock)
        if not connection.ready_for_next():
            return


async def _answer(
    simulation: Simulation, connection: HttpConnection, request: HttpRequest, wall_clock: Callable[[], float]
) -> None:
    allowed = _ALLOWED.get(request.path)
    if allowed is None:
        await _complain(connection, 404, f"No such path. There are {', '.join(_ALLOWED)}.")
    elif request.method not in allowed:
        methods = ", ".join(allowed)
        await _complain(connection, 405, f"{request.path} takes {methods}.", headers=[("allow", methods)])
    elif request.path in ("/v1/chat/completions", "/v1/responses"):
        await _complete(simulation, connection, request, int(wall_clock()))
    elif request.path == "/v1/models":
        names = simulation.models or (simulation.model_name,)
        models = [{"id": name, "object": "model", "created": 0, "owned_by": simulation.model_name} for name in names]
        await _reply(connection, 200, {"object": "list", "data": models})
    elif request.path == "/health":
        await _reply(connection, 200, {"status": "ok", "model": simulation.model_name})
    elif request.path == "/prompts":
        await _reply(connection, 200, simulation.prompts.report())
    elif request.method == "PUT":
        await _tell(simulation, connection, request)
    else:
        await _reply(connection, 200, simulation.report())


async def _tell(simulation: Simulation, connection: HttpConnection, request: HttpRequest) -> None:
    try:
        simulation.tell(msgspec.json.decode(request.body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        await _reply(connection, 400, {"code": "bad_request", "message": "The body is not JSON."})
    except FaultsRefused as exc:
        message = f"Nothing was changed. {exc}"
        await _reply(connection, 422, {"code": "invalid_fields", "message": message, "fields": exc.fields})
    else:
        await _reply(connection, 200, simulation.report())


async def _complete(simulation: Simulation, connection: HttpConnection, request: HttpRequest, created: int) -> None:
    try:
        call = _READ[request.path](request.body)
    except ValueError as exc:
        await _complain(connection, 400, f"The body is not the request that belongs to this path: {exc}")
        return
    if not 1 <= len(call.model) <= LONGEST_NAME:
        await _complain(connection, 400, f"The name of a model has 1 to {LONGEST_NAME} characters.")
        return
    if simulation.models and call.model not in simulation.models:
        message = f"There is no model of this name. There are {', '.join(simulation.models)}."
        await _complain(connection, 404, message, code="model_not_found")
        return
    fault = simulation.begin(call.model)
    prompts = call.prompts
    prompt, text = prompt_digest(prompts), quoted_tools(prompts) + simulation.brain.answer(prompts)
    wanted = wanted_tools(prompts, offered=bool(call.tools), fault=fault, new_id=simulation.new_call_id)
    simulation.prompts.ask(prompt, text, simulation.wall_clock())
    completing = Completing(simulation, connection, call, fault, created, prompt, text, wanted)
    outcome: Outcome = "aborted"
    try:
        if not await connection.while_client_stays(completing.run):
            outcome = "closed_by_client"
    finally:
        if not completing.answered:
            simulation.end(call.model, outcome)


async def _complain(
    connection: HttpConnection,
    status: int,
    message: str,
    *,
    code: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> None:
    body = error_body(message, "invalid_request_error", code)
    await connection.answer(status, json_headers(headers), msgspec.json.encode(body))


async def _reply(connection: HttpConnection, status: int, document: dict[str, Any]) -> None:
    await connection.answer(status, json_headers(), msgspec.json.encode(document))
