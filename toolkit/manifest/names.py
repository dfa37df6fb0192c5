"""Names: how they look in the environment, in reports, and which one was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice

__all__ = ["draw_path", "is_identifier", "nearest", "quoted", "upper_snake"]

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Below this similarity (0 to 100) a name is no candidate for a misspelling.
_SIMILAR = 60.0

#: Comparing is quadratic in the length; no name that people write is longer.
_LONGEST = 200

#: Candidates that are looked at.
_MOST = 5000

#: A longer path is drawn with its middle left out.
_MAX_DRAWN = 12


def upper_snake(name: str) -> str:
    """The name as the environment spells it: ``UserService`` gives ``USER_SERVICE``."""
    return re.sub(r"[^A-Za-z0-9]", "_", _WORD_BOUNDARY.sub("_", name)).upper()


def is_identifier(name: str) -> bool:
    """Whether ``name`` can be a parameter and a part of a variable: ASCII letters, digits, underscores."""
    return _IDENTIFIER.fullmatch(name) is not None


def nearest(name: str, candidates: Iterable[str], *, cutoff: float = _SIMILAR) -> str | None:
    """The candidate that was probably meant by ``name``, or None when none is at least ``cutoff`` similar (of 100).

    Of dotted names the last part counts as well: ``UserService`` finds ``shop.v1.UserService``.
    """
    # Only a report needs it, and importing it costs more than reading a manifest.
    from rapidfuzz import fuzz

    if len(name) > _LONGEST:
        return None
    wanted = name.lower()
    best: tuple[float, str] | None = None
    for candidate in islice(candidates, _MOST):
        if len(candidate) > _LONGEST:
            continue
        known = candidate.lower()
        score = fuzz.ratio(wanted, known)
        if "." in known:
            score = max(score, fuzz.ratio(wanted.rpartition(".")[2], known.rpartition(".")[2]))
        if score >= cutoff and (best is None or score > best[0]):
            best = (score, candidate)
    return best[1] if best else None


def quoted(text: str, limit: int = 80) -> str:
    """``text`` in quotes for a report: control characters escaped, cut where it is longer than ``limit``."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def draw_path(names: Sequence[str]) -> str:
    """``a → b → a``; of a long path only both ends."""
    ends = _MAX_DRAWN // 2
    return " → ".join(names if len(names) <= _MAX_DRAWN else [*names[:ends], "…", *names[-ends:]])
