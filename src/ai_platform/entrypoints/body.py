"""The body of a call, as far as the platform acts on it: a few fields, and proof that nobody reads others than these.

JSON that two readers could read differently (a key twice, bytes that are not UTF-8) is refused. Everything else is
for the upstream to judge. Above: messages.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ai_platform.domain.call import Head, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall

LONGEST_MODEL = 256
MOST_TOKENS = 100_000_000
MOST_MODELS = 64
"""Different models in one batch: each is decided on by itself."""

MOST_REQUESTS = 100_000
"""Of one batch (platform.claude.com, "Batch processing")."""

MOST_TEXTS = 500_000
"""Texts in a body, four times as many in a batch: tiny values cost time and memory out of proportion to their bytes."""

MOST_KEYS = 256
"""Of the body itself, and of each request in a batch and its params."""

_LARGE = 1024 * 1024
_SLICE = 500
"""Requests of a batch that are read before other work gets a turn."""

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list = msgspec.json.Decoder(list[msgspec.Raw])
_value = msgspec.json.Decoder()
_KEY = re.compile(rb'\s*("(?:[^"\\]|\\.)*")\s*:\s*')
_SEPARATOR = re.compile(rb"\s*([,}])")
_HALF = re.compile(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

Object = Mapping[str, msgspec.Raw]
JSON_OPERATIONS = frozenset({Operation.MESSAGES_CREATE, Operation.COUNT_TOKENS, Operation.BATCHES_CREATE})
WITH_BODY = JSON_OPERATIONS | {Operation.FILES_CREATE}


async def read_head_in_turns(operation: Operation, body: bytes) -> Head:
    """As `read_head`; other work gets its turn between the requests of a long batch."""
    for head in _reading(operation, body):
        if head is not None:
            return head
        await asyncio.sleep(0)
    return Head()


def read_head(operation: Operation, body: bytes) -> Head:
    """The fields the platform acts on.

    Raises:
        InvalidCall: the body is not the JSON object this operation needs, or could be read in two ways.
    """
    return next(head for head in _reading(operation, body) if head is not None)


def _reading(operation: Operation, body: bytes) -> Iterator[Head | None]:
    """None at each pause, then the head."""
    if operation not in JSON_OPERATIONS:
        if body and operation not in WITH_BODY:
            raise _invalid("This request takes no body; one came with it. Send it without.")
        yield Head()
        return
    if not body:
        raise _invalid("This request needs a body, in JSON; none came with it.")
    try:
        most = 4 * MOST_TEXTS if operation is Operation.BATCHES_CREATE else MOST_TEXTS
        if len(body) > _LARGE and body.count(b'"') > 2 * most:
            raise _invalid(f"The body holds more than {most} texts. Send fewer in one request.")
        if not body.isascii():
            body.decode()
        fields = _object.decode(body)
        _check_once(body, fields, "the body")
        if operation is Operation.BATCHES_CREATE:
            yield from _batch(fields)
        else:
            yield _head(fields)
    except UnicodeDecodeError as error:
        raise _invalid(f"The body is not UTF-8: byte {error.start} cannot be read. Send JSON in UTF-8.") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _invalid(f"The request body is not a JSON object this API understands: {_why(error, body)}.") from error


def _head(fields: Object) -> Head:
    max_tokens = _read(fields, "max_tokens")
    speed, geo = _read(fields, "speed"), _read(fields, "inference_geo")
    return Head(
        model=_model(fields),
        stream=_read(fields, "stream") is True,
        max_tokens=_tokens(max_tokens),
        speed=speed if isinstance(speed, str) else None,
        inference_geo=geo if isinstance(geo, str) else None,
    )


def _batch(fields: Object) -> Iterator[Head | None]:
    raw = fields.get("requests")
    requests = _list.decode(raw) if raw is not None else []
    if len(requests) > MOST_REQUESTS:
        raise _invalid(f"The batch holds {len(requests)} requests; at most {MOST_REQUESTS} are taken.")
    models: set[str] = set()
    tokens = 0
    for number, item in enumerate(requests):
        if number % _SLICE == _SLICE - 1:
            yield None
        where = f"requests[{number}]"
        request = _once(item, where)
        params = _once(request["params"], f"{where}.params") if "params" in request else {}
        if model := _model(params):
            models.add(model)
            if len(models) > MOST_MODELS:
                raise _invalid(f"The batch names more than {MOST_MODELS} different models. Make several batches.")
        tokens += _tokens(_read(params, "max_tokens")) or 0
    named = sorted(models)
    yield Head(model=named[0] if named else None, models=tuple(named), max_tokens=tokens)


def _once(raw: msgspec.Raw, where: str) -> Object:
    text = bytes(raw)
    fields = _object.decode(text)
    _check_once(text, fields, where)
    return fields


def _read(fields: Object, name: str) -> Any:
    raw = fields.get(name)
    if raw is None:
        return None
    text = bytes(raw)
    return None if text[:1] in b"{[" else _value.decode(text)


def _model(fields: Object) -> str | None:
    """The name goes into records and messages, so it must be a name."""
    model = _read(fields, "model")
    if not isinstance(model, str):
        return None
    if len(model) > LONGEST_MODEL or _UNPRINTABLE.search(model):
        raise _invalid(f"`model` is not the name of a model: at most {LONGEST_MODEL} printable characters.")
    return model


def _tokens(value: Any) -> int | None:
    """A number of tokens that can be meant; others are for the upstream to refuse, and are not reckoned with."""
    return value if type(value) is int and 0 < value <= MOST_TOKENS else None


def _check_once(text: bytes, fields: Object, where: str) -> None:
    """Raises InvalidCall when a key of this object comes twice.

    Which of the two counts is not defined (RFC 8259 4): what is decided on here must be what the upstream sees.
    """
    size = 1
    for key, raw in fields.items():
        size += len(key) + len(raw) + 4  # `"key":value,`
    if len(fields) > MOST_KEYS:
        raise _invalid(f"There are more than {MOST_KEYS} keys in {where}. No request of this API has so many.")
    if size == len(text) or not fields:
        return  # compact, and every byte is accounted for: nothing is there twice
    if (key := _repeated(text, fields)) is not None:
        raise _invalid(f"The key `{key[:60]}` stands twice in {where}. Send it once.")


def _repeated(text: bytes, fields: Object) -> str | None:
    """Walk over the object's keys; a value that is not the one decoded belongs to a key that comes again."""
    position = text.index(b"{") + 1
    seen: set[str] = set()
    while match := _KEY.match(text, position):
        key = str(_value.decode(match[1]))
        value = bytes(fields[key])
        position = match.end() + len(value)
        separator = _SEPARATOR.match(text, position)
        if key in seen or separator is None or not text.startswith(value, match.end()):
            return key
        if separator[1] == b"}":
            break
        seen.add(key)
        position = separator.end()
    return None


def _why(error: Exception, body: bytes) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if half := _HALF.search(body):  # JavaScript writes it when a text was cut within a character
        return f"a text holds half of a character ({half[1].decode('ascii')} without its other half)"
    return str(error)


def _invalid(message: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, message)
