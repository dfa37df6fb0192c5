"""The service prefix: what the name of every variable begins with."""

from __future__ import annotations

import re
from typing import Final

import attrs

from toolkit.errors import Problem
from toolkit.manifest import Manifest

__all__ = ["EnvPrefix", "join_names", "pick_env_prefix", "upper_snake"]

_VALID: Final = re.compile(r"(?:[A-Z_][A-Z0-9_]*)?")
_WORD_STARTS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9]+")


@attrs.frozen(kw_only=True)
class EnvPrefix:
    """The service prefix, and what decided it."""

    #: Upper case, without a trailing underscore; empty when names begin with the plugin's prefix.
    value: str
    #: For reports: ``--env-prefix``, ``service shop.v1.UserService``.
    origin: str
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def join_names(*parts: str) -> str:
    """A variable's name of its parts; empty ones leave no underscore."""
    return "_".join(part for part in parts if part).upper()


def upper_snake(name: str) -> str:
    """``UserService`` → ``USER_SERVICE``, ``HTTPGateway`` → ``HTTP_GATEWAY``, ``user-service`` → ``USER_SERVICE``."""
    return _as_name(_WORD_STARTS.sub("_", name))


def pick_env_prefix(cli: str | None, project: str | None, manifest: Manifest) -> EnvPrefix:
    """Decide the service prefix.

    The first that is given wins: ``--env-prefix`` and ``[tool.toolkit] env_prefix``
    (None: not given; either may be empty), the manifest's ``(toolkit.app)`` by its
    ``env_prefix`` or else its ``name``, and last the name of the first served service,
    with a warning when several are served.
    """
    app = manifest.app
    if cli is not None:
        return _pinned(cli, "--env-prefix")
    if project is not None:
        return _pinned(project, "[tool.toolkit] env_prefix in pyproject.toml")
    if app is not None and app.env_prefix is not None:
        return _pinned(app.env_prefix, f"(toolkit.app).env_prefix at {app.location}")
    if app is not None and upper_snake(app.name):
        return EnvPrefix(value=upper_snake(app.name), origin=f"(toolkit.app).name at {app.location}")
    if not manifest.served:
        return EnvPrefix(value="", origin="no service is served")
    return _from_service(manifest)


def _as_name(text: str) -> str:
    name = _NO_NAME.sub("_", text).strip("_").upper()
    # No shell can set a name that begins with a digit.
    return f"_{name}" if name[:1].isdigit() else name


def _pinned(text: str, origin: str) -> EnvPrefix:
    value = text.strip().upper().rstrip("_")
    if _VALID.fullmatch(value):
        return EnvPrefix(value=value, origin=origin)
    usable = _as_name(text)
    problem = Problem(
        code="config.env_prefix",
        what=f"{text!r} cannot begin the name of an environment variable",
        where=origin,
        why="a name is made of letters, digits and underscores, and does not begin with a digit",
        fix=f"use {usable}" if usable else "use letters, digits and underscores, or leave it empty",
    )
    return EnvPrefix(value=usable, origin=origin, problems=(problem,))


def _from_service(manifest: Manifest) -> EnvPrefix:
    served = manifest.served
    first = served[0]
    value = upper_snake(first.name)
    warnings: tuple[Problem, ...] = ()
    if len(served) > 1:
        warnings = (
            Problem(
                code="config.env_prefix_not_pinned",
                what=f"variables begin with {value}, after the first of {len(served)} served services",
                where=str(first.location),
                why=f"served are {', '.join(service.full_name for service in served)};"
                " another order would rename every variable",
                fix=f'pin it: --env-prefix {value}, or env_prefix = "{value}" under [tool.toolkit] in pyproject.toml,'
                f' or option (toolkit.app) = {{env_prefix: "{value}"}} in the .proto',
            ),
        )
    return EnvPrefix(value=value, origin=f"service {first.full_name}", warnings=warnings)
