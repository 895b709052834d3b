"""A model, a daemon in this process, and people's devices: what most tests of a whole daemon begin with."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.support.daemon import House, house
from tests.support.device import Device, devices
from tests.support.held_model import HeldModel, held_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def household(
    directory: Path, *users: str, held: bool = True
) -> AsyncIterator[tuple[HeldModel, House, list[Device]]]:
    """For the block: the model, `held` from the beginning or not; the daemon; a connected device for each user."""
    async with (
        held_model(held=held) as model,
        house(directory, model.base_url) as here,
        devices(here.port, *users) as everybody,
    ):
        yield model, here, everybody
