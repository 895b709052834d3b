"""What belongs to an endpoint for longer than its gate lives: client, ledger, retry budget, and what was learnt of it.

A gate may crash and come back; the count of its endpoint's failures, the limiter with its last minute and the
connections of its client stay. (Asking the holders alone would give back the leases, but not the minute nor what is
parked; beginning cautiously would punish everybody for our own crash. A defect of the limiter itself would come back
with it: then the gate spends its restarts, and the Models supervisor makes all of it anew.) When the supervisor itself
ends, streams under way go on to their end: the client is closed by its last user. (Closed beneath them, a connection
that is just being made would be left open for ever.)
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

from actors.models.client import close_client, load_library
from actors.models.endpoint import names_simulated
from actors.models.limiter import Limiter
from actors.models.ticks import Ticks
from actors.models.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from openai import AsyncOpenAI

    from actors.models.endpoint import Endpoint
    from actors.models.failure import FailureFacts
    from actors.models.retry_budget import RetryBudget
    from supervisors import Ledger


class EndpointResources:
    """One endpoint's. Made, held and retired by the Models supervisor.

    Attributes:
        endpoint: where and what it is.
        ledger: failures in a row; shared by every chain that names the endpoint.
        budget: shared with every endpoint of the same provider.
        limiter: how fast it may be asked.
        traffic: what was measured.
        ticks: at which its streams are read, together.
        last_failure: of the last call that failed here; None after one that succeeded.
        retired: no new attempt may use the client.
    """

    def __init__(
        self, endpoint: Endpoint, make_client: Callable[[], AsyncOpenAI], ledger: Ledger, budget: RetryBudget
    ) -> None:
        self.endpoint = endpoint
        self._make_client = make_client
        self._client: AsyncOpenAI | None = None
        self.ledger = ledger
        self.budget = budget
        self.limiter = Limiter(endpoint)
        self.traffic = Traffic()
        self.ticks = Ticks()
        self.last_failure: FailureFacts | None = None
        self.retired = False
        self._users = 0
        self._answers_simulated: bool | None = None
        self._lease_numbers = count(1)

    @property
    def name(self) -> str:
        return self.endpoint.name

    @property
    def known_simulated(self) -> bool:
        """Whether nobody real answers here: by configuration, or because its last answer said so."""
        return self.endpoint.simulated or bool(self._answers_simulated)

    @property
    def unheard(self) -> bool:
        """Whether it has not yet said who it is, in this life of the daemon."""
        return not self.endpoint.simulated and self._answers_simulated is None

    def answered_as(self, model: str) -> None:
        """An answer has named its model."""
        self._answers_simulated = names_simulated(model)

    def next_lease_number(self) -> int:
        return next(self._lease_numbers)

    async def client(self) -> AsyncOpenAI:
        """The client, shared by all calls; made by the first who asks for it. Its retries are off."""
        if self._client is None:
            await load_library()
        if self._client is None:  # nobody was quicker
            self._client = self._make_client()
        return self._client

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[AsyncOpenAI]:
        """The client, for one attempt. The last to leave a retired one closes it, also when cancelled."""
        self._users += 1
        try:
            yield await self.client()
        finally:
            self._users -= 1
            await self._close_if_over()

    async def retire(self) -> None:
        """Closes the client, now or with the end of the last attempt that uses it."""
        self.retired = True
        await self._close_if_over()

    async def _close_if_over(self) -> None:
        if self.retired and not self._users and self._client is not None:
            await close_client(self._client)


def may_stand_in(lead: EndpointResources, understudy: EndpointResources) -> bool:
    """Whether `understudy` may answer for `lead`: a simulated model never speaks for a real one.

    What has never answered counts as real, unless it lives at the very address at which the understudy is simulated:
    then it is another name of the same simulated model.
    """
    if not understudy.known_simulated or lead.known_simulated:
        return True
    return lead.unheard and lead.endpoint.base_url == understudy.endpoint.base_url
