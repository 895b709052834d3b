"""What the simulated model says of what it was asked."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from actors.models.simulated import prompts as prompts_module
from actors.models.simulated.brain import NOTICE, Brain, Prompt, pieces, prompt_digest
from actors.models.simulated.prompts import Prompts, text_digest
from actors.models.simulated.simulation import Pace


def chat(content: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize("stream", [True, False])
async def test_each_prompt_with_when_it_was_asked_and_answered(simulated: Any, stream: bool) -> None:
    clock = iter(range(100, 200))
    simulation, url = await simulated(pace=Pace(0.0, 1e6), wall_clock=lambda: float(next(clock)))
    async with httpx2.AsyncClient(base_url=url.removesuffix("/v1"), trust_env=False, timeout=60) as http:
        for content in ("Lend books.", "Sell tea.", "Lend books."):
            answer = await http.post("/v1/chat/completions", json={**chat(content), "stream": stream})
            assert answer.status_code == 200
        simulation.tell({"m": {"fault": "status", "status": 500, "requests": 1}})
        assert (await http.post("/v1/chat/completions", json=chat("Sell tea."))).status_code == 500
        report = (await http.get("/prompts")).json()
    books, tea = (prompt_digest([Prompt("user", content)]) for content in ("Lend books.", "Sell tea."))
    assert report["left_out"] == 0
    assert list(report["prompts"]) == [books, tea]
    text = Brain().answer([Prompt("user", "Lend books.")])
    assert report["prompts"][books] == {"answer": text_digest(text), "asked": [100, 104], "answered": [101, 105]}
    assert report["prompts"][tea]["asked"] == [102, 106]
    assert report["prompts"][tea]["answered"] == [103]  # the second time it failed


def test_what_is_beyond_the_bounds_is_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts_module, "MOST_PROMPTS", 2)
    monkeypatch.setattr(prompts_module, "MOST_TIMES", 3)
    prompts = Prompts()
    for at in range(5):
        prompts.ask("one", "text", at)
        prompts.answer("one", at)
    prompts.ask("two", "text", 0)
    prompts.ask("three", "text", 0)
    prompts.answer("three", 0)
    report = prompts.report()
    assert report["left_out"] == 1
    assert list(report["prompts"]) == ["one", "two"]
    assert report["prompts"]["one"]["asked"] == report["prompts"]["one"]["answered"] == [0, 1, 2]


def test_an_answer_may_be_cut_short() -> None:
    whole = Brain().answer([Prompt("user", "Lend books.")])
    cut = Brain(longest=10).answer([Prompt("user", "Lend books.")])
    assert cut == "".join(pieces(whole)[:10])
    assert whole.endswith(NOTICE)


def test_of_several_pieces_of_material_the_first_is_the_brief() -> None:
    material = (
        "[f00 brief begins]\nLend telescopes to schools\n[f00 brief ends]\n\n"
        "[f00 answer of the Analyst, step analysis, begins]\n## What is wanted\n"
        "[f00 answer of the Analyst, step analysis, ends]"
    )
    answer = Brain().answer([Prompt("system", "You are the Tester."), Prompt("user", material)])
    assert '"Lend telescopes to schools"' in answer
