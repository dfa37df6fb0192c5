"""``[tool.toolkit]`` in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from toolkit.cli.project import find_project


def write(folder: Path, text: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nearest_table_upwards_is_used(tmp_path: Path) -> None:
    """From a folder below, the project's table is found, and its paths are relative to it."""
    write(
        tmp_path,
        '[tool.toolkit]\ndescriptor = "service.pb"\nhandlers = ["a.b", "c"]\nenv_prefix = ""\nenv_file = [".env"]\n',
    )
    below = tmp_path / "src" / "deep"
    below.mkdir(parents=True)
    project = find_project(below)
    assert project.root == tmp_path
    assert project.descriptors == (tmp_path / "service.pb",)
    assert project.handlers == ("a.b", "c")
    assert project.env_prefix == ""
    assert project.env_files == (tmp_path / ".env",)


def test_file_without_the_table_is_passed_over(tmp_path: Path) -> None:
    """A pyproject.toml of something else does not end the search."""
    write(tmp_path, '[tool.toolkit]\ndescriptors = ["a.pb", "b.pb"]\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    write(inner, "[tool.other]\nx = 1\n")
    assert find_project(inner).descriptors == (tmp_path / "a.pb", tmp_path / "b.pb")


def test_without_a_table_nothing_is_assumed(tmp_path: Path) -> None:
    """No table: the folder itself is the root, and nothing is named."""
    project = find_project(tmp_path)
    assert (project.root, project.descriptors, project.handlers, project.env_prefix) == (tmp_path, (), (), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[tool.toolkit]\nhandler = "x"\n',
            "[tool.toolkit] has no 'handler'; it knows descriptor, descriptors, handlers, env_prefix, env_file",
        ),
        ("[tool.toolkit]\nhandlers = 3\n", "[tool.toolkit] handlers is neither a string nor a list of strings"),
        ("[tool.toolkit]\nenv_prefix = 3\n", "[tool.toolkit] env_prefix is not a string"),
    ],
)
def test_mistakes_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    """What is wrong in the table is said with the file's path."""
    path = write(tmp_path, text)
    with pytest.raises(click.UsageError) as caught:
        find_project(tmp_path)
    assert caught.value.message == f"{path}: {message}"


def test_broken_toml_names_the_file(tmp_path: Path) -> None:
    """A file that is no TOML is named, with the parser's reason."""
    path = write(tmp_path, "[tool.toolkit\n")
    with pytest.raises(click.UsageError) as caught:
        find_project(tmp_path)
    assert caught.value.message.startswith(f"{path}: not valid TOML: ")
