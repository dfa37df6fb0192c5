from __future__ import annotations

from typing import Any

import attrs
import pytest
from attrs import validators

from toolkit.errors import ConfigError
from toolkit.plugins import setting
from toolkit.runtime.config import Config
from toolkit.runtime.settings import RuntimeSettings


def texts(config: Config) -> list[str]:
    return [str(problem) for problem in config.problems]


def test_without_any_text_everything_is_its_default(bench: Any) -> None:
    """Nothing has to be set: a plugin, its common settings and the runtime have defaults."""
    config = bench.read()
    plugin = config.plugins["pgsql"]
    assert (config.problems, config.warnings) == ((), ())
    assert plugin.value == bench.database()
    assert (plugin.critical, plugin.startup_timeout, plugin.check_interval, plugin.check_timeout) == (True, 15, 5, 2)
    assert plugin.given == frozenset()
    assert config.runtime == RuntimeSettings()
    assert config.runtime.shutdown_timeout == 28
    assert (config.runtime.grpc_server_listen, config.runtime.grpc_server_port) == ("0.0.0.0", 9000)
    assert config.runtime.grpc_server_max_receive_message_size == 16 * 1024 * 1024
    assert config.runtime.grpc_server_max_send_message_size == 16 * 1024 * 1024


def test_names_are_service_prefix_plugin_prefix_setting(bench: Any) -> None:
    """Every name is made of the three, and of the last two where the service prefix is empty."""
    named = bench.read({"USER_SERVICE_PGSQL_POOL_SIZE": "7", "USER_SERVICE_LOG_LEVEL": "debug"})
    assert named.plugins["pgsql"].value.pool_size == 7
    assert named.runtime.log_level == "debug"
    bare = bench.read({"PGSQL_POOL_SIZE": "8", "LOG_LEVEL": "error"}, prefix="")
    assert bare.plugins["pgsql"].value.pool_size == 8
    assert bare.runtime.log_level == "error"


def test_the_environment_is_over_env_files_over_dev_over_the_manifest_over_the_default(bench: Any) -> None:
    """Each layer is read where the layers above it have nothing."""
    declarations = [
        bench.declare(
            "pgsql", settings={"host": "manifest", "PORT": "1", "pool_size": "1", "timeout": "1s", "buffer": "1"}
        )
    ]
    config = bench.read(
        {"USER_SERVICE_PGSQL_HOST": "environment"},
        declarations=declarations,
        env_files={
            "a.env": "USER_SERVICE_PGSQL_HOST=a\nUSER_SERVICE_PGSQL_PORT=10\nUSER_SERVICE_PGSQL_POOL_SIZE=10\n",
            "b.env": "USER_SERVICE_PGSQL_PORT=20\n",
        },
        dev_settings={"pgsql": {"host": "dev", "TIMEOUT": "3s", "password": "dev"}},
    )
    assert config.plugins["pgsql"].value == bench.database(
        host="environment", port=20, pool_size=10, timeout=3.0, buffer=1, password="dev"
    )
    assert config.plugins["pgsql"].given == {"host", "port", "pool_size", "timeout", "buffer", "password"}
    assert config.from_environment["pgsql"] == {"host", "port", "pool_size"}
    origins = {variable.setting: variable.origin for variable in config.variables if variable.kind == "plugin"}
    assert origins == {
        "dsn": "default",
        "host": "environment",
        "port": "b.env:1",
        "pool_size": "a.env:3",
        "debug": "default",
        "timeout": "--dev",
        "buffer": "user.proto:12",
        "password": "--dev",
    }


def test_an_empty_text_is_unset_in_every_layer(bench: Any) -> None:
    """An empty variable neither sets nor hides anything."""
    config = bench.read(
        {"USER_SERVICE_PGSQL_HOST": "", "USER_SERVICE_PGSQL_PORT": ""},
        declarations=[bench.declare("pgsql", settings={"pool_size": ""})],
        env_files={"a.env": "USER_SERVICE_PGSQL_HOST=a\n", "b.env": "USER_SERVICE_PGSQL_HOST=\n"},
        dev_settings={"pgsql": {"timeout": ""}},
        runtime_defaults={"LOG_LEVEL": ""},
    )
    assert config.problems == ()
    assert config.plugins["pgsql"].given == {"host"}
    assert config.plugins["pgsql"].value.host == "a"


