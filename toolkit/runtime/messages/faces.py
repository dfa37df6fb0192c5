"""What one method's handler sees of its messages."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from toolkit.manifest import Manifest
from toolkit.runtime.injection.signature import ABSENT, draw_type
from toolkit.runtime.messages.shapes import Mismatch, Shapes
from toolkit.runtime.messages.writing import Writer
from toolkit.runtime.service import MessageReference

__all__ = ["Messages", "Mismatch", "ReplyFace", "RequestFace", "can_be_message"]

_EMPTY: Final = "google.protobuf.Empty"
_KINDS: Final = "a message class, an attrs class or dict"


@attrs.frozen(kw_only=True, eq=False)
class RequestFace:
    """How a received message becomes what the handler's first parameter is annotated with."""

    #: What the server decodes to.
    message_class: type[Message]
    #: None: the message itself. Raises ConversionError.
    convert: Callable[[Any], Any] | None = None
    mismatches: tuple[Mismatch, ...] = ()


@attrs.frozen(kw_only=True, eq=False)
class ReplyFace:
    """How what a handler returns becomes a message."""

    #: What handlers return when nothing has to be converted.
    message_class: type[Message]
    #: Takes whatever is not of exactly this class. Raises TypeError or ValueError.
    adopt: Callable[[Any], Message]
    mismatches: tuple[Mismatch, ...] = ()


class Messages:
    """The faces of one manifest's messages; converters are compiled once and shared."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._shapes = Shapes()
        self._writers: dict[Descriptor, Writer] = {}

    def request(self, full_name: str, wanted: Any) -> RequestFace:
        """The face of a request for a parameter annotated ``wanted``."""
        dynamic: Any = self._manifest.message(full_name)
        cls, mismatch = self._message_class("request", dynamic, full_name, wanted)
        if cls is not None:
            return RequestFace(message_class=cls, mismatches=mismatch)
        shape = _shape_of(wanted)
        if shape is None:
            return RequestFace(message_class=dynamic, mismatches=(_no_face("request", full_name, wanted),))
        convert, mismatches = self._shapes.reader(dynamic.DESCRIPTOR, shape)
        return RequestFace(message_class=dynamic, convert=convert, mismatches=mismatches)

    def reply(self, full_name: str, wanted: Any) -> ReplyFace:
        """The face of a reply for a function annotated to return ``wanted``."""
        dynamic: Any = self._manifest.message(full_name)
        adopt = self._adopter(dynamic.DESCRIPTOR)
        if wanted in (None, type(None)) and full_name == _EMPTY:
            return ReplyFace(message_class=dynamic, adopt=adopt)
        cls, mismatch = self._message_class("reply", dynamic, full_name, wanted)
        if cls is not None:
            return ReplyFace(message_class=cls, adopt=adopt, mismatches=mismatch)
        shape = _shape_of(wanted)
        if shape is None:
            mismatches: tuple[Mismatch, ...] = (_no_face("reply", full_name, wanted),)
        else:
            mismatches = () if shape is dict else self._shapes.reply_mismatches(dynamic.DESCRIPTOR, shape)
        return ReplyFace(message_class=dynamic, adopt=adopt, mismatches=mismatches)

    def _message_class(
        self, role: str, dynamic: type[Message], full_name: str, wanted: Any
    ) -> tuple[type[Message] | None, tuple[Mismatch, ...]]:
        """The class for annotations that mean the message as it is; None for those that mean a conversion."""
        if wanted in (ABSENT, Any, object, Message):
            return dynamic, ()
        if isinstance(wanted, MessageReference):
            found = wanted.find(self._manifest)
            # One that names nothing is reported where it was made.
            named = found.DESCRIPTOR.full_name if found else full_name
            return dynamic, () if named == full_name else (_other_message(role, full_name, named),)
        if isinstance(wanted, type) and issubclass(wanted, Message):
            named = wanted.DESCRIPTOR.full_name
            return (wanted, ()) if named == full_name else (dynamic, (_other_message(role, full_name, named),))
        return None, ()

    def _adopter(self, descriptor: Descriptor) -> Callable[[Any], Message]:
        full_name = descriptor.full_name

        def adopt(reply: Any) -> Message:
            if isinstance(reply, Message):
                # A generated class of the same name has the same wire form: no copy is made.
                if reply.DESCRIPTOR.full_name == full_name:
                    return reply
                raise TypeError(f"the handler returned {reply.DESCRIPTOR.full_name}, the method replies {full_name}")
            if reply is None:
                if full_name != _EMPTY:
                    raise TypeError(f"the handler returned None, the method replies {full_name}")
                reply = {}
            writer = self._writers.get(descriptor) or Writer(descriptor, self._writers)
            return writer.write(reply)

        return adopt


def can_be_message(wanted: Any) -> bool:
    """Whether an annotation can stand for a message at all."""
    if isinstance(wanted, MessageReference) or _shape_of(wanted) is not None:
        return True
    return isinstance(wanted, type) and issubclass(wanted, Message)


def _shape_of(wanted: Any) -> Any:
    """``dict`` or the attrs class that an annotation means; None for anything else."""
    if (typing.get_origin(wanted) or wanted) in (dict, Mapping):
        return dict
    return wanted if isinstance(wanted, type) and attrs.has(wanted) else None


def _other_message(role: str, full_name: str, named: str) -> Mismatch:
    return Mismatch(what=f"the {role} is annotated with the message {named}; the method has {full_name}")


def _no_face(role: str, full_name: str, wanted: Any) -> Mismatch:
    return Mismatch(
        what=f"the {role} is annotated {draw_type(wanted)}; the method has {full_name}",
        fix=f"annotate it with {_KINDS}, or leave the annotation out",
    )
