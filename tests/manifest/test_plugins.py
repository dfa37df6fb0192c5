"""Plugins, clients and the app: what is merged, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.manifest.compilers import report_of, service_proto
from toolkit.manifest import AppDeclaration, Location, Manifest, PluginDeclaration, read_manifest

Compile = Callable[..., bytes]

REDIS = 'plugin: "redis"'


def _plugins(*plugins: str) -> str:
    return "\n".join(f"option (toolkit.plugins) = {{{plugin}}};" for plugin in plugins)


@pytest.fixture
def report(compile_set: Compile) -> Callable[..., str]:
    """The report on one file with these declarations, the first of them on line 4."""

    def read(declarations: str, body: str = "rpc Ping(M) returns (M);") -> str:
        return report_of(compile_set({"a.proto": service_proto(declarations, body=body)}))

    return read


@pytest.fixture
def manifest(compile_set: Compile) -> Callable[..., Manifest]:
    """The manifest of files by name."""

    def read(**files: str) -> Manifest:
        return read_manifest(compile_set({f"{name}.proto": text for name, text in files.items()}))

    return read


IDENTIFIER = (
    "    it names a handler's parameter and environment variables: a letter or underscore, "
    "then letters, digits and underscores\n"
)


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        (
            [f'prefix: "" {REDIS}'],
            "a.proto:4: plugin 'redis' is declared without a prefix\n"
            "    the prefix names the instance: in handlers, and in its environment variables\n"
            '  → add one: {prefix: "redis" plugin: "redis"}',
        ),
        (
            [f'prefix: "my-db" {REDIS}'],
            "a.proto:4: the prefix 'my-db' of plugin 'redis' is no identifier\n"
            + IDENTIFIER
            + '  → write prefix: "my_db"',
        ),
        (
            [f'prefix: "ok" {REDIS}', f'prefix: "2nd" {REDIS}'],
            "a.proto:5: the prefix '2nd' of plugin 'redis' is no identifier\n"
            + IDENTIFIER
            + '  → write prefix: "_2nd"',
        ),
        (
            [f'prefix: "é" {REDIS}'],
            "a.proto:4: the prefix 'é' of plugin 'redis' is no identifier\n"
            + IDENTIFIER
            + '  → write, for example, prefix: "cache"',
        ),
        (
            ['prefix: "a"'],
            'a.proto:4: the plugin with the prefix \'a\' has no type\n  → add one: {prefix: "a" plugin: "redis"}',
        ),
        (
            [""],
            "a.proto:4: a plugin is declared without a prefix\n"
            "    the prefix names the instance: in handlers, and in its environment variables\n"
            '  → add one: {prefix: "cache" plugin: "redis"}\n'
            "a.proto:4: a plugin has no type\n"
            '  → add one: {prefix: "cache" plugin: "redis"}',
        ),
    ],
    ids=["empty", "dash", "digit", "accent", "no-type", "nothing"],
)
def test_a_prefix_must_be_an_identifier_and_a_plugin_have_a_type(
    report: Callable[..., str], plugins: list[str], expected: str
) -> None:
    """A plugin that could not be named in a handler or the environment is refused at its line."""
    assert report(_plugins(*plugins)) == expected


def test_a_long_value_is_cut_and_escaped_in_the_report(report: Callable[..., str]) -> None:
    """What the manifest says never floods or garbles the report."""
    assert f"the prefix '{'x' * 79}…' of plugin 'redis' is no" in report(_plugins(f'prefix: "{"x" * 200}-" {REDIS}'))
    assert r"the prefix 'a\x1b[31m' of plugin" in report(_plugins(f'prefix: "a\\033[31m" {REDIS}'))


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (REDIS, 'plugin: "postgres_gorm"', "plugin: 'redis', here it is 'postgres_gorm'"),
        (f"{REDIS} critical: true", REDIS, "critical: true, here it is unset"),
        (REDIS, f"{REDIS} critical: false", "critical: unset, here it is false"),
        (f'{REDIS} needs: "b"', REDIS, "needs: [b], here it is []"),
        (
            f'{REDIS} settings {{key: "x" value: "one"}}',
            f'{REDIS} settings {{key: "x" value: "two"}}',
            "one value for the setting 'x', here it is another",
        ),
        (f'{REDIS} settings {{key: "x" value: "one"}}', REDIS, "the setting 'x' set, here it is not set"),
        (REDIS, f'{REDIS} settings {{key: "x" value: "one"}}', "the setting 'x' not set, here it is set"),
    ],
)
def test_a_prefix_that_is_declared_differently_is_refused(
    report: Callable[..., str], first: str, second: str, why: str
) -> None:
    """Two declarations of one prefix must be equal; the first difference is named, but no setting's value."""
    declarations = _plugins(f'prefix: "b" {REDIS}', f'prefix: "a" {first}', f'prefix: "a" {second}')
    assert report(declarations) == (
        "a.proto:6: the prefix 'a' is declared twice, and not the same\n"
        f"    a.proto:5 has {why}\n"
        "  → give one of them another prefix, or make them equal"
    )