def test_the_command_lines_defaults_are_below_the_environment(bench: Any) -> None:
    """What the command line presets is over the class's default and under what the environment says."""
    preset = bench.read(runtime_defaults={"SHUTDOWN_DRAIN_DELAY": "0"})
    assert preset.runtime.shutdown_drain_delay == 0
    assert preset.variable("shutdown_drain_delay").origin == "command line"
    over = bench.read({"USER_SERVICE_SHUTDOWN_DRAIN_DELAY": "1s"}, runtime_defaults={"SHUTDOWN_DRAIN_DELAY": "0"})
    assert over.runtime.shutdown_drain_delay == 1


def test_presets_of_settings_that_do_not_exist_are_defects(bench: Any) -> None:
    """A caller that presets what nothing reads is wrong, and told so at once."""
    with pytest.raises(ValueError, match=r"^the runtime has no setting 'NONSENSE'$"):
        bench.read(runtime_defaults={"NONSENSE": "0"})
    with pytest.raises(ValueError, match=r'^plugin "pgsql" \(database\) has no setting \'nonsense\'$'):
        bench.read(dev_settings={"pgsql": {"nonsense": "0"}})


@pytest.mark.parametrize(
    ("plugin", "manifest", "environment", "critical", "origin"),
    [
        (True, None, None, True, "default"),
        (False, None, None, False, "default"),
        (True, False, None, False, "user.proto:12"),
        (False, True, None, True, "user.proto:12"),
        (True, False, "yes", True, "environment"),
        (False, True, "off", False, "environment"),
    ],
)
def test_the_environment_over_the_manifest_over_the_plugin_says_what_is_critical(
    bench: Any, plugin: bool, manifest: bool | None, environment: str | None, critical: bool, origin: str
) -> None:
    """{PREFIX}_CRITICAL decides, else the manifest, else the plugin's own default."""
    config = bench.read(
        {} if environment is None else {"USER_SERVICE_PGSQL_CRITICAL": environment},
        plugins={"pgsql": bench.plugin(critical=plugin)},
        declarations=[bench.declare("pgsql", critical=manifest)],
    )
    assert config.plugins["pgsql"].critical is critical
    assert config.variable("critical", plugin="pgsql").origin == origin


def test_every_plugin_has_the_common_settings(bench: Any) -> None:
    """Timeouts of start and check may be set for each plugin, in the environment and in the manifest."""
    config = bench.read(
        {"USER_SERVICE_PGSQL_STARTUP_TIMEOUT": "1m", "USER_SERVICE_PGSQL_CHECK_INTERVAL": "500ms"},
        declarations=[bench.declare("pgsql", settings={"check_timeout": "1s"})],
    )
    plugin = config.plugins["pgsql"]
    assert (plugin.startup_timeout, plugin.check_interval, plugin.check_timeout) == (60, 0.5, 1)
    assert plugin.given == frozenset()


