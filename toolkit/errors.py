"""Every error that toolkit raises on purpose.

::

    ToolkitError
    ├── CheckError            what is wrong before anything opens: a list of problems   (exit 78)
    │   ├── ManifestError     … in the descriptor set
    │   ├── ConfigError       … in the environment
    │   └── BindingError      … in handlers and their signatures
    ├── StartupError          a dependency, a port or a hook failed while starting      (exit 69)
    ├── SettingError          raised by a plugin's config class: one setting is wrong
    ├── UnavailableError      a plugin that is degraded was used without asking for None
    └── Abort                 raised by a handler: the call ends with this status
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

__all__ = [
    "Abort",
    "BindingError",
    "CheckError",
    "Code",
    "ConfigError",
    "ExitCode",
    "ManifestError",
    "Problem",
    "SettingError",
    "StartupError",
    "ToolkitError",
    "UnavailableError",
]


class ExitCode(enum.IntEnum):
    """The exit codes of the command line; 78, 69 and 70 are those of BSD's ``sysexits.h``."""

    OK = 0
    USAGE = 2
    #: A dependency that could not be reached, or a port that is taken.
    DEPENDENCY = 69
    #: A defect of toolkit itself.
    INTERNAL = 70
    #: Manifest, configuration or binding.
    CONFIG = 78


class Code(enum.IntEnum):
    """The canonical status codes of gRPC (https://grpc.io/docs/guides/status-codes/)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@attrs.frozen(kw_only=True)
class Problem:
    """One thing that is wrong: what, where, why, and what to do about it.

    ``code`` is a stable dotted name for machines (``manifest.missing_import``); the
    other fields are sentences for people. No field ever carries a secret.
    """

    code: str
    #: What is wrong, as one sentence without a final full stop.
    what: str
    #: ``file.proto:12``, ``users.py:14 create_user(*, sesions: Redis)`` or a variable's name.
    where: str = ""
    #: The reason, or what exists instead; empty when ``what`` says it all.
    why: str = ""
    #: What to do next.
    fix: str = ""

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        lines = [head]
        if self.why:
            lines.extend("    " + line for line in self.why.splitlines())
        if self.fix:
            lines.extend(("  → " if n == 0 else "    ") + line for n, line in enumerate(self.fix.splitlines()))
        return "\n".join(lines)


class ToolkitError(Exception):
    """The root of every error that toolkit raises on purpose."""

    exit_code: ExitCode = ExitCode.INTERNAL


class CheckError(ToolkitError):
    """What is wrong was found before anything opened; ``problems`` lists all of it."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        return "\n".join([f"{head}, nothing was started", *(str(problem) for problem in self.problems)])


class ManifestError(CheckError):
    """The descriptor set is not a manifest that can be served."""


class ConfigError(CheckError):
    """The environment does not fit what the manifest declares."""


class BindingError(CheckError):
    """A handler, component or hook asks for what the manifest does not declare."""


class StartupError(ToolkitError):
    """The service could not start; whatever had been started was stopped again.

    ``problems`` has one entry for each dependency, port or hook that failed; the first
    is the first cause.
    """

    exit_code = ExitCode.DEPENDENCY

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class SettingError(ToolkitError):
    """One setting of a plugin's config is wrong in a way that only several settings together show.

    Raised by a plugin's ``resolve``; the runtime turns it into a :class:`Problem` that
    names the full variable, its origin and the line which declared the plugin.
    """

    exit_code = ExitCode.CONFIG

    def __init__(self, setting: str, what: str, *, fix: str = "") -> None:
        self.setting = setting
        self.what = what
        self.fix = fix
        super().__init__(f"{setting}: {what}")


class UnavailableError(ToolkitError):
    """A non-critical plugin is degraded, and its user did not accept ``None`` instead."""

    exit_code = ExitCode.DEPENDENCY

    def __init__(self, prefix: str, plugin: str) -> None:
        self.prefix = prefix
        self.plugin = plugin
        super().__init__(f"plugin {prefix!r} ({plugin}) is unavailable")


class Abort(ToolkitError):
    """End the call with this status: ``raise Abort(Code.NOT_FOUND, "no such user")``.

    ``message`` and ``details`` (protobuf messages, sent as ``google.rpc.Status``
    details) reach the client as they are; write them for the client's eyes.
    """

    def __init__(self, code: Code, message: str = "", *, details: Sequence[Any] = ()) -> None:
        if code is Code.OK:
            raise ValueError("a call that ends well returns a reply: Abort needs a code other than OK")
        self.code = Code(code)
        self.message = message
        self.details = tuple(details)
        super().__init__(f"{self.code.name}: {message}" if message else self.code.name)
