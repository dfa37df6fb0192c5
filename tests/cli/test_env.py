from __future__ import annotations

import json
import sys

import attrs
import pytest

from toolkit.cli.env import render_env
from toolkit.runtime.config import Config, EnvPrefix, Variable, parse_env_file
from toolkit.runtime.settings import RuntimeSettings

HOST = Variable(
    name="USER_SERVICE_PGSQL_HOST",
    kind="plugin",
    section="pgsql",
    setting="host",
    owner='plugin "pgsql" (postgres_gorm), declared at user.proto:12',
    type="text",
    default="localhost",
    required=False,
    secret=False,
    file_name="",
    origin=".env:3",
    is_set=True,
    value="db.local",
    help="Host name or [address].",
)
PASSWORD = attrs.evolve(
    HOST,
    name="USER_SERVICE_PGSQL_PASSWORD",
    setting="password",
    default="",
    secret=True,
    file_name="USER_SERVICE_PGSQL_PASSWORD_FILE",
    origin="environment",
    value="****",
    help="Password.",
)
CRITICAL = attrs.evolve(
    HOST,
    name="USER_SERVICE_PGSQL_CRITICAL",
    kind="common",
    setting="critical",
    type="boolean",
    default="true",
    origin="default",
    is_set=False,
    value="true",
    help="Whether the service cannot do without it.",
)
REGION = attrs.evolve(
    HOST,
    name="USER_SERVICE_REGION",
    kind="app",
    section="Limits",
    setting="region",
    owner="settings class Limits, declared at limits.py:9",
    default="",
    required=True,
    origin="",
    is_set=False,
    value="",
    help="Where it runs.",
)
GREETING = attrs.evolve(
    REGION,
    name="USER_SERVICE_GREETING",
    setting="greeting",
    default="it's #1,\nreally",
    required=False,
    origin="default",
    value="it's #1,\nreally",
    help="",
)
PORT = attrs.evolve(
    HOST,
    name="USER_SERVICE_GRPC_SERVER_PORT",
    kind="runtime",
    section="runtime",
    setting="grpc_server_port",
    owner="the runtime",
    type="integer",
    default="9000",
    origin="default",
    is_set=False,
    value="9000",
    help="Port on which gRPC is served; 0 picks a free one.",
)


@pytest.fixture
def config() -> Config:
    return Config(
        env_prefix=EnvPrefix(value="USER_SERVICE", origin="--env-prefix"),
        plugins={},
        runtime=RuntimeSettings(),
        app={},
        variables=(HOST, PASSWORD, CRITICAL, REGION, GREETING, PORT),
        from_environment={},
    )


def test_the_plain_table_has_a_line_for_each_variable(config: Config) -> None:
    """Without a terminal every variable is one aligned line, fit for grep."""
    assert render_env(config) == (
        "VARIABLE                     TYPE  DEFAULT          REQUIRED  SECRET  ORIGIN       DESCRIPTION\n"
        "USER_SERVICE_PGSQL_HOST      text  localhost                          .env:3       Host name or [address].\n"
        "USER_SERVICE_PGSQL_PASSWORD  text                             yes     environment  Password.\n"
        "USER_SERVICE_REGION          text                   yes                            Where it runs.\n"
        "USER_SERVICE_GREETING        text  it's #1, really                    default\n"
        "\n"
        "2 more with --all\n"
    )


def test_all_adds_the_common_and_the_runtimes_variables(config: Config) -> None:
    """--all shows what every plugin has and what the runtime reads."""
    lines = render_env(config, show_all=True).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [variable.name for variable in config.variables]


def test_the_table_of_a_wide_terminal_has_all_columns(config: Config) -> None:
    """On a terminal rich draws a table for each declaration, and cuts no name."""
    table = render_env(config, show_all=True, width=160)
    for variable in config.variables:
        assert variable.name in table
    for text in ("required", "secret", "origin", "description", ".env:3", "localhost", "Host name or [address]."):
        assert text in table
    for owner in {variable.owner for variable in config.variables}:
        assert owner in table
    assert "\x1b[1m" in table


