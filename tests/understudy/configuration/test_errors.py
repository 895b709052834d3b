"""Every mistake is one clear line: the place, the key, the value, what is allowed; no traceback, no secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from understudy.configuration import ConfigurationError, load
from understudy.configuration.structure import _problems


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(text: str | bytes | None = None, environ: dict[str, str] | None = None, **flags: object) -> list[str]:
    file = None
    if text is not None:
        file = Path("u.toml")
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigurationError) as caught:
        load(file=file, environ=environ or {}, flags=flags)
    lines = str(caught.value).split("\n")
    assert tuple(lines) == caught.value.problems
    assert all(line.isprintable() for line in lines)
    return lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[server]\nport = \n", "u.toml: not valid TOML: Invalid value (at line 2, column 8)"),
        ("[server]\nport = 1\nport = 2\n", "u.toml: not valid TOML: Cannot overwrite a value (at line 3, column 9)"),
        (
            '[server]\ndata = """x\ny',
            "u.toml: not valid TOML: Unterminated string (at line 3, column 2, the end of the file)",
        ),
        ("a = " + "[" * 5000, "u.toml: not valid TOML: nested too deeply"),
        (b"[server]\ndata = '\xff'", "u.toml, line 2: not valid UTF-8; save the file as UTF-8"),
    ],
)
def test_bad_toml_names_line_and_column(text: str | bytes, line: str):
    assert refused(text) == [line]


def test_a_number_of_more_digits_than_python_reads():
    (line,) = refused("[server]\nport = " + "1" * 5000)
    assert line.startswith("u.toml: not valid TOML: Exceeds the limit")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[server]\n\nprot = 1\n", 'u.toml, line 3: server.prot is not a known key; did you mean "port"?'),
        ("[sever]\nport = 1\n", 'u.toml, line 1: sever is not a known key; did you mean "server"?'),
        ("[users]\nzzz = 1\n", "u.toml, line 2: users.zzz is not a known key; known: acknowledged_within, idle_after"),
        (
            "[server]\nport = 70000\n",
            "u.toml, line 2: server.port is 70000; allowed: a whole number from 0 to 65535",
        ),
        ('[server]\nport = "1"\n', 'u.toml, line 2: server.port is "1"; allowed: a whole number from 0 to 65535'),
        ("[server]\nport = true\n", "u.toml, line 2: server.port is true; allowed: a whole number from 0 to 65535"),
        ("[server]\nport = 1.0\n", "u.toml, line 2: server.port is 1.0; allowed: a whole number from 0 to 65535"),
        ("calls.idle = inf", "u.toml, line 1: calls.idle is inf; allowed: a number from 0.01 to 86400 (seconds)"),
        ("calls.idle = -inf", "u.toml, line 1: calls.idle is -inf; allowed: a number from 0.01 to 86400 (seconds)"),
        ("calls.idle = nan", "u.toml, line 1: calls.idle is nan; allowed: a number from 0.01 to 86400 (seconds)"),
        ("calls.idle = 0", "u.toml, line 1: calls.idle is 0; allowed: a number from 0.01 to 86400 (seconds)"),
        ("calls.idle = false", "u.toml, line 1: calls.idle is false; allowed: a number from 0.01 to 86400 (seconds)"),
        ("server.data = 3", "u.toml, line 1: server.data is 3; allowed: the path of a directory"),
        ('server.data = " "', 'u.toml, line 1: server.data is " "; allowed: the path of a directory'),
        (
            'server.log_level = "loud"',
            'u.toml, line 1: server.log_level is "loud"; allowed: one of debug, info, warning, error',
        ),
        ("server = 3", "u.toml, line 1: server is not a table; allowed: a table"),
        ("models = 3", "u.toml, line 1: models is not a table of tables; allowed: tables"),
        ("[models]\nx = 3", "u.toml, line 2: models.x is not a table; allowed: a table"),
        ("[models.x]\n", "u.toml, line 1: models.x.model is missing; give it a value"),
        (
            '[models."a b"]\nmodel = "m"\n',
            (
                'u.toml, line 1: models."a b" has a name that cannot be used; '
                "allowed: letters, digits, - and _, at most 64, a letter or digit first"
            ),
        ),
        (
            'server.allowed_origins = "https://a"',
            'u.toml, line 1: server.allowed_origins is "https://a"; allowed: a list, in square brackets',
        ),
        (
            "server.allowed_origins = [\n'https://a/path'\n]",
            (
                'u.toml, line 1: server.allowed_origins#1 is "https://a/path"; '
                "allowed: an origin like https://app.example.com, in lower case and without a path"
            ),
        ),
        (
            "[models.default]\nbase_url = 'ftp://x'",
            (
                'u.toml, line 2: models.default.base_url is "ftp://x"; '
                "allowed: a URL that begins with http:// or https://, without a query"
            ),
        ),
        (
            "[agents.tester]\nprompt = ' '",
            'u.toml, line 2: agents.tester.prompt is " "; allowed: a text that is not empty',
        ),
        (
            '[agents.tester]\nrole = "a\\nb"',
            'u.toml, line 2: agents.tester.role is "a\\nb"; allowed: one line of at most 80 characters, not empty',
        ),
        (
            "[agents.tester]\ntemperature = 2.5",
            "u.toml, line 2: agents.tester.temperature is 2.5; allowed: a number from 0 to 2",
        ),
        ("[agents.tester]\nmodels = []", "u.toml, line 2: agents.tester.models is empty; allowed: at least one model"),
        (
            "[agents.tester]\nmodels = ['defalt']",
            'u.toml, line 2: agents.tester.models#1 names the unknown model "defalt"; did you mean "default"?',
        ),
        (
            "[agents.tester]\nmodels = ['default', 'default']",
            'u.toml, line 2: agents.tester.models#2 names the model "default" twice; allowed: each once',
        ),
        (
            "[agents.Tester]\nrole = 'x'\nprompt = 'x'",
            'u.toml, line 1: agents.Tester differs from agents.tester only in case; write "tester" or another name',
        ),
        (
            "[fallback]\nopen_cap = 1",
            "configuration: fallback.open_first is 5.0; allowed: at most open_cap, 1.0",
        ),
        (
            "[connections]\nopening_frame_bytes = 4000000",
            "u.toml, line 2: connections.opening_frame_bytes is 4000000; allowed: at most frame_bytes, 2097152",
        ),
        (
            '[workflows.w]\ntitle = "W"\nsteps = [{name = "a", agent = "analist"}]',
            (
                'u.toml, line 1: workflows.w cannot run: step "a" names the unknown agent "analist"; '
                "known: analyst, architect, batch_validator, core_engineer, deployer, developer, integration_engineer, "
                "operations_engineer, review_editor, reviewer, test_engineer, tester"
            ),
        ),
        (
            '[workflows.w]\ntitle = "W"\nsteps = []',
            "u.toml, line 1: workflows.w cannot run: it has no steps; give it at least one",
        ),
        (
            (
                '[workflows.w]\ntitle = "W"\n[[workflows.w.steps]]\nname = "a"\nagent = "tester"\n'
                '[[workflows.w.steps]]\nname = "b"\nagnt = "tester"\nagent = "tester"'
            ),
            'u.toml, line 8: workflows.w.steps#2.agnt is not a known key; did you mean "agent"?',
        ),
        (
            '"\\u001b[31m" = 1',
            (
                'u.toml, line 1: "\\x1b[31m" is not a known key; '
                "known: agents, approvals, calls, connections, engines, fallback, log, mcp, models, monitoring, runs, "
                "server, tasks, tools, users, workers, workflows"
            ),
        ),
    ],
)
def test_a_mistake_in_the_file_is_one_line(text: str, line: str):
    assert refused(text) == [line]


