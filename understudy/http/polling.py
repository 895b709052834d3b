"""The same log and the same commands without a WebSocket: `GET /api/events` and `POST /api/commands`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.params import Parameter
from msgspec import Raw

from actors.protocol.codes import ERRORS, NOT_YET, ErrorCode
from actors.protocol.commands import ACK, HEARTBEAT, HELLO, STARTS_WORK, SUBSCRIBE, UNSUBSCRIBE, Ack, Resume
from actors.protocol.connection_events import error, heartbeat, reply
from actors.protocol.decode import Command, Rejected, decode
from actors.protocol.events import Event, encode, with_seq
from actors.storage.attending import Page, ReadPage
from actors.users.messages import Acknowledge, AwaitNews, CommandError, Handle, Locate, Poll, Polled
from runtime import ActorError, Refused, TimedOut
from understudy.http.drain import leaving
from understudy.http.failures import RequestRefused, retry_header
from understudy.http.keys import idempotency_key, with_key
from understudy.http.reading import Id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler

    from runtime import Ref
    from understudy.http.sources import Sources

NEEDS_SOCKET: Final = "Channels need a WebSocket: what they tell is kept nowhere."
COMMANDS: Final = "/api/commands"
PAGE: Final = 500
LONGEST_WAIT: Final = 25.0
ASK_WITHIN: Final = 10.0
HANDLE_WITHIN: Final = 60.0
JSON: Final = MediaType.JSON


@attrs.frozen(slots=False)
class Events:
    """`epoch` and `seq`: the log and its top. `events` are as they were first sent; none unless `resumed`."""

    epoch: str
    seq: int
    resumed: bool
    events: list[Raw]


class Polling:
    """What the routes do, over the daemon's actors."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._system = sources.system

    async def _ask(self, whom: Ref[Any], question: object) -> Any:
        try:
            return await whom.ask(question, ASK_WITHIN)
        except ActorError:  # a refusal too: what is asked here is refused for trouble with storage alone
            raise RequestRefused(ErrorCode.UNAVAILABLE, retry_after=1) from None

    async def context(self, user: str) -> Ref[Any]:
        ref: Ref[Any] = await self._ask(self._system.ref("/users"), Locate(user))
        return ref

    async def events(self, user: str, client_id: str, resume: Resume | None, wait: float) -> Events:
        """The events after a position, by the rules of resuming; waits for one if there is none."""
        context = await self.context(user)
        polled: Polled = await self._ask(context, Poll(client_id, resume))
        after = polled.plan.after
        if not polled.plan.resumed:
            return Events(polled.epoch, polled.seq, False, [])
        if polled.seq == after and wait > 0:
            news = False
            try:
                with self._sources.held_open.answer():
                    news = await context.ask(AwaitNews(after, client_id), wait)
            except TimedOut:
                pass
            except ActorError:
                raise RequestRefused(ErrorCode.UNAVAILABLE, retry_after=1) from None
            if not news:
                return Events(polled.epoch, polled.seq, True, [])
        page: Page = await self._ask(self._system.ref("/storage"), ReadPage(user, after, PAGE))
        log = page.position
        if log.epoch != polled.epoch or log.first > after + 1:  # it was cut meanwhile: never a part that looks whole
            return Events(log.epoch, log.seq, False, [])
        polled.counts.sent += len(page.events)
        self._sources.counters.events_sent += len(page.events)
        return Events(log.epoch, log.seq, True, [Raw(with_seq(stored.body, stored.seq)) for stored in page.events])

    async def command(self, user: str, body: str, client_id: str = "") -> tuple[int, Event]:
        """Carry out one command: the status and the `reply` or `error`. An ack is one of the client `client_id`."""
        try:
            command = decode(body)
        except Rejected as rejected:
            return self._refused(rejected.code, rejected.reply_to, content=rejected.message, fields=rejected.fields)
        if command.type == HELLO:
            return self._refused(ErrorCode.BAD_REQUEST, command.id, content="There is no hello over HTTP.")
        if command.type in (SUBSCRIBE, UNSUBSCRIBE):
            return self._refused(ErrorCode.BAD_REQUEST, command.id, content=NEEDS_SOCKET)
        self._sources.counters.commands[command.type] += 1
        if command.type == HEARTBEAT:
            stamps = self._sources.stamps
            return 200, heartbeat(stamps.stamp(), reply_to=command.id, server_time=stamps.wall())
        if command.type == ACK:
            assert isinstance(command.body, Ack)
            return await self._acknowledge(user, command.id, Acknowledge(client_id, command.body.seq))
        if command.body is None:
            return self._refused(ErrorCode.UNAVAILABLE, command.id, content=NOT_YET)
        going = leaving(self._sources) if command.type in STARTS_WORK else None
        if going is not None:
            return self._refused(going.code, command.id, content=going.message, retry_after=going.retry_after)
        return await self._handle(user, command)

    async def _acknowledge(self, user: str, command_id: str, acknowledge: Acknowledge) -> tuple[int, Event]:
        context = await self.context(user)
        try:
            await context.ask(acknowledge, HANDLE_WITHIN)
        except Refused as refused:
            why = refused.reason
            if not isinstance(why, CommandError):
                raise RequestRefused(ErrorCode.INTERNAL) from None
            return self._refused(why.code, command_id, content=why.content, retry_after=why.retry_after)
        except ActorError:
            raise RequestRefused(ErrorCode.UNAVAILABLE, retry_after=1) from None
        return 200, reply(self._sources.stamps.stamp(), reply_to=command_id, metadata={})

    async def _handle(self, user: str, command: Command) -> tuple[int, Event]:
        context = await self.context(user)
        try:
            metadata = await context.ask(Handle(command), HANDLE_WITHIN)
        except Refused as refused:
            why = refused.reason
            if not isinstance(why, CommandError):  # perhaps it was done: the client's repeat settles it
                raise RequestRefused(ErrorCode.INTERNAL) from None
            details = dict(why.details or {})
            fields = details.pop("fields", None)
            return self._refused(
                why.code, command.id, content=why.content, fields=fields, retry_after=why.retry_after, details=details
            )
        except ActorError:
            raise RequestRefused(ErrorCode.INTERNAL) from None
        return 200, reply(self._sources.stamps.stamp(), reply_to=command.id, metadata=metadata)

    def _refused(self, code: ErrorCode, reply_to: str | None, **more: Any) -> tuple[int, Event]:
        self._sources.counters.command_errors[code.value] += 1
        event = error(self._sources.stamps.stamp(), code, reply_to=reply_to, **more)
        return ERRORS[code].status, event


