"""`[engines.…]`: what it allows, and how it is set from outside the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from understudy.configuration import load
from understudy.configuration.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_shipped_limits_are_the_promised_ones() -> None:
    engines = load(file=None, environ={}, flags={}).settings.engines
    shown = [(each.limit, each.queue) for each in (engines.perfect_recall, engines.parallel_mind, engines.creative)]
    assert shown == [(10, 50), (20, 50), (5, 50)]
    assert engines.perfect_recall.embeddings_model is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[engines.creative]\njudge = ["nobody"]', "engines.creative.judge"),
        ("[engines.parallel_mind]\nmodels = []", "engines.parallel_mind.models is empty"),
        ('[engines.perfect_recall]\nembeddings_model = "defalt"', 'did you mean "default"?'),
        ("[engines.creative]\ntemperatures = [3]", "engines.creative.temperatures"),
        ("[engines.creative]\ncandidates = 9", "from 1 to 8"),
        ("[engines.creativ]\nlimit = 1", 'did you mean "creative"?'),
    ],
)
def test_a_mistake_is_told_by_its_key(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "u.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(file=file, environ={}, flags={})
    assert words in str(caught.value)


def test_variables_reach_into_the_tables(tmp_path: Path) -> None:
    environ = {
        "UNDERSTUDY_ENGINES_PERFECT_RECALL_LIMIT": "3",
        "UNDERSTUDY_ENGINES_CREATIVE_TEMPERATURES": "0.5, 1",
        "UNDERSTUDY_ENGINES_PERFECT_RECALL_EMBEDDINGS_MODEL": "default",
    }
    engines = load(file=None, environ=environ, flags={}).settings.engines
    assert engines.perfect_recall.limit == 3
    assert engines.creative.temperatures == (0.5, 1.0)
    assert engines.perfect_recall.embeddings_model == "default"
