"""Service objects collect; message references stand for classes of whatever manifest is in force."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from google.protobuf.message import Message

from tests.runtime.shop import SHOP, shop
from toolkit.runtime.marks import Named, component, hook_kind, is_component, middleware, middleware_mark, on_start
from toolkit.runtime.service import Service


def test_functions_and_classes_stay_what_they_are() -> None:
    """A decorator gives back what it was given, so that tests can call it."""
    users = Service("shop.v1.UserService")

    async def handle(request: Any) -> Any:
        return request

    class Users: ...

    assert users.rpc(handle) is handle
    assert users.rpc("CreateUser")(handle) is handle
    assert users.fallback(handle) is handle
    assert users.implement(Users) is Users
    assert middleware(handle) is handle
    assert on_start(handle) is handle
    assert component(Users) is Users
    assert [(mark.function, mark.name) for mark in users.rpcs] == [(handle, None), (handle, "CreateUser")]


@pytest.mark.parametrize(
    ("mark", "target", "message"),
    [
        (Service("a.B").rpc, 3, "@rpc marks a function, not 3"),
        (Service("a.B").rpc("C"), int, "@rpc marks a function, not <class 'int'>"),
        (Service("a.B").fallback, int, "@fallback marks a function, not <class 'int'>"),
        (Service("a.B").implement, 3, "@implement marks a class, not 3"),
        (component, 3, "@component marks a class, not 3"),
        (middleware, int, "@middleware marks a function, not <class 'int'>"),
        (middleware(name="x"), 3, "@middleware marks a function, not 3"),
        (on_start, 3, "@on_start marks a function, not 3"),
    ],
)
def test_marks_refuse_what_they_cannot_mark(mark: Any, target: object, message: str) -> None:
    """A mark on the wrong kind of thing fails where it is written."""
    with pytest.raises(TypeError) as caught:
        mark(target)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["", "shop.v1.", "shop v1", ".shop", "shop/v1"])
def test_a_service_needs_a_full_name(name: str) -> None:
    """What cannot be a service's full name is refused at once."""
    with pytest.raises(ValueError, match="Service takes the full name of a service"):
        Service(name)


def test_marks_are_not_inherited() -> None:
    """A subclass of a component is none, and an unmarked function is neither hook nor middleware."""

    @component
    class Parent: ...

    class Child(Parent): ...

    async def plain() -> None: ...

    assert is_component(Parent)
    assert not is_component(Child)
    assert hook_kind(plain) == ""
    assert middleware_mark(plain) is None
    assert repr(Named("cache")) == "Named('cache')"


def test_references_are_found_as_protoc_finds_names() -> None:
    """A name is looked up in the service's package, then outwards, then as it stands."""
    users, manifest = Service("shop.v1.UserService"), shop()
    users.attach(manifest)
    for name, full_name in (
        ("User", "shop.v1.User"),
        ("v1.User", "shop.v1.User"),
        ("shop.v1.Query", "shop.v1.Query"),
        ("google.protobuf.Empty", "google.protobuf.Empty"),
    ):
        assert users.message(name).DESCRIPTOR.full_name == full_name
    with pytest.raises(LookupError) as caught:
        users.message("Nothing")()
    assert str(caught.value) == "Service('shop.v1.UserService').message('Nothing'): the manifest has no such message"


def test_a_reference_behaves_like_its_class() -> None:
    """It is called, asked for attributes, and used with isinstance, and is the same however often it is asked for."""
    users = Service("shop.v1.UserService")
    user = users.message("User")
    assert users.message("User") is user
    assert repr(user) == "Service('shop.v1.UserService').message('User')"
    copy.copy(user)  # introspection needs no manifest
    manifest = shop()
    users.attach(manifest)
    ann = user(name="ann")
    assert isinstance(ann, Message)
    assert isinstance(ann, user)
    assert not isinstance(user, user)
    assert not isinstance(users.message("Query")(), user)
    assert user.FromString(ann.SerializeToString()) == ann
    assert isinstance(shop().message("shop.v1.User")(), user)


def test_before_an_app_a_reference_says_what_it_waits_for() -> None:
    """At import the manifest is not known: the error says when it will be."""
    with pytest.raises(RuntimeError) as caught:
        Service("shop.v1.UserService").message("User")(name="x")
    assert str(caught.value) == (
        "Service('shop.v1.UserService').message('User') was used before an App had read the manifest: "
        "use it inside handlers, and in tests while the App runs"
    )


def test_the_manifest_attached_last_is_in_force() -> None:
    """Detaching brings back what was attached before, in whatever order it happens."""
    users = Service("shop.v1.UserService")
    user = users.message("User")
    one, two = shop(), shop(SHOP.replace("string name = 2;", "string name = 2; string mail = 3;"))
    users.attach(one)
    users.attach(two)
    assert user(mail="x").mail == "x"
    users.detach(one)
    assert user(mail="x").mail == "x"
    users.attach(one)
    users.detach(one)
    users.detach(two)
    assert users.manifest is None
