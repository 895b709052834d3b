"""The supervisor of the users' contexts: one child for each active user, started when somebody asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.users.context import ContextSettings, Services, UserContext
from actors.users.continuity import Continuity
from actors.users.keys import actor_name
from actors.users.messages import Locate
from runtime import Mailbox
from supervisors import ChildSpec, DynamicSupervisor, Intensity, Restart

if TYPE_CHECKING:
    from collections.abc import Callable

CONTEXT_BUDGET = Intensity(10, 60.0)
"""A context holds nothing that is not committed or offered again, so starting it again often is safe."""
CONTEXT_MAILBOX = Mailbox(4096)


class Users(DynamicSupervisor):
    """Answers `Locate` with the address of a user's context."""

    budget = CONTEXT_BUDGET

    def __init__(self, settings: ContextSettings, services: Callable[[], Services]) -> None:
        self._settings = settings
        self._services = services

    async def receive(self, message: Any) -> object:
        if isinstance(message, Locate):
            name = actor_name(message.user)
            return self.child(name) or self.start_child(self._spec(message.user, name))
        return await super().receive(message)

    def _spec(self, user: str, name: str) -> ChildSpec:
        continuity = Continuity()  # outlives the context's crashes

        def make() -> UserContext:
            return UserContext(user, self._settings, self._services(), continuity)

        return ChildSpec(name, make, mailbox=CONTEXT_MAILBOX, restart=Restart.TRANSIENT)
