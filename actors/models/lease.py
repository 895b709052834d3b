"""What is said between the gate of an endpoint and those who call it."""

from __future__ import annotations

import math
from typing import Any

import attrs

from actors.models.failure import FailureFacts
from actors.models.limiter import Lease as Slot
from actors.models.limiter import LimiterStatus
from actors.models.provider_limits import ProviderLimits
from actors.models.resources import EndpointResources
from actors.models.traffic import TrafficStatus
from actors.protocol.task_events import Priority
from runtime import Ref
from supervisors import Call, Outcome, Ticket


@attrs.frozen
class Acquire(Call):
    """Asks for the right to make one request; answered with a `Lease`, perhaps later.

    Asked through a chain's address, which picks the endpoint and fills in `ticket`, and may answer `Exhausted` itself;
    a further attempt of the same call asks the gate directly, with the ticket of the first. The gate refuses with
    `Busy`, `Moved` or `NotMeant`.

    Attributes:
        holder: the actor whose end ends the lease.
        models: the chain as configured, the lead first.
        prompt_tokens: of the messages, estimated.
        max_tokens: the longest answer, where the request limits it.
        user: for whom.
        run_id: for which run.
        deadline: of the whole call, in trio's time; the lease ends by itself a second later.
        priority: who is more urgent is served before.
        patience: how long it may stand in the line of one gate, in seconds; after that it is refused with `Busy`.
        key: among the holder's calls, for `Queued`.
        only: the one endpoint that may go on with what it has begun; every other gate refuses with `NotMeant`.
    """

    holder: Ref[Any]
    models: tuple[str, ...]
    prompt_tokens: int
    max_tokens: int | None
    user: str
    run_id: str
    deadline: float
    priority: Priority = Priority.MEDIUM
    patience: float = math.inf
    key: int = 0
    only: str | None = None


@attrs.frozen(eq=False)
class Lease:
    """The right to make one request at one endpoint. Compared by identity; to be settled once.

    Attributes:
        number: of the endpoint's leases, for people.
        gate: where it is settled.
        ticket: for the endpoint's ledger, and to be passed on as `after`.
        resources: of the endpoint.
        lead: of the first endpoint of the chain.
        slot: the limiter's own record.
        acquire: what was asked.
    """

    number: int
    gate: Ref[Any]
    ticket: Ticket
    resources: EndpointResources
    lead: EndpointResources
    slot: Slot
    acquire: Acquire

    @property
    def endpoint(self) -> str:
        return self.resources.name


@attrs.frozen
class Settle:
    """Told to the gate: the request of a lease is over.

    Attributes:
        outcome: for the ledger; None where the same call tries again, and the ledger is not to hear of it.
        tokens_used: by the provider's usage or by estimate; None keeps what was reserved.
        sent: False where the request was never made, so that nothing counts.
        provider_limits: what the answer's headers said.
        park_until: leave the endpoint alone until then (trio's time).
        facts: of the failure, where it was one.
    """

    lease: Lease
    outcome: Outcome | None
    tokens_used: int | None = None
    sent: bool = True
    provider_limits: ProviderLimits | None = None
    park_until: float | None = None
    facts: FailureFacts | None = None


@attrs.frozen
class Hold:
    """Told to the gate: this lease is in use. Said on taking it, and again to a gate that has restarted."""

    lease: Lease


@attrs.frozen
class Queued:
    """Told to the holder: the call of this key has been standing in a gate's line for a while.

    `seconds` is when it may be served, as far as that is known.
    """

    key: int
    seconds: float


@attrs.frozen
class Busy:
    """Refused: more wait here than may, and it is the one to go, or it has waited as long as it may. `ticket` (given
    back) tells the chain to go on behind this endpoint."""

    retry_after: float
    ticket: Ticket


@attrs.frozen
class Moved:
    """Refused: since the chain chose this endpoint it was opened or parked. Ask the chain again."""


@attrs.frozen
class NotMeant:
    """Refused, at once: the call keeps to another endpoint. `ticket` (given back) as in `Busy`."""

    ticket: Ticket


@attrs.frozen
class Exhausted:
    """A chain's answer where no endpoint of it may be called now, or none is left for this call.

    Attributes:
        retry_after: seconds until the first endpoint of the whole chain may be called again.
        parked_for: where one that is left for this call only keeps to its provider's Retry-After: seconds until then.
        restarting: one that is left for this call is well, and only its gate is being restarted.
    """

    retry_after: float
    parked_for: float | None = None
    restarting: bool = False


@attrs.frozen
class ReadStatus:
    """Asks a gate for its `GateStatus`."""


@attrs.frozen
class GateStatus:
    """One endpoint, for operators. Times in seconds.

    Attributes:
        endpoint: its name; `model`: what the provider calls it.
        state: closed, open or probing.
        failures: in a row.
        open_for: until a probe may go through (of a probe under way: until it counts as failed); 0 when closed.
        limiter: requests, tokens and leases against their limits.
        simulated: nobody real answers here.
        waiting: how many wait for a lease; `waiting_limit`: how many may; `waiting_users`: how many users they are.
        traffic: what was measured since the daemon started.
        retry_budget: what is left of the provider's.
        last_failure: of the last call that failed, None after a success. Its detail is not for users.
    """

    endpoint: str
    model: str
    state: str
    failures: int
    open_for: float
    limiter: LimiterStatus
    simulated: bool
    waiting: int
    waiting_limit: int
    waiting_users: int
    traffic: TrafficStatus
    retry_budget: int
    last_failure: FailureFacts | None
