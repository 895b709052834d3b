"""What `understudy config` prints."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.configuration import Configuration, as_json, as_text, as_toml, load
from understudy.configuration.view import _toml

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    monkeypatch.chdir(tmp_path)
    Path("understudy.toml").write_text(
        '[models.local]\nmodel = "m"\nbase_url = "http://user:word@127.0.0.1:1/v1"\n'
        '[workflows.two]\ntitle = "Two"\nsteps = [{name = "a", agent = "tester"}, '
        '{name = "b", agent = "tester", timeout = 5}]\n'
        '[server]\nallowed_origins = ["https://a.example", "https://b.example"]\n'
        '[agents.tester]\nprompt = "Say \\"ü\\"\\n\\tand \\\\n"\n'
    )
    return load(file=None, environ={"OPENAI_API_KEY": KEY}, flags={"port": 1})


def test_secrets_are_masked_everywhere(made: Configuration):
    for text in (as_text(made.describe()), as_json(made.describe()), as_toml(made.describe()), repr(made.describe())):
        assert KEY not in text
        assert "user:word" not in text
        assert "********" in text


def test_the_text_is_aligned_and_says_the_source(made: Configuration):
    rows = [row for row in as_text(made.describe()).split("\n") if row]
    assert "server.port" in rows[1]
    columns = {row.rindex(source) for row in rows if (source := row.split("  ")[-1].strip())}
    assert len(columns) == 1
    row = next(row for row in rows if row.startswith("server.port "))
    assert row.split() == ["server.port", "1", "flag", "--port"]
    row = next(row for row in rows if row.startswith("models.local.base_url "))
    assert row.split(maxsplit=2)[1:] == ["http://********@127.0.0.1:1/v1", "file understudy.toml, line 3"]
    assert all(len(row) < 170 for row in rows)


def test_lists_steps_and_what_is_unset_are_readable(made: Configuration):
    shown = {line.key: line.value for line in made.describe()}
    assert shown["server.allowed_origins"] == "https://a.example, https://b.example"
    assert shown["workflows.two.steps"] == "a, b after a"
    assert shown["agents.tester.temperature"] == "(unset)"
    assert shown["agents.tester.prompt"] == 'Say "ü" and \\n'


def test_the_simulated_model_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shown = {line.key: line.value for line in load(file=None, environ={}, flags={}).describe()}
    assert shown["models.default.base_url"] == "(unset: the simulated model)"
    assert shown["server.allowed_origins"] == "(none)"


def test_nothing_to_show_is_no_error():
    assert as_text([]) == ""


def test_the_json_holds_whole_values(made: Configuration):
    read = json.loads(as_json(made.describe()))
    assert read["server.port"] == {"value": 1, "source": "flag --port"}
    assert read["agents.analyst.prompt"]["value"] == made.settings.agents["analyst"].prompt
    assert read["workflows.two.steps"]["value"][1] == {
        "name": "b",
        "agent": "tester",
        "depends_on": ["a"],
        "on_failure": "continue",
        "timeout": 5.0,
        "approval": False,
        "approval_timeout": 3600.0,
        "approval_on_timeout": "reject",
    }


def test_the_toml_is_a_file_that_says_the_same(made: Configuration):
    text = as_toml(made.describe()).replace("********@", "user:word@").replace("********", KEY)
    Path("again.toml").write_text(text, encoding="utf-8")
    assert load(file=Path("again.toml"), environ={}, flags={}).settings == made.settings
    assert "# flag --port\nport = 1\n" in text


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_comes_back_from_toml(text: str):
    assert tomllib.loads(f"x = {_toml(text)}") == {"x": text}
