"""Drafts, their judge and the answer made of them, with a scripted model in virtual time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

from actors.agents.definitions import AgentDefinition
from actors.engines.asking import Reply
from actors.engines.creative import Creative, Studio
from actors.engines.strategy import Desk, Outcome
from actors.protocol.catalogue import Failure
from tests.support.engines_system import Author, bench, execute

if TYPE_CHECKING:
    from actors.engines.asking import Question

SCORES = {"draft-1": 4.0, "draft-2": 9.0, "draft-3": 6.5}
JUDGEMENT = json.dumps({"scores": [{"draft": name, "score": score} for name, score in SCORES.items()]})


def says(**by_role: Any) -> Any:
    """What a model says by the role that it is asked in; a text, a `Reply`, or a function of the question."""

    def say(question: Question) -> Reply | str:
        said = by_role.get(question.agent.role.lower(), f"text of {question.agent.role} at {question.temperature}")
        answer: Reply | str = said(question) if callable(said) else said
        return answer

    return say


async def run(author: Author, studio: Studio | None = None, *, alone: bool = False, **parameters: Any) -> Outcome:
    strategy = Creative(author, studio or Studio(), alone=alone)
    ask = execute("Ideas for a tea shop", **parameters)
    assert strategy.problems(ask) == {}
    async with bench() as do:
        outcome: Outcome = await do(lambda start: strategy.run(ask, Desk(start, lambda *_: None)))
    await strategy.close()
    return outcome


def scores(outcome: Outcome) -> list[float | None]:
    return [candidate["score"] for candidate in outcome.result["candidates"]]


async def test_drafts_differ_are_written_at_once_judged_and_merged(autojump_clock: Any) -> None:
    author = Author(says(judge=JUDGEMENT, editor="The final answer"), takes=5.0)
    began = trio.current_time()
    outcome = await run(author)
    assert round(trio.current_time() - began) == 15
    writers = author.asked[:3]
    assert author.roles() == ["Writer"] * 3 + ["Judge", "Editor"]
    assert author.most_open == 3
    assert len({question.mission for question in writers}) == 3
    assert {question.temperature for question in writers} == {0.4, 0.8, 1.1}
    judge, editor = author.asked[3:]
    assert [step.step for step in judge.earlier] == ["draft-1", "draft-2", "draft-3"]
    assert "draft-2 9" in editor.mission
    assert outcome.result["text"] == "The final answer"
    assert outcome.result["merged"]
    assert outcome.result["judging"] == {"status": "judged", "model": "model-1"}
    assert scores(outcome) == [4.0, 9.0, 6.5]
    assert not outcome.result["simulated"]


async def test_without_a_real_judgement_every_score_is_null(autojump_clock: Any) -> None:
    """Trap: numbers on a dashboard that nobody has measured."""
    for said, status in (
        (Reply(JUDGEMENT, "simulated", simulated=True), "simulated"),
        (Reply(None, failure=Failure.UNREACHABLE), "unreachable"),
        ("The second is best: 9 of 10", "unreadable"),
        (json.dumps({"scores": [{"draft": "draft-1", "score": 4}]}), "unreadable"),
    ):
        author = Author(says(judge=said))
        outcome = await run(author)
        assert scores(outcome) == [None, None, None]
        assert outcome.result["judging"]["status"] == status
        assert outcome.result["merged"]
        assert "Nobody has judged" in author.asked[-1].mission


async def test_where_nobody_merges_the_best_draft_is_the_answer(autojump_clock: Any) -> None:
    for editor in (Reply(None), Reply("half", cut=True)):
        outcome = await run(Author(says(judge=JUDGEMENT, editor=editor)))
        assert (outcome.result["merged"], outcome.result["chosen"]) == (False, "draft-2")
        outcome = await run(Author(says(judge="?", editor=editor)))
        assert outcome.result["chosen"] == "draft-1"


async def test_drafts_that_fail_are_left_out(autojump_clock: Any) -> None:
    def writer(question: Question) -> Reply | str:
        return "text" if question.temperature == 0.8 else Reply(None, failure=Failure.TIMEOUT)

    author = Author(says(writer=writer))
    outcome = await run(author)
    assert [candidate["name"] for candidate in outcome.result["candidates"]] == ["draft-2"]
    assert scores(outcome) == [None]
    assert outcome.result["judging"] == {"status": "not needed"}
    assert (outcome.result["text"], outcome.result["merged"]) == ("text", False)
    assert "Judge" not in author.roles()
    outcome = await run(Author(says(writer=Reply(None, failure=Failure.TIMEOUT))))
    assert (outcome.failure, outcome.result["candidates"]) == (Failure.TIMEOUT, [])


async def test_a_model_that_refuses_temperatures_is_asked_without(autojump_clock: Any) -> None:
    def writer(question: Question) -> Reply | str:
        return "text" if question.temperature is None else Reply(None, failure=Failure.BAD_REQUEST)

    author = Author(says(writer=writer, judge=JUDGEMENT))
    studio = Studio()
    strategy = Creative(author, studio)
    async with bench() as do:
        for asked in (6, 3):
            author.asked.clear()
            ask = execute("Ideas")
            await do(lambda start, ask=ask: strategy.run(ask, Desk(start, lambda *_: None)))
            assert author.roles().count("Writer") == asked  # the second time nobody tries it again


async def test_only_the_model_that_refuses_them_goes_without_temperatures(autojump_clock: Any) -> None:
    def writer(question: Question) -> Reply | str:
        refused = question.agent.models == ("default",) and question.temperature is not None
        return Reply(None, failure=Failure.BAD_REQUEST) if refused else "text"

    author = Author(says(writer=writer, poet="verse", judge=JUDGEMENT))
    poet = AgentDefinition("poet", "Poet", "You are the Poet.", ("another",))
    strategy = Creative(author, Studio(agents={"poet": poet}))
    async with bench() as do:
        for agent in (None, "poet"):
            ask = execute("Ideas", **({} if agent is None else {"agent": agent}))
            await do(lambda start, ask=ask: strategy.run(ask, Desk(start, lambda *_: None)))
    assert {question.temperature for question in author.asked if question.agent is poet} == {0.4, 0.8, 1.1}


async def test_the_understudy_writes_one_draft_and_judges_nothing(autojump_clock: Any) -> None:
    author = Author(says())
    outcome = await run(author, alone=True, candidates=5)
    assert author.roles() == ["Writer"]
    assert author.asked[0].temperature is None
    assert scores(outcome) == [None]


async def test_a_request_may_name_an_agent_how_many_and_what_is_known(autojump_clock: Any) -> None:
    poet = AgentDefinition("poet", "Poet", "You are the Poet.")
    author = Author(says(judge="?"))
    outcome = await run(author, Studio(agents={"poet": poet}), candidates=2, agent="poet", context="They sell tea.")
    assert author.roles() == ["Poet", "Poet", "Judge", "Editor"]
    assert all(question.earlier[0].text == "They sell tea." for question in author.asked)
    assert {question.priority.value for question in author.asked} == {"HIGH"}
    assert len(outcome.result["candidates"]) == 2
    strategy = Creative(author, Studio())
    problems = strategy.problems(execute(" ", candidates=9, agent="poet"))
    assert set(problems) == {"description", "parameters.candidates", "parameters.agent"}
