"""The simulated model as one who validates."""

from actors.models.simulated.brain import NOTICE, Brain, Prompt
from actors.models.simulated.verdicts import verdict
from actors.workflows.verdict import APPROVED, FORM, REJECTED, read_verdict


def test_it_approves_unless_it_is_told_otherwise() -> None:
    said = verdict(f"You validate.\n\n{FORM}", "A brief.")
    assert said is not None
    assert read_verdict(said).kind == APPROVED
    said = verdict(FORM, "A brief.\n  play-verdict: reject - The tests are missing.\nMore.")
    assert said is not None
    assert (read_verdict(said).kind, read_verdict(said).reason) == (REJECTED, "The tests are missing.")
    said = verdict(FORM, "play-verdict: nonsense")
    assert said == "VERDICT: nonsense\n"


def test_who_is_not_asked_for_a_verdict_gives_none() -> None:
    assert verdict("You are the Analyst.", "play-verdict: reject") is None


def test_its_answer_says_that_it_is_simulated() -> None:
    text = Brain().answer([Prompt("system", FORM), Prompt("user", "A brief.")])
    assert text.startswith("VERDICT: approve\n")
    assert text.endswith(NOTICE)
