from __future__ import annotations

from typing import Any

import pytest

from toolkit.manifest.model import AppDeclaration, Location
from toolkit.runtime.config import pick_env_prefix
from toolkit.runtime.config.prefix import upper_snake


def app(**fields: Any) -> AppDeclaration:
    return AppDeclaration(location=Location("user.proto", 7), **fields)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("UserService", "USER_SERVICE"),
        ("HTTPGateway", "HTTP_GATEWAY"),
        ("OAuth2Server", "O_AUTH2_SERVER"),
        ("IAM", "IAM"),
        ("user-service", "USER_SERVICE"),
        ("user_service", "USER_SERVICE"),
        ("my shop, v2", "MY_SHOP_V2"),
        ("3d-shop", "_3D_SHOP"),
        ("日本", ""),
    ],
)
def test_names_become_upper_snake_case(name: str, shown: str) -> None:
    """Words are split where a person would split them, and only what a variable's name may hold is left."""
    assert upper_snake(name) == shown


@pytest.mark.parametrize(
    ("cli", "project", "declared", "value", "origin"),
    [
        ("cli", "PROJECT", app(env_prefix="APP"), "CLI", "--env-prefix"),
        ("", "PROJECT", app(env_prefix="APP"), "", "--env-prefix"),
        (None, "PROJECT_", app(env_prefix="APP"), "PROJECT", "[tool.toolkit] env_prefix in pyproject.toml"),
        (None, "", app(env_prefix="APP"), "", "[tool.toolkit] env_prefix in pyproject.toml"),
        (None, None, app(env_prefix="APP", name="shop"), "APP", "(toolkit.app).env_prefix at user.proto:7"),
        (None, None, app(env_prefix="", name="shop"), "", "(toolkit.app).env_prefix at user.proto:7"),
        (None, None, app(name="user-shop"), "USER_SHOP", "(toolkit.app).name at user.proto:7"),
        (None, None, app(name="日本"), "USER_SERVICE", "service shop.v1.UserService"),
        (None, None, None, "USER_SERVICE", "service shop.v1.UserService"),
    ],
)
def test_the_first_that_is_given_decides(
    bench: Any, cli: str | None, project: str | None, declared: AppDeclaration | None, value: str, origin: str
) -> None:
    """--env-prefix over pyproject.toml over the manifest's app over the first served service; each may be empty."""
    picked = pick_env_prefix(cli, project, bench.manifest(app=declared))
    assert (picked.value, picked.origin, picked.problems, picked.warnings) == (value, origin, (), ())


def test_several_services_without_a_pinned_prefix_are_warned_about(bench: Any) -> None:
    """Where another order would rename every variable, the warning says how to pin the prefix."""
    manifest = bench.manifest(services=["shop.v1.UserService", "shop.v1.OrderService"])
    picked = pick_env_prefix(None, None, manifest)
    assert picked.value == "USER_SERVICE"
    assert [str(warning) for warning in picked.warnings] == [
        "user.proto:20: variables begin with USER_SERVICE, after the first of 2 served services\n"
        "    served are shop.v1.UserService, shop.v1.OrderService; another order would rename every variable\n"
        '  → pin it: --env-prefix USER_SERVICE, or env_prefix = "USER_SERVICE" under [tool.toolkit] in pyproject.toml,'
        ' or option (toolkit.app) = {env_prefix: "USER_SERVICE"} in the .proto'
    ]
    assert pick_env_prefix("SHOP", None, manifest).warnings == ()


def test_several_services_are_reported_by_read_config(bench: Any) -> None:
    """What was said of the prefix is part of the configuration's report."""
    from toolkit.runtime.config import read_config

    manifest = bench.manifest(services=["A", "B"])
    unpinned = pick_env_prefix(None, None, manifest)
    assert read_config(manifest, {}, env_prefix=unpinned, environ={}).warnings == unpinned.warnings
    wrong = pick_env_prefix("a b", None, manifest)
    assert read_config(manifest, {}, env_prefix=wrong, environ={}).problems == wrong.problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "user-service",
            "--env-prefix: 'user-service' cannot begin the name of an environment variable\n"
            "    a name is made of letters, digits and underscores, and does not begin with a digit\n"
            "  → use USER_SERVICE",
        ),
        (
            "3D",
            "--env-prefix: '3D' cannot begin the name of an environment variable\n"
            "    a name is made of letters, digits and underscores, and does not begin with a digit\n"
            "  → use _3D",
        ),
        (
            "é",
            "--env-prefix: 'é' cannot begin the name of an environment variable\n"
            "    a name is made of letters, digits and underscores, and does not begin with a digit\n"
            "  → use letters, digits and underscores, or leave it empty",
        ),
    ],
)
def test_a_prefix_that_no_variable_can_have_is_refused(bench: Any, text: str, message: str) -> None:
    """A pinned prefix is taken as it is written, so that one which no shell can set is a problem."""
    picked = pick_env_prefix(text, None, bench.manifest())
    assert [str(problem) for problem in picked.problems] == [message]


def test_nothing_served_leaves_the_prefix_empty(bench: Any) -> None:
    """A manifest without a served service has no name to take."""
    assert pick_env_prefix(None, None, bench.manifest(services=[])).value == ""