def test_the_table_of_a_narrow_terminal_tells_the_same(config: Config) -> None:
    """Where seven columns do not fit, the others are told in the last one."""
    table = render_env(config, width=80)
    assert all(variable.name in table for variable in config.variables if variable.kind in ("plugin", "app"))
    assert "text, default localhost, set: .env:3" in table
    assert "text, secret, set: environment" in table
    assert "text, required" in table
    assert table.endswith("\n2 more with --all\n")


def test_without_rich_the_table_is_plain(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """rich is an extra, and nobody needs it."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert render_env(config, width=160) == render_env(config)


def test_dotenv_is_a_ready_env_example(config: Config) -> None:
    """Required variables wait for their value, the others show their default behind a comment sign."""
    assert render_env(config, "dotenv") == (
        "# Every variable of the service. What has a comment sign before it may stay out: its default is shown.\n"
        "\n"
        '# --- plugin "pgsql" (postgres_gorm), declared at user.proto:12\n'
        "\n"
        "# Host name or [address]. (text)\n"
        "#USER_SERVICE_PGSQL_HOST=localhost\n"
        "\n"
        "# Password. (text, secret; USER_SERVICE_PGSQL_PASSWORD_FILE names a file to read it from)\n"
        "#USER_SERVICE_PGSQL_PASSWORD=\n"
        "\n"
        "# --- settings class Limits, declared at limits.py:9\n"
        "\n"
        "# Where it runs. (text, required)\n"
        "USER_SERVICE_REGION=\n"
        "\n"
        "# (text)\n"
        '#USER_SERVICE_GREETING="it\'s #1,\\nreally"\n'
    )


@pytest.mark.parametrize(
    "default", ["plain", "two words", "it's", '"', "a\\b", "#", "a # b", "a\nb\r\n'\"\\", "é", "$HOME"]
)
def test_a_default_that_is_uncommented_is_read_as_itself(config: Config, default: str) -> None:
    """The comment sign may go from any line: what then is read is the default."""
    variable = attrs.evolve(GREETING, default=default)
    example = render_env(attrs.evolve(config, variables=(variable,)), "dotenv")
    file = parse_env_file(".env", example.replace(f"#{variable.name}", variable.name))
    assert file.problems == ()
    assert [(line.name, line.text) for line in file.lines] == [(variable.name, default)]


def test_json_is_for_machines(config: Config) -> None:
    """Every variable is an object of its own, and a secret's value is null."""
    documents = json.loads(render_env(config, "json"))
    assert [document["variable"] for document in documents] == [
        variable.name for variable in config.variables if variable.kind in ("plugin", "app")
    ]
    assert documents[0] == {
        "variable": "USER_SERVICE_PGSQL_HOST",
        "kind": "plugin",
        "section": "pgsql",
        "setting": "host",
        "type": "text",
        "default": "localhost",
        "required": False,
        "secret": False,
        "file_variable": None,
        "set": True,
        "origin": ".env:3",
        "value": "db.local",
        "description": "Host name or [address].",
    }
    assert (documents[1]["value"], documents[1]["default"], documents[1]["set"]) == (None, None, True)
    assert documents[1]["file_variable"] == "USER_SERVICE_PGSQL_PASSWORD_FILE"


def test_nothing_that_moves_the_cursor_reaches_the_terminal(config: Config) -> None:
    """Control characters in a default are escaped in tables."""
    variable = attrs.evolve(HOST, default="a\x1b[2Jb", value="")
    table = render_env(attrs.evolve(config, variables=(variable,)))
    assert "a\\x1b[2Jb" in table
    assert "\x1b" not in table


def test_a_service_without_variables_has_an_empty_table(config: Config) -> None:
    """A service without plugins and settings of its own is told where the rest is."""
    assert render_env(attrs.evolve(config, variables=(PORT,))) == (
        "VARIABLE  TYPE  DEFAULT  REQUIRED  SECRET  ORIGIN  DESCRIPTION\n\n1 more with --all\n"
    )
