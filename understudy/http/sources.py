"""What the HTTP application needs to know of the daemon, and all that it knows. A test gives it other sources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs
from msgspec import UNSET, UnsetType

from actors.operations.counters import DaemonCounters
from understudy.http.callers import Caller, in_development
from understudy.http.waiting import HeldOpen
from understudy.logs import scrub_text

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from actors.artifacts.store import Artifacts
    from actors.engines.routing import EngineName
    from actors.protocol.stamps import Stamps
    from actors.workflows.definitions import WorkflowDefinition
    from runtime import System

Phase: TypeAlias = Literal["starting", "running", "draining"]
CheckStatus: TypeAlias = Literal["ok", "degraded", "unavailable"]


@attrs.frozen(slots=False)  # without slots, fields are encoded in the order in which they stand here
class Check:
    """How one part of the daemon is, and a sentence about it for a person."""

    status: CheckStatus
    message: str


@attrs.frozen(slots=False)
class RateLimits:
    """One model endpoint, measured.

    Requests and tokens are those of the last minute; a limit is left out where there is none, and `source` says where
    the limits come from (configured, provider, adaptive, default or none). Waiting times are of the last 500 grants, in
    milliseconds; counts since the daemon started. `state` is closed while the model is asked, open while it is left
    alone, and probing.
    """

    model: str
    state: str
    requests: int
    tokens: int
    in_flight: int
    waiting: int
    waiting_users: int
    waiting_limit: int
    parked_seconds: float
    source: str
    granted: int
    turned_away: int
    throttled: int
    wait_mean_ms: float
    wait_p95_ms: float
    wait_longest_ms: float
    requests_limit: int | UnsetType = UNSET
    tokens_limit: int | UnsetType = UNSET
    in_flight_limit: int | UnsetType = UNSET


@attrs.frozen(kw_only=True)
class Sources:
    """Where the application's answers come from.

    Attributes:
        system: whose tree is shown.
        version: of the daemon.
        started_at: when it started (trio's clock, seconds).
        phase: what it is doing.
        readiness: how its parts are, by name. `storage` has to be among them: without it the daemon is not ready.
        metrics: Prometheus text.
        counters: `http_responses` is counted here.
        log: for the causes of failures that a client is not told of.
        identify: who asks, from the request's headers (names in lower case). Raises RequestRefused.
        scrub: takes secrets out of a text.
        stamps: where the ids and times of replies come from.
        workflows: what a run may follow.
        rate_limits: each model endpoint against its limits.
        engine_timeout: seconds that an execution at an engine is given whose sender does not say.
        artifacts: the files of runs; None: there are none.
        come_back: seconds after which somebody may come back who is refused because the daemon is going down; not the
            same for everybody, so that they do not come together.
        held_open: answers that wait for news; ended when the daemon begins to leave.
        drain: begins to drain the daemon; takes who wants it, gives the seconds until it has ended.
        required: the parts without which the daemon is not ready; any other that is unavailable makes it degraded.
    """

    system: System
    version: str
    started_at: float
    phase: Callable[[], Phase]
    readiness: Callable[[], Awaitable[Mapping[str, Check]]]
    metrics: Callable[[], Awaitable[bytes]]
    counters: DaemonCounters
    log: FilteringBoundLogger
    stamps: Stamps
    workflows: Mapping[str, WorkflowDefinition]
    rate_limits: Callable[[], Awaitable[Sequence[RateLimits]]]
    identify: Callable[[Mapping[str, str]], Caller] = in_development
    scrub: Callable[[str], str] = scrub_text
    required: frozenset[str] = frozenset({"storage"})
    drain: Callable[[str], float] | None = None
    come_back: Callable[[], float] = lambda: 1.0
    held_open: HeldOpen = attrs.field(factory=HeldOpen)
    engine_timeout: Callable[[EngineName], float] = lambda _: 60.0
    artifacts: Artifacts | None = None
