from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.models.simulated.brain import NOTICE, Brain, Prompt, pieces
from actors.models.simulated.roles import ROLES
from actors.models.tokens import estimate_tokens

BRIEF = "Build a tool for a library: members reserve books online, and librarians see overdue loans of books."


def asked(role: str, text: str = BRIEF, *, others: str = "") -> list[Prompt]:
    return [Prompt("system", f"You are the {role} of a team. {others}"), Prompt("user", text)]


@pytest.mark.parametrize("role", ROLES)
def test_an_answer_fits_its_role_and_speaks_of_the_brief(role: str):
    text = Brain(1).answer(
        asked(role, others="The Analyst, Architect, Developer, Tester and Deployer answer in order.")
    )
    assert ROLES[role].heading in text
    assert "Build a tool for a library" in text
    assert text.count("books") >= 3
    assert 250 <= estimate_tokens(text) <= 700
    assert text.endswith(NOTICE)
    assert "{" not in text


def test_the_five_answers_differ_and_build_on_each_other():
    said, answers = BRIEF, []
    for role in ROLES:
        text = Brain(3).answer(asked(role, said))
        assert ("I build on the " in text) is (role != "Analyst")
        answers.append(text)
        said += f"\n\n# {role}\n\n{text}"
    assert len(set(answers)) == 5
    quoted = answers[1].split('I build on the Analyst: "')[1].split('"')[0]
    assert quoted in answers[0]


def test_points_of_nobody_known_are_taken_up_too():
    text = Brain(1).answer(asked("Tester", BRIEF + "\n\n- It must work on the oldest phone in the house."))
    assert 'I build on what was said before: "It must work on the oldest phone in the house".' in text


def test_the_same_prompt_and_seed_give_the_same_text():
    assert Brain(1).answer(asked("Analyst")) == Brain(1).answer(asked("Analyst"))
    others = {Brain(seed).answer(asked("Analyst")) for seed in range(5)}
    assert len(others) > 1
    assert Brain(1).answer(asked("Analyst")) != Brain(1).answer(asked("Analyst", BRIEF + " And games."))


def test_without_a_role_it_is_an_assistant():
    text = Brain().answer([Prompt("user", "hi")])
    assert 'You asked about "hi"' in text
    assert "something that the brief leaves open" in Brain().answer([])


def test_a_heading_over_the_brief_is_not_of_it():
    for heading in ("# Project brief\n\n", "Brief: ", "**The brief**:\n"):
        assert 'asks for "Build a tool for a library' in Brain().answer(asked("Analyst", heading + BRIEF))
    assert '"Briefcases for everyone"' in Brain().answer(asked("Analyst", "Briefcases for everyone."))


@settings(deadline=None)  # the first answer of a process compiles much
@given(st.lists(st.builds(Prompt, st.sampled_from(["system", "user", "assistant"]), st.text(max_size=300)), max_size=4))
def test_whatever_it_is_asked_it_answers(messages: list[Prompt]):
    text = Brain().answer(messages)
    assert text.endswith(NOTICE)
    assert "".join(pieces(text)) == text


@given(st.text())
def test_pieces_are_the_text(text: str):
    assert "".join(pieces(text)) == text
