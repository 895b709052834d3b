"""What belongs to an endpoint for longer than its gate lives: client, ledger, retry budget, and what was learnt of it.

A gate may crash and come back; the count of its endpoint's failures and the connections of its client must not.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from actors.models.endpoint import names_simulated

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from actors.models.endpoint import Endpoint
    from actors.models.failure import FailureFacts
    from actors.models.retry_budget import RetryBudget
    from supervisors import Ledger


class EndpointResources:
    """One endpoint's. Made, held and closed by the Models supervisor.

    Attributes:
        endpoint: where and what it is.
        client: shared by all calls; its retries are off.
        ledger: failures in a row; shared by every chain that names the endpoint.
        budget: shared with every endpoint of the same provider.
        last_failure: of the last call that failed here; None after one that succeeded.
    """

    def __init__(self, endpoint: Endpoint, client: AsyncOpenAI, ledger: Ledger, budget: RetryBudget) -> None:
        self.endpoint = endpoint
        self.client = client
        self.ledger = ledger
        self.budget = budget
        self.last_failure: FailureFacts | None = None
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


def may_stand_in(lead: EndpointResources, understudy: EndpointResources) -> bool:
    """Whether `understudy` may answer for `lead`: a simulated model never speaks for a real one.

    What has never answered counts as real, unless it lives at the very address at which the understudy is simulated:
    then it is another name of the same simulated model.
    """
    if not understudy.known_simulated or lead.known_simulated:
        return True
    return lead.unheard and lead.endpoint.base_url == understudy.endpoint.base_url
