"""Names as the environment and reports have them."""

from __future__ import annotations

import pytest

from toolkit.manifest.names import is_identifier, nearest, quoted, upper_snake


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UserService", "USER_SERVICE"),
        ("HTTPGateway", "HTTP_GATEWAY"),
        ("pgsql", "PGSQL"),
        ("redis1", "REDIS1"),
        ("userDB2Main", "USER_DB2_MAIN"),
        ("user_db", "USER_DB"),
        ("user-db", "USER_DB"),
        ("", ""),
    ],
)
def test_upper_snake_case_splits_words(name: str, expected: str) -> None:
    """A name of any style becomes what stands in the environment."""
    assert upper_snake(name) == expected


@pytest.mark.parametrize(("name", "expected"), [("a", True), ("_A9", True), ("", False), ("9a", False), ("é", False)])
def test_identifiers_are_ascii(name: str, *, expected: bool) -> None:
    """What is a variable in every shell and a parameter in Python is an identifier, and nothing else."""
    assert is_identifier(name) is expected


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("cahce", ["pgsql", "cache", "cash"], "cache"),
        ("userservice", ["shop.v1.UserService", "shop.v1.GroupService"], "shop.v1.UserService"),
        ("xyz", ["cache", "pgsql"], None),
        ("cache", [], None),
        ("x" * 201, ["x" * 201], None),
        ("x" * 200, ["x" * 201, "x" * 199], "x" * 199),
    ],
)
def test_the_nearest_name_ignores_case_and_packages(name: str, candidates: list[str], expected: str | None) -> None:
    """A misspelt name finds the legal one; what resembles nothing, or is no name at all, finds none."""
    assert nearest(name, candidates) == expected


def test_quoted_names_are_escaped_and_cut() -> None:
    """What a report quotes is one short line."""
    assert quoted("a\nb") == r"'a\nb'"
    assert quoted("x" * 10, limit=5) == "'xxxx…'"
