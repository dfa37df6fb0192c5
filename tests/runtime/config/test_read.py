from __future__ import annotations

from typing import Any

import attrs
import pytest
from attrs import validators

from toolkit.errors import ConfigError, SettingError
from toolkit.plugins import setting
from toolkit.runtime.config import Config
from toolkit.runtime.settings import RuntimeSettings, settings


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
        ("LOG_LEVEL", "warn", "expected one of debug, info, warning, error, critical, got 'warn': did you mean warning?"),
        ("SHUTDOWN_TIMEOUT", "inf", "expected a duration such as 5s, 1m30s or 500ms, got 'inf': its units are h, m, s,"),
    ],
)
def test_the_runtimes_settings_are_bounded(bench: Any, name: str, text: str, what: str) -> None:
    """No port, size or bound that could not work is accepted."""
    config = bench.read({f"USER_SERVICE_{name}": text})
    assert len(config.problems) == 1
    assert config.problems[0].where == f"USER_SERVICE_{name}"
    assert config.problems[0].what.startswith(what)


def test_a_long_or_unprintable_value_is_cut_and_escaped(bench: Any) -> None:
    """A report shows a value on one line, whatever it is."""
    config = bench.read({"USER_SERVICE_PGSQL_PORT": "x\n\x1b[31m" + "y" * 200})
    assert config.problems[0].what == "expected an integer, got 'x\\n\\x1b[31m" + "y" * 68 + "…"


def test_text_that_is_no_utf8_is_refused(bench: Any) -> None:
    """Bytes that the interpreter could not decode stop here, and not in a driver."""
    config = bench.read({"USER_SERVICE_PGSQL_HOST": "caf\udce9"})
    assert config.problems[0].what == "expected text, got 'caf\\udce9': it is not valid UTF-8"


# What the manifest sets.


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


# What plugins find.


def test_a_plugin_sees_its_settings_together(bench: Any) -> None:
    """resolve gets the object and the names that were given, and what it derives is listed as derived."""
    seen: list[tuple[Any, frozenset[str]]] = []

    def resolve(config: Any, given: frozenset[str]) -> Any:
        seen.append((config, given))
        return attrs.evolve(config, host="from-dsn")

    config = bench.read({"USER_SERVICE_PGSQL_DSN": "db://h"}, plugins={"pgsql": bench.plugin(resolve=resolve)})
    assert seen == [(bench.database(dsn="db://h"), frozenset({"dsn"}))]
    assert config.plugins["pgsql"].value.host == "from-dsn"
    host = config.variable("host", plugin="pgsql")
    assert (host.origin, host.value, host.is_set) == ("derived", "from-dsn", False)


def test_a_contradiction_that_a_plugin_finds_names_the_variable(bench: Any) -> None:
    """A SettingError becomes a problem of the full variable, with its origin and the plugin's own advice."""

    def resolve(config: Any, given: frozenset[str]) -> Any:
        raise SettingError("host", "it contradicts the DSN, which says db.local", fix="remove one of them")

    config = bench.read({"USER_SERVICE_PGSQL_HOST": "x"}, plugins={"pgsql": bench.plugin(resolve=resolve)})
    assert texts(config) == [
        "USER_SERVICE_PGSQL_HOST: it contradicts the DSN, which says db.local\n"
        '    set in the environment; it is "host" of plugin "pgsql" (database), declared at user.proto:12\n'
        "  → remove one of them"
    ]
    assert config.plugins == {}


def test_a_contradiction_without_advice_gets_some(bench: Any) -> None:
    """Every report says what to do; for a setting that nothing declares the plugin's line is named."""

    def resolve(config: Any, given: frozenset[str]) -> Any:
        raise SettingError("PORT" if "port" in given else "colour", "it is wrong")

    plugins = {"pgsql": bench.plugin(resolve=resolve)}
    assert texts(bench.read({"USER_SERVICE_PGSQL_PORT": "1"}, plugins=plugins)) == [
        "USER_SERVICE_PGSQL_PORT: it is wrong\n"
        '    set in the environment; it is "port" of plugin "pgsql" (database), declared at user.proto:12\n'
        "  → correct USER_SERVICE_PGSQL_PORT in the environment, or remove it to use the default 5432"
    ]
    assert texts(bench.read(plugins=plugins)) == [
        'user.proto:12: colour: it is wrong\n    plugin "pgsql" (database)\n  → check the settings of this plugin'
    ]


def test_a_plugin_that_fails_over_its_settings_is_one_more_problem(bench: Any) -> None:
    """An exception that is no SettingError is reported with its place, and the rest is still read."""

    def resolve(config: Any, given: frozenset[str]) -> Any:
        raise RuntimeError("no such colour")

    config = bench.read({"USER_SERVICE_LOG_LEVEL": "x"}, plugins={"pgsql": bench.plugin(resolve=resolve)})
    line = resolve.__code__.co_firstlineno + 1
    assert texts(config)[0] == (
        f'test_read.py:{line} resolve: plugin "pgsql" (database) cannot make sense of its settings:'
        " RuntimeError: no such colour\n"
        '    plugin "pgsql" (database), declared at user.proto:12\n'
        "  → check the settings of this plugin; the plugin should have raised a SettingError that names one"
    )
    assert len(config.problems) == 2


