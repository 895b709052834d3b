"""Which endpoints and chains there are, checked whole before anything starts, and where each will be found."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import attrs

from runtime import InvalidSpec
from supervisors import Policy

if TYPE_CHECKING:
    from actors.models.endpoint import Endpoint

WAITING = 1000

PROBE_WITHIN = 150.0
"""Seconds: a probe is one attempt, which may last 120 s, and may first have waited for a lease."""


@attrs.frozen
class ModelsPlan:
    """What the Models supervisor is to start. Raises InvalidSpec for what cannot work.

    Attributes:
        endpoints: each with its own name. The base URL of a simulated one is filled in when its server listens.
        chains: every chain that agents use: names of endpoints, the lead first.
        policy: for the ledgers. `probe_within` must leave time for one attempt, or a long answer is no way back.
        waiting: how many may wait at one gate.
        path: of the Models supervisor in the tree.
    """

    endpoints: tuple[Endpoint, ...]
    chains: tuple[tuple[str, ...], ...]
    policy: Policy = Policy(probe_within=PROBE_WITHIN)
    waiting: int = WAITING
    path: str = "/models"

    def __attrs_post_init__(self) -> None:
        names = [endpoint.name for endpoint in self.endpoints]
        for name in names:
            if names.count(name) > 1:
                raise InvalidSpec("endpoints", name, "each name once")
        if self.waiting < 1:
            raise InvalidSpec("waiting", self.waiting, "at least 1")
        for chain in self.chains:
            self._check(chain, names)

    @staticmethod
    def _check(chain: tuple[str, ...], names: list[str]) -> None:
        if not chain:
            raise InvalidSpec("chains", chain, "at least one endpoint in each")
        for name in chain:
            if name not in names:
                raise InvalidSpec("chains", name, f"one of: {', '.join(names)}")
            if chain.count(name) > 1:
                raise InvalidSpec("chains", name, "each endpoint once in a chain")

    @property
    def simulated(self) -> bool:
        """Whether the daemon has to start the simulated model."""
        return any(endpoint.simulated for endpoint in self.endpoints)

    def effective(self, models: tuple[str, ...]) -> tuple[str, ...]:
        """The chain as it is started: beside a real endpoint the simulated ones are left out, the lead included."""
        simulated = {endpoint.name for endpoint in self.endpoints if endpoint.simulated}
        real = tuple(name for name in models if name not in simulated)
        return real or models

    def distinct_chains(self) -> tuple[tuple[str, ...], ...]:
        """The chains to start: agents with the same one share it."""
        return tuple(dict.fromkeys(self.effective(chain) for chain in self.chains))

    def chain_path(self, models: tuple[str, ...]) -> str:
        """Where the fallback of this chain (as configured) is found. Raises InvalidSpec for one that is not planned."""
        if models not in self.chains:
            raise InvalidSpec("models", models, "a chain of the plan")
        return f"{self.path}/{chain_name(self.effective(models))}"

    def gate_path(self, endpoint: str) -> str:
        """Where the gate of an endpoint is found."""
        return f"{self.path}/{gate_name(endpoint)}"


def gate_name(endpoint: str) -> str:
    return f"gate-{quote(endpoint, safe='')}"


def chain_name(models: tuple[str, ...]) -> str:
    # Quoted, a name has no "+" of its own, so that different chains have different names.
    return "chain-" + "+".join(quote(name, safe="") for name in models)
