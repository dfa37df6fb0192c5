"""How problems and errors read."""

from __future__ import annotations

import pytest

from toolkit.errors import Abort, CheckError, Code, ExitCode, ManifestError, Problem, StartupError, UnavailableError

PROBLEM = Problem(code="x.y", what="it is wrong", where="a.proto:3", why="because\nof this", fix="do that\nand that")


def test_problem_reads_what_where_why_and_what_to_do() -> None:
    """A problem is a headline, its reasons and its cure."""
    assert str(PROBLEM) == ("a.proto:3: it is wrong\n    because\n    of this\n  → do that\n    and that")
    assert str(Problem(code="x.y", what="it is wrong")) == "it is wrong"


def test_report_counts_its_problems() -> None:
    """The report of a check says how many there are, and that nothing was started."""
    assert str(CheckError([PROBLEM])).splitlines()[0] == "1 problem, nothing was started"
    assert str(ManifestError([PROBLEM, PROBLEM])).splitlines()[0] == "2 problems, nothing was started"


@pytest.mark.parametrize(
    ("error", "code"), [(CheckError([]), ExitCode.CONFIG), (StartupError([]), ExitCode.DEPENDENCY)]
)
def test_each_error_has_its_exit_code(error: CheckError | StartupError, code: int) -> None:
    """What the process exits with follows from the kind of error."""
    assert error.exit_code == code


def test_abort_is_never_ok() -> None:
    """A call that ends well returns; Abort refuses OK."""
    assert str(Abort(Code.NOT_FOUND, "no such user")) == "NOT_FOUND: no such user"
    assert str(Abort(Code.ABORTED)) == "ABORTED"
    with pytest.raises(ValueError, match="^a call that ends well returns a reply: Abort needs a code other than OK$"):
        Abort(Code.OK)


def test_unavailable_names_the_plugin() -> None:
    """A degraded plugin is named by prefix and type."""
    assert str(UnavailableError("cache", "redis")) == "plugin 'cache' (redis) is unavailable"
