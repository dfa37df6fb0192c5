from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

AWKWARD = "p@ss/w:rd?#% +é"
ROLE = 'it is "password" of plugin "pgsql" (database), declared at user.proto:12'


@pytest.mark.parametrize("password", [AWKWARD, " spaces ", "$HOME ${HOME}", "'\"\\", "a,b", "#", "=", "true", "\t"])
def test_passwords_of_any_characters_survive(bench: Any, password: str) -> None:
    """A password on a variable of its own, or in an env file's quotes, arrives as it is."""
    config = bench.read({"USER_SERVICE_PGSQL_PASSWORD": password})
    assert config.plugins["pgsql"].value.password == password
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    config = bench.read(env_files={".env": f"USER_SERVICE_PGSQL_PASSWORD='{escaped}'\n"})
    assert config.problems == ()
    assert config.plugins["pgsql"].value.password == password


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (AWKWARD.encode(), AWKWARD),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        (b" hunter2 \n", " hunter2 "),
        (b"hunter2\r", "hunter2\r"),
        (b"-----BEGIN-----\nabc\n-----END-----\n", "-----BEGIN-----\nabc\n-----END-----"),
    ],
)
def test_a_secret_is_read_from_the_file_that_is_named(
    bench: Any, tmp_path: Path, content: bytes, password: str
) -> None:
    """NAME_FILE gives the file's text without the one newline at its end."""
    file = tmp_path / "password"
    file.write_bytes(content)
    config = bench.read({"USER_SERVICE_PGSQL_PASSWORD_FILE": str(file)})
    assert config.problems == ()
    assert config.plugins["pgsql"].value.password == password
    assert config.plugins["pgsql"].given == {"password"}
    assert config.from_environment["pgsql"] == {"password"}


def test_a_file_is_over_what_the_layers_below_say(bench: Any, tmp_path: Path) -> None:
    """A secret's file counts as the environment's text does."""
    file = tmp_path / "password"
    file.write_text("from-file")
    config = bench.read({"USER_SERVICE_PGSQL_PASSWORD_FILE": str(file)}, dev_settings={"pgsql": {"password": "dev"}})
    assert config.plugins["pgsql"].value.password == "from-file"


def test_a_secret_that_is_given_twice_is_an_error(bench: Any, tmp_path: Path) -> None:
    """NAME and NAME_FILE exclude each other, wherever each was set."""
    config = bench.read(
        {"USER_SERVICE_PGSQL_PASSWORD": "hunter2"},
        env_files={".env": f"USER_SERVICE_PGSQL_PASSWORD_FILE={tmp_path}/x\n"},
    )
    assert [str(problem) for problem in config.problems] == [
        "USER_SERVICE_PGSQL_PASSWORD: USER_SERVICE_PGSQL_PASSWORD and USER_SERVICE_PGSQL_PASSWORD_FILE are both set\n"
        "    USER_SERVICE_PGSQL_PASSWORD is set in the environment\n"
        "    USER_SERVICE_PGSQL_PASSWORD_FILE is set at .env:1\n"
        f"    {ROLE}\n"
        "  → remove one of them"
    ]


def make_directory(path: Path) -> None:
    path.mkdir()


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def make_newline(path: Path) -> None:
    path.write_bytes(b"\n")


def make_binary(path: Path) -> None:
    path.write_bytes(b"hunter2\xff")


def make_huge(path: Path) -> None:
    path.write_bytes(b"x" * (1024 * 1024 + 1))


def make_nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (make_nothing, os.strerror(2)),
        (make_directory, "Is a directory"),
        (make_empty, "it is empty"),
        (make_newline, "it is empty"),
        (make_binary, "it is not UTF-8 text"),
        (make_huge, "it is larger than 1 MiB"),
    ],
)
def test_a_file_without_a_secret_is_a_problem(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], cause: str
) -> None:
    """What cannot be read is named with the cause, and nothing of its content is shown."""
    monkeypatch.chdir(tmp_path)
    make(Path("password"))
    config = bench.read({"USER_SERVICE_PGSQL_PASSWORD_FILE": "password"})
    assert [str(problem) for problem in config.problems] == [
        f"USER_SERVICE_PGSQL_PASSWORD_FILE: cannot read the secret from 'password': {cause}\n"
        f"    set in the environment; {ROLE}\n"
        "  → set USER_SERVICE_PGSQL_PASSWORD_FILE to a file that holds the secret, or set USER_SERVICE_PGSQL_PASSWORD"
    ]


def test_a_name_that_no_file_can_have_is_a_problem(bench: Any) -> None:
    """A NUL in a path, as an env file can hold it, is reported and raises nothing."""
    config = bench.read(env_files={".env": "USER_SERVICE_PGSQL_PASSWORD_FILE='a\0b'\n"})
    assert config.problems[0].what == "cannot read the secret from 'a\\x00b': embedded null byte"


def test_reading_files_is_the_callers_to_replace(bench: Any) -> None:
    """The one place that reads files is passed in."""
    config = bench.read({"USER_SERVICE_PGSQL_PASSWORD_FILE": "/run/x"}, read_file=lambda path: f"content of {path}\n")
    assert config.plugins["pgsql"].value.password == "content of /run/x"


def test_only_secrets_are_read_from_files(bench: Any) -> None:
    """NAME_FILE of a setting that is no secret is an unknown variable."""
    config = bench.read({"USER_SERVICE_PGSQL_HOST_FILE": "/etc/hostname"}, read_file=lambda path: "x")
    assert config.plugins["pgsql"].given == frozenset()
    assert [warning.code for warning in config.warnings] == ["config.unknown_variable"]
