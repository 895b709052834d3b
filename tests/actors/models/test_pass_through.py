"""That model fallback *is* the fallback of `supervisors`: with a pass-through in its place nothing of it is left.

Put into `actors/models/supervisor.py` itself, the pass-through below turns the tests of `test_call_fallback.py` and
`test_leaks.py` red. Here the same outage is told both ways.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from actors.models import supervisor
from actors.models.lease import Exhausted
from actors.models.model_call import CallLimits
from runtime import Actor
from supervisors import ChildSpec, Elsewhere
from tests.support.models_system import fails, models_system, plan

if TYPE_CHECKING:
    from runtime import Ref

LIMITS = CallLimits(attempts=1, first_token=5, idle=5, attempt=20, total=30)


class PassThrough(Actor):
    """Hands every question for the chain to its lead, and knows of no failures. Behind the lead there is nobody."""

    def __init__(self, lead: Ref[Any]) -> None:
        self._lead = lead

    async def receive(self, message: Any) -> object:
        if message.after is not None:
            return Exhausted(retry_after=0.0)
        self.forward(self._lead)
        return None


def pass_through(name: str, targets: list[Elsewhere], **options: Any) -> ChildSpec:
    return ChildSpec(name, partial(PassThrough, targets[0].ref))


@attrs.frozen
class Outage:
    """What four calls came to, the lead failing all the time."""

    targets: list[str | None]
    asked_of_the_lead: int


async def outage(simulation: Any, url: str) -> Outage:
    simulation.tell(fails())
    async with models_system(plan(url)) as site:
        results = [await site.call("lead", "understudy", limits=LIMITS) for _ in range(4)]
    return Outage([result.target for result in results], simulation.counts("lead").total)


async def test_with_the_fallback_the_understudy_answers_and_the_fourth_call_leaves_the_lead_alone(simulated: Any):
    assert await outage(*await simulated(model_name="test-model")) == Outage(["understudy"] * 4, 3)


async def test_with_a_pass_through_nobody_answers_and_every_call_pays(simulated: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervisor, "fallback", pass_through)
    assert await outage(*await simulated(model_name="test-model")) == Outage([None] * 4, 4)
