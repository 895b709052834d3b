"""Four sources over one another, and where each value came from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actors.workflows.definitions import StepDefinition
from understudy.configuration import (
    PLACEHOLDER_KEY,
    PUBLIC_ENDPOINT,
    Configuration,
    ConfigurationError,
    load,
)
from understudy.configuration.environment import variables
from understudy.configuration.loading import _shipped
from understudy.configuration.sources import Source

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An understudy.toml in the working directory of the tests is not theirs."""
    monkeypatch.chdir(tmp_path)


def make(text: str | None = None, environ: dict[str, str] | None = None, **flags: object) -> Configuration:
    file = None
    if text is not None:
        file = Path("u.toml")
        file.write_text(text, encoding="utf-8")
    return load(file=file, environ=environ or {}, flags=flags)


def source(configuration: Configuration, key: str) -> str:
    return next(str(line.source) for line in configuration.describe() if line.key == key)


def test_the_shipped_defaults_stand_by_themselves():
    made = make()
    settings = made.settings
    assert (settings.server.host, settings.server.port, settings.server.data) == (
        "127.0.0.1",
        12000,
        Path("understudy-data"),
    )
    assert settings.simulated
    assert {str(line.source) for line in made.describe()} == {"default", "derived: as runs.on_restart"}
    assert [step.agent for step in settings.workflows["delivery"].steps] == [
        "analyst",
        "architect",
        "developer",
        "tester",
        "deployer",
    ]
    assert [step.depends_on for step in settings.workflows["delivery"].steps] == [
        (),
        ("analysis",),
        ("architecture",),
        ("development",),
        ("testing",),
    ]


def test_the_defaults_that_the_protocol_and_the_design_name():
    settings = make().settings
    assert settings.connections.heartbeat_interval * settings.connections.silent_intervals == 90
    assert (settings.connections.frame_bytes, settings.connections.opening_frame_bytes) == (2 * 1024**2, 64 * 1024)
    assert (settings.log.events, settings.log.seconds) == (20_000, 7 * 86_400)
    calls = settings.calls
    assert (calls.attempts, calls.first_token, calls.idle, calls.attempt, calls.total) == (3, 20, 20, 120, 300)
    assert (settings.fallback.failures, settings.fallback.open_first, settings.fallback.open_cap) == (3, 5, 300)
    assert settings.server.shutdown_deadline == 20


def test_every_agent_of_delivery_has_a_prompt_and_an_honest_degraded_answer():
    settings = make().settings
    for step in settings.workflows["delivery"].steps:
        agent = settings.agents[step.agent]
        assert agent.models == ("default",)
        assert f"You are the {agent.role}" in agent.prompt
        assert len(agent.prompt) > 1000
        assert agent.degraded.startswith("\nNo model could be reached") or agent.degraded.startswith("No model could")
        assert "not written by a model" in " ".join(agent.degraded.split())
        if step.depends_on:
            assert "If you are told that an earlier answer is missing" in agent.prompt


def test_each_source_outranks_the_one_below():
    text = "[server]\nport = 1\n"
    assert make().settings.server.port == 12000
    assert make(text).settings.server.port == 1
    assert make(text, {"UNDERSTUDY_SERVER_PORT": "2"}).settings.server.port == 2
    made = make(text, {"UNDERSTUDY_SERVER_PORT": "2"}, port=3)
    assert made.settings.server.port == 3
    assert source(made, "server.port") == "flag --port"


def test_each_value_says_where_it_came_from():
    made = make(
        "\n[server]\n\nlog_level = 'debug'\n",
        {"UNDERSTUDY_CALLS_ATTEMPTS": "5", "OPENAI_API_KEY": KEY},
        shutdown_deadline=3.5,
    )
    assert source(made, "server.log_level") == "file u.toml, line 4"
    assert source(made, "calls.attempts") == "environment variable UNDERSTUDY_CALLS_ATTEMPTS"
    assert source(made, "models.default.api_key") == "environment variable OPENAI_API_KEY"
    assert source(made, "models.default.base_url") == "derived: a key without a base URL"
    assert source(made, "server.shutdown_deadline") == "flag --shutdown-deadline"
    assert source(made, "server.port") == "default"


def test_understudy_toml_of_the_working_directory_is_read_where_no_file_is_named(tmp_path: Path):
    (tmp_path / "understudy.toml").write_text("[server]\nport = 5\n")
    made = make()
    assert made.settings.server.port == 5
    assert source(made, "server.port") == "file understudy.toml, line 2"


def test_a_table_overrides_only_the_keys_that_it_gives():
    made = make("[agents.analyst]\ntemperature = 1\n")
    analyst = made.settings.agents["analyst"]
    assert analyst.temperature == 1.0
    assert analyst.prompt == make().settings.agents["analyst"].prompt
    assert source(made, "agents.analyst.temperature") == "file u.toml, line 2"
    assert source(made, "agents.analyst.prompt") == "default"


