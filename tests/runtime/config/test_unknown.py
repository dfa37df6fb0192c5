from __future__ import annotations

from typing import Any

import pytest

from toolkit.plugins import setting
from toolkit.runtime.settings import settings


@settings
class Limits:
    max_orders: int = setting(5, help="Open orders.")


def test_an_unknown_variable_is_warned_about_with_the_nearest_name(bench: Any) -> None:
    """A misspelt setting is named with what was probably meant, and its value is not shown."""
    config = bench.read({"USER_SERVICE_PGSQL_HOTS": "hunter2"})
    assert config.problems == ()
    assert [str(warning) for warning in config.warnings] == [
        'USER_SERVICE_PGSQL_HOTS: plugin "pgsql" (database) has no setting HOTS\n'
        '    set in the environment; it is below the prefix of plugin "pgsql" (database), declared at user.proto:12\n'
        "  → did you mean USER_SERVICE_PGSQL_HOST?"
    ]


def test_an_unknown_variable_is_an_error_when_strict(bench: Any) -> None:
    """With --strict-env the same report is a problem."""
    lax, strict = (bench.read({"USER_SERVICE_PGSQL_HOTS": "x"}, strict=strict) for strict in (False, True))
    assert strict.problems == lax.warnings
    assert strict.warnings == ()


def test_an_unknown_variable_of_an_env_file_is_found_at_its_line(bench: Any) -> None:
    """Env files are searched as the environment is."""
    config = bench.read(env_files={"dev.env": "A=1\nUSER_SERVICE_PGSQL_NONSENSE=x\n"})
    assert [str(warning) for warning in config.warnings] == [
        'USER_SERVICE_PGSQL_NONSENSE: plugin "pgsql" (database) has no setting NONSENSE\n'
        '    set at dev.env:2; it is below the prefix of plugin "pgsql" (database), declared at user.proto:12\n'
        "  → remove it; `toolkit env --all` lists every legal name"
    ]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("USER_SERVICE_PGSQL_CHEK_TIMEOUT", "did you mean USER_SERVICE_PGSQL_CHECK_TIMEOUT?"),
        ("USER_SERVICE_PGSQL_PASWORD_FILE", "did you mean USER_SERVICE_PGSQL_PASSWORD_FILE?"),
        ("user_service_pgsql_host", "did you mean USER_SERVICE_PGSQL_HOST?"),
        ("User_Service_Pgsql_Port", "did you mean USER_SERVICE_PGSQL_PORT?"),
        ("USER_SERVICE_GRPC_SERVER_PROT", "did you mean USER_SERVICE_GRPC_SERVER_PORT?"),
        ("USER_SERVICE_LOG_LEVLE", "did you mean USER_SERVICE_LOG_LEVEL?"),
        ("USER_SERVICE_PGSQL_HOST_FILE", "set USER_SERVICE_PGSQL_HOST itself: only secrets are read from files"),
    ],
)
def test_every_legal_name_may_be_the_nearest(bench: Any, name: str, fix: str) -> None:
    """Common settings, files of secrets, the runtime's names and wrong case are told apart as well."""
    config = bench.read({name: "x"})
    assert [(warning.code, warning.where, warning.fix) for warning in config.warnings] == [
        ("config.unknown_variable", name, fix)
    ]


def test_a_variable_belongs_to_the_longest_prefix(bench: Any) -> None:
    """DB_READ_HOTS is a misspelt setting of `db_read`, not one of `db`."""
    config = bench.read({"USER_SERVICE_DB_READ_HOTS": "x"}, plugins={"db": bench.plugin(), "db_read": bench.plugin()})
    assert [warning.fix for warning in config.warnings] == ["did you mean USER_SERVICE_DB_READ_HOST?"]


def test_below_a_plugin_of_unknown_type_nothing_is_unknown(bench: Any) -> None:
    """Where the settings are not known, no variable can be called wrong."""
    config = bench.read(
        {"USER_SERVICE_DB_READ_HOTS": "x"},
        plugins={"db": bench.plugin()},
        declarations=[bench.declare("db"), bench.declare("db_read", type="postgres_grom")],
        strict=True,
    )
    assert (config.problems, config.warnings) == ((), ())
    assert set(config.plugins) == {"db"}


def test_a_name_that_all_but_equals_a_legal_one_is_hinted_at(bench: Any) -> None:
    """A misspelt prefix or app setting is hinted at, and never an error: it may be the app's own variable."""
    config = bench.read(
        {"USER_SERVICE_PGSLQ_HOST": "x", "USER_SERVICE_MAX_ODERS": "1", "USER_SERVICE_OWN_THING": "x"},
        app_settings=[Limits],
        strict=True,
    )
    assert config.problems == ()
    assert [str(warning) for warning in config.warnings] == [
        "USER_SERVICE_PGSLQ_HOST: nothing declares it\n"
        "    set in the environment\n"
        "  → did you mean USER_SERVICE_PGSQL_HOST?",
        "USER_SERVICE_MAX_ODERS: nothing declares it\n"
        "    set in the environment\n"
        "  → did you mean USER_SERVICE_MAX_ORDERS?",
    ]


def test_variables_of_what_is_not_served_yet_are_announced(bench: Any) -> None:
    """HTTP_SERVER_* and PROBES_* are reserved, and no error even when strict."""
    config = bench.read({"USER_SERVICE_HTTP_SERVER_PORT": "8080", "USER_SERVICE_PROBES_PORT": "8081"}, strict=True)
    assert config.problems == ()
    assert [str(warning) for warning in config.warnings] == [
        "USER_SERVICE_HTTP_SERVER_PORT: nothing reads it yet\n"
        "    set in the environment; this version serves no HTTP\n"
        "  → leave it for a later version, or remove it",
        "USER_SERVICE_PROBES_PORT: nothing reads it yet\n"
        "    set in the environment; this version serves no probes\n"
        "  → leave it for a later version, or remove it",
    ]


def test_without_a_service_prefix_only_plugins_own_names(bench: Any) -> None:
    """LOG_DIR or http_proxy may be anyone's, PGSQL_HOTS is ours."""
    config = bench.read({"LOG_DIR": "/var/log", "pgsql_host": "x", "PGSQL_HOTS": "x", "PATH": "/bin"}, prefix="")
    assert [(warning.where, warning.fix) for warning in config.warnings] == [("PGSQL_HOTS", "did you mean PGSQL_HOST?")]


def test_an_empty_unknown_variable_is_unset(bench: Any) -> None:
    """An empty variable counts as unset, whatever its name."""
    assert bench.read({"USER_SERVICE_PGSQL_HOTS": ""}, strict=True).problems == ()


def test_a_name_that_a_terminal_cannot_show_is_escaped(bench: Any) -> None:
    """What the environment holds in place of a name reaches no terminal as it is."""
    config = bench.read({"USER_SERVICE_PGSQL_\x1b[31m\udce9": "x"})
    assert config.warnings[0].where == "USER_SERVICE_PGSQL_\\x1b[31m\\udce9"
    assert config.warnings[0].what == 'plugin "pgsql" (database) has no setting \\x1b[31m\\udce9'
