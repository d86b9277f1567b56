"""Bodies that are no JSON, or only begin like it: uploads, downloads, what stands around the parts of a form."""

import asyncio
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspecting import AWS_KEY, PERSON, REDACT_ALL, SSN, call, new_guard

from ai_platform.domain.call import Operation
from ai_platform.protection import Inspection
from ai_platform.protection.coding import coding_of, errors_of, text_of
from ai_platform.protection.literals import finished
from ai_platform.protection.texts import is_json

GUARD = new_guard()
FORM = (
    b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\nContent-Type: text/plain\r\n\r\n%b\r\n'
    b"--xyz--\r\n"
)
TYPE = b"multipart/form-data; boundary=xyz"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 20


def upload(body: bytes, content_type: bytes = TYPE) -> Inspection:
    made = call(body, headers={b"content-type": content_type})
    return asyncio.run(
        GUARD.inspect(PERSON, msgspec.structs.replace(made, operation=Operation.FILES_CREATE), REDACT_ALL)
    )


def answer(body: bytes) -> Inspection:
    return asyncio.run(GUARD.inspect_answer(PERSON, call(), REDACT_ALL, body))


@pytest.mark.requirement("DP-7")
@pytest.mark.parametrize(
    "coding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_an_uploaded_text_is_read_however_it_is_written(coding: str):
    before, after = "Größe der Tür, ", f"and more {'words ' * 50}, the end"
    told = upload(FORM % (b"notes.txt", f"{before}ssn {SSN} {after}".encode(coding)))
    content = told.body.split(b"text/plain\r\n\r\n")[1].removesuffix(b"\r\n--xyz--\r\n").decode(coding)
    assert SSN not in content
    assert content.startswith(f"{before}ssn [REDACTED:US_SSN:")
    assert content.endswith(f"] {after}")
    assert told.bytes_unchecked == 0
    assert [finding.path for finding in told.findings] == ["part[1]"]


def test_half_a_character_at_the_end_hides_nothing():
    told = upload(FORM % (b"notes.txt", f"ssn {SSN} and so on".encode("utf-16") + b"x"))
    assert SSN.encode("utf-16-le") not in told.body


@pytest.mark.parametrize("content", [PNG, b"%PDF-1.7\n% ssn 536-22-8491", b"PK\x03\x04" + bytes(300)])
def test_what_is_no_text_is_passed_on_and_counted(content: bytes):
    body = FORM % (b"a.png", content)
    told = upload(body)
    assert told.body == body
    assert told.bytes_unchecked == len(content)


@pytest.mark.requirement("DP-2")
@pytest.mark.parametrize(
    "body",
    [
        FORM % (f"ssn {SSN} of Ann.txt".encode(), b"nothing"),
        FORM % (f"ssn%20{SSN}%20of%20Ann.txt".encode(), b"nothing"),
        f"ssn {SSN}\r\n".encode() + FORM % (b"a.txt", b"nothing"),
        FORM % (b"a.txt", b"nothing") + f"ssn {SSN}".encode(),
        b"{\r\n" + FORM % (b"a.txt", f"ssn {SSN}".encode()),
        b"[" + FORM % (b"a.txt", f"ssn {SSN}".encode()),
        (FORM % (b"a.txt", f"ssn {SSN}".encode())).replace(b"\r\n", b"\n"),
    ],
    ids=["name of the file", "its encoded name", "preamble", "epilogue", "as an object", "as an array", "line feeds"],
)
def test_everything_around_the_parts_is_read_too(body: bytes):
    told = upload(body)
    assert SSN.encode() not in told.body
    assert told.body.count(b"xyz") == body.count(b"xyz"), "the separators stay"


@pytest.mark.parametrize("boundary", [b"4111111111111111", b"===============4111111111111111=="])
def test_a_separator_is_no_value(boundary: bytes):
    body = (FORM % (b"a.txt", b"nothing")).replace(b"xyz", boundary)
    assert upload(body, b'multipart/form-data; boundary="' + boundary + b'"').body == body


@pytest.mark.requirement("DP-2")
@pytest.mark.parametrize(
    "text",
    [
        f"[default]\naws_access_key_id = {AWS_KEY}\n# ssn {SSN}\n",
        f"[a link](https://example.org) and ssn {SSN}\n",
        f"{{{{ user }}}} ssn {SSN}",
        f"{{ssn: {SSN}}}",
        f"{{ssn: '{SSN}'}}",
        f'{{"a": 1}} ssn {SSN}',
        f'{{"a": "x"}}\nssn {SSN}\n{{"b": "y"}}',
        f'{{"a": "x" " ssn {SSN}',
        f'[536-22-8491, "ssn", {SSN}]',
        json.dumps({"a": f"ssn {SSN}"}),
        json.dumps({"a": 1}) + "\n" + json.dumps({"b": f"\n{SSN}"}) + "\n",
    ],
)
def test_an_answer_that_begins_like_json_is_read_as_what_it_is(text: str):
    told = answer(text.encode())
    assert SSN.encode() not in told.body
    assert AWS_KEY.encode() not in told.body


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.lists(st.lists(json_values) | st.dictionaries(st.text(), json_values), min_size=1), st.sampled_from([None, 2])
)
def test_json_and_lines_of_it_are_told_as_such(documents: list[object], indent: int | None):
    assert finished(is_json("\n".join(json.dumps(each, indent=indent) for each in documents).encode()))


@given(st.binary(max_size=200))
def test_whatever_is_read_is_written_again_as_it_was(data: bytes):
    coding = coding_of(data)
    text = text_of(data, coding) if coding else None
    if coding and text is not None:
        assert data.startswith(text.encode(coding, errors_of(coding)))
