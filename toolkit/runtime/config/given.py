"""The texts that were given, each with the place it came from."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence

import attrs

from toolkit.runtime.config.env_file import EnvFile

__all__ = ["Given", "Layer", "Texts"]


class Layer(enum.Enum):
    """Where a text may come from, the first that has one wins."""

    ENVIRONMENT = "environment"
    ENV_FILE = "env file"
    DEV = "--dev"
    MANIFEST = "manifest"
    COMMAND_LINE = "command line"


@attrs.frozen(kw_only=True)
class Given:
    """A text for a setting."""

    #: It may be a secret.
    text: str = attrs.field(repr=False)
    #: The variable, or the manifest's key, that gave it.
    name: str
    layer: Layer
    #: ``.env:3`` or ``user.proto:12`` where the layer alone does not say it.
    place: str = ""
    #: The variable names a file, and the text is what that file holds.
    from_file: bool = False

    @property
    def origin(self) -> str:
        """For tables: ``environment``, ``.env:3``, ``user.proto:12``."""
        return self.place or self.layer.value

    @property
    def phrase(self) -> str:
        """For reports: ``set in the environment``, ``set at .env:3``."""
        match self.layer:
            case Layer.ENVIRONMENT:
                return "set in the environment"
            case Layer.ENV_FILE:
                return f"set at {self.place}"
            case Layer.MANIFEST:
                return f"set in the manifest at {self.place}"
            case Layer.DEV:
                return "set by --dev"
            case Layer.COMMAND_LINE:
                return "set on the command line"


class Texts:
    """The process environment over the env files, a later file over an earlier one; an empty text is unset."""

    def __init__(self, environ: Mapping[str, str], env_files: Sequence[EnvFile], *, ignored: frozenset[str]) -> None:
        found: dict[str, Given] = {}
        for file in env_files:
            for line in file.lines:
                # Within one file the last line wins, even when it is empty and the file before it has a text.
                place = f"{file.name}:{line.number}"
                if line.text:
                    found[line.name] = Given(text=line.text, name=line.name, layer=Layer.ENV_FILE, place=place)
        for name, text in environ.items():
            if text and name not in ignored:
                found[name] = Given(text=text, name=name, layer=Layer.ENVIRONMENT)
        self._found = found

    def find(self, name: str) -> Given | None:
        """The text of this variable, or None while it is unset."""
        return self._found.get(name)

    def __iter__(self) -> Iterator[Given]:
        return iter(self._found.values())
