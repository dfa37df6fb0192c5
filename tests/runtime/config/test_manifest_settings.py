from __future__ import annotations

from typing import Any

from toolkit.runtime.config import Config


def texts(config: Config) -> list[str]:
    return [str(problem) for problem in config.problems]


def test_a_setting_of_the_manifest_that_does_not_exist_is_reported(bench: Any) -> None:
    """A misspelt key of `settings` is named with what there is and what was meant."""
    config = bench.read(declarations=[bench.declare("pgsql", settings={"hots": "x", "zzz": "y"})])
    head = 'of plugin "pgsql" (database) does not exist'
    legal = "host, port, pool_size, debug, timeout, buffer, startup_timeout, check_interval, check_timeout"
    assert texts(config) == [
        f'user.proto:12: settings["hots"] {head}\n    there are {legal}\n  → did you mean "host"?',
        f'user.proto:12: settings["zzz"] {head}\n    there are {legal}\n  → remove it',
    ]


def test_a_secret_in_the_manifest_is_refused_unseen(bench: Any) -> None:
    """A secret does not belong in a .proto, and the report does not repeat it."""
    config = bench.read(declarations=[bench.declare("pgsql", settings={"Password": "hunter2"})])
    assert texts(config) == [
        'user.proto:12: settings["Password"] of plugin "pgsql" (database) is a secret\n'
        "    a manifest is committed, shipped and shown to whoever asks a service for its descriptors\n"
        "  → remove it, replace the secret if it was a real one,"
        " and set USER_SERVICE_PGSQL_PASSWORD or USER_SERVICE_PGSQL_PASSWORD_FILE"
    ]
    assert "hunter2" not in repr(config)


def test_critical_is_no_setting_of_the_manifest(bench: Any) -> None:
    """What has an option of its own is not accepted a second way."""
    config = bench.read(declarations=[bench.declare("pgsql", settings={"critical": "false"})])
    assert texts(config) == [
        'user.proto:12: settings["critical"] of plugin "pgsql" (database) does not exist\n'
        "    whether a plugin is critical is an option of its own\n"
        "  → write `critical: true` or `critical: false` beside its prefix"
    ]


def test_one_setting_under_two_names_is_refused(bench: Any) -> None:
    """Names are read in any case, so that two spellings are one setting."""
    config = bench.read(declarations=[bench.declare("pgsql", settings={"host": "a", "HOST": "b"})])
    assert texts(config) == [
        'user.proto:12: settings["HOST"] and settings["host"] of plugin "pgsql" (database) are one setting\n'
        "  → remove one of them"
    ]


def test_the_manifests_setting_is_the_default_that_is_shown(bench: Any) -> None:
    """What holds while the environment says nothing is the manifest's setting."""
    config = bench.read(
        {"USER_SERVICE_PGSQL_TIMEOUT": "9s"}, declarations=[bench.declare("pgsql", settings={"port": "6000"})]
    )
    port = config.variable("port", plugin="pgsql")
    assert (port.default, port.value, port.origin) == ("6000", "6000", "user.proto:12")