def test_the_same_plugin_of_two_files_is_one_instance(manifest: Callable[..., Manifest]) -> None:
    """Equal declarations in several files are one plugin, at the place of the first."""
    one = manifest(
        a=service_proto(_plugins(f'prefix: "cache" {REDIS}')),
        b=service_proto(_plugins(f'prefix: "cache" {REDIS}', f'prefix: "other" {REDIS}'), package="u"),
    )
    assert [(plugin.prefix, plugin.location) for plugin in one.plugins] == [
        ("cache", Location("a.proto", 4)),
        ("other", Location("b.proto", 5)),
    ]


def test_a_service_level_plugin_that_the_file_declares_too_is_for_all(manifest: Callable[..., Manifest]) -> None:
    """The wider visibility wins, whichever declaration comes first."""
    service = 'option (toolkit.runtime).plugins = {prefix: "cache" plugin: "redis"}; rpc Ping(M) returns (M);'
    file = _plugins(f'prefix: "cache" {REDIS}')
    same = manifest(a=service_proto(file, body=service))
    later = manifest(
        a=service_proto("", body=service), b=service_proto(file, package="u", body="option (toolkit.runtime) = {};")
    )
    for one in (same, later):
        assert [(plugin.prefix, plugin.services) for plugin in one.plugins] == [("cache", frozenset())]


def test_service_level_plugins_are_visible_to_their_services(manifest: Callable[..., Manifest]) -> None:
    """Each service that declares it sees it, and no other."""
    service = 'option (toolkit.runtime).plugins = {prefix: "cache" plugin: "redis"};'
    one = manifest(
        a=service_proto("", body=service),
        b=service_proto("", package="u", body=service),
        c=service_proto("", package="v", body="option (toolkit.runtime) = {};"),
    )
    assert [(plugin.prefix, plugin.services) for plugin in one.plugins] == [("cache", frozenset({"t.S", "u.S"}))]


def test_plugins_of_what_is_not_served_are_not_opened(manifest: Callable[..., Manifest]) -> None:
    """Plugins and clients of imported files, and of services that are not served, are left alone, wrong or not."""
    imported = service_proto(
        _plugins(f'prefix: "not-ours" {REDIS}') + ' option (toolkit.services) = {service: "theirs"};', package="u"
    )
    one = manifest(
        a=service_proto('import "b.proto";', body="rpc Ping(M) returns (u.M);"),
        b=imported,
    )
    assert (one.plugins, one.clients) == ((), ())
    assert [service.full_name for service in one.served] == ["t.S"]


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [("userDb", "user_db", "USER_DB"), ("cache", "Cache", "CACHE"), ("userDb", "USERDB", "USERDB")],
)
def test_prefixes_that_share_environment_names_are_refused(
    report: Callable[..., str], first: str, second: str, shared: str
) -> None:
    """Prefixes that differ in case or underscores alone would share their variables."""
    assert report(_plugins(f'prefix: "{first}" {REDIS}', f'prefix: "{second}" {REDIS}')) == (
        f"a.proto:5: the prefix '{second}' and the prefix '{first}' are too much alike\n"
        f"    both are '{shared}' in the environment; the other is declared at a.proto:4\n"
        "  → rename the prefix"
    )


