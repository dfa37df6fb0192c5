from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote as url_quote
from urllib.parse import urlsplit

import attrs
import pytest
from attrs import validators
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.cli.env import render_env
from toolkit.errors import ConfigError, SettingError
from toolkit.plugins import setting
from toolkit.runtime.config import Config, parse_env_file
from toolkit.runtime.config.secret_text import mask_credentials, repeats_secret


def everything_shown(config: Config) -> str:
    """All that a configuration could put before anyone's eyes."""
    rendered = [
        render_env(config, "table", show_all=True),
        render_env(config, "table", width=100),
        render_env(config, "dotenv"),
        render_env(config, "json"),
    ]
    return "\n".join(
        [
            repr(config),
            str(config),
            repr(ConfigError(config.problems)),
            *(str(problem) for problem in (*config.problems, *config.warnings)),
            *rendered,
        ]
    )


@attrs.frozen(kw_only=True)
class Guarded:
    password: str = setting("", help="Password.", secret=True, validator=validators.min_len(12))
    pin: int = setting(0, help="PIN.", secret=True)
    token: str = setting("changeme", help="Token.", secret=True)
    dsn: str = setting("", help="URL.", secret=True)
    host: str = setting("localhost", help="Host.")

    @host.validator
    def _known(self, attribute: attrs.Attribute[str], value: str) -> None:
        """Must be a host that the token knows."""
        if value == "leak":
            raise ValueError(f"the token {self.token} does not know it")


def test_a_secret_that_its_validator_refuses_is_not_shown(bench: Any) -> None:
    """The rule is named, the validator's message is not, for it holds the value."""
    config = bench.read({"USER_SERVICE_G_PASSWORD": "hunter2"}, plugins={"g": bench.plugin(Guarded)})
    assert [str(problem) for problem in config.problems] == [
        "USER_SERVICE_G_PASSWORD: the value **** is not accepted (min_len validator for 12)\n"
        '    set in the environment; it is "password" of plugin "g" (database), declared at user.proto:12\n'
        "  → correct USER_SERVICE_G_PASSWORD in the environment, or remove it"
    ]


