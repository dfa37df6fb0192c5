"""The legal name that a misspelt one was meant to be."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(name: str, legal: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The legal name most similar to ``name``, ignoring case; None when none is at least ``cutoff`` similar (of 1)."""
    # Imported where something is wrong, so that a service that starts well does not pay for it.
    from rapidfuzz.distance import OSA

    best, best_similarity = None, cutoff
    for candidate in legal:
        similarity = OSA.normalized_similarity(name.lower(), candidate.lower(), score_cutoff=best_similarity)
        if similarity > best_similarity or (best is None and similarity >= best_similarity):
            best, best_similarity = candidate, similarity
    return best
