"""The list of problems that a read collects, so that one report has them all."""

from __future__ import annotations

from toolkit.errors import ManifestError, Problem
from toolkit.manifest.model import Location

__all__ = ["Findings"]

#: More than anyone mends at once; a damaged set could have millions.
_MOST = 100


class Findings:
    """Problems, each once; a report has them file by file, and by line.

    With ``keep=False`` they are forgotten: what is not served may be as it likes.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._problems: dict[Problem, Location] = {}

    def add(self, code: str, what: str, *, where: Location | str = "", why: str = "", fix: str = "") -> None:
        """Note a problem.

        Raises:
            ManifestError: there are so many that looking for more would help nobody.
        """
        if not self._keep:
            return
        problem = Problem(code=f"manifest.{code}", what=what, where=str(where), why=why, fix=fix)
        self._problems[problem] = where if isinstance(where, Location) else Location(where)
        if len(self._problems) >= _MOST:
            more = Problem(code="manifest.more", what=f"reading stopped after {_MOST} problems; there may be more")
            raise ManifestError([*self._in_order(), more])

    def check(self) -> None:
        """Go on only when nothing was found.

        Raises:
            ManifestError: with every problem noted so far.
        """
        if self._problems:
            raise ManifestError(self._in_order())

    def _in_order(self) -> list[Problem]:
        """By line within a file; the files as they were first found."""
        order = {name: index for index, name in enumerate(dict.fromkeys(at.file for at in self._problems.values()))}
        return sorted(
            self._problems, key=lambda problem: (order[self._problems[problem].file], self._problems[problem].line or 0)
        )
