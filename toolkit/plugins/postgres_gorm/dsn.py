"""A PostgreSQL DSN to settings; no error repeats any part of it, for a part may be a piece of the password."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from toolkit.plugins import SettingError

__all__ = ["SSL_MODES", "read_dsn"]

#: https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-SSLMODE-STATEMENTS
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
_FORM = "postgresql://user:password@host:port/database"
_ENCODE = "URL-encode what user, password and database contain: @ is %40, : is %3A, / is %2F, ? is %3F, % is %25"


def _read_ssl_mode(text: str) -> str:
    if text not in SSL_MODES:
        raise ValueError(f"one of {', '.join(SSL_MODES)}")
    return text


def _read_seconds(text: str) -> float:
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise ValueError("a whole number of seconds above 0")
    return float(text)


#: Parameters of a DSN in lower case, by the setting that they are, and how their text is read.
_PARAMETERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "sslmode": ("sslmode", _read_ssl_mode),
    "ssl": ("sslmode", _read_ssl_mode),
    "sslrootcert": ("sslrootcert", str),
    "timezone": ("timezone", str),
    "application_name": ("application_name", str),
    "connect_timeout": ("connect_timeout", _read_seconds),
}


def read_dsn(text: str) -> dict[str, Any]:
    """The settings that a DSN gives, by field name; what it leaves out is absent.

    Raises:
        SettingError: it is malformed, or has a parameter that is not honoured.
    """
    text = text.strip()
    if text.partition("://")[0] not in _SCHEMES:
        _refuse(f"does not begin with {', '.join(f'{scheme}://' for scheme in _SCHEMES[:-1])} or {_SCHEMES[-1]}://")
    if text.count("@") > 1:
        # Where the password ends would be a guess.
        _refuse("has more than one @", fix=_ENCODE)
    if not text.isprintable() or " " in text:
        _refuse("contains a space or a control character", fix=_ENCODE)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Both repeat parts of the text.
        _refuse("cannot be read", fix=f"write it as {_FORM}. {_ENCODE}")
    if "," in (url.host or ""):
        _refuse("names several hosts", fix="name one host; a proxy or a DNS name can stand for several")
    if url.port is not None and not 1 <= url.port <= 65535:
        _refuse("has a port outside of 1 to 65535")
    if "/" in (url.database or "") and "%2f" not in text.lower():
        _refuse("has a / in the name of its database", fix=_ENCODE)
    parts = {
        "host": url.host,
        "port": url.port,
        "database": url.database,
        "username": url.username,
        "password": url.password,
    }
    return {**{name: value for name, value in parts.items() if value}, **_read_parameters(url.query)}


def _read_parameters(query: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in query.items():
        if name.lower() not in _PARAMETERS:
            _refuse_parameter(name)
        setting, read = _PARAMETERS[name.lower()]
        if not isinstance(text, str) or setting in found:
            _refuse(f"gives {setting} twice")
        try:
            found[setting] = read(text)
        except ValueError as error:
            _refuse(f"has a wrong {name.lower()}: expected {error}")
    return found


def _refuse_parameter(name: str) -> NoReturn:
    from rapidfuzz import process

    known = ", ".join(_PARAMETERS)
    # Only the legal name is shown: the other may be what follows an unencoded ? in a password.
    near = process.extractOne(name.lower(), list(_PARAMETERS), score_cutoff=75)
    hint = f"; did you mean {near[0]}?" if near else ""
    _refuse(f"has a parameter that is not honoured{hint}", fix=f"honoured are {known}")


def _refuse(what: str, *, fix: str = f"write it as {_FORM}") -> NoReturn:
    raise SettingError("DSN", what, fix=fix) from None
