"""Names that two declarations could claim: refused before anything is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from toolkit.errors import Problem
from toolkit.runtime.config.prefix import join_names
from toolkit.runtime.config.sections import Owner, Section, Setting
from toolkit.runtime.settings import RESERVED_FAMILIES

__all__ = ["find_clashes"]


def find_clashes(sections: Sequence[Section], env_prefix: str) -> list[Problem]:
    """One problem for each pair of declarations that share a variable, and for each that takes the runtime's."""
    claims: dict[str, list[Setting]] = {}
    for section in sections:
        for setting in section.settings:
            for name in setting.names:
                claims.setdefault(name, []).append(setting)
    return [*_reserved(claims, env_prefix), *_ambiguous(claims)]


def _reserved(claims: dict[str, list[Setting]], env_prefix: str) -> list[Problem]:
    taken: dict[str, tuple[Owner, list[str]]] = {}
    families = tuple(f"{join_names(env_prefix, family)}_" for family in RESERVED_FAMILIES)
    for name, claimants in claims.items():
        for setting in claimants:
            if setting.owner.kind != "runtime" and name.startswith(families):
                # A plugin's own and common settings have one declaration.
                taken.setdefault(setting.owner.label, (setting.owner, []))[1].append(name)
    return [
        Problem(
            code="config.reserved_variable",
            what=f"{owner.label} would read {_some(names)}, which {'is' if len(names) == 1 else 'are'} the runtime's",
            where=owner.location,
            why=f"reserved are {', '.join(f'{family}*' for family in families)}",
            fix=owner.fix,
        )
        for owner, names in taken.values()
    ]


def _ambiguous(claims: dict[str, list[Setting]]) -> list[Problem]:
    shared: dict[tuple[str, str], tuple[str, Setting, Setting, list[str]]] = {}
    for name, claimants in claims.items():
        for first, second in combinations(claimants, 2):
            if "runtime" in (first.owner.kind, second.owner.kind):
                continue  # reported as reserved
            pair = (first.owner.label, second.owner.label)
            shared.setdefault(pair, (name, first, second, []))[3].append(name)
    return [
        Problem(
            code="config.ambiguous_variable",
            what=f"two declarations would read {_some(names)}",
            where=second.owner.location,
            why=f"{_claim(first, name)}\n{_claim(second, name)}",
            fix=second.owner.fix,
        )
        for name, first, second, names in shared.values()
    ]


def _claim(setting: Setting, name: str) -> str:
    role = f'"{setting.key}"' if name == setting.name else f'the file of the secret "{setting.key}"'
    return f"{name} is {role} of {setting.owner.phrase}"


def _some(names: Iterable[str]) -> str:
    first, *others = names
    return f"{first} and {len(others)} more" if others else first