def test_all_problems_come_in_one_report(bench: Any) -> None:
    """Every mistake is found at once, each with variable, expectation, value, origin, declaration and cure."""
    config = bench.read(
        {"USER_SERVICE_PGSQL_PORT": "abc", "USER_SERVICE_PGSQL_TIMEOUT": "-5s", "USER_SERVICE_LOG_FORMAT": "xml"},
        declarations=[bench.declare("pgsql", settings={"pool_size": "many"})],
        env_files={".env": "\nUSER_SERVICE_PGSQL_DEBUG=maybe\nUSER_SERVICE_PGSQL_CHECK_TIMEOUT=0\n"},
    )
    role = 'plugin "pgsql" (database), declared at user.proto:12'
    assert texts(config) == [
        "USER_SERVICE_PGSQL_PORT: expected an integer, got 'abc'\n"
        f'    set in the environment; it is "port" of {role}\n'
        "  → correct USER_SERVICE_PGSQL_PORT in the environment, or remove it to use the default 5432",
        "USER_SERVICE_PGSQL_POOL_SIZE: expected an integer, got 'many'\n"
        f'    set in the manifest at user.proto:12; it is "pool_size" of {role}\n'
        '  → correct settings["pool_size"] at user.proto:12, or set USER_SERVICE_PGSQL_POOL_SIZE',
        "USER_SERVICE_PGSQL_DEBUG: expected true or false, got 'maybe'\n"
        f'    set at .env:2; it is "debug" of {role}\n'
        "  → correct .env:2, or remove it to use the default false",
        "USER_SERVICE_PGSQL_TIMEOUT: expected a duration such as 5s, 1m30s or 500ms, got '-5s':"
        " a duration is not negative\n"
        f'    set in the environment; it is "timeout" of {role}\n'
        "  → correct USER_SERVICE_PGSQL_TIMEOUT in the environment, or remove it to use the default 2s",
        "USER_SERVICE_PGSQL_CHECK_TIMEOUT: 'check_timeout' must be > 0: 0.0\n"
        f'    set at .env:3; it is "check_timeout" of {role}\n'
        "  → correct .env:3, or remove it to use the default 2s",
        "USER_SERVICE_LOG_FORMAT: expected one of auto, console, json, got 'xml'\n"
        '    set in the environment; it is "log_format" of the runtime\n'
        "  → correct USER_SERVICE_LOG_FORMAT in the environment, or remove it to use the default auto",
    ]
    assert config.plugins == {}
    assert config.runtime == RuntimeSettings()
    assert str(ConfigError(config.problems)).startswith("6 problems, nothing was started\n")


def test_every_validator_has_its_say_beside_texts_that_do_not_fit(bench: Any) -> None:
    """Two fields that their validators refuse are both reported, although a third cannot even be read."""
    config = bench.read(
        {"USER_SERVICE_PGSQL_PORT": "70000", "USER_SERVICE_PGSQL_POOL_SIZE": "0", "USER_SERVICE_PGSQL_TIMEOUT": "x"}
    )
    assert [problem.what for problem in config.problems] == [
        "expected a duration such as 5s, 1m30s or 500ms, got 'x': its units are h, m, s, ms, us and ns",
        "'port' must be <= 65535: 70000",
        "'pool_size' must be > 0: 0",
    ]
    assert texts(config)[1] == (
        "USER_SERVICE_PGSQL_PORT: 'port' must be <= 65535: 70000\n"
        '    set in the environment; it is "port" of plugin "pgsql" (database), declared at user.proto:12\n'
        "  → correct USER_SERVICE_PGSQL_PORT in the environment, or remove it to use the default 5432"
    )


@attrs.frozen(kw_only=True)
class Window:
    first: int = setting(help="First of them.")
    last: int = setting(9, help="Last of them.")
    name: str = setting(help="What it is called.", validator=validators.min_len(3))
    key: str = setting(help="Its key.", secret=True)

    @last.validator
    def _after_first(self, attribute: attrs.Attribute[int], value: int) -> None:
        if value < self.first:
            raise ValueError("must not be before the first")


def test_a_required_setting_that_is_missing_is_asked_for(bench: Any) -> None:
    """A setting without a default must be given, and the report says what it is and how."""
    config = bench.read(plugins={"w": bench.plugin(Window)})
    role = 'plugin "w" (database), declared at user.proto:12'
    assert texts(config) == [
        "USER_SERVICE_W_FIRST: required, and not set\n"
        f'    it is "first" of {role}: First of them.\n'
        "  → set USER_SERVICE_W_FIRST (an integer)",
        "USER_SERVICE_W_NAME: required, and not set\n"
        f'    it is "name" of {role}: What it is called.\n'
        "  → set USER_SERVICE_W_NAME (text)",
        "USER_SERVICE_W_KEY: required, and not set\n"
        f'    it is "key" of {role}: Its key.\n'
        "  → set USER_SERVICE_W_KEY (text), or USER_SERVICE_W_KEY_FILE to the path of a file that holds it",
    ]


