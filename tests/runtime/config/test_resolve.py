from __future__ import annotations

from typing import Any

import attrs

from toolkit.errors import SettingError
from toolkit.plugins import setting
from toolkit.runtime.config import Config


def texts(config: Config) -> list[str]:
    return [str(problem) for problem in config.problems]


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
        f'test_resolve.py:{line} resolve: plugin "pgsql" (database) cannot make sense of its settings:'
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
        b: dict[str, int] = setting(None, help="")

    config = bench.read(plugins={"p": bench.plugin(Odd)})
    line = config.problems[0].where.rpartition(":")[2]
    supported = (
        "str, int, float, bool, Path, timedelta, an Enum, a Literal, "
        "list/tuple/set/frozenset of one of them, or one of them | None"
    )
    assert texts(config) == [
        f"test_resolve.py:{line}: {Odd.__qualname__}.a cannot be read from text: complex is none of: {supported}\n"
        '    it declares a setting of plugin "p" (database)\n'
        "  → annotate it with a supported type",
        f"test_resolve.py:{line}: {Odd.__qualname__}.b cannot be read from text:"
        f" dict[str, int] is none of: {supported}\n"
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
