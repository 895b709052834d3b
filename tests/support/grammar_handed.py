"""The grammar over what a client hands to its application: durable and ephemeral events, over all its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.grammar import Checker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.grammar import Violation
    from tests.support.grammar_tables import Frame
    from understudy.client.envelope import Event

ENVELOPE = ("id", "type", "timestamp", "seq", "session_id", "run_id", "agent_name", "content", "metadata")


def frame_of(event: Event) -> Frame:
    """The frame that an event came as, but for what a client has no use for."""
    members = {name: getattr(event, name) for name in ENVELOPE}
    members["requires_ack"] = None if event.seq is None else True
    return {name: member for name, member in members.items() if member is not None}


def check_handed(sources: Iterable[Iterable[Frame]]) -> list[Violation]:
    """As `check`, with the events of each connection as a list; an index counts over all of them.

    The log goes on from one to the next as if there were one. Pieces of an answer may be lost between them, so its text
    begins afresh on each: with `offset` 0, or not at all.
    """
    checker = Checker(connection=False, lossy=False, handed=True)
    index = 0
    for frames in sources:
        checker.begin_afresh()
        for frame in frames:
            checker.frame(index, frame)
            index += 1
    checker.end(index, ends_midrun=False)
    return checker.violations
