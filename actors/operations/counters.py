"""What the kernel cannot count, because it knows nothing of events and connections. One a daemon.

Plain attributes, so that counting costs an addition: `counters.events_sent += 12`, `counters.connections_closed[4410]
+= 1`. They only rise. Whoever does the thing counts it, once, when it has happened; the metrics read the sums.

Keys of the `Counter`s may be whatever occurs: the metrics put what is not in the protocol under `other`, so a client
that makes up close codes or command types adds no series.
"""

from __future__ import annotations

from collections import Counter

import attrs

from actors.coordination.counts import CoordinationCounts
from actors.engines.counts import EngineCounts
from actors.tools.counts import ToolCounts

OTHER = "other"


@attrs.define(eq=False)
class DaemonCounters:
    """The counters of one daemon.

    Attributes:
        isolation_violations: events that were about to go to somebody who may not see them, and were refused. Anything
            but 0 is a defect.
        connections_opened: WebSockets whose handshake was done.
        connections_closed: of those, the ones that are over, by close code (1006 where there was none).
        connections_refused: connections that were turned away before they were WebSockets, by HTTP status.
        commands: commands that were begun, by type.
        command_errors: `error`s sent in answer to a command, by code.
        events_emitted: durable events that somebody handed to a user's context, repeats of the same event left out.
        events_committed: of those, the ones that are in the log.
        events_sent: durable events written to a connection; one event to two connections is two.
        events_delivered: durable events that a client has acknowledged, each once, whichever client it was.
        events_due: durable events that were committed while a client was connected that acknowledges what it gets.
        events_due_acknowledged: of those, the ones that a client has acknowledged, in time or before it was missed.
        silent_failures: events that should have been delivered and were not, as far as anybody knows, by kind:
            `unacknowledged` of those that were due, `uncommitted` of those that were emitted.
        ephemeral_sent: all other frames written to a connection.
        ephemeral_merged: ephemeral events that were never written, because a newer one took their place.
        http_responses: answers over HTTP, by status.
        crashes: incarnations that ended abnormally, by kind of actor.
        restarts: restarts ordered by supervisors, by component (the first part of the path).
        switches: changes of the target in charge, by path of the fallback.
        give_ups: times that a restart budget was used up.
        escalations: of those, the ones that ended the supervisor too.
        refused_tells: refusals that nobody waited for.
        hook_failures: hooks that raised or were cut off.
        overdue_stops: times that the tree had not ended at its deadline.
        stuck: times that an actor had work and finished none of it for long.
        loop_blocks: times that the loop did not turn for long.
        engines: what each engine has done, by its name.
        coordination: tasks, and who waits for an agent.
        tools: how calls of tools ended.
    """

    isolation_violations: int = 0

    connections_opened: int = 0
    connections_closed: Counter[int] = attrs.field(factory=Counter)
    connections_refused: Counter[int] = attrs.field(factory=Counter)
    commands: Counter[str] = attrs.field(factory=Counter)
    command_errors: Counter[str] = attrs.field(factory=Counter)

    events_emitted: int = 0
    events_committed: int = 0
    events_sent: int = 0
    events_delivered: int = 0
    events_due: int = 0
    events_due_acknowledged: int = 0
    silent_failures: Counter[str] = attrs.field(factory=Counter)
    ephemeral_sent: int = 0
    ephemeral_merged: int = 0

    http_responses: Counter[int] = attrs.field(factory=Counter)

    crashes: Counter[str] = attrs.field(factory=Counter)
    restarts: Counter[str] = attrs.field(factory=Counter)
    switches: Counter[str] = attrs.field(factory=Counter)
    give_ups: int = 0
    escalations: int = 0
    refused_tells: int = 0
    hook_failures: int = 0
    overdue_stops: int = 0
    stuck: int = 0
    loop_blocks: int = 0

    engines: dict[str, EngineCounts] = attrs.field(factory=dict)
    coordination: CoordinationCounts = attrs.field(factory=CoordinationCounts)
    tools: ToolCounts = attrs.field(factory=ToolCounts)

    @property
    def connections_open(self) -> int:
        """How many WebSockets there are now."""
        return self.connections_opened - self.connections_closed.total()


def count_bounded(counter: Counter[str], key: str, most: int) -> None:
    """Count under `key`, or under `other` once the counter has `most` keys: no label may grow with what users do."""
    counter[key if key in counter or len(counter) < most else OTHER] += 1
