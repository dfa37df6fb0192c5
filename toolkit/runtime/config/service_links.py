"""The variables that Kubernetes sets for every Service of a namespace (Docker's links had the same form).

For a Service called ``user-service-pgsql`` they are ``USER_SERVICE_PGSQL_SERVICE_HOST``,
``…_SERVICE_PORT``, ``…_SERVICE_PORT_<NAME>``, ``…_PORT=tcp://10.0.0.1:5432``,
``…_PORT_5432_TCP`` and its ``_PROTO``, ``_PORT`` and ``_ADDR``
(https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables):
a name that a setting may have, with a value that is none of its.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import attrs

from toolkit.errors import Problem

__all__ = ["ServiceLinks", "find_service_links"]

_URL: Final = re.compile(r"(?:tcp|udp|sctp)://(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^/:\[\]@\s]+)):[0-9]+")
_PORT: Final = re.compile(r"(?P<root>.+?)_PORT")
_NUMBERED: Final = re.compile(r"(?P<root>.+?)_PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?")
_SERVICE: Final = re.compile(r"(?P<root>.+)_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)")
#: How many names the notice lists.
_LISTED: Final = 4


@attrs.frozen(kw_only=True)
class ServiceLinks:
    """The links among the variables that would otherwise be read or reported."""

    names: frozenset[str]
    notices: tuple[Problem, ...]


def find_service_links(environ: Mapping[str, str], *, legal: Collection[str], prefixes: Sequence[str]) -> ServiceLinks:
    """Recognise the links in ``environ`` that meet a ``legal`` name or lie under one of ``prefixes``.

    A legal name is a link only with a link's value; below a prefix the form of the name
    is enough, for there is no setting that it could be.
    """
    hosts = _linked_hosts(environ)
    roots: dict[str, str] = {}
    for name, value in environ.items():
        if not value or not (name in legal or name.startswith(tuple(f"{prefix}_" for prefix in prefixes))):
            continue
        root = _legal_link(name, value, environ, hosts) if name in legal else _link(name, value, hosts, prefixes)
        if root is not None:
            roots[name] = root
    return ServiceLinks(names=frozenset(roots), notices=(_notice(roots),) if roots else ())


def _linked_hosts(environ: Mapping[str, str]) -> dict[str, set[str]]:
    """The addresses to which each root's URLs lead: certain links, for nothing else has their form."""
    hosts: dict[str, set[str]] = {}
    for name, value in environ.items():
        shape, url = _PORT.fullmatch(name) or _NUMBERED.fullmatch(name), _URL.fullmatch(value)
        if shape is not None and url is not None:
            hosts.setdefault(shape["root"], set()).add(url["v6"] or url["host"])
    return hosts


def _legal_link(name: str, value: str, environ: Mapping[str, str], hosts: Mapping[str, set[str]]) -> str | None:
    port = _PORT.fullmatch(name)
    if port is not None and _URL.fullmatch(value):
        return port["root"]
    service = _SERVICE.fullmatch(name)
    if service is None:
        return None
    # `USER_SERVICE_HOST` may be a setting of someone's, or a link to a Service called `user`:
    # it is a link when the certain ones of that Service lead to the very same address.
    root = service["root"]
    return root if environ.get(f"{root}_SERVICE_HOST") in hosts.get(root, ()) else None


def _link(name: str, value: str, hosts: Mapping[str, set[str]], prefixes: Sequence[str]) -> str | None:
    port = _PORT.fullmatch(name)
    if port is not None and _URL.fullmatch(value):
        return port["root"]
    numbered = _NUMBERED.fullmatch(name)
    if numbered is not None:
        return numbered["root"]
    service = _SERVICE.fullmatch(name)
    if service is None:
        return None
    root = service["root"]
    # The `_SERVICE_` must not be part of the prefix itself: `USER_SERVICE_PORT_HOTS` is a
    # misspelt setting of a plugin `port`, and no link to a Service called `user`.
    below = any(root == prefix or root.startswith(f"{prefix}_") for prefix in prefixes)
    return root if below or root in hosts else None


def _notice(roots: Mapping[str, str]) -> Problem:
    names = sorted(roots)
    listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    services = sorted({root.lower().replace("_", "-") for root in roots.values()})
    plural = len(services) > 1
    return Problem(
        code="config.service_links",
        what=f"ignored {listed}",
        where="environment",
        why=f"{'links' if len(names) > 1 else 'a link'} that Kubernetes sets"
        f" to the Service{'s' if plural else ''} {', '.join(services)},"
        f" whose name{'s begin' if plural else ' begins'} like ours",
        fix="set `enableServiceLinks: false` in the pod's spec",
    )
