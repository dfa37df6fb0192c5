"""What a PostgreSQL DSN and the settings beside it mean together."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import attrs
import pytest

from toolkit.plugins import DevServer, SettingError, setting_info
from toolkit.plugins.postgres_gorm import PostgresSettings, plugin
from toolkit.plugins.postgres_gorm.dsn import read_dsn

PASSWORD = "p@ss/w:rd?#% +é&="
ENCODE = "URL-encode what user, password and database contain: @ is %40, : is %3A, / is %2F, ? is %3F, % is %25"
FORM = "write it as postgresql://user:password@host:port/database"


def resolve(**given: Any) -> PostgresSettings:
    assert plugin.resolve is not None
    return plugin.resolve(PostgresSettings(**given), frozenset(given))


def test_no_setting_is_required() -> None:
    """Every setting has a default, and the defaults lead to the server's standard port here."""
    assert plugin.address(resolve()) == "127.0.0.1:5432/postgres"


def test_every_setting_is_described() -> None:
    """Each setting has a help line, and DSN and PASSWORD alone are secret."""
    fields = attrs.fields(PostgresSettings)
    assert all(setting_info(field).help for field in fields)
    assert {field.name for field in fields if setting_info(field).secret} == {"dsn", "password"}


def test_every_wait_is_bounded() -> None:
    """By default no wait for a connection or an answer is endless."""
    settings = PostgresSettings()
    assert 0 < settings.pool_timeout <= 10
    assert 0 < settings.connect_timeout <= 10
    assert 0 < settings.command_timeout <= 60


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_dsn_fills_every_part(scheme: str) -> None:
    """A DSN under any of its schemes gives user, password, host, port and database, each decoded."""
    settings = resolve(dsn=f"{scheme}://{quote('us:er', safe='')}:{quote(PASSWORD, safe='')}@db.test:6543/sh%20op")
    assert (settings.username, settings.password) == ("us:er", PASSWORD)
    assert (settings.host, settings.port, settings.database) == ("db.test", 6543, "sh op")


def test_dsn_parameters_are_honoured() -> None:
    """The parameters of a DSN that have a meaning here become settings."""
    settings = resolve(
        dsn="postgres://u@h/d?sslmode=verify-full&sslrootcert=%2Fca.pem&TimeZone=Europe%2FParis"
        "&application_name=shop&connect_timeout=7"
    )
    assert settings.sslmode == "verify-full"
    assert settings.sslrootcert == "/ca.pem"
    assert settings.timezone == "Europe/Paris"
    assert settings.application_name == "shop"
    assert settings.connect_timeout == 7.0


def test_separate_settings_fill_what_the_dsn_lacks() -> None:
    """A setting that the DSN leaves out is taken from its own variable, else from its default."""
    settings = resolve(dsn="postgres://app@db.test/shop", password=PASSWORD, port=6543, sslmode="require")
    assert (settings.username, settings.password, settings.host) == ("app", PASSWORD, "db.test")
    assert (settings.port, settings.database, settings.sslmode) == (6543, "shop", "require")


def test_equal_settings_do_not_contradict() -> None:
    """A variable that repeats what the DSN says is accepted."""
    assert resolve(dsn="postgres://u@h:1/d", host="h", port=1, database="d", username="u").host == "h"


def test_default_does_not_contradict() -> None:
    """What is left to its default never contradicts the DSN."""
    assert resolve(dsn="postgres://db.test:6543").port == 6543


def test_database_defaults_to_the_user() -> None:
    """Without a database the one called like the user is used, as PostgreSQL does."""
    assert resolve(username="app").database == "app"


@pytest.mark.parametrize(
    ("given", "setting", "what", "fix"),
    [
        (
            {"dsn": "postgres://a.test/d", "host": "b.test"},
            "HOST",
            "is 'b.test', but DSN says 'a.test'",
            "give DSN alone, or take the host out of it",
        ),
        (
            {"dsn": "postgres://a.test:1/d", "port": 2},
            "PORT",
            "is 2, but DSN says 1",
            "give DSN alone, or take the port out of it",
        ),
        (
            {"dsn": "postgres://u:one@h/d", "password": "two"},
            "PASSWORD",
            "differs from the password that DSN gives",
            "give DSN alone, or take the password out of it",
        ),
        (
            {"dsn": "postgres://h/d?sslmode=require", "sslmode": "disable"},
            "SSLMODE",
            "differs from the sslmode that DSN gives",
            "give DSN alone, or take the sslmode out of it",
        ),
        (
            {"dsn": "postgres://u@a.test:1/d", "host": "b.test", "port": 2, "username": "v", "database": "e"},
            "HOST",
            "is 'b.test', but DSN says 'a.test'; so do PORT and DATABASE and USERNAME",
            "give DSN alone, or take the host out of it",
        ),
    ],
)
def test_contradiction_is_refused(given: dict[str, Any], setting: str, what: str, fix: str) -> None:
    """A variable that contradicts the DSN is an error, which shows host and port and nothing else of it."""
    with pytest.raises(SettingError) as caught:
        resolve(**given)
    assert (caught.value.setting, caught.value.what, caught.value.fix) == (setting, what, fix)


