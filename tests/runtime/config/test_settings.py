from __future__ import annotations

import dataclasses
from typing import Any, assert_type

import attrs
import pytest

from toolkit.plugins import setting, setting_info
from toolkit.runtime.settings import is_settings, settings


@settings
class Limits:
    max_orders: int = setting(5, help="Open orders of a user.")
    plain: str = "x"
    token: str = setting("", help="Token.", secret=True)


@settings
@attrs.define
class Mutable:
    size: int = setting(1, help="Size.", unit="bytes")


class Inherited(Limits):
    pass


def fields_of(cls: Any) -> tuple[attrs.Attribute[Any], ...]:
    # To a type checker @settings makes a dataclass-like class, not one of attrs.
    return tuple(attrs.fields(cls))


def test_a_plain_class_becomes_frozen_and_keyword_only() -> None:
    """@settings makes an attrs class of annotated attributes, as type checkers see it too."""
    limits = Limits(max_orders=3)
    assert_type(limits.max_orders, int)
    assert_type(limits.plain, str)
    assert (limits.max_orders, limits.plain) == (3, "x")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        limits.max_orders = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        Limits(3)  # type: ignore[call-arg]


def test_an_attrs_class_stays_what_it_is() -> None:
    """A class that is decorated already keeps its own rules."""
    mutable = Mutable()
    assert setting_info(attrs.fields(Mutable).size).unit == "bytes"
    assert "__attrs_attrs__" in vars(Mutable)
    assert mutable == Mutable(size=1)


def test_the_runtime_tells_settings_classes_from_others() -> None:
    """A class is recognised by its own decoration, not by an ancestor's."""
    assert is_settings(Limits)
    assert is_settings(Mutable)
    assert not is_settings(Inherited)
    assert not is_settings(Limits())
    assert not is_settings(int)


def test_a_subclass_is_decorated_anew() -> None:
    """A settings class may extend another."""

    @settings
    class More(Limits):
        extra: int = setting(1, help="One more.")

    assert is_settings(More)
    assert [field.name for field in fields_of(More)] == ["max_orders", "plain", "token", "extra"]


def test_secrets_are_in_no_repr() -> None:
    """The repr of a settings object leaves its secrets out."""
    assert repr(Limits(token="hunter2")) == "Limits(max_orders=5, plain='x')"


def test_a_dataclass_is_refused() -> None:
    """What attrs cannot own is refused where it is decorated."""

    @dataclasses.dataclass
    class Data:
        x: int = 1

    with pytest.raises(TypeError) as caught:
        settings(Data)
    assert str(caught.value) == (
        f"@settings takes a plain class or an attrs class, and {Data.__qualname__} is a dataclass"
    )


def test_a_setting_without_an_annotation_is_refused() -> None:
    """A setting whose type is not said could not be read."""
    with pytest.raises(attrs.exceptions.UnannotatedAttributeError):

        @settings
        class Wrong:
            annotated: int = setting(1, help="")
            bare = setting(1, help="")


def test_a_plain_attrs_field_has_no_help_and_is_no_secret() -> None:
    """What was not declared with `setting` is a setting all the same."""
    info = setting_info(next(field for field in fields_of(Limits) if field.name == "plain"))
    assert (info.help, info.unit, info.secret) == ("", None, False)
