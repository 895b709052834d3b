"""How the daemon's parts are, for `/health` and `/ready`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import trio
from msgspec import UNSET, UnsetType

from actors.coordination.messages import AgentsKnown
from actors.models.lease import GateStatus, ReadStatus
from actors.operations.survey import AskAll
from actors.storage.journal import StorageStatus, StorageTrouble
from runtime import ActorError
from understudy.coordination import COORDINATOR
from understudy.http.sources import Check, RateLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.models.plan import ModelsPlan
    from runtime import System

WITHIN: Final = 2.0
ALL_WITHIN: Final = 4.5
"""Seconds for all parts together: who probes is answered after five, and gates that hang must not make it a refusal."""
AT_LEAST: Final = 0.2
"""Seconds for the gates also when those are nearly over: what works answers at once."""
SURVEY_WITHIN: Final = 0.2
"""Seconds beyond those in which the gates have to answer."""
REQUIRED: Final = frozenset({"storage", "agents"})
"""Parts without which the daemon is not ready."""
UNREAD: Final = Check("unavailable", "The agents are kept in storage.")


class Readiness:
    """Asks storage, then the agents, then all models at once. Each takes at most two seconds, less where others did.

    Args:
        system: whose parts they are.
        plan: the models.
        survey: where the actor is that asks several at once.
    """

    def __init__(self, system: System, plan: ModelsPlan, survey: str) -> None:
        self._system = system
        self._plan = plan
        self._survey = survey
        self._agents_were_known = False

    async def checks(self) -> Mapping[str, Check]:
        """The state of storage, of the agents and of each model."""
        end = trio.current_time() + ALL_WITHIN
        storage = await self._storage()
        found = {"storage": storage, "agents": await self._agents() if storage.status == "ok" else UNREAD}
        left = max(AT_LEAST, end - trio.current_time())
        for name, status in (await self._gates(min(WITHIN, left))).items():
            found[f"model {name}"] = _model(status)
        return found

    async def rate_limits(self) -> Sequence[RateLimits]:
        """Each endpoint whose gate answers."""
        return [_limits(status) for status in (await self._gates(WITHIN)).values() if status is not None]

    async def _ask(self, path: str, question: object, within: float = WITHIN) -> Any:
        return await self._system.ref(path).ask(question, within)

    async def _gates(self, within: float) -> dict[str, GateStatus | None]:
        """How each endpoint's gate stands; None of one that does not say so in time."""
        names = [endpoint.name for endpoint in self._plan.endpoints]
        gates = tuple(self._system.ref(self._plan.gate_path(name)) for name in names)
        answers: Sequence[GateStatus | None] = [None] * len(names)
        with suppress(ActorError):
            answers = await self._ask(self._survey, AskAll(gates, ReadStatus(), within), within + SURVEY_WITHIN)
        return dict(zip(names, answers, strict=True))

    async def _storage(self) -> Check:
        try:
            trouble: StorageTrouble | None = await self._ask("/storage", StorageStatus())
        except ActorError:
            return Check("unavailable", "Storage does not answer.")
        if trouble is not None:
            return Check("unavailable", "Storage is not available; see the log. It is tried again every second.")
        return Check("ok", "Storage works.")

    async def _agents(self) -> Check:
        """At the daemon's start this waits until they have been read: so who is told that it is ready finds them.

        Once they were, a coordinator that does not answer costs new work only: all else goes on.
        """
        try:
            await self._ask(COORDINATOR, AgentsKnown())
        except ActorError:
            if self._agents_were_known:
                return Check("degraded", "The coordinator does not answer; new work waits for it.")
            return Check("unavailable", "The agents could not be read yet.")
        self._agents_were_known = True
        return Check("ok", "The agents are known.")


def _model(status: GateStatus | None) -> Check:
    if status is None:
        return Check("degraded", "The model's gate does not answer.")
    if status.state != "closed":
        return Check("degraded", "The model has failed repeatedly; its understudy serves until it is back.")
    if status.last_failure is not None:
        return Check("degraded", "The last call of this model failed.")
    if status.simulated:
        return Check("ok", "Simulated: no real model answers.")
    return Check("ok", "The model answers, or has not been asked yet.")


def _limits(status: GateStatus) -> RateLimits:
    limiter, traffic = status.limiter, status.traffic

    def given(limit: int | None) -> int | UnsetType:
        return UNSET if limit is None else limit

    return RateLimits(
        model=status.endpoint,
        state=status.state,
        requests=limiter.requests,
        tokens=limiter.tokens,
        in_flight=limiter.in_flight,
        waiting=status.waiting,
        waiting_users=status.waiting_users,
        waiting_limit=status.waiting_limit,
        parked_seconds=round(limiter.parked_for, 3),
        source=limiter.source,
        granted=traffic.granted,
        turned_away=traffic.turned_away,
        throttled=traffic.throttled,
        wait_mean_ms=round(traffic.wait_mean * 1000, 3),
        wait_p95_ms=round(traffic.wait_p95 * 1000, 3),
        wait_longest_ms=round(traffic.wait_longest * 1000, 3),
        requests_limit=given(limiter.requests_limit),
        tokens_limit=given(limiter.tokens_limit),
        in_flight_limit=given(limiter.in_flight_limit),
    )
