"""Causes are shown without secrets."""

from __future__ import annotations

import attrs

from toolkit.plugins import setting
from toolkit.runtime.masking import describe_cause, secrets_of


@attrs.frozen
class Settings:
    host: str = setting("db", help="where")
    password: str = setting("", help="secret", secret=True)
    dsn: str | None = setting(None, help="secret", secret=True)


def test_secrets_are_the_secret_settings_and_the_password_inside_a_dsn() -> None:
    """A DSN's password counts as a secret in both of its spellings."""
    config = Settings(password="hunter2", dsn="postgres://u:p%40ss@h/db")
    assert secrets_of(config) == {"hunter2", "postgres://u:p%40ss@h/db", "p%40ss", "p@ss"}


def test_cause_is_one_line_without_secrets() -> None:
    """A long text over several lines becomes one short line, blotted."""
    cause = describe_cause(RuntimeError("could not log in\n  as u with p@ss"), {"p@ss"})
    assert cause == "RuntimeError: could not log in as u with ***"
    assert len(describe_cause(RuntimeError("x" * 5000))) == 400


def test_malformed_dsn_is_blotted_as_a_whole() -> None:
    """A DSN that cannot be parsed is still a secret."""
    assert secrets_of(Settings(dsn="postgres://[u:p")) == {"postgres://[u:p"}
