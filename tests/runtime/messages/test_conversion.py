"""Messages become dicts and attrs classes with native values, and back."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from types import ModuleType
from typing import Any, NewType

import attrs
import pytest
from google.protobuf.message import Message

from toolkit.manifest import Manifest
from toolkit.runtime.messages import ConversionError, Messages

THING = "things.v1.Thing"

FULL: dict[str, Any] = {
    "id": 2**40,
    "name": "né",
    "data": b"\x00\xff",
    "weight": 1.5,
    "good": True,
    "color": "COLOR_RED",
    "note": "",
    "part": {"name": "a", "inner": {"name": "b", "inner": None}},
    "parts": [{"name": "c", "inner": None}],
    "numbers": [1, -2],
    "counts": {"x": 1},
    "by_number": {7: {"name": "d", "inner": None}},
    "colors": ["COLOR_BLUE", "COLOR_UNSPECIFIED"],
    "text": None,
    "number": 0,
    "chosen": None,
    "made": datetime(2024, 2, 29, 12, 30, 1, 500, tzinfo=UTC),
    "took": timedelta(days=-1, seconds=1, microseconds=5),
    "nick": "",
    "extra": {"a": [1.0, None, {"b": "c"}], "t": True},
    "any_value": [1.0, "x"],
    "list": [{"k": 2.5}],
    "mask": ["name", "part.name"],
    "packed": None,
    "times": [datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)],
    "small": 3,
}

EMPTY: dict[str, Any] = {
    **dict.fromkeys(FULL),
    "id": 0,
    "name": "",
    "data": b"",
    "weight": 0.0,
    "good": False,
    "color": "COLOR_UNSPECIFIED",
    "small": 0,
    "parts": [],
    "numbers": [],
    "counts": {},
    "by_number": {},
    "colors": [],
    "times": [],
}


def read(things: Manifest, wanted: Any, message: Message) -> Any:
    face = Messages(things).request(THING, wanted)
    assert face.mismatches == ()
    assert face.convert is not None
    return face.convert(face.message_class.FromString(message.SerializeToString()))


def write(things: Manifest, value: Any) -> Any:
    return Messages(things).reply(THING, dict).adopt(value)


def test_a_dict_comes_back_as_it_was(things: Manifest) -> None:
    """Every kind of field is written from a native value and read as that value."""
    assert read(things, dict, write(things, FULL)) == FULL
    assert read(things, dict[str, Any], write(things, EMPTY)) == EMPTY


def test_what_is_written_is_what_protobuf_itself_reads(things: Manifest, generated: ModuleType) -> None:
    """The generated classes agree with what was written."""
    thing = generated.Thing.FromString(write(things, FULL).SerializeToString())
    assert thing.made.ToDatetime(tzinfo=UTC) == FULL["made"]
    assert thing.took.ToTimedelta() == FULL["took"]
    assert thing.times[0].ToDatetime(tzinfo=UTC) == FULL["times"][0]
    assert dict(thing.extra) == {"a": thing.extra["a"], "t": True}
    assert thing.WhichOneof("choice") == "number"
    assert thing.HasField("note")
    assert thing.HasField("nick")
    assert not thing.HasField("packed")
    assert (thing.color, list(thing.colors)) == (1, [2, 0])


def test_times_with_other_zones_and_with_none(things: Manifest) -> None:
    """A datetime counts with its zone, and as UTC where it has none."""
    zone = timezone(timedelta(hours=2))
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    assert read(things, dict, write(things, {"made": noon.astimezone(zone)}))["made"] == noon
    assert read(things, dict, write(things, {"made": noon.replace(tzinfo=None)}))["made"] == noon


class Color(enum.IntEnum):
    NONE = 0
    RED = 1
    BLUE = 2


class ColorName(enum.Enum):
    COLOR_UNSPECIFIED = "none"
    RED = "COLOR_RED"
    COLOR_BLUE = "blue"


def test_enums_by_name_number_and_member(things: Manifest) -> None:
    """An enum is written from its name, its number or a member of a Python enum; an unknown number stays one."""
    for value in ("COLOR_RED", 1, Color.RED, ColorName.RED):
        assert write(things, {"color": value}).color == 1
    assert write(things, {"color": ColorName.COLOR_BLUE}).color == 2
    assert read(things, dict, write(things, {"color": 9}))["color"] == 9


UserId = NewType("UserId", int)


@attrs.define
class Part:
    name: str
    inner: Part | None = None


@attrs.frozen(kw_only=True)
class Thing:
    id: UserId
    name: str
    data: bytes
    color: Color
    colors: tuple[ColorName, ...]
    note: str | None
    part: Part | None
    parts: list[Part]
    numbers: Sequence[int]
    counts: dict[str, int]
    by_number: dict[int, Part]
    text: str | None
    number: int | None
    made: datetime | None
    took: timedelta = timedelta(3)
    nick: str | None
    extra: dict[str, Any] | None
    weight: Any
    times: frozenset[datetime]
    packed: Any = None
    good: bool = attrs.field(init=False, default=True)


def test_an_attrs_class_comes_back_as_it_was(things: Manifest) -> None:
    """Fields are converted to what the class says, nested classes and containers included."""
    thing = Thing(
        id=UserId(5),
        name="x",
        data=b"d",
        color=Color.BLUE,
        colors=(ColorName.RED, ColorName.COLOR_UNSPECIFIED),
        note=None,
        part=Part("a", Part("b")),
        parts=[Part("c")],
        numbers=[1, 2],
        counts={"x": 1},
        by_number={1: Part("d")},
        text="chosen",
        number=None,
        made=datetime(2020, 1, 1, tzinfo=UTC),
        took=timedelta(seconds=9),
        nick=None,
        extra={"k": 1.0},
        weight=2.5,
        times=frozenset({datetime(2021, 1, 1, tzinfo=UTC)}),
    )
    message = write(things, thing)
    assert message.good
    assert read(things, Thing, message) == thing


def test_what_is_not_set_is_none_or_the_default(things: Manifest) -> None:
    """A field that is not set gives None, or the class's own default where it has one."""
    thing = read(things, Thing, write(things, {}))
    assert (thing.note, thing.part, thing.text, thing.made, thing.nick) == (None, None, None, None, None)
    assert thing.took == timedelta(3)
    assert thing.color is Color.NONE


