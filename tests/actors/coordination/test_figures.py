"""What agents have done, and who is told of it: a user of their own work only, operators of all."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.definitions import AgentDefinition
from actors.coordination import coordinator
from actors.coordination.board import Claim, Place
from actors.coordination.figures import MOST_OWN, AllFigures, Figures, view
from actors.coordination.messages import DefineAgent, RemoveAgent, Report
from actors.coordination.workers import FORGET_AFTER
from actors.operations.channels import Published, Topic
from actors.protocol.channel_events import Channel
from runtime import Actor
from supervisors import ChildSpec
from tests.support.tasks_system import FILE, OFFLINE_AFTER, TasksSystem, run, tasks_system
from tests.support.users_system import settle, virtual

WORK = st.lists(
    st.tuples(
        st.sampled_from(["begun", "completed", "failed"]), st.sampled_from(["clerk", "poet"]), st.sampled_from("abc")
    )
)


def played(work: list[tuple[str, str, str]]) -> AllFigures:
    figures = AllFigures()
    for number, (what, agent, user) in enumerate(work):
        if what == "begun":
            figures.begun(agent, user, f"at {number}")
        else:
            figures.ended(Report(agent, user, what, 10.0), f"at {number}")  # type: ignore[arg-type]  # one of the two
    return figures


@given(WORK, st.sampled_from(["clerk", "poet"]), st.sampled_from("abc"))
def test_what_others_have_it_do_changes_nothing_of_what_a_user_sees(
    work: list[tuple[str, str, str]], agent: str, user: str
) -> None:
    all_of_it, own = played(work), AllFigures()
    for number, (what, other, who) in enumerate(work):
        if who == user and what == "begun":
            own.begun(other, who, f"at {number}")
        elif who == user:
            own.ended(Report(other, who, what, 10.0), f"at {number}")  # type: ignore[arg-type]  # one of the two
    assert all_of_it.of(agent, user).metrics() == own.of(agent, user).metrics()
    assert all_of_it.of(agent, user).failing == own.of(agent, user).failing


@given(WORK)
def test_the_whole_is_the_sum_of_what_users_see(work: list[tuple[str, str, str]]) -> None:
    figures = played(work)
    for agent in ("clerk", "poet"):
        own = [figures.of(agent, user) for user in "abc"]
        assert figures.of(agent).completed == sum(each.completed for each in own)
        assert figures.of(agent).failed == sum(each.failed for each in own)


def test_figures_of_users_are_bounded_and_those_without_work_go_first() -> None:
    figures = AllFigures()
    for number in range(MOST_OWN):
        figures.begun("clerk", f"u{number}", "now")
    figures.begun("clerk", "u0", "later")
    figures.begun("clerk", "new", "later")
    assert figures.of("clerk", "u0").last_activity == "later"
    assert figures.of("clerk", "u1").last_activity is None
    assert figures.of("clerk", "u2").last_activity == "now"
    figures.forget("clerk")
    assert figures.of("clerk").last_activity is figures.of("clerk", "new").last_activity is None


def test_a_view_for_one_user_has_that_users_load() -> None:
    place = Place("clerk", 4, leases={f"l{n}": Claim(f"l{n}", user, 0, n) for n, user in enumerate(("a", "b", "b"))})
    shown = {only: view(place, "clerk", "Clerk", Figures(), offline=False, only=only) for only in (None, "a", "c")}
    assert [(each.current_tasks, each.load, each.status.value) for each in shown.values()] == [
        (3, 0.75, "processing"),
        (1, 0.25, "processing"),
        (0, 0.0, "idle"),
    ]


class Ear(Actor):
    """Hears one topic of the channel `agent_status`."""

    def __init__(self, owner: str | None, heard: list[dict[str, Any]]) -> None:
        self.owner = owner
        self.heard = heard

    async def started(self) -> None:
        self.subscribe(Topic(Channel.AGENT_STATUS, self.owner))

    async def receive(self, message: Published) -> object:
        self.heard.append(message.event.metadata["payload"])
        return None


def test_on_the_channel_two_users_of_one_agent_hear_of_their_own_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with tasks_system(monkeypatch) as here:
            heard: dict[str | None, list[dict[str, Any]]] = {"ada": [], "bob": [], None: []}
            root: Any = here.base.system.root
            for owner, own in heard.items():
                root.actor.start_child(ChildSpec(f"ear-{owner}", lambda owner=owner, own=own: Ear(owner, own)))
            await settle()
            first, second = await here.submit("File it", **FILE), await here.submit("File it", user="bob", **FILE)
            await here.until_status(first, "running")
            await here.until_status(second, "running", user="bob")
            assert (await here.agents(operator=True))["clerk"].current_tasks == 2
            await here.ended(first)
            await here.ended(second, user="bob")
            await trio.sleep(1)
            for owner in ("ada", "bob"):
                told = heard[owner]
                assert told
                assert max(each["current_tasks"] for each in told) == 1
                assert max(each["load"] for each in told) == 0.5
                assert told[-1]["metrics"]["tasks_completed"] == 1
                assert told[-1]["status"] == "idle"
            assert max(each["current_tasks"] for each in heard[None]) == 2
            assert heard[None][-1]["metrics"]["tasks_completed"] == 2
            for user, operator, completed in (("ada", False, 1), ("cleo", False, 0), ("cleo", True, 2)):
                seen = (await here.agents(user, operator=operator))["clerk"]
                assert seen.metrics.tasks_completed == completed
            here.verify()

    virtual(main)


def test_all_that_a_users_own_worker_does_is_that_users(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with tasks_system(monkeypatch) as here:
            digger = await here.digger()
            agent_id = await digger.register()
            task_id = await here.submit()
            await here.until_status(task_id, "running")
            assert (await here.agents())[agent_id].load == 1.0
            await digger.update(task_id, 1, "completed")
            await here.ended(task_id)
            assert (await here.agents())[agent_id].metrics.tasks_completed == 1

    virtual(main)


SMITH = AgentDefinition("smith", "Smith", "You forge.", capabilities=("forge",))


@pytest.mark.parametrize("how", ["takes its leave", "stays away", "is removed"])
def test_of_an_agent_that_has_gone_nothing_is_kept(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the figures of all that ever came would be there for as long as the daemon is."""

    async def test(here: TasksSystem) -> None:
        digger = await here.digger()
        agent_id = await digger.register()
        task_id = await here.under_way()
        await digger.update(task_id, 1, "completed")
        await here.coordinator.ask(DefineAgent(SMITH), 5)
        await here.ended(task_id)
        await here.ended(await here.submit("Forge", required_capabilities=["forge"]))
        agents = await here.agents()
        assert [agents[each].metrics.tasks_completed for each in (agent_id, "smith")] == [1, 1]
        if how == "takes its leave":
            await digger.say("unregister_agent", agent_id=agent_id)
        elif how == "stays away":
            digger.drop()
            await trio.sleep(OFFLINE_AFTER + FORGET_AFTER + 60)
            digger = await digger.back()
        else:
            await here.coordinator.ask(RemoveAgent(agent_id), 5)
        await here.coordinator.ask(RemoveAgent("smith"), 5)
        assert await digger.register() == agent_id
        await here.coordinator.ask(DefineAgent(SMITH), 5)
        agents = await here.agents()
        assert [agents[each].metrics.tasks_completed for each in (agent_id, "smith")] == [0, 0]

    run(test, monkeypatch)


def test_how_an_agent_stands_is_not_put_together_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(here: TasksSystem) -> None:
        seen: list[str | None] = []
        monkeypatch.setattr(coordinator, "view", lambda *_, only=None, **__: seen.append(only))
        await here.ended(await here.submit("File it", **FILE))
        assert "ada" not in seen

    run(test, monkeypatch)
