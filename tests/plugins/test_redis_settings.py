"""What DSN, ENDPOINT and the settings beside them mean together for Redis."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import attrs
import pytest

from toolkit.plugins import DevServer, SettingError, setting_info
from toolkit.plugins.redis import RedisSettings, plugin

PASSWORD = "p@ss/w:rd?#% +é&="
ENCODE = "URL-encode what user and password contain: @ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25"
FORM = "write it as redis://user:password@host:port/database"


def resolve(**given: Any) -> RedisSettings:
    assert plugin.resolve is not None
    return plugin.resolve(RedisSettings(**given), frozenset(given))


def test_no_setting_is_required() -> None:
    """Every setting has a default, and the defaults lead to the server's standard port here."""
    assert plugin.address(resolve()) == "127.0.0.1:6379/0"


def test_every_setting_is_described() -> None:
    """Each setting has a help line, and DSN and PASSWORD alone are secret."""
    fields = attrs.fields(RedisSettings)
    assert all(setting_info(field).help for field in fields)
    assert {field.name for field in fields if setting_info(field).secret} == {"dsn", "password"}


def test_defaults_bound_a_command() -> None:
    """Waiting for a place, connecting and reading together take at most 3 s, and nothing is tried twice."""
    settings = RedisSettings()
    assert settings.pool_timeout + settings.dial_timeout + settings.read_timeout <= 3
    assert settings.max_retries == 0


@pytest.mark.parametrize(("scheme", "tls"), [("redis", False), ("rediss", True)])
def test_dsn_fills_every_part(scheme: str, tls: bool) -> None:
    """A DSN gives user, password, host, port, database and whether TLS is used, each decoded."""
    settings = resolve(dsn=f"{scheme}://{quote('us:er', safe='')}:{quote(PASSWORD, safe='')}@cache.test:6543/5")
    assert (settings.username, settings.password) == ("us:er", PASSWORD)
    assert (settings.host, settings.port, settings.database, settings.tls) == ("cache.test", 6543, 5, tls)


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [
        ("cache.test:6543", "cache.test", 6543),
        (":6543", "127.0.0.1", 6543),
        ("cache.test", "cache.test", 6379),
        ("[::1]:6543", "::1", 6543),
    ],
)
def test_endpoint_gives_host_and_port(endpoint: str, host: str, port: int) -> None:
    """An endpoint is host and port, either of which may be left out."""
    settings = resolve(endpoint=endpoint)
    assert (settings.host, settings.port) == (host, port)


def test_separate_settings_fill_what_is_lacking() -> None:
    """What DSN and ENDPOINT leave out is taken from its own variable, else from its default."""
    settings = resolve(dsn="redis://cache.test", password=PASSWORD, port=6543, database=3)
    assert (settings.host, settings.port, settings.password, settings.database) == ("cache.test", 6543, PASSWORD, 3)
    settings = resolve(endpoint=":6543", host="cache.test")
    assert (settings.host, settings.port) == ("cache.test", 6543)


def test_equal_settings_do_not_contradict() -> None:
    """A variable that repeats what another says is accepted."""
    assert resolve(dsn="redis://h:1/2", endpoint="h:1", host="h", port=1, database=2, tls=False).port == 1


@pytest.mark.parametrize(
    ("given", "setting", "what", "fix"),
    [
        (
            {"endpoint": "a.test:1", "host": "b.test"},
            "HOST",
            "gives the host 'b.test', but ENDPOINT says 'a.test'",
            "give ENDPOINT alone, or take the host out of it",
        ),
        (
            {"endpoint": "a.test:1", "port": 2},
            "PORT",
            "gives the port 2, but ENDPOINT says 1",
            "give ENDPOINT alone, or take the port out of it",
        ),
        (
            {"dsn": "redis://a.test:1", "endpoint": "a.test:2"},
            "ENDPOINT",
            "gives the port 2, but DSN says 1",
            "give DSN alone, or take the port out of it",
        ),
        (
            {"dsn": "redis://:one@a.test", "password": "two"},
            "PASSWORD",
            "differs from the password that DSN gives",
            "give DSN alone, or take the password out of it",
        ),
        (
            {"dsn": "redis://a.test/1", "database": 2},
            "DATABASE",
            "differs from the database that DSN gives",
            "give DSN alone, or take the database out of it",
        ),
        (
            {"dsn": "redis://a.test", "tls": True},
            "TLS",
            "differs from the tls that DSN gives",
            "give DSN alone, or take the tls out of it",
        ),
    ],
)
def test_contradiction_is_refused(given: dict[str, Any], setting: str, what: str, fix: str) -> None:
    """Two settings that contradict one another are an error, which shows host and port and nothing else."""
    with pytest.raises(SettingError) as caught:
        resolve(**given)
    assert (caught.value.setting, caught.value.what, caught.value.fix) == (setting, what, fix)


