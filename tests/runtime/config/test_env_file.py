from __future__ import annotations

from toolkit.runtime.config import parse_env_file


def test_every_line_is_read_with_its_number() -> None:
    """Names, texts and line numbers of an env file are those that an editor shows."""
    file = parse_env_file(
        ".env",
        "# a comment\n\nA=1\r\nexport B=two words # and a comment\n\n\nC='it''s\n\n"
        'D="line one\nline two"\nE=5\nF\nG=\n',
    )
    assert [(line.name, line.text, line.number) for line in file.lines] == [
        ("A", "1", 3),
        ("B", "two words", 4),
        ("D", "line one\nline two", 9),
        ("E", "5", 11),
        ("F", "", 12),
        ("G", "", 13),
    ]
    assert [str(problem) for problem in file.problems] == [
        ".env:7: expected NAME=value\n"
        "    the line is not shown, for it may hold a secret\n"
        "  → write NAME=value; put a value that holds quotes or spaces between single quotes"
    ]


def test_nothing_is_expanded() -> None:
    """A dollar sign is a dollar sign: no variable is expanded into a password."""
    file = parse_env_file(".env", "A=1\nB=$A${A}\nC=\"$A${A}\"\nD='p@ss/w:rd?#% +é'\nE=p@ss/w:rd?#% +é\n")
    assert {line.name: line.text for line in file.lines} == {
        "A": "1",
        "B": "$A${A}",
        "C": "$A${A}",
        "D": "p@ss/w:rd?#% +é",
        "E": "p@ss/w:rd?#% +é",
    }


def test_the_last_line_of_a_name_counts() -> None:
    """A name that is assigned twice has the text and the number of the last line."""
    file = parse_env_file(".env", "A=1\nB=2\nA=3\n")
    assert [(line.name, line.text, line.number) for line in file.lines] == [("A", "3", 3), ("B", "2", 2)]


def test_texts_are_in_no_repr() -> None:
    """An env file holds secrets, and its repr holds none of them."""
    assert "hunter2" not in repr(parse_env_file(".env", "PASSWORD=hunter2\n"))
