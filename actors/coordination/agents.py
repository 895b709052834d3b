"""Agents that operators define at run time: kept in the state, known as soon as it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from actors.agents.definitions import AgentDefinition
from actors.protocol.codes import ErrorCode
from actors.storage.interface import DeleteState, PutState, Record
from actors.storage.journal import Append, ListState
from actors.users.messages import NOT_NOW, CommandError, Later
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
KNOWN_WITHIN: Final = 10.0
"""Seconds for which an order waits that came before it was known which agents there are."""
PAGE: Final = 500
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
        self._early: list[tuple[Callable[[ReplyTo], object], ReplyTo]] | None = []
        """What was ordered before it was known which there are, until it is."""
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
                self._loaded()

        journal = self._coordinator.services.journal
        self._coordinator.request(journal, ListState(AGENTS, after=after, limit=PAGE), READ_WITHIN, tag=read)

    def _loaded(self) -> None:
        early, self._early = self._early or [], None
        for order, reply in early:
            order(reply)

    def when_known(self, order: Callable[[ReplyTo], object]) -> None:
        """Carry out an order once it is known which agents there are. The message is in hand.

        At its start the daemon may be asked before its storage has been read: who asks then waits, but not for ever.
        """
        reply = self._coordinator.defer()
        if self._early is None:
            order(reply)
            return
        if not self._early:
            self._coordinator.timer("early", KNOWN_WITHIN, Later(self._still_unknown))
        self._early.append((order, reply))

    def _still_unknown(self) -> None:
        if self._early is not None:
            early, self._early = self._early, []
            for _, reply in early:
                reply.answer(NOT_NOW)

    def define(self, definition: AgentDefinition) -> None:
        """Keep it, then have it here. The message is in hand."""
        self.when_known(lambda reply: self._define(definition, reply))

    def _define(self, definition: AgentDefinition, reply: ReplyTo) -> None:
        name, chains = definition.name, self._coordinator.services.chains
        definition = attrs.evolve(definition, models=definition.models or next(iter(chains), ()))
        if name in self._under_way:
            reply.answer(NOT_NOW)
        elif self._coordinator.board.place(name) is not None:
            reply.answer(TAKEN)
        elif definition.models not in chains:
            known = ", ".join("[" + ", ".join(chain) + "]" for chain in chains)
            fields = {"models": f"No agent of the configuration has these models. Allowed: {known}."}
            reply.answer(Refused(CommandError(ErrorCode.INVALID_FIELDS, details={"fields": fields})))
        else:

            def done() -> object:
                self._add(definition)
                return self._coordinator.see(name)

            self._commit(name, PutState(AGENTS, name, msgspec.json.encode(definition)), done, reply)

    def remove(self, name: str) -> None:
        """Forget it, then have it here no more. What it has under way it finishes. The message is in hand."""
        self.when_known(lambda reply: self._remove(name, reply))

    def _remove(self, name: str, reply: ReplyTo) -> None:
        if name in self._configured:
            reply.answer(CONFIGURED)
        elif name in self._under_way:
            reply.answer(NOT_NOW)
        elif name not in self._defined:
            reply.answer(Refused(CommandError(ErrorCode.NOT_FOUND)))
        else:
            seen = self._coordinator.see(name)

            def done() -> object:
                del self._defined[name]
                self._coordinator.forget(name)
                return seen

            self._commit(name, DeleteState(AGENTS, name), done, reply)

    def _commit(self, name: str, effect: Effect, done: Callable[[], object], reply: ReplyTo) -> None:
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
