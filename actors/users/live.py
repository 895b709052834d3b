"""The text so far of answers in progress, for whoever connects in the middle of them. Pure."""

from __future__ import annotations

import attrs

from actors.protocol.event_types import AGENT_ENDS, EventType
from actors.protocol.events import Event, encode


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
            step = (event.run_id, event.metadata.get("step"))
            for message_id, text in list(self._texts.items()):
                if (text.last.run_id, text.last.metadata.get("step")) == step:
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

    def frames(self) -> tuple[bytes, ...]:
        """For each answer, one delta with offset 0 and all of its text."""
        return tuple(
            encode(attrs.evolve(text.last, content="".join(text.pieces), metadata={**text.last.metadata, "offset": 0}))
            for text in self._texts.values()
        )