@attrs.frozen
class Aliased:
    _id: int
    name: str = attrs.field(alias="label", validator=attrs.validators.min_len(1))


def test_private_names_and_aliases(things: Manifest) -> None:
    """A field is found by its attribute's name or its alias, and set by its alias."""
    aliased = Aliased(id=3, label="x")
    assert read(things, Aliased, write(things, aliased)) == aliased


def refused(things: Manifest, wanted: Any, **fields: Any) -> tuple[str, str]:
    with pytest.raises(ConversionError) as caught:
        read(things, wanted, write(things, fields))
    return caught.value.path, caught.value.reason


@attrs.frozen
class Nested:
    part: StrictPart | None


@attrs.frozen
class StrictPart:
    name: str = attrs.field(validator=attrs.validators.matches_re("[a-z]+"))


def test_what_does_not_fit_is_named_by_its_field(things: Manifest) -> None:
    """An error of a request has the path of its field and a reason that holds no value of it."""
    assert refused(things, Aliased, name="") == ("name", "is not accepted")
    assert refused(things, Nested, part={"name": "SECRET"}) == ("part.name", "is not accepted")
    assert refused(things, Thing, color=9) == ("color", "has no value 9")
    far = things.message(THING)
    message: Any = far()
    message.made.seconds = 10**15
    with pytest.raises(ConversionError) as caught:
        read(things, Thing, message)
    assert str(caught.value) == "made: is beyond the year 9999"
    message = far()
    message.took.seconds = 10**18
    with pytest.raises(ConversionError) as caught:
        read(things, Thing, message)
    assert str(caught.value) == "took: is longer than a timedelta"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"nmae": "x"}, "things.v1.Thing has no field 'nmae'; did you mean 'name'?"),
        ({"zzz": 1}, "things.v1.Thing has no field 'zzz'"),
        ({"part": {"zzz": "x"}}, "things.v1.Thing.part: things.v1.Part has no field 'zzz'"),
        ({"id": "1"}, "things.v1.Thing.id: 'str' object cannot be interpreted as an integer"),
        ({"small": -1}, "things.v1.Thing.small: Value out of range: -1"),
        (
            {"color": "RED"},
            "things.v1.Thing.color: things.v1.Color has no value 'RED' "
            "(there are: COLOR_UNSPECIFIED, COLOR_RED, COLOR_BLUE)",
        ),
        ({"color": True}, "things.v1.Thing.color: expected a name or number of things.v1.Color, got bool"),
        ({"made": "today"}, "things.v1.Thing.made: expected datetime, got str"),
        ({"took": 3}, "things.v1.Thing.took: expected timedelta, got int"),
        ({"numbers": "12"}, "things.v1.Thing.numbers: expected a list, got str"),
        ({"extra": [1]}, "things.v1.Thing.extra: expected dict, got list"),
        (
            {"part": 3},
            "things.v1.Thing.part: expected things.v1.Part as a message, a dict or an attrs instance, got int",
        ),
        ({"text": "a", "number": 1}, "things.v1.Thing: text and number are of one oneof; set one of them"),
        (Part("x"), "things.v1.Thing has no field 'inner'"),
        ("text", "expected things.v1.Thing as a message, a dict or an attrs instance, got str"),
        (None, "the handler returned None, the method replies things.v1.Thing"),
    ],
)
def test_a_reply_that_does_not_fit_says_why(things: Manifest, value: Any, error: str) -> None:
    """The log's error names message and field, and what was expected there."""
    with pytest.raises((TypeError, ValueError)) as caught:
        write(things, value)
    assert str(caught.value) == error


