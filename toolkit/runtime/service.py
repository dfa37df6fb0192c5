"""``Service``: where a module says which functions handle which methods."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar, overload

import attrs
from google.protobuf.message import Message

from toolkit.manifest import Manifest

__all__ = ["MessageReference", "RpcMark", "Service"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
ClassT = TypeVar("ClassT", bound=type)

_FULL_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@attrs.frozen(eq=False)
class RpcMark:
    """One function under ``@service.rpc``, and the method's name where it was given."""

    function: Callable[..., Any]
    name: str | None


def _check_function(target: Any, mark: str) -> None:
    if not callable(target) or isinstance(target, type):
        raise TypeError(f"@{mark} marks a function, not {target!r}")


class Service:
    """A service of the manifest, and what this module handles of it.

    ::

        users = Service("shop.v1.UserService")

        @users.rpc
        async def create_user(request, context, *, pgsql: AsyncSession): ...

    It only collects: nothing is known of the manifest until an App binds the module, and
    several Apps may bind the same module, one after another or at once.
    """

    def __init__(self, full_name: str) -> None:
        if not _FULL_NAME.fullmatch(full_name):
            raise ValueError(f'Service takes the full name of a service, such as "shop.v1.Users", not {full_name!r}')
        self.full_name = full_name
        caller = sys._getframe(1)
        #: File, line and module of its definition, for reports.
        self.defined_at = (caller.f_code.co_filename, caller.f_lineno, caller.f_globals.get("__name__", ""))
        self.rpcs: list[RpcMark] = []
        self.implementations: list[type] = []
        self.fallbacks: list[Callable[..., Any]] = []
        #: What :meth:`message` has given, checked against the manifest before anything opens.
        self.references: dict[str, MessageReference] = {}
        self._manifests: list[Manifest] = []

    def __repr__(self) -> str:
        return f"Service({self.full_name!r})"

    @overload
    def rpc(self, target: FunctionT, /) -> FunctionT: ...

    @overload
    def rpc(self, target: str, /) -> Callable[[FunctionT], FunctionT]: ...

    def rpc(self, target: FunctionT | str, /) -> FunctionT | Callable[[FunctionT], FunctionT]:
        """Handle the method named like the function, or by the name given: ``@users.rpc("CreateUser")``.

        Names match ignoring case and underscores. The function itself stays as it is.
        """
        if isinstance(target, str):
            name = target

            def mark(function: FunctionT) -> FunctionT:
                self._add(function, name)
                return function

            return mark
        self._add(target, None)
        return target

    def _add(self, function: Callable[..., Any], name: str | None) -> None:
        _check_function(function, "rpc")
        self.rpcs.append(RpcMark(function, name))

    def implement(self, cls: ClassT) -> ClassT:
        """Handle every method that the class has a public function for; its constructor is injected.

        The instance is built once, at the start, or for every call if its constructor takes
        what belongs to a call.
        """
        if not isinstance(cls, type):
            raise TypeError(f"@implement marks a class, not {cls!r}")
        self.implementations.append(cls)
        return cls

    def fallback(self, function: FunctionT) -> FunctionT:
        """Handle every method that nothing else handles; ``context.method`` tells which one is called.

        A coroutine function takes the methods with one reply, an async generator function
        those that stream replies; a service may have one of each.
        """
        _check_function(function, "fallback")
        self.fallbacks.append(function)
        return function

    def message(self, name: str) -> Any:
        """The message class of this name, which may be relative to the service's package: ``users.message("Order")``.

        What is given stands in for the class: call it, ask for its attributes, use it with
        ``isinstance``. It becomes usable when an App has bound the module, not at import.
        """
        reference = self.references.get(name)
        if reference is None:
            reference = self.references[name] = MessageReference(self, name)
        return reference

    @property
    def manifest(self) -> Manifest | None:
        """The manifest attached last; None outside of any App."""
        return self._manifests[-1] if self._manifests else None

    def attach(self, manifest: Manifest) -> None:
        """Let :meth:`message` give the classes of ``manifest``, until it is detached."""
        self._manifests.append(manifest)

    def detach(self, manifest: Manifest) -> None:
        """Undo one :meth:`attach`; what was attached before is in force again."""
        for index in reversed(range(len(self._manifests))):
            if self._manifests[index] is manifest:
                del self._manifests[index]
                return


class MessageReference:
    """Stands in for a message class until the manifest is known, and from then on behaves like it.

    When several Apps bind a module at once, the manifest attached last gives the class;
    the others accept its messages by their full name.
    """

    __slots__ = ("_class", "_manifest", "_name", "_service")

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._name = name
        self._manifest: Manifest | None = None
        self._class: type[Message] | None = None

    def __repr__(self) -> str:
        return f"{self._service!r}.message({self._name!r})"

    def __call__(self, *args: Any, **fields: Any) -> Message:
        """A message, made as the class itself makes it."""
        return self._resolve()(*args, **fields)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            # Introspection (typing, inspect, copy) must not fail for want of a manifest.
            raise AttributeError(attribute)
        return getattr(self._resolve(), attribute)

    def __instancecheck__(self, instance: object) -> bool:
        expected = self._resolve().DESCRIPTOR.full_name
        return isinstance(instance, Message) and instance.DESCRIPTOR.full_name == expected

    def _resolve(self) -> type[Message]:
        manifest = self._service.manifest
        if manifest is None:
            raise RuntimeError(
                f"{self!r} was used before an App had read the manifest: use it inside handlers, "
                "and in tests while the App runs"
            )
        if self._class is None or manifest is not self._manifest:
            found = self.find(manifest)
            if found is None:
                raise LookupError(f"{self!r}: the manifest has no such message")
            self._manifest, self._class = manifest, found
        return self._class

    def find(self, manifest: Manifest) -> type[Message] | None:
        """The class in ``manifest``: looked up in the service's package, then outwards, as protoc does."""
        scope = self._service.full_name
        while scope:
            scope = scope.rpartition(".")[0]
            try:
                return manifest.message(f"{scope}.{self._name}".lstrip("."))
            except KeyError:
                continue
        return None
