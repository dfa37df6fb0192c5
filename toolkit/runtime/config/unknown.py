"""Variables that no declaration reads, though their names say that they were meant for this service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from toolkit.errors import Problem
from toolkit.manifest import Manifest
from toolkit.manifest.names import nearest
from toolkit.runtime.config.given import Given, Texts
from toolkit.runtime.config.prefix import join_names
from toolkit.runtime.config.sections import Section, Setting
from toolkit.runtime.settings import RESERVED_FAMILIES

__all__ = ["Unknown", "find_unknown"]

#: Elsewhere under the service prefix an app may read variables of its own: only what is
#: all but a legal name is taken for a misspelt one.
_ALL_BUT_EQUAL: Final = 90.0
#: What the families will be read by that no setting has yet.
_NOT_SERVED: Final = {"HTTP_SERVER": "HTTP", "PROBES": "probes"}


@attrs.frozen(kw_only=True)
class Unknown:
    """What was found; no value is ever shown."""

    #: Below a declared plugin's prefix, or in one of the runtime's families.
    misspelt: tuple[Problem, ...]
    #: Never more than warnings.
    hints: tuple[Problem, ...]


@attrs.frozen(kw_only=True)
class _Territory:
    """Names that begin with one declaration's prefix."""

    #: None: the declaration's settings are not known.
    label: str | None
    phrase: str = ""
    legal: tuple[str, ...] = ()


def find_unknown(texts: Texts, sections: Sequence[Section], manifest: Manifest, env_prefix: str) -> Unknown:
    """Every variable of the environment or an env file that is no legal name but was meant to be one."""
    legal = {name: setting for section in sections for setting in section.settings for name in setting.names}
    territories = _territories(sections, manifest, env_prefix)
    by_length = sorted(territories, key=len, reverse=True)
    misspelt, hints = [], []
    for given in texts:
        if given.name in legal:
            continue
        name = given.name.upper()
        prefix = next((prefix for prefix in by_length if name.startswith(f"{prefix}_")), None)
        if prefix is not None and (name == given.name or env_prefix):
            family = prefix.removeprefix(env_prefix).removeprefix("_")
            if territories[prefix].label is None:
                hints.extend([_not_read_yet(given, _NOT_SERVED[family])] if family in _NOT_SERVED else [])
            else:
                misspelt.append(_unknown(given, prefix, territories[prefix], legal))
        elif env_prefix and name.startswith(f"{env_prefix}_"):
            meant = nearest(given.name, legal, cutoff=_ALL_BUT_EQUAL)
            hints.extend([_perhaps(given, meant)] if meant is not None else [])
    return Unknown(misspelt=tuple(misspelt), hints=tuple(hints))


def _territories(sections: Sequence[Section], manifest: Manifest, env_prefix: str) -> Mapping[str, _Territory]:
    """By name prefix; the runtime's families only under a service prefix: ``LOG_DIR`` alone may be anyone's."""
    territories = {join_names(env_prefix, plugin.prefix): _Territory(label=None) for plugin in manifest.plugins}
    if env_prefix:
        territories.update({join_names(env_prefix, family): _Territory(label=None) for family in RESERVED_FAMILIES})
    for section in sections:
        owner = section.owner
        names = tuple(name for setting in section.settings for name in setting.names)
        if owner.kind in ("plugin", "common") and not section.problems:
            prefix = join_names(env_prefix, owner.name)
            known = territories[prefix].legal
            territories[prefix] = _Territory(label=owner.label, phrase=owner.phrase, legal=known + names)
        elif owner.kind == "runtime" and env_prefix:
            for family in RESERVED_FAMILIES:
                prefix = join_names(env_prefix, family)
                own = tuple(name for name in names if name.startswith(f"{prefix}_"))
                if own:
                    territories[prefix] = _Territory(label=owner.label, phrase=owner.phrase, legal=own)
    return territories


def _unknown(given: Given, prefix: str, territory: _Territory, legal: Mapping[str, Setting]) -> Problem:
    setting = legal.get(given.name.upper().removesuffix("_FILE"))
    # What all names there begin with makes none of them more similar.
    start = len(prefix) + 1
    name = given.name[start:]
    if given.name.upper().endswith("_FILE") and setting is not None:
        fix = f"set {setting.name} itself: only secrets are read from files"
    else:
        meant = nearest(name, (candidate[start:] for candidate in territory.legal))
        fix = f"did you mean {prefix}_{meant}?" if meant else "remove it; `toolkit env --all` lists every legal name"
    return Problem(
        code="config.unknown_variable",
        what=f"{territory.label} has no setting {_printable(name)}",
        where=_printable(given.name),
        why=f"{given.phrase}; it is below the prefix of {territory.phrase}",
        fix=fix,
    )


def _not_read_yet(given: Given, what: str) -> Problem:
    return Problem(
        code="config.not_read_yet",
        what="nothing reads it yet",
        where=_printable(given.name),
        why=f"{given.phrase}; this version serves no {what}",
        fix="leave it for a later version, or remove it",
    )


def _perhaps(given: Given, meant: str) -> Problem:
    return Problem(
        code="config.misspelt_variable",
        what="nothing declares it",
        where=_printable(given.name),
        why=given.phrase,
        fix=f"did you mean {meant}?",
    )


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]