@pytest.mark.parametrize(
    ("dsn", "what", "fix"),
    [
        ("s3cret", "does not begin with redis:// or rediss://", FORM),
        ("unix://s3cret", "does not begin with redis:// or rediss://", FORM),
        ("redis://:s3@cret@h", "has more than one @", ENCODE),
        ("redis://:s3 cret@h", "contains a space or a control character", ENCODE),
        ("redis://h:s3cret", "cannot be read", f"{FORM}. {ENCODE}"),
        ("redis://s3cret@h:0", "has a port outside of 1 to 65535", FORM),
        (
            "redis://h?s3cret=1",
            "has parameters, or a ? or # that is not encoded",
            f"every parameter has a setting. {ENCODE}",
        ),
        (
            "redis://h/1#s3cret",
            "has parameters, or a ? or # that is not encoded",
            f"every parameter has a setting. {ENCODE}",
        ),
        ("redis://h/s3cret", "has a database that is no number", f"{FORM}. {ENCODE}"),
    ],
)
def test_malformed_dsn_is_refused_without_its_text(dsn: str, what: str, fix: str) -> None:
    """A DSN that cannot be used is an error that says why and how to mend it, and repeats no part of it."""
    with pytest.raises(SettingError) as caught:
        resolve(dsn=dsn)
    assert (caught.value.setting, caught.value.what, caught.value.fix) == ("DSN", what, fix)
    assert "s3" not in f"{caught.value}{caught.value.fix}{caught.value.__cause__}"


@pytest.mark.parametrize(
    ("endpoint", "what", "fix"),
    [
        ("a:1,b:2", "names several servers", "name one, as host:port"),
        ("h:port", "is not of the form host:port", "write it as host:port, e.g. 127.0.0.1:6379"),
        ("h:99999", "is not of the form host:port", "write it as host:port, e.g. 127.0.0.1:6379"),
        ("redis://h:1", "is not of the form host:port", "write it as host:port, e.g. 127.0.0.1:6379"),
    ],
)
def test_malformed_endpoint_is_refused(endpoint: str, what: str, fix: str) -> None:
    """An endpoint that is none is an error that says what is expected."""
    with pytest.raises(SettingError) as caught:
        resolve(endpoint=endpoint)
    assert (caught.value.setting, caught.value.what, caught.value.fix) == ("ENDPOINT", what, fix)


def test_secrets_are_not_in_the_repr() -> None:
    """Neither the DSN nor the password appears in the settings' repr."""
    shown = repr(resolve(dsn="redis://:s3cret@cache.test"))
    assert "s3cret" not in shown
    assert "cache.test" in shown


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"port": 0}, "port"), ({"pool_size": 0}, "pool_size"), ({"read_timeout": 0.0}, "read_timeout")],
)
def test_numbers_have_bounds(changes: dict[str, Any], field: str) -> None:
    """A number that cannot work is refused by the class, naming the field."""
    with pytest.raises(ValueError, match=re.escape(f"'{field}' must be")):
        RedisSettings(**changes)


def test_address_names_no_secret() -> None:
    """The address for reports is host, port and database, whatever gave them."""
    assert plugin.address(RedisSettings(dsn="redis://:s3cret@[::1]:1/2")) == "[::1]:1/2"
    assert plugin.address(RedisSettings(endpoint="h:2", database=3)) == "h:2/3"


def test_a_cache_is_not_critical() -> None:
    """By default a service runs without its Redis."""
    assert plugin.critical is False


def test_dev_need_leads_to_the_server() -> None:
    """The settings for a development server are those of the plugin, and any address makes it unneeded."""
    assert plugin.dev is not None
    settings = plugin.dev.settings(DevServer(host="127.0.0.1", port=1, database="2", password="p"))
    assert settings == {"HOST": "127.0.0.1", "PORT": "1", "DATABASE": "2", "PASSWORD": "p"}
    names = {field.name for field in attrs.fields(RedisSettings)}
    assert {name.lower() for name in settings} | set(plugin.dev.addressed_by) <= names