def test_a_workflow_with_a_cycle_names_it():
    steps = '{name = "a", agent = "tester", depends_on = ["b"]}, {name = "b", agent = "tester"}'
    assert refused(f'[workflows.w]\ntitle = "W"\nsteps = [{steps}]') == [
        "u.toml, line 1: workflows.w cannot run: these steps wait for each other: a → b → a"
    ]


def test_every_problem_has_its_line():
    lines = refused(
        "[server]\nprot = 1\nport = -1\n[calls]\nidle = 0\n",
        {"UNDERSTUDY_SERVER_HOTS": "x", "UNDERSTUDY_CALLS_ATTEMPTS": "x"},
        prot=3,
    )
    assert sorted(lines) == [
        'environment variable UNDERSTUDY_CALLS_ATTEMPTS: calls.attempts is "x"; allowed: a whole number from 1 to 100',
        "environment variable UNDERSTUDY_SERVER_HOTS is not known; did you mean UNDERSTUDY_SERVER_HOST?",
        'flag --prot is not known; did you mean "port"?',
        'u.toml, line 2: server.prot is not a known key; did you mean "port"?',
        "u.toml, line 3: server.port is -1; allowed: a whole number from 0 to 65535",
        "u.toml, line 5: calls.idle is 0; allowed: a number from 0.01 to 86400 (seconds)",
    ]


def test_problems_of_variables_are_told_beside_those_between_keys():
    lines = refused("[fallback]\nopen_first = 400", {"UNDERSTUDY_ZZZ": "1"})
    assert lines == [
        "u.toml, line 2: fallback.open_first is 400.0; allowed: at most open_cap, 300.0",
        (
            "environment variable UNDERSTUDY_ZZZ is not known; known are UNDERSTUDY_SECTION_KEY, "
            "like UNDERSTUDY_SERVER_PORT; `understudy config` prints the keys"
        ),
    ]


