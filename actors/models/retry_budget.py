"""How many retries a provider's calls may make between them, so that an outage is not multiplied.

Every retry pays out of one purse that all calls to a provider share, and answers pay back into it. While most requests
succeed, nobody notices the purse. In an outage it is empty after a hundred retries, and from then on each call makes
one attempt on the provider instead of three, until answers come again. No clock is involved: a purse that filled with
time would feed the storm.

A timeout costs twice as much as an error: it has held a connection and the caller for its whole length.
"""

from __future__ import annotations

CAPACITY = 500
RETRY = 5
RETRY_AFTER_TIMEOUT = 10
FIRST_TRY = 1
"""What an answer pays back that cost no retry: so that a purse once empty fills again."""


class RetryBudget:
    """The purse of one provider. `capacity` is what it begins with, and never exceeds."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.left = capacity

    def affords(self, *, timeout: bool) -> bool:
        """Whether a retry after a timeout, or after another failure, may be made now."""
        return self.left >= _cost(timeout=timeout)

    def spend(self, *, timeout: bool) -> int:
        """Pays for a retry, and gives its price. Ask `affords` first: the purse may not go below nothing."""
        cost = _cost(timeout=timeout)
        if cost > self.left:
            raise ValueError(f"a retry costs {cost}, and {self.left} is left")
        self.left -= cost
        return cost

    def refund(self, cost: int) -> None:
        """An answer has come: pays back `cost`, the price of the retry that brought it, or of none (0) a little."""
        self.left = min(self.capacity, self.left + (cost or FIRST_TRY))


def _cost(*, timeout: bool) -> int:
    return RETRY_AFTER_TIMEOUT if timeout else RETRY
