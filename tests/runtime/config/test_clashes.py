from __future__ import annotations

from typing import Any

import attrs

from toolkit.plugins import setting
from toolkit.runtime.settings import RESERVED_FAMILIES, CommonSettings, RuntimeSettings, settings


@settings
class Limits:
    pgsql_host: str = setting("", help="Nothing that could be meant.")


@settings
class Files:
    log_file: str = setting("", help="Where to log.")


@attrs.frozen(kw_only=True)
class TokenSettings:
    token: str = setting("", help="Token.", secret=True)
    token_file: str = setting("", help="Path of the token.")
    critical: str = setting("", help="Whom to call.")


def test_two_plugins_that_could_read_one_variable_are_refused(bench: Any) -> None:
    """`db` with READ_HOST and `db_read` with HOST are told apart by no name, and both lines are named."""
    config = bench.read(
        plugins={"db": bench.plugin(bench.replica), "db_read": bench.plugin()},
        declarations=[bench.declare("db"), bench.declare("db_read", line=13)],
    )
    assert [str(problem) for problem in config.problems] == [
        "user.proto:13: two declarations would read USER_SERVICE_DB_READ_HOST\n"
        '    USER_SERVICE_DB_READ_HOST is "read_host" of plugin "db" (database), declared at user.proto:12\n'
        '    USER_SERVICE_DB_READ_HOST is "host" of plugin "db_read" (database), declared at user.proto:13\n'
        '  → give plugin "db_read" another prefix at user.proto:13'
    ]


def test_nested_prefixes_without_a_shared_name_are_fine(bench: Any) -> None:
    """Only names that two settings really have are refused."""
    config = bench.read(
        {"USER_SERVICE_DB_READ_HOST": "replica"}, plugins={"db": bench.plugin(), "db_read": bench.plugin()}
    )
    assert config.problems == ()
    assert config.plugins["db_read"].value.host == "replica"


def test_prefixes_that_differ_in_case_are_refused_once(bench: Any) -> None:
    """Two declarations that share every variable are one problem, not one for each variable."""
    config = bench.read(plugins={"db": bench.plugin(bench.replica), "DB": bench.plugin(bench.replica)})
    clash = next(problem for problem in config.problems if "DB_HOST" in problem.what)
    assert str(clash) == (
        "user.proto:12: two declarations would read USER_SERVICE_DB_HOST and 5 more\n"
        '    USER_SERVICE_DB_HOST is "host" of plugin "db" (database), declared at user.proto:12\n'
        '    USER_SERVICE_DB_HOST is "host" of plugin "DB" (database), declared at user.proto:12\n'
        '  → give plugin "DB" another prefix at user.proto:12'
    )
    assert len(config.problems) == 1


def test_a_plugin_that_takes_a_name_of_the_runtime_is_refused(bench: Any) -> None:
    """A plugin `grpc` whose SERVER_PORT is the runtime's GRPC_SERVER_PORT is refused."""

    @attrs.frozen(kw_only=True)
    class Server:
        server_port: int = setting(1, help="Port.")

    config = bench.read(plugins={"grpc": bench.plugin(Server)})
    assert [str(problem) for problem in config.problems] == [
        'user.proto:12: plugin "grpc" (database) would read USER_SERVICE_GRPC_SERVER_PORT, which is the runtime\'s\n'
        "    reserved are USER_SERVICE_GRPC_SERVER_*, USER_SERVICE_HTTP_SERVER_*, USER_SERVICE_PROBES_*,"
        " USER_SERVICE_LOG_*, USER_SERVICE_SHUTDOWN_*\n"
        '  → give plugin "grpc" another prefix at user.proto:12'
    ]


def test_a_plugin_within_a_reserved_family_is_refused(bench: Any) -> None:
    """Names that the runtime may read one day are kept free today."""
    config = bench.read(plugins={"log": bench.plugin(bench.replica)}, prefix="")
    assert [str(problem) for problem in config.problems] == [
        'user.proto:12: plugin "log" (database) would read LOG_HOST and 5 more, which are the runtime\'s\n'
        "    reserved are GRPC_SERVER_*, HTTP_SERVER_*, PROBES_*, LOG_*, SHUTDOWN_*\n"
        '  → give plugin "log" another prefix at user.proto:12'
    ]


def test_a_settings_class_that_takes_a_plugins_name_is_refused(bench: Any) -> None:
    """The app's own settings are declarations like the others."""
    config = bench.read(app_settings=[Limits])
    assert [str(problem) for problem in config.problems] == [
        "test_clashes.py:11: two declarations would read USER_SERVICE_PGSQL_HOST\n"
        '    USER_SERVICE_PGSQL_HOST is "host" of plugin "pgsql" (database), declared at user.proto:12\n'
        '    USER_SERVICE_PGSQL_HOST is "pgsql_host" of settings class Limits, declared at test_clashes.py:11\n'
        "  → rename the field in Limits"
    ]


def test_a_settings_class_that_takes_a_name_of_the_runtime_is_refused(bench: Any) -> None:
    """The reserved families are closed to the app as well."""
    config = bench.read(app_settings=[Files])
    assert [str(problem) for problem in config.problems] == [
        "test_clashes.py:16: settings class Files would read USER_SERVICE_LOG_FILE, which is the runtime's\n"
        "    reserved are USER_SERVICE_GRPC_SERVER_*, USER_SERVICE_HTTP_SERVER_*, USER_SERVICE_PROBES_*,"
        " USER_SERVICE_LOG_*, USER_SERVICE_SHUTDOWN_*\n"
        "  → rename the field in Files"
    ]


def test_a_plugin_that_contradicts_itself_is_refused(bench: Any) -> None:
    """A secret's file and what every plugin has are names that its own settings must not take."""
    config = bench.read(plugins={"x": bench.plugin(TokenSettings)})
    assert [str(problem) for problem in config.problems] == [
        "user.proto:12: two declarations would read USER_SERVICE_X_TOKEN_FILE and 1 more\n"
        '    USER_SERVICE_X_TOKEN_FILE is the file of the secret "token" of plugin "x" (database),'
        " declared at user.proto:12\n"
        '    USER_SERVICE_X_TOKEN_FILE is "token_file" of plugin "x" (database), declared at user.proto:12\n'
        '  → give plugin "x" another prefix at user.proto:12'
    ]


def test_the_runtime_keeps_to_its_own_families() -> None:
    """Every name of the runtime lies in a reserved family, and no common setting of plugins does."""
    families = tuple(f"{family.lower()}_" for family in RESERVED_FAMILIES)
    assert all(field.name.startswith(families) for field in attrs.fields(RuntimeSettings))
    assert not any(field.name.startswith(families) for field in attrs.fields(CommonSettings))