def test_clients_and_prefixes_share_one_namespace(report: Callable[..., str]) -> None:
    """A client that is called like a plugin is refused: handlers could not tell them apart."""
    declarations = _plugins(f'prefix: "billing" {REDIS}') + '\noption (toolkit.services) = {service: "billing"};'
    assert report(declarations) == (
        "a.proto:5: 'billing' is the name of a client and of a prefix\n"
        "    handlers ask for both by name; the prefix is declared at a.proto:4\n"
        "  → rename the client"
    )


def test_clients_need_names_and_agree(report: Callable[..., str]) -> None:
    """A client without a name, or declared twice with different packages, is refused."""
    assert report(
        'option (toolkit.services) = {service: "b" package: "x"};\n'
        'option (toolkit.services) = {service: "b" package: "y"};\n'
        'option (toolkit.services) = {package: "z"};'
    ) == (
        "a.proto:5: the client 'b' is declared twice, and not the same\n"
        "    a.proto:4 has package: 'x', here it is 'y'\n"
        "  → give one of them another name, or make them equal\n"
        "a.proto:6: a client is declared without a name\n"
        "    handlers ask for a client by its name\n"
        '  → add one: {service: "billing" package: "…"}'
    )


def test_needs_that_do_not_exist_are_refused(report: Callable[..., str]) -> None:
    """A need that names no plugin gets the nearest prefix, or the list of them."""
    assert report(_plugins(f'prefix: "db" {REDIS} needs: "cahce"', f'prefix: "cache" {REDIS} needs: "xyz"')) == (
        "a.proto:4: the plugin 'db' needs 'cahce', which is not declared\n"
        "    the nearest prefix is cache\n"
        '  → write needs: "cache"\n'
        "a.proto:5: the plugin 'cache' needs 'xyz', which is not declared\n"
        "    declared are db, cache\n"
        "  → declare it, or remove the need"
    )


def test_circular_needs_are_drawn(report: Callable[..., str]) -> None:
    """Needs that lead back are drawn as a path; each circle is one problem."""
    assert report(
        _plugins(
            f'prefix: "a" {REDIS} needs: "b"',
            f'prefix: "b" {REDIS} needs: "c"',
            f'prefix: "c" {REDIS} needs: "b"',
            f'prefix: "d" {REDIS} needs: "d"',
        )
    ) == (
        "a.proto:6: the plugins need one another in a circle\n"
        "    b → c → b\n"
        "  → remove one of these needs\n"
        "a.proto:7: the plugin needs itself\n"
        "    d → d\n"
        "  → remove the need"
    )


def test_a_long_circle_is_shortened(report: Callable[..., str]) -> None:
    """A circle of many plugins is drawn with its middle left out."""
    plugins = [f'prefix: "p{number}" {REDIS} needs: "p{(number + 1) % 40}"' for number in range(40)]
    path = "p0 → p1 → p2 → p3 → p4 → p5 → … → p35 → p36 → p37 → p38 → p39 → p0"
    assert f"circle\n    {path}\n" in report(_plugins(*plugins))


def test_a_diamond_of_needs_is_no_circle(manifest: Callable[..., Manifest]) -> None:
    """Two plugins may need the same third one."""
    plugins = _plugins(
        f'prefix: "a" {REDIS} needs: "b" needs: "c"',
        f'prefix: "b" {REDIS} needs: "d"',
        f'prefix: "c" {REDIS} needs: "d"',
        f'prefix: "d" {REDIS}',
    )
    assert manifest(a=service_proto(plugins)).plugins[0].needs == ("b", "c")


