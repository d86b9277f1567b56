"""Values written so that a person or a model reads them and a pattern does not, on every route."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any
from unicodedata import digit
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspecting import AWS_KEY, CARD, PERSON, REDACT_ALL, SSN, call, delta, new_guard, pass_on, read, request, stop

from ai_platform.domain.call import Operation
from ai_platform.domain.finding import Direction
from ai_platform.protection.view import View

GUARD = new_guard()


def digits(zero: int) -> Callable[[str], str]:
    return lambda text: "".join(chr(zero + int(char)) if char in "0123456789" else char for char in text)


def with_between(char: str) -> Callable[[str], str]:
    return char.join


def raised(text: str) -> str:
    return text.translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))


def circled(text: str) -> str:
    return text.translate(str.maketrans("0123456789", "⓪①②③④⑤⑥⑦⑧⑨"))


WRITTEN: dict[str, Callable[[str], str]] = {
    "full-width digits": digits(0xFF10),
    "Arabic-Indic digits": digits(0x660),
    "Devanagari digits": digits(0x966),
    "Adlam digits": digits(0x1E950),
    "bold mathematical digits": digits(0x1D7CE),
    "circled digits": circled,
    "raised digits": raised,
    "keycaps": lambda text: "".join(f"{char}\ufe0f\u20e3" if char.isdigit() else char for char in text),
    "struck through": with_between("\u0336"),
    "non-breaking hyphens": lambda text: text.replace("-", "\u2011"),
    "minus signs": lambda text: text.replace("-", "\u2212"),
    "non-breaking spaces": lambda text: text.replace(" ", "\u00a0").replace("-", "\u00a0"),
    "thin spaces": lambda text: text.replace(" ", "\u2009").replace("-", "\u2009"),
    "middle dots and wide spaces": lambda text: text.replace("-", "·").replace(" ", "\u3000"),
    "zero-width spaces": with_between("\u200b"),
    "zero-width joiners": with_between("\u200d"),
    "word joiners": with_between("\u2060"),
    "soft hyphens": with_between("\u00ad"),
    "variation selectors": with_between("\ufe0f"),
    "right-to-left override": lambda text: f"\u202e{text}\u202c",
    "tag characters": lambda text: "".join(char + "\U000e0041" for char in text),
    "colours of a terminal": lambda text: f"\x1b[1;31m{text}\x1b[0m",
    "colours of a match in it": lambda text: f"{text[:5]}\x1b[01;31m\x1b[K{text[5:8]}\x1b[m\x1b[K{text[8:]}",
    "URL encoding": lambda text: "".join(f"%{ord(char):02X}" for char in text),
    "URL encoding of some": lambda text: quote(text[:4], safe="") + text[4:-1] + f"%{ord(text[-1]):02x}",
    "URL encoding twice": lambda text: quote("".join(f"%{ord(char):02X}" for char in text), safe=""),
    "character references": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "hexadecimal references": lambda text: "".join(f"&#x{ord(char):04X};" for char in text),
    "references of some": lambda text: f"{text[:4]}&#{ord(text[4]):05d};{text[5:-1]}&#x{ord(text[-1]):x};",
    "named references": lambda text: f"{text[:5]}&shy;{text[5:]}".replace(" ", "&nbsp;").replace("-", "&hyphen;"),
    "references to what is not seen": with_between("&#8203;"),
    "unicode escapes of JavaScript": lambda text: "".join(f"\\u{{{ord(char):x}}}" for char in text),
    "unicode escapes of Python": lambda text: "".join(f"\\U{ord(char):08x}" for char in text),
    "unicode escapes": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "hexadecimal escapes": lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
    "JSON inside JSON": lambda text: json.dumps(json.dumps({"a": f"\n{text}"})),
}
ENCODED: dict[str, Callable[[str], str]] = {
    "base64": lambda text: base64.b64encode(f"the value is {text} ok".encode()).decode(),
    "base64 without padding": lambda text: base64.b64encode(f"a value: {text} .".encode()).decode().rstrip("="),
    "URL-safe base64": lambda text: base64.urlsafe_b64encode(f"what??>> {text} ok".encode()).decode(),
    "wrapped base64": lambda text: base64.encodebytes(f"{'words ' * 20}{text}{' words' * 20}".encode()).decode(),
    "long base64": lambda text: base64.b64encode(f"{'some words ' * 900}{text} end".encode()).decode(),
}
VALUES = [SSN, CARD, AWS_KEY]


def unchanged(sent: bytes, written: str) -> bool:
    raw = json.dumps(written)[1:-1].encode()
    return raw in sent or written.encode() in sent


def asked(body: bytes, operation: Operation = Operation.MESSAGES_CREATE, **headers: bytes) -> bytes:
    made = call(body, headers={name.replace("_", "-").encode(): value for name, value in headers.items()})
    made = type(made)(**{name: getattr(made, name) for name in made.__struct_fields__} | {"operation": operation})
    return asyncio.run(GUARD.inspect(PERSON, made, REDACT_ALL)).body


def tool_result(text: str) -> list[dict[str, Any]]:
    use = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": f"echo {text}"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": text}]}
    return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]


def batch(text: str) -> bytes:
    requests = [{"custom_id": "a", "params": json.loads(request(text))}]
    return json.dumps({"requests": requests}, ensure_ascii=False).encode()


def answer(text: str) -> bytes:
    body = json.dumps({"content": [{"type": "text", "text": text}]}).encode()
    return asyncio.run(GUARD.inspect_answer(PERSON, call(), REDACT_ALL, body)).body


def value(text: str, direction: Direction) -> bytes:
    raw = json.dumps({"arguments": {"note": text}}, ensure_ascii=False).encode()
    return asyncio.run(GUARD.inspect_value(PERSON, raw, REDACT_ALL, direction)).body


def multipart(text: str) -> bytes:
    parts = f'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n{text}\r\n--xyz--\r\n'
    return asked(parts.encode(), Operation.FILES_CREATE, content_type=b"multipart/form-data; boundary=xyz")


def streamed(text: str, kind: str = "text_delta") -> bytes:
    said = json.dumps({"note": text}) if kind == "input_json_delta" else text
    pieces = [said[place : place + 3] for place in range(0, len(said), 3)]
    raw = pass_on(GUARD.watch(PERSON, call(), REDACT_ALL), [*(delta(piece, kind=kind) for piece in pieces), stop()])
    return read(raw).encode()


IN: dict[str, Callable[[str], bytes]] = {
    "messages": lambda text: asked(request(text)),
    "messages, escaped": lambda text: asked(json.dumps({"messages": [{"role": "user", "content": text}]}).encode()),
    "system": lambda text: asked(request("hi", system=[{"type": "text", "text": text}])),
    "tool result": lambda text: asked(request("hi", *tool_result(text))),
    "a field nobody knows": lambda text: asked(request("hi", later={"some": [text]})),
    "count_tokens": lambda text: asked(request(text), Operation.COUNT_TOKENS),
    "batches": lambda text: asked(batch(text), Operation.BATCHES_CREATE),
    "files": multipart,
    "tool arguments": lambda text: value(text, Direction.INPUT),
}
OUT: dict[str, Callable[[str], bytes]] = {
    "answer": answer,
    "stream": streamed,
    "streamed thinking": lambda text: streamed(text, "thinking_delta"),
    "streamed arguments": lambda text: streamed(text, "input_json_delta"),
    "tool result of a server": lambda text: value(text, Direction.OUTPUT),
}


@pytest.mark.requirement("DP-7")
@pytest.mark.parametrize("route", [*IN, *OUT])
@pytest.mark.parametrize("way", WRITTEN)
def test_a_value_written_otherwise_is_caught_on_every_route(way: str, route: str):
    for secret in VALUES:
        written = WRITTEN[way](secret)
        sent = (IN.get(route) or OUT[route])(f"the ssn is {written} ok")
        assert b"[REDACTED:" in sent, secret
        assert not unchanged(sent, written)


@pytest.mark.requirement("DP-7")
@pytest.mark.parametrize("route", [*IN, "tool result of a server"])
@pytest.mark.parametrize("way", ENCODED)
def test_a_value_in_base64_is_caught_on_every_way_in_and_in_what_tools_answer(way: str, route: str):
    for secret in VALUES:
        written = ENCODED[way](secret)
        sent = (IN | OUT)[route](f"decode this: {written} please")
        assert b"[REDACTED:" in sent, secret
        assert not unchanged(sent, written)


@pytest.mark.requirement("DP-7")
@pytest.mark.parametrize("secret", VALUES)
def test_a_value_split_over_content_blocks_is_caught(secret: str):
    for cut in range(2, len(secret) - 1):
        blocks = [{"type": "text", "text": f"it is {secret[:cut]}"}, {"type": "text", "text": f"{secret[cut:]} ok"}]
        result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": blocks}
        for body in (
            request({"role": "user", "content": blocks}),
            request("hi", system=blocks),
            request("hi", {"role": "user", "content": [result]}),
        ):
            for operation in (Operation.MESSAGES_CREATE, Operation.COUNT_TOKENS):
                sent = asked(body, operation)
                assert b"[REDACTED:" in sent, cut
                json.loads(sent)
        raw = json.dumps({"content": blocks}).encode()
        told = asyncio.run(GUARD.inspect_value(PERSON, raw, REDACT_ALL, Direction.OUTPUT))
        assert b"[REDACTED:" in told.body


@pytest.mark.requirement("DP-7")
@pytest.mark.parametrize("secret", VALUES)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_value_split_over_many_blocks_is_caught(secret: str, size: int):
    pieces = [secret[place : place + size] for place in range(0, len(secret), size)]
    said = ["it is " + pieces[0], *pieces[1:-1], pieces[-1] + " and that is all of it, " + "more words " * 40]
    sent = asked(request({"role": "user", "content": [{"type": "text", "text": text} for text in said]}))
    found = json.loads(sent)["messages"][0]["content"]
    assert secret not in "".join(block["text"] for block in found)
    assert found[0]["text"].startswith("it is [REDACTED:")
    assert all(block["text"] for block in found), "the upstream refuses an empty block"
    assert found[-1]["text"].endswith("more words ")
    escaped = ["".join(f"\\u{ord(char):04x}" for char in piece) for piece in pieces]
    raw = ",".join(f'{{"type":"text","text":"{piece}"}}' for piece in escaped)
    assert b"[REDACTED:" in asked(f'{{"messages":[{{"role":"user","content":[{raw}]}}]}}'.encode())


def test_texts_that_only_look_like_a_value_together_with_a_cut_are_left_alone():
    number = "4111111111111111" * 20  # too long for a card, wherever it is cut
    blocks = [{"type": "text", "text": number}, {"type": "text", "text": number}]
    body = request({"role": "user", "content": blocks})
    assert asked(body) == body


@pytest.mark.requirement("DP-7")
def test_every_decimal_digit_of_unicode_reads_as_its_value():
    for code in range(0x80, 0x1FBFA):
        value = digit(chr(code), -1)
        if value >= 0:
            assert View(chr(code)).text == str(value), hex(code)


@given(st.text(alphabet="0123456789-ab²③\u0661\u200b\u0336%35\\u0036 ", max_size=40))
def test_what_is_found_in_a_disguise_stands_where_it_was_written(text: str):
    view = View(text)
    places = [view.origin(place) for place in range(len(view.text) + 1)]
    assert places == sorted(places)
    assert places[-1] <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        "a && b",
        "R&D &c.",
        "&#;",
        "&#x;",
        "&#99999999;",
        "&#1114112;",
        "&unknown;",
        "x&nbsp",
        "&#0;",
        "&#xD800;",
        "100%25",
    ],
)
def test_what_is_no_reference_stays_what_it_is(text: str):
    view = View(f"{text} {SSN}")
    assert view.text.endswith(SSN)
    assert view.origin(len(view.text) - len(SSN)) == len(text) + 1


def test_ordinary_text_in_other_scripts_is_left_alone():
    for text in (
        "Das kostet 3² Euro, siehe ① und ②; Größe: 12 · 4 = 48.",
        "価格は１２３４円です。電話番号はありません。",
        "السعر ١٢٣ ريال",
        "Café, naïve, Zoë — «déjà vu» \u2013 e\u0301t\u00e9",
        "https://example.com/a%20b?c=%7Bd%7D",
    ):
        body = request(text)
        assert asked(body) == body