def test_the_rule_of_a_secret_is_its_validators_own_description(bench: Any) -> None:
    """A validator's docstring or else its name says what it asks for."""

    def check_rotation(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
        """Must not be last year's.

        Ever.
        """
        raise ValueError(f"{value} is last year's")

    def check_entropy(instance: object, attribute: attrs.Attribute[str], value: str) -> None:
        raise ValueError(value)

    @attrs.frozen(kw_only=True)
    class Ruled:
        _key: str = setting("", help="Key.", secret=True, validator=[check_rotation, check_entropy])

    config = bench.read({"USER_SERVICE_R_KEY": "hunter2"}, plugins={"r": bench.plugin(Ruled)})
    assert [(problem.where, problem.what) for problem in config.problems] == [
        ("USER_SERVICE_R_KEY", "the value **** is not accepted (Must not be last year's, check_entropy)")
    ]


def test_a_secret_of_the_wrong_type_is_not_shown(bench: Any) -> None:
    """What was expected is named, and the value masked."""
    config = bench.read(
        {"USER_SERVICE_G_PIN": "hunter2", "USER_SERVICE_G_PASSWORD": "x" * 12}, plugins={"g": bench.plugin(Guarded)}
    )
    assert [problem.what for problem in config.problems] == ["expected an integer, got ****"]


def test_a_message_that_repeats_a_secret_is_withheld(bench: Any) -> None:
    """A validator of another field may not tell the secret either."""
    config = bench.read(
        {"USER_SERVICE_G_HOST": "leak", "USER_SERVICE_G_TOKEN": "hunter2", "USER_SERVICE_G_PASSWORD": "x" * 12},
        plugins={"g": bench.plugin(Guarded)},
    )
    assert [problem.what for problem in config.problems] == [
        "the message is withheld, for it repeats part of a secret, got 'leak'"
    ]


@pytest.mark.parametrize(
    "dsn",
    [
        "postgres://user:p@ss/w:rd?#%@db.local:5432/shop",
        "postgres://user:hunter2@db.local:port/shop",
        "postgres://user:hunter2@[::1/shop",
        "//user:hunter2@",
        "hunter2",
    ],
)
def test_a_malformed_dsn_is_not_shown_in_pieces(bench: Any, dsn: str) -> None:
    """A URL parser quotes the piece that it stumbled over: of its message only the kind is told."""

    def resolve(config: Any, given: frozenset[str]) -> Any:
        raise ValueError(
            f"Port could not be cast to integer value as {urlsplit(dsn.replace('[', '')).path!r} {dsn[:9]}"
        )

    config = bench.read({"USER_SERVICE_PGSQL_DSN": dsn}, plugins={"pgsql": bench.plugin(resolve=resolve)})
    line = resolve.__code__.co_firstlineno + 1
    assert [str(problem) for problem in config.problems] == [
        f'test_masking.py:{line} resolve: plugin "pgsql" (database) cannot make sense of its settings:'
        " ValueError: the message is withheld, for it may repeat part of a secret\n"
        '    plugin "pgsql" (database), declared at user.proto:12\n'
        "  → check the settings of this plugin; the plugin should have raised a SettingError that names one"
    ]


def test_a_setting_error_may_tell_a_dsns_host_but_not_its_password(bench: Any) -> None:
    """Host, port and database of a DSN may be named; a part of its password is withheld."""
    said = ["the DSN says db.local:5432/shop", "the DSN says p@ss/w:rdx", "not an integer: rdx"]

    def resolve(config: Any, given: frozenset[str]) -> Any:
        raise SettingError("host", said[0], fix=f"set {said[0]}")

    dsn = "postgres://user:p%40ss%2Fw:rdx@db.local:5432/shop"
    shown = []
    while said:
        config = bench.read({"USER_SERVICE_PGSQL_DSN": dsn}, plugins={"pgsql": bench.plugin(resolve=resolve)})
        shown.append((config.problems[0].what, config.problems[0].fix))
        said.pop(0)
    assert shown == [
        ("the DSN says db.local:5432/shop", "set the DSN says db.local:5432/shop"),
        ("the message is withheld, for it repeats part of a secret", "set USER_SERVICE_PGSQL_HOST"),
        ("the message is withheld, for it repeats part of a secret", "set USER_SERVICE_PGSQL_HOST"),
    ]


def test_a_url_in_a_setting_that_is_no_secret_shows_no_credentials(bench: Any) -> None:
    """Who puts a DSN into HOST put a secret there all the same."""
    config = bench.read({"USER_SERVICE_PGSQL_HOST": "pg://u:hunter2@h/x", "USER_SERVICE_PGSQL_PORT": "//hunter2@h"})
    assert config.problems[0].what == "expected an integer, got '//****@h'"
    assert "hunter2" not in everything_shown(config)
    fine = bench.read({"USER_SERVICE_PGSQL_HOST": "pg://u:hunter2@h/x"})
    assert fine.variable("host", plugin="pgsql").value == "pg://****@h/x"
    assert mask_credentials("a//u:p@ss@h and b") == "a//****@h and b"


@pytest.mark.parametrize(
    ("message", "repeats"),
    [
        ("no", False),
        ("got 'hunter2'", True),
        ("got hunter2 ", True),
        ("hunter", False),
    ],
)
def test_a_message_is_searched_for_a_secret(message: str, repeats: bool) -> None:
    """A message repeats a secret when it holds it whole."""
    assert repeats_secret(message, ["hunter2"]) is repeats


@pytest.mark.parametrize("secret", ["a\nb", "p%40ss", "p+ss word", "'quoted'"])
def test_a_message_is_searched_for_other_forms_of_a_secret(secret: str) -> None:
    """An escaped or decoded secret is a secret."""
    from urllib.parse import unquote

    assert repeats_secret(f"got {secret!r}", [secret])
    assert repeats_secret(f"got {unquote(secret)}", [secret])


def test_a_secrets_default_is_not_shown(bench: Any) -> None:
    """Not even the default of a secret is in a table; that there is one, is."""
    config = bench.read({"USER_SERVICE_G_PASSWORD": "x" * 12}, plugins={"g": bench.plugin(Guarded)})
    token = config.variable("token", plugin="g")
    assert (token.default, token.value, token.secret, token.file_name) == (
        "",
        "****",
        True,
        "USER_SERVICE_G_TOKEN_FILE",
    )
    assert "changeme" not in everything_shown(config)


def test_env_files_secrets_are_in_no_repr_and_no_syntax_error() -> None:
    """A line that cannot be read may be half a secret."""
    file = parse_env_file(".env", "A=hunter2\nhunter2 hunter2\n'hunter2\n")
    assert len(file.problems) == 2
    assert "hunter2" not in repr(file)


MARKS = ("Zq7", "X9v")
PLANTED = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from("@:/?#%&= '\"\\\n$"),
    max_size=12,
).map(lambda text: f"{MARKS[0]}{text}{MARKS[1]}")
DSNS = st.sampled_from(
    [
        "{}",
        "postgres://user:{}@db.local:5432/shop",
        "postgres://:{}@db.local",
        "https://{}@sentry.local/1",
        "postgres://user:{}@db.local:port",
        "postgres://user:{}@[::1",
        "postgres://db.local/shop?password={}&sslmode=require",
    ]
)


