"""Every command and block of the README and of the examples' READMEs is executed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.processes import BIN, ServiceProcess

ROOT = Path(__file__).parent.parent
#: What the documents write, and what a test may not use.
DEFAULT = "localhost:9000"


@attrs.frozen
class Block:
    language: str
    text: str


def blocks(document: Path) -> list[Block]:
    found = re.findall(r"^```(\w+)\n(.*?)^```$", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(language, text) for language, text in found]


def commands(document: Path) -> Iterator[str]:
    for block in blocks(document):
        if block.language == "sh":
            yield from (line.partition("  #")[0].strip() for line in block.text.splitlines() if line.strip())


class Walkthrough:
    """Executes a document's commands in order; a service that one starts answers the calls that follow."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder = folder
        self.environ = {f"{prefix}_GRPC_SERVER_LISTEN": "127.0.0.1", f"{prefix}_GRPC_SERVER_PORT": "0"}
        self.service: ServiceProcess | None = None
        self.address = DEFAULT
        self.outputs: dict[str, str] = {}

    def execute(self, command: str) -> None:
        words = shlex.split(command)
        given = {}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            given[name] = value
        words = [word.replace(DEFAULT, self.address) for word in words]
        program = str(BIN / words[0])
        assert Path(program).exists(), f"{command!r} is no command of this project"
        if words[0] == "toolkit-run":
            self.stop()
            self.service = ServiceProcess(
                [program, *words[1:]], cwd=self.folder, env=self.environ | given | {"PYTHONUNBUFFERED": "1"}
            )
            self.address = self.service.address()
            return
        done = subprocess.run(
            [program, *words[1:]], cwd=self.folder, capture_output=True, text=True, check=False, timeout=25
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        self.outputs[command] = done.stdout

    def stop(self) -> None:
        if self.service is not None:
            service, self.service = self.service, None
            code = service.end(signal.SIGTERM)
            service.kill()
            assert code == 0, service.output


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[list[Walkthrough]]:
    walks: list[Walkthrough] = []
    yield walks
    for item in walks:
        if item.service is not None:
            item.service.kill()


def replies(output: str) -> list[dict[str, object]]:
    decoder = json.JSONDecoder()
    found = []
    rest = output.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].strip()
    return found


def test_readme_first_service(tmp_path: Path, walk: list[Walkthrough]) -> None:
    """The first service of the README runs as written, from its proto to its answer."""
    document = ROOT / "README.md"
    for block in blocks(document):
        named = re.match(r"^(?://|#) (\S+\.(?:proto|py))\n", block.text)
        if named:
            (tmp_path / named[1]).write_text(block.text, encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["greeter.proto", "greeter.py"]
    walkthrough = Walkthrough(tmp_path, "GREETER")
    walk.append(walkthrough)
    skipped = []
    for command in commands(document):
        if command.startswith(("./dev", "pip install")):
            skipped.append(command)  # the whole of test_dev.py and test_packaging.py
            continue
        walkthrough.execute(command)
    assert skipped == ["./dev run", "./dev test", "pip install '.[postgres,redis,dev]'"]
    walkthrough.stop()
    (greeting,) = replies(next(text for command, text in walkthrough.outputs.items() if " Greet " in command))
    assert greeting["message"] == "Hello, Ada!"


def test_readme_shows_the_real_report(tmp_path: Path) -> None:
    """The report that the README shows is what a misspelt parameter gives."""
    document = ROOT / "README.md"
    for block in blocks(document):
        named = re.match(r"^(?://|#) (\S+\.(?:proto|py))\n", block.text)
        if named:
            text = block.text.replace("cache: Redis", "cash: Redis").replace("await cache.", "await cash.")
            (tmp_path / named[1]).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [str(BIN / "toolkit"), "check", "greeter.proto", "--handlers", "greeter"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=25,
    )
    assert done.returncode == 78
    (shown,) = [block.text for block in blocks(document) if block.language == "text"]
    assert done.stderr == shown


@pytest.mark.parametrize("name", ["helloworld", "service"])
def test_example_readme(name: str, tmp_path: Path, walk: list[Walkthrough]) -> None:
    """Each command of an example's README works, in its order, in its folder."""
    folder = tmp_path / name
    shutil.copytree(ROOT / "examples" / name, folder, ignore=shutil.ignore_patterns("__pycache__", "*.pb"))
    walkthrough = Walkthrough(folder, {"helloworld": "HELLOWORLD", "service": "USER_SERVICE"}[name])
    walk.append(walkthrough)
    unreachable = []
    for command in commands(folder / "README.md"):
        if "db.internal" in command:
            unreachable.append(command)  # a host of the reader's own; test_run.py shows what happens without it
            continue
        walkthrough.execute(command)
    assert len(unreachable) == (1 if name == "service" else 0)
    walkthrough.stop()


def test_guide_to_testing_is_true(tmp_path: Path) -> None:
    """The tests that the guide shows pass, in a project of their own, on the README's service."""
    for document in (ROOT / "README.md", ROOT / "docs" / "testing.md"):
        for block in blocks(document):
            named = re.match(r"^(?://|#) (\S+\.(?:proto|py))\n", block.text)
            if named:
                (tmp_path / named[1]).write_text(block.text, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\npythonpath = .\n", encoding="utf-8")
    for command in (
        ["toolkit", "compile", "greeter.proto", "-o", "greeter.pb"],
        ["pytest", "-q", "-p", "no:cacheprovider"],
    ):
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_documents_have_no_dead_links() -> None:
    """Every relative link of the documents leads to a file."""
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    dead = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8"))
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert dead == []
