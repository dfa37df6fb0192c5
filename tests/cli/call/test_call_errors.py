"""``toolkit call`` that does not end well: what it says, and the exit code."""

from __future__ import annotations

import datetime
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # it has no stubs

Run = Callable[..., Any]
Background = Any


def problem(text: str) -> str:
    return f"toolkit: 1 problem, nothing was called\n\n✗ {text}\n"


def test_unreadable_file(call: Run, address: str, tmp_path: Path) -> None:
    """A file that cannot be read is named with the reason."""
    outcome = call(address, "GetItem", f"@{tmp_path}/absent.json")
    assert (outcome.code, outcome.err) == (
        2,
        problem(f"{tmp_path}/absent.json: the request cannot be read: No such file or directory"),
    )


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("tenant", "'tenant' is no header; write it as 'key: value'"),
        ("a b: c", "'a b: c' is no header; write it as 'key: value'"),
        ("id-bin: ?", "the value of id-bin is not base64, which a key that ends in -bin takes"),
        ("name: é", "the value of name is not printable ASCII; send it in base64 under name-bin"),
    ],
)
def test_bad_header(call: Run, address: str, header: str, message: str) -> None:
    """A header that cannot be sent is refused with the reason."""
    outcome = call("-H", header, address, "GetItem")
    assert outcome.code == 2
    assert outcome.err.endswith(f"Error: Invalid value for '-H': {message}\n")


def test_error_status(call: Run, address: str) -> None:
    """A status is drawn with its message and details, and the exit code is 64 and the status."""
    outcome = call(address, "GetItem", '{"itemName": "missing"}')
    assert outcome == (
        64 + 5,
        "",
        "✗ NOT_FOUND: no such item\n"
        '  google.rpc.ErrorInfo {"reason": "SOLD", "domain": "shop"}\n'
        '  shop.v1.Item {"itemName": "other"}\n',
    )


def test_error_after_replies(call: Run, address: str) -> None:
    """What a stream gave before it failed is printed."""
    outcome = call(address, "ListItems", '{"itemName": "broken"}')
    assert (outcome.code, len(outcome.out.splitlines())) == (64 + 15, 3)
    assert outcome.err == "✗ DATA_LOSS: lost the rest\n"


def test_server_says_unavailable(call: Run, address: str) -> None:
    """UNAVAILABLE that the server itself sends is shown as it is."""
    outcome = call(address, "GetItem", '{"itemName": "overloaded"}')
    assert outcome == (64 + 14, "", "✗ UNAVAILABLE: too busy\n")


def test_timeout(call: Run, address: str) -> None:
    """A call that takes too long is given up."""
    outcome = call("--timeout", "300ms", address, "GetItem", '{"itemName": "slow"}')
    assert outcome == (64 + 4, "", "✗ DEADLINE_EXCEEDED: no answer within 300ms\n  → --timeout gives it longer\n")


def test_bad_timeout(call: Run, address: str) -> None:
    """A timeout is a duration."""
    outcome = call("--timeout", "soon", address)
    assert outcome.code == 2
    message = "Error: Invalid value for '--timeout': 'soon': its units are h, m, s, ms, us and ns\n"
    assert outcome.err.endswith(message)


def test_connection_refused(call: Run) -> None:
    """A server that is not there is one clear line."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert call(f"127.0.0.1:{port}", "GetItem") == (
        64 + 14,
        "",
        f"✗ UNAVAILABLE: cannot reach 127.0.0.1:{port}: connection refused\n  → is the service running there?\n",
    )


def test_unknown_host(call: Run) -> None:
    """A host whose name is not known is one clear line."""
    assert call("no-such-host.invalid:9000") == (
        64 + 14,
        "",
        "✗ UNAVAILABLE: cannot reach no-such-host.invalid:9000: the host's name is not known\n  → check the address\n",
    )


def test_server_of_something_else(call: Run) -> None:
    """A port on which somebody speaks HTTP/1 is one clear line."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        outcome = call(f"127.0.0.1:{port}")
        thread.join()
    assert outcome == (
        64 + 14,
        "",
        f"✗ UNAVAILABLE: cannot reach 127.0.0.1:{port}: it does not speak gRPC\n  → is that the port of gRPC?\n",
    )


@pytest.mark.parametrize("address_text", ["localhost", "http://localhost", "host:port", "a/b"])
def test_bad_address(call: Run, address_text: str) -> None:
    """An address needs a port."""
    outcome = call(address_text, "GetItem")
    expected = problem(f"{address_text!r} is no address\n    → write host:port, e.g. localhost:9000")
    assert (outcome.code, outcome.err) == (2, expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "GetItm",
            "the server has no method 'GetItm'\n"
            "      it has shop.v1.Items/GetItem, shop.v1.Items/ListItems, shop.v1.Items/ImportItems,"
            " shop.v1.Items/EditItems, shop.v1.Items/Clear, shop.v1.Orders/Clear\n"
            "    → did you mean shop.v1.Items/GetItem?",
        ),
        (
            "Items/GetItm",
            "shop.v1.Items has no method 'GetItm'\n"
            "      it has GetItem, ListItems, ImportItems, EditItems, Clear\n"
            "    → did you mean shop.v1.Items/GetItem?",
        ),
        (
            "Itens/GetItem",
            "the server has no service 'Itens'\n"
            "      it has shop.v1.Items, shop.v1.Orders\n"
            "    → did you mean shop.v1.Items/GetItem?",
        ),
        (
            "Clear",
            "'Clear' may be any of 2 methods\n"
            "      shop.v1.Items/Clear\n"
            "      shop.v1.Orders/Clear\n"
            "    → write the service, too",
        ),
        (
            "shop.v1.Orders",
            "shop.v1.Orders is a service\n      its methods are Clear\n    → write which, e.g. shop.v1.Orders/Clear",
        ),
    ],
)
def test_unknown_method(call: Run, address: str, name: str, message: str) -> None:
    """A name that means no method, or several, is told with what there is and the nearest."""
    assert call(address, name) == (2, "", problem(message))


