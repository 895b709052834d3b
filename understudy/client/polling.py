"""The same log over HTTP, for where no WebSocket comes about: one question at a time, held open by the daemon.

`after` counts as an acknowledgement, so it is the position that the application has processed, and the next question is
asked when the application wants more than has come: a slow reader is its own brake.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import attrs
import httpx2
import msgspec
import trio

from understudy.client.envelope import Event, MalformedFrame, Position, read_event
from understudy.client.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from understudy.client.envelope import Address
    from understudy.client.queue import Unanswered

#: Seconds that the daemon may hold a question open, and what a slow network may add.
LONGEST_WAIT: Final = 25.0
GRACE: Final = 10.0
COMMAND_WITHIN: Final = 70.0
#: An empty answer that comes sooner than this (seconds) was not held open; asking on at once would be a storm.
HELD_OPEN: Final = 1.0
LAST_WITHIN: Final = 2.0

Item = tuple[Event, Position | None]


@attrs.frozen(kw_only=True)
class Answer:
    """What `GET /api/events` gives. `seq` is the log's top."""

    epoch: str
    seq: int
    resumed: bool
    events: tuple[dict[str, Any], ...] = ()


def read_answer(body: bytes, after: Position | None) -> tuple[Position, list[Item]]:
    """What an answer to the question `after` brings: where it begins, and its events, a `gap` first where one is due.

    Raises `MalformedFrame` where it is no answer, or its events do not follow each other.
    """
    try:
        answer = msgspec.json.decode(body, type=Answer)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise MalformedFrame(str(error)) from None
    events = [read_event(fields) for fields in answer.events]
    items: list[Item] = []
    if after is not None and answer.resumed and answer.epoch == after.epoch:
        start = after
    else:
        first = events[0].seq if events else None
        start = Position(answer.epoch, answer.seq if first is None else first - 1)
        if after is not None:
            items.append((_gap(after, start), start))
    for place, event in enumerate(events, start.seq + 1):
        if event.seq != place:
            raise MalformedFrame(f"expected seq {place}, got {event.seq}")
        items.append((event, Position(answer.epoch, place)))
    return start, items


def _gap(after: Position, start: Position) -> Event:
    metadata: dict[str, Any] = {"reason": "epoch"}
    if start.epoch == after.epoch:
        metadata = {"reason": "trimmed", "from_seq": after.seq + 1, "to_seq": start.seq}
        if start.seq < after.seq:
            metadata = {"reason": "ahead"}
    return Event(type="gap", content="Some events cannot be sent again. Please load afresh.", metadata=metadata)


def read_command_answer(status: int, body: bytes, command_id: str) -> Event | None:
    """The `reply` or `error` in an HTTP answer to a command; None where it says nothing of what became of it.

    An envelope counts whatever its status. A bare error (`code`, `message`) counts below 500, where nothing was done;
    from 500 on it may be a proxy's or come after the deed, and the repeat settles it.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    if "type" in fields:
        try:
            event = read_event(fields)
        except MalformedFrame:
            return None
        right = event.type in ("reply", "error") and event.metadata.get("reply_to", command_id) == command_id
        return event if right else None
    if "code" not in fields or not 400 <= status < 500:
        return None
    metadata = {name: value for name, value in fields.items() if name != "message"} | {"reply_to": command_id}
    return Event(type="error", content=str(fields.get("message", "")), metadata=metadata)


@attrs.define(eq=False)
class Poller:
    """Asks questions, and is the source of the events that they bring.

    `position` gives what the application has processed, `headers` who asks. `began` is told where each answer begins,
    `unauthorized` that the token was refused.
    """

    address: Address
    client_id: str
    http: httpx2.AsyncClient
    headers: Callable[[], Awaitable[Mapping[bytes, bytes]]]
    position: Callable[[], Position | None]
    began: Callable[[Position], None]
    unauthorized: Callable[[], None]
    _inbox: deque[Item] = attrs.field(factory=deque)
    _wanted: trio.Event = attrs.field(factory=trio.Event)
    _arrived: trio.Event = attrs.field(factory=trio.Event)

    async def take(self) -> Item:
        await trio.lowlevel.checkpoint()
        while not self._inbox:
            self._wanted.set()
            await self._arrived.wait()
        return self._inbox.popleft()

    def mark_processed(self, position: Position | None) -> None:
        """Nothing to do: the next question says so."""

    async def wanted(self) -> None:
        """Wait until the application has taken all there was, and asks for more."""
        await self._wanted.wait()

    async def ask(self, wait: float) -> bool:
        """One question, held open for up to `wait` seconds; whether it brought anything.

        Raises `Unreachable` where it was not answered as PROTOCOL.md has it. Cancelled, nothing of it is kept.
        """
        after = self.position()
        asked = {"client_id": self.client_id, "wait": f"{wait:g}"}
        if after is not None:
            asked |= {"epoch": after.epoch, "after": str(after.seq)}
        response = await self._request("GET", "/api/events", within=wait + GRACE, params=asked)
        if response.status_code != 200:
            raise self._refused(response)
        try:
            start, items = read_answer(response.content, after)
        except MalformedFrame as malformed:
            raise Unreachable(str(response.url), f"what answers there is no Understudy daemon ({malformed})") from None
        self.began(start)
        self._inbox.extend(items)
        if items:
            self._wanted = trio.Event()
            self._arrived.set()
            self._arrived = trio.Event()
        return bool(items)

    async def send(self, waiting: Unanswered) -> Event:
        """The answer to a command. Raises `Unreachable` where there was none: whether it was done is not known."""
        response = await self._request("POST", "/api/commands", within=COMMAND_WITHIN, content=waiting.frame)
        answer = read_command_answer(response.status_code, response.content, waiting.command.id)
        if answer is None or response.status_code == 401:
            raise self._refused(response)
        return answer

    async def acknowledge(self) -> None:
        """Tell the daemon the last position, if it can be told quickly. Raises nothing."""
        # Where it cannot be told, it will send again what it believes to be missing.
        with trio.move_on_after(LAST_WITHIN), suppress(Unreachable):
            await self.ask(0.0)

    async def _request(self, method: str, path: str, *, within: float, **how: Any) -> httpx2.Response:
        headers = {b"content-type": b"application/json", **await self.headers()}
        url = self.address.http_url(path)
        try:
            with trio.fail_after(within):
                response = await self.http.request(method, url, headers=headers, timeout=None, **how)
        except (httpx2.HTTPError, trio.TooSlowError) as error:
            why = "no answer in time" if isinstance(error, trio.TooSlowError) else "nothing answers there"
            raise Unreachable(url, why) from error
        if response.status_code == 401:
            self.unauthorized()
        return response

    def _refused(self, response: httpx2.Response) -> Unreachable:
        told = response.headers.get("retry-after", "")
        retry_after = float(told) if told.isdigit() else None
        why = f"polling was refused with HTTP status {response.status_code}"
        return Unreachable(str(response.url), why, status=response.status_code, retry_after=retry_after)
