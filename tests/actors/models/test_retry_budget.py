from __future__ import annotations

import pytest

from actors.models.retry_budget import CAPACITY, RetryBudget


def test_an_outage_uses_it_up_and_answers_fill_it_again():
    budget = RetryBudget()
    retries = 0
    while budget.affords(timeout=False):
        assert budget.spend(timeout=False) == 5
        retries += 1
    assert (retries, budget.left) == (100, 0)
    for _ in range(4):
        budget.refund(0)
        assert not budget.affords(timeout=False)
    budget.refund(0)
    assert budget.affords(timeout=False)
    assert not budget.affords(timeout=True)


def test_a_retry_after_a_timeout_costs_twice_as_much_and_its_answer_pays_it_back():
    budget = RetryBudget(10)
    paid = budget.spend(timeout=True)
    assert (paid, budget.left) == (10, 0)
    with pytest.raises(ValueError, match="costs 5, and 0 is left"):
        budget.spend(timeout=False)
    budget.refund(paid)
    assert budget.left == 10


def test_it_never_holds_more_than_in_the_beginning():
    budget = RetryBudget()
    budget.refund(10)
    assert budget.left == CAPACITY
