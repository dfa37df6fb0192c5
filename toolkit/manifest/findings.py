"""The list of problems that a read collects, so that one report has them all."""

from __future__ import annotations

from typing import NoReturn

from toolkit.errors import ManifestError, Problem
from toolkit.manifest.model import Location

__all__ = ["Findings"]

#: More than anyone mends at once; a damaged set could have millions.
_MOST = 100


class Findings:
    """Problems in the order in which they were found; the same one twice counts once.

    With ``keep=False`` they are forgotten: what is not served may be as it likes.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._problems: dict[Problem, None] = {}

    def __len__(self) -> int:
        return len(self._problems)

    def add(self, code: str, what: str, *, where: Location | str = "", why: str = "", fix: str = "") -> None:
        """Note a problem.

        Raises:
            ManifestError: there are so many that looking for more would help nobody.
        """
        if not self._keep:
            return
        self._problems[Problem(code=f"manifest.{code}", what=what, where=str(where), why=why, fix=fix)] = None
        if len(self._problems) >= _MOST:
            more = Problem(code="manifest.more", what=f"reading stopped after {_MOST} problems; there may be more")
            raise ManifestError([*self._problems, more])

    def fail(self) -> NoReturn:
        """Raise what was found.

        Raises:
            ManifestError: always.
        """
        raise ManifestError(self._problems)

    def check(self) -> None:
        """Go on only when nothing was found.

        Raises:
            ManifestError: with every problem noted so far.
        """
        if self._problems:
            self.fail()
