"""The Models supervisor: gates and chains, and what outlives a gate: clients, ledgers, budgets, a port.

The ledger of an endpoint lies with this supervisor and not with its gate, so that a gate's crash forgets no failure,
and every chain that names the endpoint shares it. The port of the simulated model is bound here, before anything
starts: its address is known to the clients before the first call, and the server that crashes and comes back finds it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import structlog
import trio

from actors.models.client import build_client, quiet_moment, warm_up
from actors.models.gate import Gate
from actors.models.lease import Exhausted
from actors.models.plan import chain_name, gate_name
from actors.models.resources import EndpointResources
from actors.models.retry_budget import RetryBudget
from actors.models.simulated.program import base_urls
from actors.models.simulated.server import serve_simulated
from runtime import Actor, InvalidSpec, Mailbox, TaskEnded
from supervisors import Call, ChildSpec, Elsewhere, Ledger, Supervisor, fallback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import FilteringBoundLogger

    from actors.models.plan import ModelsPlan
    from actors.models.simulated.simulation import Simulation
    from runtime import Reason

GATE_MAILBOX = Mailbox(capacity=65_536)
"""A gate is never slow, but thousands of calls may be cancelled in one step, and each tells its settlement."""


class SimulatedModel(Actor):
    """The simulated model's server, on a socket that listens already and that somebody else keeps."""

    def __init__(self, simulation: Simulation, listener: trio.SocketListener) -> None:
        self._simulation = simulation
        self._listener = listener

    async def started(self) -> None:
        # A second handle of the same socket: the server closes its own when it ends, the port stays, and who connects
        # meanwhile waits for the next server.
        again = trio.SocketListener(self._listener.socket.dup())
        self.start(serve_simulated, [again], self._simulation, name="simulated model")

    async def receive(self, message: Any) -> object:
        if isinstance(message, TaskEnded):
            raise message.error or RuntimeError("the simulated model has stopped serving")
        return None


class Models(Supervisor):
    """Starts what a plan names, and retires the clients in the end.

    Args:
        plan: endpoints and chains.
        simulation: the simulated model; needed where an endpoint of the plan is simulated.
        log: for operators; structlog's own if None.
    """

    def __init__(
        self, plan: ModelsPlan, simulation: Simulation | None = None, log: FilteringBoundLogger | None = None
    ) -> None:
        if plan.simulated and simulation is None:
            raise InvalidSpec("simulation", simulation, "a Simulation, because an endpoint is simulated")
        self._plan = plan
        self._simulation = simulation
        self._log = structlog.get_logger() if log is None else log
        self._listener: trio.SocketListener | None = None
        self.resources: dict[str, EndpointResources] = {}

    async def started(self) -> None:
        if self.ref.path != self._plan.path:
            raise InvalidSpec("path", self._plan.path, f"{self.ref.path}, where the supervisor is")
        simulated_url = ""
        if self._plan.simulated:
            [self._listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            [simulated_url] = base_urls([self._listener])
        budgets: dict[str, RetryBudget] = {}
        for endpoint in self._plan.endpoints:
            if endpoint.simulated:
                endpoint = attrs.evolve(endpoint, base_url=simulated_url)
            self.resources[endpoint.name] = EndpointResources(
                endpoint,
                partial(build_client, endpoint),
                Ledger(endpoint.name, self._plan.policy, self.system.rng),
                budgets.setdefault(endpoint.base_url, RetryBudget()),
            )
        self.start(self._warm_up, name="warm-up")
        await super().started()

    async def _warm_up(self) -> None:
        """Make ready what the first call needs, when nobody is kept waiting by it."""
        await quiet_moment()
        for resources in self.resources.values():
            await resources.client()
        await warm_up()

    async def stopped(self, reason: Reason) -> None:
        del reason
        if self._listener is not None:
            self._listener.socket.close()
        for resources in self.resources.values():
            await resources.retire()

    async def receive(self, message: Any) -> object:
        if isinstance(message, TaskEnded):
            if message.error is not None:  # nothing depends on it but the time to the first token of the first call
                self._log.warning("models: warming up failed", error=message.trace)
            return None
        return await super().receive(message)

    def children_of(self) -> Sequence[ChildSpec]:
        specs: list[ChildSpec] = []
        if self._listener is not None and self._simulation is not None:
            specs.append(ChildSpec("simulated", partial(SimulatedModel, self._simulation, self._listener)))
        for name, resources in self.resources.items():
            start = partial(Gate, resources, self._lead_of, self._plan.waiting, self._log)
            specs.append(ChildSpec(gate_name(name), start, mailbox=GATE_MAILBOX))
        for chain in self._plan.distinct_chains():
            ledgers = [self.resources[name].ledger for name in chain]
            targets = [
                Elsewhere(name, self.system.ref(self._plan.gate_path(name)), self.resources[name].ledger)
                for name in chain
            ]
            specs.append(fallback(chain_name(chain), targets, exhausted=partial(exhausted, ledgers)))
        return specs

    def _lead_of(self, models: tuple[str, ...]) -> EndpointResources | None:
        chain = self._plan.effective(models)
        return self.resources.get(chain[0]) if chain else None


def exhausted(ledgers: Sequence[Ledger], message: object) -> Exhausted:
    """A chain's answer to a call for which no endpoint may be asked (now)."""
    now = trio.current_time()
    after = message.after if isinstance(message, Call) else None
    left = ledgers if after is None else ledgers[after.position + 1 :]
    closed = [ledger.account.parked_until - now for ledger in left if ledger.account.state == "closed"]
    parked = [seconds for seconds in closed if seconds > 0]
    return Exhausted(
        retry_after=min(ledger.account.free_at(now) for ledger in ledgers) - now,
        parked_for=min(parked, default=None),
        restarting=len(parked) < len(closed),  # it was chosen, and did not take the question
    )
