"""Those who poll and wait for something new in a user's log. Pure, but for the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime import ReplyTo


class News:
    """Who waits: behind which event, as which client, and where the answer goes: True for news, False for none."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[int, str, ReplyTo]] = []

    def clients(self) -> list[str]:
        """Those who have said who they are."""
        return [client_id for _, client_id, reply in self._waiting if client_id and reply.wanted]

    def wait(self, seq: int, client_id: str, reply: ReplyTo) -> None:
        """Keep one who waits for an event after `seq`, in the place of an earlier question of the same client."""
        self.end(client_id)
        self._waiting.append((seq, client_id, reply))

    def end(self, client_id: str) -> None:
        """The client asks anew, or has a connection: whoever waits in its name has nothing to wait for any more."""
        if not client_id or not self._waiting:
            return
        for _, waiting, reply in self._waiting:
            if waiting == client_id:
                reply.answer(False)
        self._waiting = [each for each in self._waiting if each[1] != client_id]

    def tell(self, released: int) -> None:
        """Answer those for whom there is news by now, or who have gone: an answer that is kept back is kept in mind."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for seq, client_id, reply in waiting:
            if seq < released or not reply.wanted:
                reply.answer(True)
            else:
                self._waiting.append((seq, client_id, reply))
