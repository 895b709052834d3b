"""Agents that operators define at run time: kept in the state, known as soon as it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from actors.agents.definitions import AgentDefinition
from actors.protocol.codes import ErrorCode
from actors.storage.interface import DeleteState, PutState, Record
from actors.storage.journal import Append, ListState
from actors.users.messages import CommandError, Later
from runtime import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.coordination.coordinator import Coordinator
    from actors.storage.interface import Effect
    from runtime import Replied, ReplyTo

AGENTS: Final = "agent"
"""Space of agents that were defined at run time: NAME -> the definition."""
READ_WITHIN: Final = 30.0
READ_AGAIN: Final = 0.5
COMMIT_WITHIN: Final = 30.0
PAGE: Final = 500
NOT_NOW: Final = Refused(CommandError(ErrorCode.UNAVAILABLE, retry_after=1.0))
TAKEN: Final = Refused(
    CommandError(ErrorCode.CONFLICT, "There is an agent of this name already. Remove it first, or choose another.")
)
CONFIGURED: Final = Refused(
    CommandError(ErrorCode.CONFLICT, "This agent stands in the configuration. Take it out there, and restart.")
)


class DefinedAgents:
    """See the module."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._configured = coordinator.services.agents
        self._defined: dict[str, AgentDefinition] = {}
        self._known = False
        self._under_way: set[str] = set()

    def get(self, name: str) -> AgentDefinition | None:
        """The definition of an agent of this daemon."""
        return self._configured.get(name) or self._defined.get(name)

    def load(self, after: str = "") -> None:
        """Read what there is, and have it here."""

        def read(replied: Replied) -> None:
            if replied.error is not None:
                self._coordinator.timer("agents", READ_AGAIN, Later(lambda: self.load(after)))
                return
            for name, stored in replied.value:
                if name not in self._configured:  # one of the configuration's has come in its place
                    self._add(msgspec.json.decode(stored, type=AgentDefinition))
            if len(replied.value) == PAGE:
                self.load(replied.value[-1][0])
            else:
                self._known = True

        journal = self._coordinator.services.journal
        self._coordinator.request(journal, ListState(AGENTS, after=after, limit=PAGE), READ_WITHIN, tag=read)

    def define(self, definition: AgentDefinition) -> object:
        """Keep it, then have it here. The message is in hand."""
        name, chains = definition.name, self._coordinator.services.chains
        if not self._known or name in self._under_way:
            return NOT_NOW
        if self._coordinator.board.place(name) is not None:
            return TAKEN
        definition = attrs.evolve(definition, models=definition.models or next(iter(chains), ()))
        if definition.models not in chains:
            known = ", ".join("[" + ", ".join(chain) + "]" for chain in chains)
            fields = {"models": f"No agent of the configuration has these models. Allowed: {known}."}
            return Refused(CommandError(ErrorCode.INVALID_FIELDS, details={"fields": fields}))

        def done() -> object:
            self._add(definition)
            return self._coordinator.see(name)

        self._commit(name, PutState(AGENTS, name, msgspec.json.encode(definition)), done)
        return None

    def remove(self, name: str) -> object:
        """Forget it, then have it here no more. What it has under way it finishes. The message is in hand."""
        if name in self._configured:
            return CONFIGURED
        if not self._known or name in self._under_way:
            return NOT_NOW
        if name not in self._defined:
            return Refused(CommandError(ErrorCode.NOT_FOUND))
        seen = self._coordinator.see(name)

        def done() -> object:
            del self._defined[name]
            self._coordinator.board.remove(name)
            return seen

        self._commit(name, DeleteState(AGENTS, name), done)
        return None

    def _commit(self, name: str, effect: Effect, done: Callable[[], object]) -> None:
        reply: ReplyTo = self._coordinator.defer()
        self._under_way.add(name)

        def committed(replied: Replied) -> None:
            self._under_way.discard(name)
            reply.answer(NOT_NOW if replied.error is not None else done())

        services = self._coordinator.services
        order = Append((Record(services.stamps.id(), None, (), (effect,)),))
        self._coordinator.request(services.journal, order, COMMIT_WITHIN, tag=committed)

    def _add(self, definition: AgentDefinition) -> None:
        self._defined[definition.name] = definition
        self._coordinator.put(definition)