@pytest.mark.parametrize(
    ("dsn", "what", "fix"),
    [
        ("s3cret", "does not begin with postgresql://, postgres:// or postgresql+asyncpg://", FORM),
        ("mysql://u:s3cret@h/d", "does not begin with postgresql://, postgres:// or postgresql+asyncpg://", FORM),
        ("host=h password=s3cret", "does not begin with postgresql://, postgres:// or postgresql+asyncpg://", FORM),
        ("postgres://u:s3@cret@h/d", "has more than one @", ENCODE),
        ("postgres://u:s3 cret@h/d", "contains a space or a control character", ENCODE),
        ("postgres://u:s3\ncret@h/d", "contains a space or a control character", ENCODE),
        ("postgres://h:s3cret/d", "cannot be read", f"{FORM}. {ENCODE}"),
        ("postgres://s3cret@h:99999/d", "has a port outside of 1 to 65535", FORM),
        ("postgres://h/d/s3cret", "has a / in the name of its database", ENCODE),
        (
            "postgres://s3cret@a,b/d",
            "names several hosts",
            "name one host; a proxy or a DNS name can stand for several",
        ),
        (
            "postgres://h/d?sslmode=s3cret",
            "has a wrong sslmode: expected one of disable, allow, prefer, require, verify-ca, verify-full",
            FORM,
        ),
        (
            "postgres://h/d?connect_timeout=s3cret",
            "has a wrong connect_timeout: expected a whole number of seconds above 0",
            FORM,
        ),
        ("postgres://h/d?sslmode=require&ssl=require", "gives sslmode twice", FORM),
        ("postgres://h/d?sslmode=require&sslmode=require", "gives sslmode twice", FORM),
        (
            "postgres://h/d?s3cret=1",
            "has a parameter that is not honoured",
            "honoured are sslmode, ssl, sslrootcert, timezone, application_name, connect_timeout",
        ),
        (
            "postgres://h/d?sslmod=s3cret",
            "has a parameter that is not honoured; did you mean sslmode?",
            "honoured are sslmode, ssl, sslrootcert, timezone, application_name, connect_timeout",
        ),
    ],
)
def test_malformed_dsn_is_refused_without_its_text(dsn: str, what: str, fix: str) -> None:
    """A DSN that cannot be used is an error that says why and how to mend it, and repeats no part of it."""
    with pytest.raises(SettingError) as caught:
        resolve(dsn=dsn)
    assert (caught.value.setting, caught.value.what, caught.value.fix) == ("DSN", what, fix)
    assert "s3" not in f"{caught.value}{caught.value.fix}{caught.value.__cause__}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_secrets_are_not_in_the_repr() -> None:
    """Neither the DSN nor the password appears in the settings' repr."""
    shown = repr(resolve(dsn="postgres://app:s3cret@db.test/shop"))
    assert "s3cret" not in shown
    assert "db.test" in shown


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"port": 0}, "port"), ({"pool_size": 0}, "pool_size"), ({"connect_timeout": 0.0}, "connect_timeout")],
)
def test_numbers_have_bounds(changes: dict[str, Any], field: str) -> None:
    """A number that cannot work is refused by the class, naming the field."""
    with pytest.raises(ValueError, match=re.escape(f"'{field}' must be")):
        PostgresSettings(**changes)


def test_address_names_no_secret() -> None:
    """The address for reports is host, port and database, whether they came by DSN or not, IPv6 in brackets."""
    assert plugin.address(PostgresSettings(dsn="postgres://u:s3cret@[::1]:1/d")) == "[::1]:1/d"
    assert plugin.address(PostgresSettings(host="h", port=2, database="e")) == "h:2/e"


def test_read_dsn_leaves_out_what_is_not_said() -> None:
    """What the DSN does not say is absent rather than empty."""
    assert read_dsn("postgresql:///shop") == {"database": "shop"}


def test_dev_need_leads_to_the_server() -> None:
    """The settings for a development server are those of the plugin, and any address makes it unneeded."""
    assert plugin.dev is not None
    server = DevServer(host="127.0.0.1", port=1, database="d", username="u", password="p")
    settings = plugin.dev.settings(server)
    assert settings == {
        "HOST": "127.0.0.1",
        "PORT": "1",
        "DATABASE": "d",
        "USERNAME": "u",
        "PASSWORD": "p",
        "SSLMODE": "disable",
    }
    names = {field.name for field in attrs.fields(PostgresSettings)}
    assert {name.lower() for name in settings} | set(plugin.dev.addressed_by) <= names
