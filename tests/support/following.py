"""What tests of a user's clients say and look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.users.context import ContextSettings
from tests.support.users_system import UsersSystem

if TYPE_CHECKING:
    from tests.support.users_system import Follower

EPOCH = "epoch-ada"
AWAKE = ContextSettings(idle_after=1e6, log_events=20_000, log_seconds=604_800.0)


async def said(here: UsersSystem, *names: str) -> None:
    await here.say(*names)
    await trio.sleep(0.1)


async def leave(here: UsersSystem, follower: Follower) -> None:
    here.system.root.actor.stop_child(follower.ref.path[1:])  # type: ignore[union-attr]
    await trio.sleep(0.1)