def test_a_workflow_is_replaced_whole_and_others_stay():
    made = make(
        '[workflows.delivery]\ntitle = "Short"\n[[workflows.delivery.steps]]\nname = "only"\nagent = "tester"\n'
    )
    assert made.settings.workflows["delivery"].steps == (StepDefinition("only", "tester", depends_on=()),)
    assert source(made, "workflows.delivery.steps") == "file u.toml, line 3"
    more = make('[workflows.mine]\ntitle = "M"\nsteps = [{name = "a", agent = "tester"}]\n')
    assert set(more.settings.workflows) == {"delivery", "remediation", "review", "mine"}


def test_a_workflow_that_lacks_its_steps_does_not_get_the_default_ones():
    with pytest.raises(ConfigurationError, match=r"u\.toml, line 1: workflows\.delivery\.steps is missing"):
        make('[workflows.delivery]\ntitle = "Short"\n')


def test_what_becomes_of_runs_that_are_cut():
    own = '[workflows.mine]\ntitle = "M"\nsteps = [{name = "a", agent = "tester"}]\n'
    made = make(own)
    assert (made.settings.runs.on_restart, made.settings.workflows["mine"].on_restart) == ("resume", "resume")
    made = make('[runs]\non_restart = "fail"\n' + own + 'on_restart = "resume"\n')
    assert made.settings.workflows["mine"].on_restart == "resume"
    assert made.settings.workflows["delivery"].on_restart == "fail"
    assert source(made, "workflows.mine.on_restart") == "file u.toml, line 6"
    assert source(made, "workflows.delivery.on_restart") == "derived: as runs.on_restart"
    with pytest.raises(ConfigurationError, match=r"u\.toml, line 6: workflows\.mine\.on_restart is .*resume, fail"):
        make('[runs]\non_restart = "fail"\n' + own + 'on_restart = "retry"\n')


def test_all_that_a_step_may_say():
    made = make(
        """
[workflows.w]
title = "W"
steps = [
    { name = "a", agent = "analyst", mission = "Look.", timeout = 5 },
    { name = "b", agent = "tester", depends_on = [], on_failure = "stop" },
    { name = "c", agent = "tester", depends_on = ["a", "b"] },
    { name = "d", agent = "tester" },
]
"""
    )
    assert made.settings.workflows["w"].steps == (
        StepDefinition("a", "analyst", "Look.", (), "continue", 5.0),
        StepDefinition("b", "tester", "", (), "stop", None),
        StepDefinition("c", "tester", "", ("a", "b")),
        StepDefinition("d", "tester", "", ("c",)),
    )


def test_an_agent_of_ones_own_needs_a_role_and_a_prompt_only():
    agent = make('[agents.poet]\nrole = "Poet"\nprompt = "Rhyme."\n').settings.agents["poet"]
    assert (agent.name, agent.models, agent.temperature, agent.max_tokens) == ("poet", ("default",), None, None)
    assert "not written by a model" in agent.degraded


# The default endpoint.


def test_neither_key_nor_base_url_is_the_simulated_model():
    settings = make(model="any").settings
    assert settings.simulated
    assert settings.models["default"].simulated
    assert settings.models["default"].model == "any"


def test_a_key_uses_the_public_endpoint_and_the_shipped_model():
    made = make(environ={"OPENAI_API_KEY": f" {KEY}\n"})
    default = made.settings.models["default"]
    assert (default.base_url, default.api_key) == (PUBLIC_ENDPOINT, KEY)
    assert default.model == make().settings.models["default"].model
    assert not made.settings.simulated


def test_a_base_url_without_a_key_gets_a_placeholder():
    made = make(environ={"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"})
    default = made.settings.models["default"]
    assert (default.base_url, default.api_key) == ("http://127.0.0.1:9/v1", PLACEHOLDER_KEY)
    assert not made.settings.simulated
    assert source(made, "models.default.api_key") == "derived: a base URL without a key"


def test_the_shared_variables_rank_above_the_default_and_below_the_file():
    text = '[models.default]\nbase_url = "http://file/v1"\n'
    environ = {"OPENAI_BASE_URL": "http://shared/v1", "OPENAI_API_KEY": KEY}
    default = make(text, environ).settings.models["default"]
    assert (default.base_url, default.api_key) == ("http://file/v1", KEY)
    own = make(text, {**environ, "UNDERSTUDY_MODELS_DEFAULT_BASE_URL": "http://own/v1"}).settings.models["default"]
    assert own.base_url == "http://own/v1"


def test_the_model_is_named_by_file_variable_and_flag_in_this_order():
    text = '[models.default]\nmodel = "of-file"\n'
    variable = {"UNDERSTUDY_MODELS_DEFAULT_MODEL": "of-variable"}
    assert make(text).settings.models["default"].model == "of-file"
    assert make(text, variable).settings.models["default"].model == "of-variable"
    assert make(text, variable, model="of-flag").settings.models["default"].model == "of-flag"