def test_a_validator_that_sees_another_field_waits_for_it(bench: Any) -> None:
    """A validator is asked once all that it looks at is known, and its message gets the value."""
    plugins = {"w": bench.plugin(Window)}
    given = {"USER_SERVICE_W_NAME": "abc", "USER_SERVICE_W_KEY": "k", "USER_SERVICE_W_LAST": "3"}
    waiting = bench.read({**given, "USER_SERVICE_W_FIRST": "x"}, plugins=plugins)
    assert [problem.what for problem in waiting.problems] == ["expected an integer, got 'x'"]
    asked = bench.read({**given, "USER_SERVICE_W_FIRST": "5"}, plugins=plugins)
    assert texts(asked) == [
        "USER_SERVICE_W_LAST: must not be before the first, got '3'\n"
        '    set in the environment; it is "last" of plugin "w" (database), declared at user.proto:12\n'
        "  → correct USER_SERVICE_W_LAST in the environment, or remove it to use the default 9"
    ]


def test_a_default_that_contradicts_what_is_set_is_reported(bench: Any) -> None:
    """The drain delay's default does not fit a very short shutdown: the report says that it is a default."""
    config = bench.read({"USER_SERVICE_SHUTDOWN_TIMEOUT": "2s"})
    assert texts(config) == [
        "USER_SERVICE_SHUTDOWN_DRAIN_DELAY: must be shorter than SHUTDOWN_TIMEOUT, which is 2 s, got 3s\n"
        '    nothing sets it, so this is its default; it is "shutdown_drain_delay" of the runtime\n'
        "  → set USER_SERVICE_SHUTDOWN_DRAIN_DELAY"
    ]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("GRPC_SERVER_PORT", "-1", "'grpc_server_port' must be >= 0: -1"),
        ("GRPC_SERVER_PORT", "65536", "'grpc_server_port' must be <= 65535: 65536"),
        (
            "GRPC_SERVER_MAX_SEND_MESSAGE_SIZE",
            "2GiB",
            "'grpc_server_max_send_message_size' must be <= 2147483647: 2147483648, got '2GiB'",
        ),
        (
            "GRPC_SERVER_MAX_RECEIVE_MESSAGE_SIZE",
            "0",
            "'grpc_server_max_receive_message_size' must be > 0: 0",
        ),
        ("GRPC_SERVER_MAX_CONCURRENT_CALLS", "0", "'grpc_server_max_concurrent_calls' must be > 0: 0"),
        (
            "LOG_LEVEL",
            "warn",
            "expected one of debug, info, warning, error, critical, got 'warn': did you mean warning?",
        ),
        (
            "SHUTDOWN_TIMEOUT",
            "inf",
            "expected a duration such as 5s, 1m30s or 500ms, got 'inf': its units are h, m, s, ms, us and ns",
        ),
    ],
)
def test_the_runtimes_settings_are_bounded(bench: Any, name: str, text: str, what: str) -> None:
    """No port, size or bound that could not work is accepted."""
    config = bench.read({f"USER_SERVICE_{name}": text})
    assert len(config.problems) == 1
    assert config.problems[0].where == f"USER_SERVICE_{name}"
    assert config.problems[0].what == what


def test_a_long_or_unprintable_value_is_cut_and_escaped(bench: Any) -> None:
    """A report shows a value on one line, whatever it is."""
    config = bench.read({"USER_SERVICE_PGSQL_PORT": "x\n\x1b[31m" + "y" * 200})
    assert config.problems[0].what == "expected an integer, got 'x\\n\\x1b[31m" + "y" * 68 + "…"


def test_text_that_is_no_utf8_is_refused(bench: Any) -> None:
    """Bytes that the interpreter could not decode stop here, and not in a driver."""
    config = bench.read({"USER_SERVICE_PGSQL_HOST": "caf\udce9"})
    assert config.problems[0].what == "expected text, got 'caf\\udce9': it is not valid UTF-8"