def test_all_fields_of_a_plugin_are_read(manifest: Callable[..., Manifest]) -> None:
    """Critical has three states, settings are a mapping, needs a list in order."""
    plugins = _plugins(
        f'prefix: "a" {REDIS} critical: false settings {{key: "x" value: "1"}} settings {{key: "y" value: ""}}',
        f'prefix: "b" {REDIS} critical: true needs: "c" needs: "a"',
        f'prefix: "c" {REDIS}',
    )
    one = manifest(a=service_proto(plugins))
    assert one.plugins[0] == PluginDeclaration(
        prefix="a", type="redis", critical=False, settings={"x": "1", "y": ""}, location=Location("a.proto", 4)
    )
    assert [plugin.critical for plugin in one.plugins] == [False, True, None]
    assert one.plugin("b") is one.plugins[1]
    assert one.plugin("z") is None
    assert one.plugins[1].needs == ("c", "a")


def test_apps_of_several_files_complete_one_another(manifest: Callable[..., Manifest]) -> None:
    """What each file says of the app is put together, an env_prefix that is empty on purpose included."""
    one = manifest(
        a=service_proto('option (toolkit.app) = {name: "shop" handlers: "x" handlers: "y"};'),
        b=service_proto(
            'option (toolkit.app) = {handlers: "y" handlers: "z" env_prefix: "" version: "2"};', package="u"
        ),
    )
    assert one.app == AppDeclaration(
        name="shop", env_prefix="", version="2", handlers=("x", "y", "z"), location=Location("a.proto", 4)
    )


def test_an_env_prefix_is_unset_unless_it_is_given(manifest: Callable[..., Manifest]) -> None:
    """Unset and empty are different things."""
    unset = manifest(a=service_proto('option (toolkit.app).name = "a";')).app
    empty = manifest(a=service_proto('option (toolkit.app).env_prefix = "";')).app
    assert unset is not None
    assert empty is not None
    assert (unset.env_prefix, empty.env_prefix) == (None, "")
    assert unset.location == empty.location == Location("a.proto", 4)


def test_apps_that_contradict_one_another_are_refused(compile_set: Compile) -> None:
    """Two files that call the app differently are both named."""
    data = compile_set(
        {
            "a.proto": service_proto('option (toolkit.app) = {name: "a" env_prefix: ""};'),
            "b.proto": service_proto('option (toolkit.app) = {name: "b" env_prefix: "B"};', package="u"),
        }
    )
    assert report_of(data) == (
        "b.proto:4: (toolkit.app).name is 'b' here, and 'a' at a.proto:4\n"
        "  → set it in one file only, or to the same value\n"
        "b.proto:4: (toolkit.app).env_prefix is 'B' here, and '' at a.proto:4\n"
        "  → set it in one file only, or to the same value"
    )


def test_handlers_are_module_names(report: Callable[..., str]) -> None:
    """A file's path is refused, with the module's name that it probably means."""
    assert report('option (toolkit.app).handlers = "ok.users";\noption (toolkit.app).handlers = "shop/users.py";') == (
        "a.proto:5: 'shop/users.py' in (toolkit.app).handlers is no module name\n"
        "    handlers are named as Python imports them\n"
        '  → write handlers: "shop.users"'
    )
    assert report('option (toolkit.app).handlers = "";') == (
        "a.proto:4: '' in (toolkit.app).handlers is no module name\n"
        "    handlers are named as Python imports them\n"
        '  → write, for example, handlers: "shop.handlers"'
    )


def test_problems_of_all_kinds_come_in_one_report(report: Callable[..., str]) -> None:
    """Whatever is wrong in the options is found in one read, in the order of the file."""
    text = report(
        _plugins(f'prefix: "" {REDIS}', f'prefix: "a" {REDIS} needs: "b"')
        + '\noption (toolkit.app).handlers = "x.py";',
        body='option (toolkit.runtime).plugins = {prefix: "a" plugin: "other"}; rpc Ping(M) returns (M);',
    )
    assert [line.split(": ")[0] for line in text.splitlines() if line.startswith("a.proto")] == [
        "a.proto:4",
        "a.proto:5",
        "a.proto:6",
        "a.proto:9",
    ]