_FIELDS = "the fields of shop.v1.Item are itemName, count, kind, part, parts, byName, soldAt, extra"


@pytest.mark.parametrize(
    ("request_text", "message"),
    [
        (
            '{"itemNam": "a"}',
            f"shop.v1.Items/GetItem: shop.v1.Item has no field 'itemNam'\n      {_FIELDS}\n"
            "    → did you mean itemName?",
        ),
        (
            '{"part": {"parts": [{}, {"cuont": 1}]}}',
            f"shop.v1.Items/GetItem: shop.v1.Item has no field 'part.parts.cuont'\n      {_FIELDS}\n"
            "    → did you mean part.parts.count?",
        ),
        (
            '{"byName": {"x": {"zzz": 1}}}',
            f"shop.v1.Items/GetItem: shop.v1.Item has no field 'byName.zzz'\n      {_FIELDS}",
        ),
        ("[1]", f"shop.v1.Items/GetItem: a request is a JSON object, and this is a list\n      {_FIELDS}"),
        ("1", f"shop.v1.Items/GetItem: a request is a JSON object, and this is a number\n      {_FIELDS}"),
        ('{"itemName": 1}', "shop.v1.Items/GetItem: itemName: expected string or bytes-like object, got 'int'"),
        ("{} {}", "shop.v1.Items/GetItem: shop.v1.Items/GetItem takes one request, and 2 are given\n"
         "      one JSON document is one request"),
        (
            '{"itemName": "a}',
            "the request is not JSON: line 1, column 14: Unterminated string starting at\n"
            '      {"itemName": "a}\n'
            "                   ^\n"
            """    → quote it for the shell: '{"name": "Ada"}'""",
        ),
        (
            '{"count":\n 1,,}',
            "the request is not JSON: line 2, column 4: Expecting property name enclosed in double quotes\n"
            "       1,,}\n"
            "         ^\n"
            """    → quote it for the shell: '{"name": "Ada"}'""",
        ),
    ],
)  # fmt: skip
def test_bad_request(call: Run, address: str, request_text: str, message: str) -> None:
    """A request that does not fit names the field, what there is instead, and the nearest."""
    assert call(address, "GetItem", request_text) == (2, "", problem(message))


def test_wrong_value(call: Run, address: str) -> None:
    """A value of the wrong kind is told with the path to it."""
    outcome = call(address, "GetItem", '{"part": {"parts": [{"kind": "BUCH"}]}}')
    assert outcome.code == 2
    assert "✗ shop.v1.Items/GetItem: part.parts.kind: Invalid enum value BUCH" in outcome.err


def test_bad_descriptor(call: Run, address: str, tmp_path: Path) -> None:
    """A file that is no descriptor set is reported as by every other command."""
    (tmp_path / "bad.pb").write_bytes(b"")
    outcome = call("--descriptor", f"{tmp_path}/bad.pb", address, "GetItem")
    assert outcome.code == 78


def test_no_reflection(call: Run, background: Background) -> None:
    """A server without reflection leads to --descriptor."""

    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = background.run(start())
    try:
        assert call(f"localhost:{port}", "GetItem") == (
            2,
            "",
            problem(
                "the server has no reflection, so that its methods are not known\n"
                "    → say what it serves: --descriptor service.pb"
            ),
        )
    finally:
        background.run(server.stop(0))


@pytest.fixture(scope="module")
def certificate() -> tuple[bytes, bytes]:
    """A key for localhost, and its certificate signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret, certificate.public_bytes(serialization.Encoding.PEM)


def test_tls(
    call: Run,
    background: Background,
    manifest: Any,
    certificate: tuple[bytes, bytes],
    tmp_path: Path,
    address: str,
) -> None:
    """TLS is spoken on request, and a connection that does not come about says which side has to give way."""

    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server()
        reflection.enable_server_reflection(["shop.v1.Items"], server, pool=manifest.pool)
        port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([certificate]))
        await server.start()
        return server, port

    server, port = background.run(start())
    (tmp_path / "ca.pem").write_bytes(certificate[1])
    target = f"localhost:{port}"
    try:
        for arguments in (("--ca", f"{tmp_path}/ca.pem", target), ("--ca", f"{tmp_path}/ca.pem", f"https://{target}")):
            assert call(*arguments).out.startswith("shop.v1.Items\n  GetItem(")
        assert call("--tls", target).err == (
            f"✗ UNAVAILABLE: cannot reach {target}: its certificate is not trusted\n"
            "  → --ca FILE trusts the one that signed it\n"
        )
        assert call("--tls", "--ca", f"{tmp_path}/ca.pem", f"127.0.0.1:{port}").err == (
            f"✗ UNAVAILABLE: cannot reach 127.0.0.1:{port}: its certificate is for another name\n"
            "  → write the name in ADDRESS\n"
        )
        assert call(target).err == (
            f"✗ UNAVAILABLE: cannot reach {target}: it closed the connection\n  → does it want --tls?\n"
        )
        assert call("--tls", address).err == (
            f"✗ UNAVAILABLE: cannot reach {address}: it does not speak TLS\n  → leave out --tls\n"
        )
    finally:
        background.run(server.stop(0))