def routes(sources: Sources) -> Sequence[HTTPRouteHandler]:
    """The routes of this module."""
    polling = Polling(sources)

    @get(
        "/api/events",
        summary="Events of the caller's log, without a WebSocket",
        operation_id="events",
        tags=["events"],
    )
    async def events(
        request: Request[Any, Any, Any],
        client_id: Id = None,
        epoch: Id = None,
        after: Annotated[int | None, Parameter(ge=0, lt=2**53, description="a whole number, 0 or more")] = None,
        wait: Annotated[float, Parameter(ge=0, le=LONGEST_WAIT, description="a number of seconds from 0 to 25")] = 0.0,
    ) -> Response[bytes]:
        caller = sources.identify(request.headers)
        if (epoch is None) != (after is None):
            missing = "epoch" if epoch is None else "after"
            raise RequestRefused(
                ErrorCode.INVALID_FIELDS, fields={missing: f"{missing} is needed: a position is an epoch and a seq."}
            )
        resume = None if epoch is None or after is None else Resume(epoch, after)
        found = await polling.events(caller.user_id, client_id or "", resume, wait)
        return Response(msgspec.json.encode(found), media_type=JSON)

    @post(
        COMMANDS,
        status_code=200,
        summary="A command's envelope in, its reply or error out",
        operation_id="command",
        tags=["events"],
    )
    async def command(
        request: Request[Any, Any, Any],
        client_id: Id = None,
    ) -> Response[bytes]:
        caller = sources.identify(request.headers)
        try:
            body = (await request.body()).decode()
        except UnicodeDecodeError:
            raise RequestRefused(ErrorCode.BAD_REQUEST, "This request is not UTF-8.") from None
        body = with_key(body, idempotency_key(request))
        status, event = await polling.command(caller.user_id, body, client_id or "")
        seconds = event.metadata.get("retry_after")
        headers = None if seconds is None else retry_header(seconds)
        return Response(encode(event), status_code=status, media_type=JSON, headers=headers)

    return [events, command]
