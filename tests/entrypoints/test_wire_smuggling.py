"""Requests that two readers could read differently are answered with a refusal, and nothing of them is executed."""

import re

import pytest
from attack_gate import Gate
from attack_kit import JSON, chunked, message, request

BODY = message()
CHUNKED = "transfer-encoding: chunked"
SIZED = f"content-length: {len(BODY)}"


def ask(*lines: str | bytes, body: bytes = BODY, **how: object) -> bytes:
    return request("POST", "/v1/messages", body, JSON, *lines, key="KEY", length=False, **how)  # type: ignore[arg-type]


AMBIGUOUS = {
    "a length and chunks": ask(SIZED, CHUNKED),
    "chunks and a length": ask(CHUNKED, SIZED, body=chunked(BODY)),
    "two lengths that differ": ask(SIZED, "content-length: 5"),
    "two lengths that agree": ask(SIZED, SIZED),
    "a list of lengths": ask(f"{SIZED}, {len(BODY)}"),
    "a signed length": ask(f"content-length: +{len(BODY)}"),
    "a negative length": ask("content-length: -1"),
    "a length in hexadecimal": ask(f"content-length: {len(BODY):#x}"),
    "a length beyond all numbers": ask("content-length: 99999999999999999999999"),
    "an unknown transfer coding": ask("transfer-encoding: xchunked"),
    "a transfer coding before chunked": ask("transfer-encoding: gzip, chunked", body=chunked(BODY)),
    "chunked, but not last": ask("transfer-encoding: chunked, identity", body=chunked(BODY)),
    "chunked twice": ask(CHUNKED, CHUNKED, body=chunked(BODY)),
    "chunked with a tab before": ask("transfer-encoding: \x0bchunked", body=chunked(BODY)),
    "chunks in HTTP/1.0": ask(CHUNKED, body=chunked(BODY), version="1.0"),
    "a folded line": ask(SIZED, "x-a: b\r\n c"),
    "a folded transfer coding": ask("transfer-encoding:\r\n chunked", body=chunked(BODY)),
    "a space before the colon": ask(SIZED, "x-a : b"),
    "a space before a length's colon": ask(f"content-length : {len(BODY)}"),
    "lines that end in LF only": ask(SIZED).replace(b"\r\n", b"\n"),
    "one line that ends in LF only": ask(SIZED).replace(b"\r\nhost", b"\nhost"),
    "a line that ends in CR only": ask(SIZED, b"x-a: b\rx-b: c"),
    "NUL in a value": ask(SIZED, b"x-a: b\0c"),
    "NUL in a name": ask(SIZED, b"x\0a: b"),
    "a control character in a value": ask(SIZED, b"x-a: b\x01c"),
    "a bracket in a name": ask(SIZED, b"x(a): b"),
    "no name": ask(SIZED, b": b"),
    "chunk sizes that end in LF": ask(CHUNKED, body=b"%x\n%b\n0\n\n" % (len(BODY), BODY)),
    "a chunk extension that ends in LF": ask(CHUNKED, body=b"%x;\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "a chunk size with a sign": ask(CHUNKED, body=b"+%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "a chunk size with 0x": ask(CHUNKED, body=b"0x%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "a chunk longer than its size": ask(CHUNKED, body=b"5\r\n%b\r\n0\r\n\r\n" % BODY),
    "a chunk size beyond all numbers": ask(CHUNKED, body=b"f" * 17 + b"\r\n" + BODY),
    "no Host": ask(SIZED, host=None),
    "two Hosts": ask(SIZED, "host: other.test"),
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/2 in clear text": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown version": ask(SIZED, version="1.2"),
    "CONNECT": request("CONNECT", "other.test:443"),
    "a space in the address": request("GET", "/v1/models/a b"),
    "bytes beyond ASCII in the address": request("GET", "/v1/models/\xe9"),
    "an expectation nobody knows": ask(SIZED, "expect: 200-maybe"),
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
}


@pytest.mark.requirement("CC-6")
@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_could_be_read_in_two_ways_is_refused_and_ends_the_connection(gate: Gate, sent: bytes) -> None:
    hidden = request("GET", "/v1/models", b"", "x-hidden: 1", key=gate.key)
    with gate.line() as line:
        line.send(sent.replace(b"Bearer KEY", f"Bearer {gate.key}".encode()) + hidden)
        got = line.rest()
    assert got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ", b"HTTP/1.1 505 ", b"HTTP/1.1 417 "))
    assert len(re.findall(rb"HTTP/1.1 \d\d\d ", got)) == 1, "one refusal, and what was hidden behind it is not answered"
    assert b"connection: close" in got
    assert gate.upstream.asked == []


PLAIN = {
    "a length": ask(SIZED),
    "chunks": ask(CHUNKED, body=chunked(BODY[:10], BODY[10:])),
    "Chunked, in capitals": ask("Transfer-Encoding: Chunked", body=chunked(BODY)),
    "a chunk extension": ask(CHUNKED, body=b'%x;a=b;c="d"\r\n%b\r\n0;e\r\n\r\n' % (len(BODY), BODY)),
    "spaces around a length": ask(f"content-length:  {len(BODY)}  "),
    "bytes beyond ASCII in a value": ask(SIZED, b"x-a: \xc3\xa9\xff"),
    "empty lines before the request": b"\r\n\r\n" + ask(SIZED),
    "the address of a proxy": ask(SIZED).replace(b"POST /v1", b"POST http://other.test/v1"),
    "an upgrade nobody makes": ask(SIZED, "connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AA"),
    "a Host of another house": ask(SIZED, host="evil.test"),
}


@pytest.mark.parametrize("sent", PLAIN.values(), ids=PLAIN.keys())
def test_what_is_only_unusual_is_served(gate: Gate, sent: bytes) -> None:
    with gate.line() as line:
        line.send(sent.replace(b"Bearer KEY", f"Bearer {gate.key}".encode()))
        assert line.answer().status == 200
    assert [asked.body for asked in gate.upstream.asked] == [BODY]


@pytest.mark.requirement("ID-3")
@pytest.mark.parametrize("field", ["authorization: Bearer {key}", "x-api-key: {key}"])
def test_a_trailer_does_not_pass_for_a_header(gate: Gate, field: str) -> None:
    body = b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(BODY), BODY, field.format(key=gate.key).encode())
    with gate.line() as line:
        line.send(request("POST", "/v1/messages", body, JSON, CHUNKED, length=False))
        assert line.answer().status == 401
    assert gate.upstream.asked == []


def test_an_upgrade_is_not_made_and_the_connection_goes_on(gate: Gate) -> None:
    with gate.line() as line:
        for _ in range(2):
            line.send(request("GET", "/healthz", b"", "connection: upgrade", "upgrade: websocket"))
            assert line.answer().status == 200
        line.send(request("GET", "/healthz", b"", "connection: upgrade, close", "upgrade: websocket"))
        assert line.answer().status == 200
        assert line.is_closed()
