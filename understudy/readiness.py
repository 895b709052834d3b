"""How the daemon's parts are, for `/health` and `/ready`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET, UnsetType

from actors.coordination.messages import AgentsKnown
from actors.models.lease import GateStatus, ReadStatus
from actors.storage.journal import StorageStatus, StorageTrouble
from runtime import ActorError
from understudy.coordination import COORDINATOR
from understudy.http.sources import Check, RateLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.models.plan import ModelsPlan
    from runtime import System

WITHIN: Final = 2.0
REQUIRED: Final = frozenset({"storage", "agents"})
"""Parts without which the daemon is not ready."""
UNREAD: Final = Check("unavailable", "The agents are kept in storage.")


class Readiness:
    """Asks the parts. Each answer takes at most two seconds, and a part that gives none is unavailable."""

    def __init__(self, system: System, plan: ModelsPlan) -> None:
        self._system = system
        self._plan = plan

    async def checks(self) -> Mapping[str, Check]:
        """The state of storage, of the agents and of each model."""
        storage = await self._storage()
        found = {"storage": storage, "agents": await self._agents() if storage.status == "ok" else UNREAD}
        for endpoint in self._plan.endpoints:
            found[f"model {endpoint.name}"] = await self._model(endpoint.name)
        return found

    async def rate_limits(self) -> Sequence[RateLimits]:
        """Each endpoint whose gate answers."""
        found = []
        for endpoint in self._plan.endpoints:
            with suppress(ActorError):
                status: GateStatus = await self._ask(self._plan.gate_path(endpoint.name), ReadStatus())
                found.append(_limits(status))
        return found

    async def _ask(self, path: str, question: object) -> Any:
        return await self._system.ref(path).ask(question, WITHIN)

    async def _storage(self) -> Check:
        try:
            trouble: StorageTrouble | None = await self._ask("/storage", StorageStatus())
        except ActorError:
            return Check("unavailable", "Storage does not answer.")
        if trouble is not None:
            return Check("unavailable", "Storage is not available; see the log. It is tried again every second.")
        return Check("ok", "Storage works.")

    async def _agents(self) -> Check:
        """At the daemon's start this waits until they have been read: so who is told that it is ready finds them."""
        try:
            await self._ask(COORDINATOR, AgentsKnown())
        except ActorError:
            return Check("unavailable", "The agents could not be read yet.")
        return Check("ok", "The agents are known.")

    async def _model(self, name: str) -> Check:
        try:
            status: GateStatus = await self._ask(self._plan.gate_path(name), ReadStatus())
        except ActorError:
            return Check("degraded", "The model's gate does not answer.")
        if status.state != "closed":
            return Check("degraded", "The model has failed repeatedly; its understudy serves until it is back.")
        if status.last_failure is not None:
            return Check("degraded", "The last call of this model failed.")
        if status.simulated:
            return Check("ok", "Simulated: no key is configured, so no real model answers.")
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