def raise_value_error(config: Any, given: frozenset[str]) -> Any:
    raise ValueError(f"cannot read {config.dsn[10:40]!r}, {config.password[1:]!r}")


def raise_setting_error(config: Any, given: frozenset[str]) -> Any:
    raise SettingError("dsn", f"cannot read {config.dsn}", fix=f"write {url_quote(config.password)}")


def raise_setting_error_in_json(config: Any, given: frozenset[str]) -> Any:
    raise SettingError("password", f"cannot read {json.dumps([config.dsn, config.password])}")


def raise_from_a_parser(config: Any, given: frozenset[str]) -> Any:
    return attrs.evolve(config, host=urlsplit(config.dsn).port)


def keep(config: Any, given: frozenset[str]) -> Any:
    return config


RESOLVERS = [keep, raise_value_error, raise_setting_error, raise_setting_error_in_json, raise_from_a_parser]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data())
def test_no_planted_secret_is_ever_shown(bench: Any, data: st.DataObject) -> None:
    """Whatever is set and wherever, no secret is in any problem, warning, variable, repr or rendering."""
    password, token, dsn, other = (data.draw(PLANTED) for _ in range(4))
    if data.draw(st.booleans()):
        password = url_quote(password, safe="")
    names = {
        "USER_SERVICE_G_PASSWORD": password,
        "USER_SERVICE_G_PIN": other,
        "USER_SERVICE_G_TOKEN": token,
        "USER_SERVICE_G_TOKEN_FILE": "/run/secrets/token",
        "USER_SERVICE_G_DSN": data.draw(DSNS).format(dsn),
        "USER_SERVICE_G_DSN_FILE": "/run/secrets/dsn",
        "USER_SERVICE_G_HOST": "leak",
        "USER_SERVICE_G_PASWORD": password,
        "USER_SERVICE_G_HOST_FILE": other,
        "USER_SERVICE_HTTP_SERVER_KEY": other,
        "USER_SERVICE_PASSWORT": other,
    }
    environ = {name: names[name] for name in data.draw(st.sets(st.sampled_from(sorted(names))))}
    in_file = data.draw(st.sets(st.sampled_from(sorted(names))))
    settings_of_manifest = {"token": token, "PASSWORD": password} if data.draw(st.booleans()) else {}
    config = bench.read(
        environ,
        env_files={".env": "".join(f"{name}='{names[name]}'\n{names[name]}\n" for name in sorted(in_file))},
        plugins={
            "g": bench.plugin(
                Guarded,
                resolve=data.draw(st.sampled_from(RESOLVERS)),
            )
        },
        declarations=[bench.declare("g", settings=settings_of_manifest)],
        strict=data.draw(st.booleans()),
        read_file=lambda path: token,
    )
    shown = everything_shown(config)
    for mark in MARKS:
        assert mark not in shown
