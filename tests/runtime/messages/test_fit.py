"""A class that does not fit its message is refused at the start, field by field."""

from __future__ import annotations

import enum
from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs
import pytest

from tests.runtime.shop import plan_of
from toolkit.manifest import Manifest
from toolkit.runtime.messages import Messages, can_be_message

THING = "things.v1.Thing"
FIELDS = (
    "id, name, data, weight, good, color, note, part, parts, numbers, counts, by_number, colors, text, number, chosen, "
    "made, took, nick, extra, any_value, list, mask, packed, times, small"
)


class Colour(enum.Enum):
    COLOR_UNSPECIFIED = 0
    COLOR_RED = 1


@attrs.frozen
class Inner:
    name: int


@attrs.frozen
class Misfit:
    id: str
    nmae: str
    xyz: int
    note: int | None
    part: Inner | None
    chosen: Inner
    parts: dict[str, Any]
    numbers: list[str]
    counts: list[int]
    by_number: dict[str, Any]
    color: Colour
    made: str | None
    nick: int | None
    weight: Missing  # type: ignore[name-defined]  # noqa: F821 -- that is the point
    good: bool = True
    _private: int = attrs.field(init=False, default=3)


def lines(mismatches: Any) -> list[str]:
    return [f"{mismatch.what} → {mismatch.fix}" if mismatch.fix else mismatch.what for mismatch in mismatches]


BOTH_WAYS = [
    "Misfit.id is annotated str; things.v1.Thing.id is int64, which is int in Python",
    f"Misfit.nmae is no field of things.v1.Thing (its fields: {FIELDS}) → name it 'name'",
    f"Misfit.xyz is no field of things.v1.Thing (its fields: {FIELDS})",
    "Misfit.note is annotated int | None; things.v1.Thing.note is string, which is str in Python",
    "Misfit.parts is annotated dict[str, Any]; things.v1.Thing.parts is repeated things.v1.Part, "
    "which is list[dict] in Python",
    "Misfit.numbers is annotated list[str]; things.v1.Thing.numbers is repeated int32, which is list[int] in Python",
    "Misfit.counts is annotated list[int]; things.v1.Thing.counts is map<string, int32>, "
    "which is dict[str, int] in Python",
    "Misfit.by_number is annotated dict[str, Any]; things.v1.Thing.by_number is map<int32, things.v1.Part>, "
    "which is dict[int, dict] in Python",
    "Misfit.color is annotated Colour; Colour has no member for COLOR_BLUE = 2",
    "Misfit.made is annotated str | None; things.v1.Thing.made is google.protobuf.Timestamp, "
    "which is datetime | None in Python",
    "Misfit.nick is annotated int | None; things.v1.Thing.nick is google.protobuf.StringValue, "
    "which is str | None in Python",
    "Misfit.weight is not annotated; its annotation does not evaluate: NameError: name 'Missing' is not defined",
]
INNER = "Inner.name is annotated int; things.v1.Part.name is string, which is str in Python"


def test_a_request_class_is_checked_field_by_field(things: Manifest) -> None:
    """Every field that does not fit is listed, with what would, also those of nested classes."""
    assert lines(Messages(things).request(THING, Misfit).mismatches) == [
        *BOTH_WAYS,
        "Misfit.chosen cannot say that things.v1.Thing.chosen is not set "
        "→ annotate it `Inner | None`, or give it a default",
        INNER,
    ]


def test_a_reply_class_is_checked_field_by_field(things: Manifest) -> None:
    """The same holds for replies, except that a message may always be set."""
    assert lines(Messages(things).reply(THING, Misfit).mismatches) == [*BOTH_WAYS, INNER]


@attrs.frozen
class Loop:
    name: str
    inner: Loop | None


def test_messages_that_hold_themselves(things: Manifest) -> None:
    """A class may hold itself like its message."""
    face = Messages(things).request("things.v1.Part", Loop)
    assert face.mismatches == ()
    assert face.convert is not None
    part = things.message("things.v1.Part")
    message: Any = part(name="a", inner=part(name="b"))
    assert face.convert(message) == Loop("a", Loop("b", None))


@pytest.mark.parametrize("wanted", [int, str, list, list[dict[str, Any]], Colour])
def test_what_is_no_message_is_refused(things: Manifest, wanted: Any) -> None:
    """An annotation that cannot stand for a message is refused with what can."""
    assert not can_be_message(wanted)
    name = {list: "list", list[dict[str, Any]]: "list[dict[str, Any]]"}.get(wanted) or wanted.__name__
    assert lines(Messages(things).request(THING, wanted).mismatches) == [
        f"the request is annotated {name}; the method has things.v1.Thing "
        "→ annotate it with a message class, an attrs class or dict, or leave the annotation out"
    ]


def test_a_generated_class_of_another_message_is_refused(things: Manifest, generated: ModuleType) -> None:
    """The report names both messages."""
    messages = Messages(things)
    text = "the {} is annotated with the message things.v1.Part; the method has things.v1.Thing"
    assert lines(messages.request(THING, generated.Part).mismatches) == [text.format("request")]
    assert lines(messages.reply(THING, generated.Part).mismatches) == [text.format("reply")]


def test_mismatches_are_problems_of_the_plan(problems: Callable[..., list[str]]) -> None:
    """They are reported with the handler's parameter or return annotation, all at once."""
    found = problems(
        """
        @attrs.frozen
        class NewUser:
            id: str
            name: str

        User = users.message("User")

        @users.rpc
        async def create_user(request: NewUser) -> int: ...

        @users.rpc
        async def list_users(request: User) -> AsyncIterator[NewUser]: yield

        @users.rpc
        async def import_users(requests: AsyncIterator[NewUser | None]) -> NewUser | None: ...
        """
    )
    user_id = "NewUser.id is annotated str; shop.v1.User.id is int64, which is int in Python"
    assert found == [
        f"users.py:18 create_user(request: NewUser): {user_id}",
        "users.py:18 create_user(…) -> int: the reply is annotated int; the method has shop.v1.User\n"
        "  → annotate it with a message class, an attrs class or dict, or leave the annotation out",
        "users.py:21 list_users(request: User): the request is annotated with the message shop.v1.User; "
        "the method has shop.v1.Query",
        f"users.py:21 list_users(…) -> AsyncIterator[NewUser]: {user_id}",
        f"users.py:24 import_users(requests: AsyncIterator[NewUser | None]): {user_id}",
        f"users.py:24 import_users(…) -> NewUser | None: {user_id}",
    ]


def test_an_annotation_of_the_request_has_to_evaluate(problems: Callable[..., list[str]]) -> None:
    """The conversion depends on it; a return annotation that does not evaluate is left unchecked."""
    found = problems(
        """
        @users.rpc
        async def create_user(request: NoSuchClass, context: NeitherThis) -> NorThis: ...
        """
    )
    assert found == [
        "users.py:11 create_user(request: NoSuchClass): the annotation of 'request' does not evaluate: "
        "NameError: name 'NoSuchClass' is not defined"
    ]


def test_a_plan_without_annotations_compiles_no_converter(module: Callable[..., ModuleType]) -> None:
    """Dynamic messages are passed as they are."""
    plan = plan_of(module("@users.rpc\nasync def create_user(request): ...\n"))
    (bound,) = plan._methods
    assert bound.handler.request.convert is None