def test_empty_variables_count_as_not_set():
    assert make(environ={"OPENAI_API_KEY": "", "OPENAI_BASE_URL": " ", "UNDERSTUDY_SERVER_PORT": ""}).settings.simulated


def test_a_model_with_nothing_of_its_own_is_another_model_of_the_default_endpoint():
    text = '[models.small]\nmodel = "small"\nrequests_per_minute = 3\n[agents.analyst]\nmodels = ["default", "small"]\n'
    made = make(text, {"OPENAI_API_KEY": KEY})
    small = made.settings.models["small"]
    assert (small.name, small.model, small.base_url, small.api_key) == ("small", "small", PUBLIC_ENDPOINT, KEY)
    assert small.requests_per_minute == 3
    assert made.settings.agents["analyst"].models == ("default", "small")
    assert source(made, "models.small.base_url") == "derived: as models.default"
    assert make(text).settings.models["small"].simulated


def test_the_key_of_the_default_endpoint_never_travels_to_another_host():
    text = '[models.other]\nmodel = "m"\nbase_url = "http://elsewhere/v1"\n'
    assert make(text, {"OPENAI_API_KEY": KEY}).settings.models["other"].api_key == PLACEHOLDER_KEY


def test_a_model_with_its_own_key_and_url_keeps_both():
    text = '[models.other]\nmodel = "m"\nbase_url = "http://elsewhere/v1"\napi_key = "k"\n'
    made = make(text)
    assert (made.settings.models["other"].base_url, made.settings.models["other"].api_key) == (
        "http://elsewhere/v1",
        "k",
    )
    assert source(made, "models.other.api_key") == "file u.toml, line 4"


# Variables and flags.


def test_every_key_of_one_value_has_a_variable():
    made = make()
    known = {
        ".".join(path) for keys in variables({"models": {"default": {}}, "agents": {}}).values() for path, _ in keys
    }
    shown = {line.key for line in made.describe() if not line.key.startswith(("agents.", "workflows."))}
    assert known == shown


def test_variables_of_every_kind():
    made = make(
        '[models.my-model]\nmodel = "m"\n',
        {
            "UNDERSTUDY_SERVER_ALLOWED_ORIGINS": "https://a.example, http://b.example:8080",
            "UNDERSTUDY_SERVER_LOG_LEVEL": "WARNING",
            "UNDERSTUDY_SERVER_SHUTDOWN_DEADLINE": "7",
            "UNDERSTUDY_MODELS_MY_MODEL_IN_FLIGHT": "4",
            "UNDERSTUDY_AGENTS_ANALYST_MODELS": "my-model,default",
            "UNDERSTUDY_AGENTS_ANALYST_TEMPERATURE": "0.5",
            "HOME": "/nowhere",
        },
    ).settings
    assert made.server.allowed_origins == ("https://a.example", "http://b.example:8080")
    assert made.server.log_level == "warning"
    assert made.server.shutdown_deadline == 7.0
    assert made.models["my-model"].in_flight == 4
    assert made.agents["analyst"].models == ("my-model", "default")
    assert made.agents["analyst"].temperature == 0.5


def test_flags_may_be_texts_paths_or_numbers_and_none_is_not_given():
    made = load(file=None, environ={}, flags={"--port": "0", "data": Path("/d"), "log-level": None, "host": "::1"})
    assert (made.settings.server.port, made.settings.server.data) == (0, Path("/d"))
    assert source(made, "server.log_level") == "default"


def test_the_home_directory_is_known_in_data(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert make("[server]\ndata = '~/data'\n").settings.server.data == Path("/home/somebody/data")


def test_two_configurations_share_nothing():
    one, other = make(), make()
    assert one.settings == other.settings
    assert one.settings.models is not other.settings.models
    assert one.origins is not other.origins


def test_no_secret_in_the_repr_of_anything():
    made = make('[models.other]\nmodel = "m"\napi_key = "sk-other-secret"\n', {"OPENAI_API_KEY": KEY})
    assert KEY not in repr(made) + repr(made.settings)
    assert "sk-other-secret" not in repr(made) + repr(made.settings)


def test_the_shipped_file_names_every_key_that_there_is():
    """default.toml is the documentation: an unset key stands there as a comment."""
    text = _shipped("default.toml")
    for line in make().describe():
        assert re.search(rf"^(# *)?{line.path[-1]}\b", text, re.MULTILINE), line.key


@pytest.mark.parametrize(
    ("kind", "text"), [("default", "configuration"), ("derived", "configuration"), ("flag", "flag --port")]
)
def test_a_source_begins_an_error_line(kind: str, text: str):
    assert Source(kind, "--port").place == text  # type: ignore[arg-type]