def test_a_constructor_that_refuses_its_settings_is_reported(bench: Any) -> None:
    """What a class finds in `__attrs_post_init__` is a problem like any other, a SettingError names its setting."""

    @attrs.frozen(kw_only=True)
    class Picky:
        host: str = setting("", help="Host.")

        def __attrs_post_init__(self) -> None:
            if self.host == "x":
                raise ValueError("x is no host")
            if self.host == "y":
                raise SettingError("host", "y is no host")

    plugins = {"p": bench.plugin(Picky)}
    together = bench.read({"USER_SERVICE_P_HOST": "x"}, plugins=plugins)
    named = bench.read({"USER_SERVICE_P_HOST": "y"}, plugins=plugins)
    name = Picky.__qualname__
    assert texts(together) == [
        f"user.proto:12: {name} refuses its settings: x is no host\n"
        '    it declares the settings of plugin "p" (database)\n'
        "  → correct the settings that the message is about"
    ]
    assert [(problem.where, problem.what) for problem in named.problems] == [("USER_SERVICE_P_HOST", "y is no host")]


def test_a_config_class_that_cannot_be_read_is_reported_field_by_field(bench: Any) -> None:
    """A plugin's author is told which annotation no text fits, and where."""

    @attrs.frozen(kw_only=True)
    class Odd:
        a: complex = setting(0j, help="")
        b: dict[str, int] = setting(help="", factory=dict)

    config = bench.read(plugins={"p": bench.plugin(Odd)})
    line = config.problems[0].where.rpartition(":")[2]
    supported = (
        "str, int, float, bool, Path, timedelta, an Enum, a Literal, "
        "list/tuple/set/frozenset of one of them, or one of them | None"
    )
    assert texts(config) == [
        f"test_read.py:{line}: {Odd.__qualname__}.a cannot be read from text: complex is none of: {supported}\n"
        '    it declares a setting of plugin "p" (database)\n'
        "  → annotate it with a supported type",
        f"test_read.py:{line}: {Odd.__qualname__}.b cannot be read from text: dict[str, int] is none of: {supported}\n"
        '    it declares a setting of plugin "p" (database)\n'
        "  → annotate it with a supported type",
    ]


def test_a_config_class_that_is_no_attrs_class_is_reported(bench: Any) -> None:
    """Only an attrs class has fields to read."""

    class Plain:
        host = "x"

    config = bench.read(plugins={"p": bench.plugin(Plain)})
    assert [problem.what for problem in config.problems] == [f"{Plain.__qualname__} is no attrs class"]
    assert config.problems[0].fix == (
        "decorate it with @attrs.frozen(kw_only=True), and declare its fields with setting(...)"
    )


# The app's own settings.


@settings
class Limits:
    max_orders: int = setting(5, help="Open orders of a user.", validator=validators.gt(0))
    grace: float = setting(60.0, help="Before an order expires.", unit="seconds")


def test_the_apps_settings_are_read_under_the_service_prefix(bench: Any) -> None:
    """A settings class is read by the same rules, and found by its type."""
    config = bench.read(
        {"USER_SERVICE_MAX_ORDERS": "7"}, env_files={".env": "USER_SERVICE_GRACE=1m30s"}, app_settings=[Limits]
    )
    assert config.problems == ()
    assert config.app == {Limits: Limits(max_orders=7, grace=90.0)}
    assert [variable.name for variable in config.variables if variable.kind == "app"] == [
        "USER_SERVICE_MAX_ORDERS",
        "USER_SERVICE_GRACE",
    ]


def test_a_wrong_app_setting_is_reported_with_its_class(bench: Any) -> None:
    """The report names the class and the line that declare the setting."""
    config = bench.read({"USER_SERVICE_MAX_ORDERS": "0"}, app_settings=[Limits])
    line = config.problems[0].why.rpartition(":")[2]
    assert texts(config) == [
        "USER_SERVICE_MAX_ORDERS: 'max_orders' must be > 0: 0\n"
        f'    set in the environment; it is "max_orders" of settings class Limits, declared at test_read.py:{line}\n'
        "  → correct USER_SERVICE_MAX_ORDERS in the environment, or remove it to use the default 5"
    ]
    assert config.app == {}


def test_every_legal_variable_is_listed(bench: Any) -> None:
    """The list has each plugin's own and common settings, the app's and the runtime's, whether set or not."""
    config = bench.read(app_settings=[Limits])
    assert [variable.kind for variable in config.variables] == ["plugin"] * 8 + ["common"] * 4 + ["app"] * 2 + [
        "runtime"
    ] * 9
    port = config.variable("port", plugin="pgsql")
    assert (port.name, port.type, port.default, port.required, port.secret, port.origin, port.is_set, port.help) == (
        "USER_SERVICE_PGSQL_PORT",
        "integer",
        "5432",
        False,
        False,
        "default",
        False,
        "TCP port.",
    )
    assert port.owner == 'plugin "pgsql" (database), declared at user.proto:12'
    assert config.variable("grpc_server_port").name == "USER_SERVICE_GRPC_SERVER_PORT"
    with pytest.raises(KeyError):
        config.variable("port")


def test_the_manifests_setting_is_the_default_that_is_shown(bench: Any) -> None:
    """What holds while the environment says nothing is the manifest's setting."""
    config = bench.read(
        {"USER_SERVICE_PGSQL_TIMEOUT": "9s"}, declarations=[bench.declare("pgsql", settings={"port": "6000"})]
    )
    port = config.variable("port", plugin="pgsql")
    assert (port.default, port.value, port.origin) == ("6000", "6000", "user.proto:12")
