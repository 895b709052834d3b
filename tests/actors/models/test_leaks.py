"""A whole call under every fault of the simulated model: it ends in time, in the stated way, and leaves nothing."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from actors.models.endpoint import Endpoint
from actors.models.model_call import CallFailed, CallLimits
from actors.models.plan import ModelsPlan
from actors.models.simulated.faults import FAULTS
from actors.protocol.catalogue import CATALOGUE, Failure
from tests.support.models_system import NEVER, CancelCall, Heard, models_system

pytestmark = [pytest.mark.usefixtures("collected"), pytest.mark.repeats]

# Every deadline is short, so that no fault lasts; the whole call may take no longer than this, and it says so itself.
SHORT = CallLimits(attempts=2, first_token=1.0, idle=1.0, attempt=3.0, total=8.0)


@attrs.frozen
class End:
    """How a call ends whose lead has a fault that does not pass.

    Attributes:
        failures: what each attempt at the lead comes to.
        answered: by whom; None: the call fails, as the attempt did.
        partial: the answer breaks off, for its beginning has reached the user, and nobody else may go on with it.
    """

    failures: tuple[Failure, ...]
    answered: str | None = "understudy"
    partial: bool = False


def again(failure: Failure) -> End:
    """Nothing of an answer has come: it is tried once more, and then the understudy is asked."""
    return End((failure, failure))


def broken_off(failure: Failure) -> End:
    """Its beginning has come."""
    return End((failure,), "lead", partial=True)


GOOD = End((), "lead")
STATED: list[tuple[dict[str, Any], End]] = [
    ({"fault": "status", "status": 503}, again(Failure.SERVER_ERROR)),
    ({"fault": "status", "status": 429}, again(Failure.RATE_LIMIT)),
    ({"fault": "status", "status": 401}, End((Failure.CONFIGURATION,))),
    ({"fault": "status", "status": 400}, End((Failure.BAD_REQUEST,), None)),
    ({"fault": "status", "status": 400, "code": "content_filter"}, End((Failure.CONTENT_POLICY,), None)),
    ({"fault": "insufficient_quota"}, End((Failure.CONFIGURATION,))),
    ({"fault": "refuse"}, again(Failure.UNREACHABLE)),
    ({"fault": "silent"}, again(Failure.TIMEOUT)),
    ({"fault": "page"}, again(Failure.MALFORMED)),
    ({"fault": "slow_first_token"}, again(Failure.TIMEOUT)),
    ({"fault": "keep_alive_only"}, again(Failure.TIMEOUT)),
    ({"fault": "keep_alive_only", "after_tokens": 2}, broken_off(Failure.TIMEOUT)),
    ({"fault": "slow", "tokens_per_second": 0.1}, broken_off(Failure.TIMEOUT)),
    ({"fault": "stall"}, broken_off(Failure.TIMEOUT)),
    ({"fault": "stall", "after_tokens": 0}, again(Failure.TIMEOUT)),
    ({"fault": "endless"}, broken_off(Failure.TIMEOUT)),
    ({"fault": "cut"}, broken_off(Failure.TRUNCATED)),
    ({"fault": "cut", "after_tokens": 0}, again(Failure.TRUNCATED)),
    ({"fault": "reset"}, broken_off(Failure.TRUNCATED)),
    ({"fault": "reset", "after_tokens": 0}, again(Failure.TRUNCATED)),
    ({"fault": "truncate"}, broken_off(Failure.TRUNCATED)),
    ({"fault": "malformed"}, broken_off(Failure.MALFORMED)),
    ({"fault": "bad_utf8"}, broken_off(Failure.MALFORMED)),
    ({"fault": "wrong_shape"}, broken_off(Failure.MALFORMED)),
    ({"fault": "huge_event"}, broken_off(Failure.MALFORMED)),
    ({"fault": "huge_event", "after_tokens": 0}, again(Failure.MALFORMED)),
    ({"fault": "error_event"}, broken_off(Failure.SERVER_ERROR)),
    ({"fault": "content_filter"}, broken_off(Failure.CONTENT_POLICY)),
    ({"fault": "length"}, attrs.evolve(GOOD, partial=True)),
    ({"fault": "no_usage"}, GOOD),
    ({"fault": "no_done"}, GOOD),
    ({"fault": "tool_call", "tool": "look"}, GOOD),
]


def test_it_is_stated_for_every_fault_how_a_call_ends():
    assert {fault["fault"] for fault, _ in STATED} == set(FAULTS)


def plan(url: str, api: Any) -> ModelsPlan:
    endpoints = tuple(Endpoint(name, url, "sk-test-key", name, api=api) for name in ("lead", "understudy"))
    return ModelsPlan(endpoints, (("lead", "understudy"),), NEVER)


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize(("fault", "end"), STATED, ids=lambda case: case.get("fault") if isinstance(case, dict) else "")
async def test_every_fault_ends_as_stated_in_time_and_leaves_neither_task_nor_socket(
    simulated: Any, open_sockets: Any, fault: dict[str, Any], end: End, api: Any
):
    simulation, url = await simulated(model_name="test-model")
    simulation.tell({"lead": fault})
    sockets, tasks = open_sockets(), trio.lowlevel.current_statistics().tasks_living
    heard = Heard()
    async with models_system(plan(url, api)) as site:
        began = trio.current_time()
        ended = await site.ended("lead", "understudy", observer=heard, limits=SHORT)
        assert trio.current_time() - began < SHORT.total + 4, "with what a busy machine adds"
        status = await site.status("lead")
    if end.answered is None:
        assert isinstance(ended.error, CallFailed)
        assert ended.error.sentence == CATALOGUE[end.failures[-1]].sentence
        attempts = ended.error.attempts
    else:
        assert ended.error is None, ended.trace
        result, attempts = ended.value, ended.value.attempts
        assert result.text is not None, "the understudy is well"
        if not _overtaken(fault, attempts):
            assert (result.target, result.partial) == (end.answered, end.partial)
        assert result.text == "".join(heard.pieces)
        assert not (result.partial and heard.moves), "no other model goes on with what one has begun"
    if not _overtaken(fault, attempts):
        failures = [Failure(attempt.kind) for attempt in attempts if attempt.kind and attempt.target == "lead"]
        assert failures == list(end.failures)
    assert status.limiter.in_flight == 0
    for name in ("lead", "understudy"):
        await simulation.wait_for(name, lambda counts: counts.open == 0)
    with trio.fail_after(10):
        while (open_sockets(), trio.lowlevel.current_statistics().tasks_living) != (sockets, tasks):
            await trio.sleep(0.005)


def _overtaken(fault: dict[str, Any], attempts: Any) -> bool:
    """A reset may overtake what was sent before it: then nothing of an answer has come, and it is tried again."""
    return fault["fault"] == "reset" and len(attempts) > 1


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_cancelling_many_streams_at_once_leaves_none_open_upstream(simulated: Any, api: Any):
    """The bench does this with 200, and measures that the last is gone within a second."""
    simulation, url = await simulated(model_name="test-model")
    simulation.tell({"lead": {"fault": "endless", "tokens_per_second": 20}})
    many = 40
    heard = [Heard() for _ in range(many)]
    async with models_system(plan(url, api)) as site:
        async with trio.open_nursery() as nursery:
            for one in heard:
                nursery.start_soon(lambda one=one: site.ended("lead", "understudy", observer=one))
            for one in heard:
                await one.first_text.wait()
            assert simulation.counts("lead").open == many
            site.caller.tell(CancelCall())
        counts = await simulation.wait_for("lead", lambda counts: counts.open == 0)
        assert counts.closed_by_client == many
        assert (await site.status("lead")).limiter.in_flight == 0
        assert (await site.status("lead")).failures == 0, "a cancelled call says nothing of its model"