def test_a_flag_out_of_range_names_the_flag():
    assert refused(port=70000) == ["flag --port: server.port is 70000; allowed: a whole number from 0 to 65535"]


def test_a_variable_that_could_mean_two_keys():
    (line,) = refused('[models.a-b]\nmodel = "m"\n[models.a_b]\nmodel = "m"\n', {"UNDERSTUDY_MODELS_A_B_MODEL": "x"})
    assert line == (
        "environment variable UNDERSTUDY_MODELS_A_B_MODEL could mean models.a-b.model and models.a_b.model; "
        "set these in the file"
    )


def test_text_that_is_not_utf_8():
    (line,) = refused(environ={"UNDERSTUDY_MODELS_DEFAULT_MODEL": "a\udcff"})
    assert line.endswith('models.default.model is "a\\udcff"; allowed: text in UTF-8')


def test_a_home_that_is_not_known(monkeypatch: pytest.MonkeyPatch):
    (line,) = refused("server.data = '~nobody-of-this-name/x'")
    assert line.endswith("allowed: the path of a directory, without ~ where no home is known")


def test_a_step_whose_mission_is_no_text():
    text = '[workflows.w]\ntitle = "W"\nsteps = [{name = "a", agent = "tester", mission = 3}]'
    assert refused(text) == ["u.toml, line 3: workflows.w.steps#1.mission is 3; allowed: a text"]


# The file itself.


def test_a_named_file_that_does_not_exist():
    with pytest.raises(ConfigurationError, match=r"^absent\.toml: there is no such file; name an existing one"):
        load(file=Path("absent.toml"), environ={}, flags={})


def test_a_directory_in_place_of_a_file(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"this is a directory; a TOML file is needed$"):
        load(file=tmp_path, environ={}, flags={})


def test_a_path_that_is_none():
    with pytest.raises(ConfigurationError, match=r"this is not the path of a file$"):
        load(file=Path("a\0b"), environ={}, flags={})


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def denied(_: Path) -> bytes:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(ConfigurationError, match=r"cannot be read: Permission denied$"):
        load(file=tmp_path / "u.toml", environ={}, flags={})


def test_what_editors_leave_is_no_mistake():
    Path("u.toml").write_bytes(b"\xef\xbb\xbf[server]\r\nport = 7\r\n")
    assert load(file=Path("u.toml"), environ={}, flags={}).settings.server.port == 7


# Secrets.


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("[models.default]\napi_key = 'SECRET \\n'", {}),
        ("[models.default]\napi_key = ['SECRET']", {}),
        ("[models.default]\napi_key = {x = 'SECRET'}", {}),
        ("[models.default]\napikey = 'SECRET'", {}),
        ("[models]\ndefault = 'SECRET'", {}),
        ("[models.default]\nbase_url = 'https://user:SECRET@host:x/v1'", {}),
        ("[models.default]\nbase_url = 'https://host/v1?key=SECRET'", {}),
        ("[models.default]\nbase_url = 'user:SECRET@host'", {}),
        ("[models.default]\nbase_url = ['https://user:SECRET@host/v1']", {}),
        ("", {"OPENAI_API_KEY": "SECRET SECRET"}),
        ("", {"UNDERSTUDY_MODELS_DEFAULT_API_KEY": "SECRET\n2"}),
        ("", {"OPENAI_BASE_URL": "ftp://user:SECRET@host"}),
        ("[models.default]\napi_key = 'SECRET", {}),
    ],
)
def test_no_secret_is_in_any_line(text: str, environ: dict[str, str]):
    assert "SECRET" not in "\n".join(refused(text, environ))


def test_an_error_that_nobody_foresaw_is_still_a_line():
    (problem,) = _problems(OverflowError("x"), ("a",), {})
    assert problem.says == "cannot be used: OverflowError"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(["server", "models", "default", "agents", "analyst", "workflows", "delivery", "steps", "models"])


@settings(max_examples=examples(0.5), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.lists(KEYS, min_size=1, max_size=4), value=VALUES, variable=st.text(max_size=5))
def test_whatever_is_written_ends_as_settings_or_as_lines(path: list[str], value: object, variable: str):
    Path("u.toml").write_text(f"{'.'.join(path)} = {_toml(value)}\n", encoding="utf-8")
    problems: tuple[str, ...] = ("none",)
    try:
        load(file=Path("u.toml"), environ={"UNDERSTUDY_SERVER_PORT": variable}, flags={"data": variable})
    except ConfigurationError as error:
        problems = error.problems
    assert problems
    assert all(line.isprintable() for line in problems)


def _toml(value: object) -> str:
    match value:
        case bool() | None:
            return str(bool(value)).lower()
        case list():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{_toml(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
        case str():
            return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c) % 0xD800:08x}" for c in value) + '"'
        case _:
            return repr(value)
