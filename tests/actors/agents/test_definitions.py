from __future__ import annotations

import attrs
import pytest

from actors.agents.definitions import GENERAL_DEGRADED, AgentDefinition


def test_a_definition_is_frozen_and_its_default_degraded_answer_says_what_it_is():
    agent = AgentDefinition(name="a", role="A", prompt="p")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        agent.role = "B"
    assert agent.degraded == GENERAL_DEGRADED
    assert "not written by a model" in GENERAL_DEGRADED