def test_messages_of_other_pools_are_taken_by_their_full_name(things: Manifest, generated: ModuleType) -> None:
    """A generated class replies as it is, and fits into a dict; another message is refused by name."""
    thing = generated.Thing(id=3)
    assert write(things, thing) is thing
    packed = write(things, {"part": generated.Part(name="g"), "made": generated.Thing().made})
    assert packed.part.name == "g"
    assert packed.HasField("made")
    with pytest.raises(TypeError) as caught:
        write(things, generated.Part())
    assert str(caught.value) == "the handler returned things.v1.Part, the method replies things.v1.Thing"
    with pytest.raises(TypeError) as caught:
        write(things, {"part": thing})
    assert str(caught.value) == "things.v1.Thing.part: expected things.v1.Part, got things.v1.Thing"


def test_a_generated_class_is_decoded_to_directly(things: Manifest, generated: ModuleType) -> None:
    """A parameter or a reply annotated with a generated class of the same full name has that class."""
    messages = Messages(things)
    request = messages.request(THING, generated.Thing)
    assert request.message_class is generated.Thing
    assert request.convert is None
    assert messages.reply(THING, generated.Thing).message_class is generated.Thing
    dynamic = messages.request(THING, Message).message_class
    assert dynamic is things.message(THING)
    assert dynamic is not generated.Thing


def test_generated_classes_inside_of_an_attrs_class(things: Manifest, generated: ModuleType) -> None:
    """A field may keep its message: as the generated class, or as it is."""
    types: dict[str, Any] = {"part": generated.Part | None, "chosen": Message | None}
    holder: Any = attrs.make_class("Holder", {name: attrs.field(type=wanted) for name, wanted in types.items()})
    value = read(things, holder, write(things, {"part": {"name": "p"}, "chosen": {"name": "c"}}))
    assert type(value.part) is generated.Part
    assert (value.part.name, value.chosen.name) == ("p", "c")


def test_nothing_replies_with_empty(things: Manifest) -> None:
    """Where the method replies google.protobuf.Empty, None will do."""
    face = Messages(things).reply("google.protobuf.Empty", None)
    assert face.mismatches == ()
    assert face.adopt(None).SerializeToString() == b""
