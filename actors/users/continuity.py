"""What one incarnation of a user's context hands to the next, all of it in plain numbers.

It is made with the context's spec, so a crash of the context leaves it alone; `kill -9` does not.
"""

from __future__ import annotations

import attrs

from actors.users.coverage import Coverage


@attrs.frozen
class Replay:
    """What a client that has come is being sent of the log: the events from `first` to `last`, since `begun`."""

    first: int
    last: int
    begun: float


@attrs.define(eq=False)
class Continuity:
    """One user's counts since the daemon first heard of the user, and the order of hellos.

    The counts are like those of the daemon (`DaemonCounters`): they only rise, and whoever does the thing counts it.

    Attributes:
        attempted: durable events handed to the context, repeats of the same event left out.
        committed: of those, the ones that are in the log.
        sent: durable events taken by connections of the user, or by answers to who polls; one event to two is two.
        acknowledged: events that a client has acknowledged, each once, whichever client it was.
        silent: silent failures.
        newest: when the last hello of each client was heard (trio's clock). A connection is a client's own only if none
            came after it: what an older one had sent before it was closed may still wait in the mailbox, also in that
            of the next incarnation.
        replays: what clients are being sent: it has to stay in the log, also while no incarnation knows of them.
        epoch: of the log in which `coverage` says what was acknowledged, so that nothing counts twice: storage knows of
            each client only what it has acknowledged since it came in, or had to begin afresh.
    """

    attempted: int = 0
    committed: int = 0
    sent: int = 0
    acknowledged: int = 0
    silent: int = 0
    newest: dict[str, float] = attrs.field(factory=dict)
    replays: dict[str, Replay] = attrs.field(factory=dict)
    epoch: str = ""
    coverage: Coverage = attrs.field(factory=Coverage)

    def begin(self, epoch: str) -> None:
        """An incarnation begins, with this log."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.coverage = Coverage()

    def replaced(self, client_id: str, hello_at: float) -> bool:
        """Whether a newer hello of this client was heard than that of `hello_at`."""
        return self.newest.get(client_id, hello_at) > hello_at
