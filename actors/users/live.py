"""The text so far of answers in progress, for whoever connects in the middle of them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from actors.protocol.event_types import AGENT_ENDS, RUN_ENDS, EventType
from actors.protocol.events import Event, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.protocol.events import Stamp


@attrs.define
class _Text:
    last: Event
    pieces: list[str]
    length: int


class LiveTexts:
    """What has been released of each answer that is not finished, by the run's step and its message."""

    def __init__(self) -> None:
        self._texts: dict[str, _Text] = {}

    def take(self, event: Event) -> None:
        """An event is being released."""
        if event.type == EventType.AGENT_DELTA:
            self._grow(event)
        elif event.type == EventType.AGENT_RESPONSE:
            self._texts.pop(event.metadata["message_id"], None)
        elif event.type == EventType.AGENT_STATUS and event.metadata["status"] in AGENT_ENDS:
            self._forget(event.run_id, event.metadata["step"])
        elif event.type == EventType.RUN_STATUS and event.metadata["status"] in RUN_ENDS:
            self._forget(event.run_id, None)

    def _forget(self, run_id: str | None, step: str | None) -> None:
        """Drop the texts of a step, or of a whole run."""
        for message_id, text in list(self._texts.items()):
            if text.last.run_id == run_id and step in {None, text.last.metadata["step"]}:
                del self._texts[message_id]

    def _grow(self, event: Event) -> None:
        message_id = event.metadata["message_id"]
        offset = event.metadata["offset"]
        text = self._texts.get(message_id)
        if text is None or offset == 0:
            if offset == 0:
                self._texts[message_id] = _Text(event, [event.content], len(event.content))
            return
        if offset > text.length:
            return
        if offset < text.length:
            kept = "".join(text.pieces)[:offset]
            text.pieces = [kept]
        text.pieces.append(event.content)
        text.length = offset + len(event.content)
        text.last = event

    def frames(self, stamp: Callable[[], Stamp]) -> tuple[bytes, ...]:
        """For each answer, one delta with offset 0 and all of its text: events of their own, with fresh stamps."""
        return tuple(encode(_whole(text, stamp())) for text in self._texts.values())


def _whole(text: _Text, stamp: Stamp) -> Event:
    metadata = {**text.last.metadata, "offset": 0}
    return attrs.evolve(
        text.last, id=stamp.id, timestamp=stamp.timestamp, content="".join(text.pieces), metadata=metadata
    )
