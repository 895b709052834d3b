"""MCP servers as a source of tools: each a process of its own, spoken to over its standard input and output.

Needs the extra `understudy[mcp]`. A server that cannot be started, or ends, is started again after a while that
doubles; until then its tools are not offered, and calls of them fail as any tool may. It sees the arguments
of the calls and the variables that the configuration passes on, and nothing else of the daemon.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.tools.context import ToolProblem
from actors.tools.counts import SERVER_MARK
from actors.tools.definitions import NAME, BadArguments, ToolDefinition
from runtime import Actor, ActorError, Refused, TaskEnded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.models.tools import ToolCall
    from actors.tools.context import ToolContext
    from runtime import ActorTask, Ref, ReplyTo

START_WITHIN: Final = 30.0
LIST_WITHIN: Final = 5.0
PING_EVERY: Final = 10.0
PING_WITHIN: Final = 10.0
AGAIN_FIRST: Final = 1.0
AGAIN_CAP: Final = 60.0
MOST_TOOLS: Final = 100


@attrs.frozen
class McpServerSpec:
    """How a server is started.

    Attributes:
        name: as agents name it.
        command: the program; `args`: what it is given.
        environment: names of our own variables that it is given besides the usual ones.
        timeout: seconds that a call of one of its tools may take.
    """

    name: str
    command: str
    args: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    timeout: float = 30.0


@attrs.frozen
class ListRemoteTools:
    """Asks for the tools of the server, as a tuple of `RemoteTool`. Refused while it does not run."""


@attrs.frozen
class RemoteTool:
    """A tool as the server describes it."""

    name: str
    description: str
    schema: Mapping[str, Any]


@attrs.frozen
class CallRemoteTool:
    """Asks for a call. Answered with `RemoteResult`; refused while the server does not run, or where it breaks off."""

    name: str
    arguments: Mapping[str, Any]


@attrs.frozen
class RemoteResult:
    """What a call gave; `failed`: the server says that the tool has failed, and `value` says why."""

    value: Any
    failed: bool


@attrs.frozen
class _Again:
    """Timer: start the server again."""


class McpServer(Actor):
    """One server.

    Args:
        spec: how it is started.
        log: for operators.
    """

    def __init__(self, spec: McpServerSpec, log: Any) -> None:
        self._spec = spec
        self._log = log
        self._session: Any = None
        self._tools: tuple[RemoteTool, ...] = ()
        self._calls: dict[ActorTask, ReplyTo] = {}
        self._pause = AGAIN_FIRST
        self._look = trio.Event()
        """Set to see at once whether the server is there."""

    async def started(self) -> None:
        self._holding = self.start(self._hold, name="session")

    async def receive(self, message: Any) -> object:
        match message:
            case ListRemoteTools():
                return self._tools if self._session is not None else Refused("the server does not run")
            case CallRemoteTool():
                if self._session is None:
                    return Refused("the server does not run")
                self._calls[self.start(self._call, message, name="call")] = self.defer()
            case TaskEnded(task) if task is self._holding:
                self._lost(message.error)
            case TaskEnded(task):
                reply = self._calls.pop(task)
                gave = isinstance(message.value, RemoteResult)
                if message.error is not None:  # perhaps the server is gone: look, before anybody else calls it
                    self._session = None
                    self._look.set()
                reply.answer(message.value if gave else Refused("the server has broken the call off"))
            case _Again():
                self._holding = self.start(self._hold, name="session")
        return None

    def inspect(self) -> dict[str, Any]:
        return {"running": self._session is not None, "tools": len(self._tools), "calls": len(self._calls)}

    def _lost(self, error: BaseException | None) -> None:
        """The server is gone: its calls end by themselves, for nobody answers them."""
        self._session = None
        for task in self._calls:
            task.cancel("the server is gone")
        name, command = self._spec.name, self._spec.command
        self._log.warning("mcp server lost", server=name, command=command, why=_cause(error), again_in=self._pause)
        self.timer("again", self._pause, _Again())
        self._pause = min(AGAIN_CAP, self._pause * 2)

    # --- in tasks

    async def _hold(self) -> None:
        """The process and the session with it, until one of them ends."""
        from mcp import ClientSession, StdioServerParameters, stdio_client  # noqa: PLC0415 - an extra

        spec = self._spec
        given = {name: os.environ[name] for name in spec.environment if name in os.environ}
        parameters = StdioServerParameters(command=spec.command, args=list(spec.args), env=given)
        with open(os.devnull, "w") as silent:  # noqa: PTH123, ASYNC230 - no disk is touched
            async with (
                stdio_client(parameters, errlog=silent) as (reader, writer),
                ClientSession(reader, writer) as session,
            ):
                with trio.fail_after(START_WITHIN):
                    await session.initialize()
                    listed = await session.list_tools()
                self._tools = tuple(
                    RemoteTool(tool.name, tool.description or tool.name, tool.input_schema)
                    for tool in listed.tools[:MOST_TOOLS]
                )
                self._pause = AGAIN_FIRST
                while True:  # its end shows itself in nothing else
                    self._session = session
                    self._look = trio.Event()
                    with trio.move_on_after(PING_EVERY):
                        await self._look.wait()
                    with trio.fail_after(PING_WITHIN):
                        await session.send_ping()

    async def _call(self, call: CallRemoteTool) -> RemoteResult | None:
        """None: it took too long, and nobody waits for it any more."""
        with trio.move_on_after(self._spec.timeout) as scope:
            result = await self._session.call_tool(call.name, dict(call.arguments))
        if scope.cancelled_caught:
            return None
        blocks = [block.model_dump(mode="json", exclude_none=True) for block in result.content]
        texts = [block["text"] for block in blocks if block.get("type") == "text"]
        value: Any = "\n".join(texts) if len(texts) == len(blocks) else blocks
        return RemoteResult(value, bool(result.is_error))


@attrs.frozen
class McpTools:
    """The tools of a server, as agents have them: `SERVER__TOOL`."""

    server: Ref[Any]
    name: str
    timeout: float

    async def tools(self) -> list[ToolDefinition]:
        """Those that it has now; none while it does not run."""
        try:
            found: tuple[RemoteTool, ...] = await self.server.ask(ListRemoteTools(), LIST_WITHIN)
        except ActorError:
            return []
        named = [(f"{self.name}{SERVER_MARK}{tool.name}", tool) for tool in found]
        return [self._definition(name, tool) for name, tool in named if NAME.fullmatch(name)]

    def _definition(self, name: str, tool: RemoteTool) -> ToolDefinition:
        async def carry_out(values: Mapping[str, Any], _context: ToolContext) -> Any:
            try:
                result = await self.server.ask(CallRemoteTool(tool.name, values), self.timeout)
            except ActorError:
                raise ToolProblem(f"{name} cannot be reached now.") from None
            if result.failed:
                raise ToolProblem(result.value if isinstance(result.value, str) else str(result.value))
            return result.value

        def read(call: ToolCall) -> Mapping[str, Any]:
            if call.input is None:
                raise BadArguments(call.problem)
            return call.input  # the server knows its own schema

        return ToolDefinition(name, tool.description, tool.schema, carry_out, True, self.timeout, read)


def _cause(error: BaseException | None) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it ended" if error is None else type(error).__name__
