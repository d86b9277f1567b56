"""The texts a person wrote in a Messages request, and the request with some of them replaced.

"Wrote" = text of `role: user` messages; tool results, documents, system text and the model's own words are not read.
Bytes of messages that nothing changed stay as they came. Above: filters.
"""

from collections.abc import Callable, Iterator

import msgspec

from ai_platform.domain.call import Call, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall

Replace = Callable[[str], str]

REMINDER = "<system-reminder>"
"""Claude Code puts what it adds to a prompt into text blocks that begin so."""


class _Turn(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = msgspec.Raw(b'""')


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""


class _Body(msgspec.Struct):
    messages: list[msgspec.Raw] = []


class _BatchItem(msgspec.Struct):
    params: msgspec.Raw = msgspec.Raw(b"{}")


class _Batch(msgspec.Struct):
    requests: list[_BatchItem] = []


_body = msgspec.json.Decoder(_Body)
_batch = msgspec.json.Decoder(_Batch)
_turn = msgspec.json.Decoder(_Turn)
_blocks = msgspec.json.Decoder(list[msgspec.Raw])
_block = msgspec.json.Decoder(_Block)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Prompt:
    """One request. `newest` is the text that was just written (None in the middle of a tool loop)."""

    def __init__(self, body: bytes) -> None:
        self._turns = [(raw, _turn.decode(raw)) for raw in _body.decode(body).messages]
        self.newest = self._newest()

    def _newest(self) -> str | None:
        """The last text after the model's last words that the client did not add by itself."""
        last = None
        for _, turn in reversed(self._turns):
            if turn.role == "assistant":
                break
            if turn.role != "user":
                continue
            for text in reversed(_texts(turn.content)):
                if not text.lstrip().startswith(REMINDER):
                    return text
                last = last or text
        return last

    def changes(self, replace: Replace) -> Iterator[tuple[bytes, bytes]]:
        """(message as it came, message to send instead) for each in which `replace` changes a person's text."""
        for raw, turn in self._turns:
            if turn.role == "user" and (content := _replaced(turn.content, replace)) is not None:
                fields = _fields.decode(raw)
                fields["content"] = msgspec.Raw(content)
                yield bytes(raw), msgspec.json.encode(fields)


def prompts_of(call: Call) -> list[Prompt]:
    """The requests in a call: one, or each of a batch, or none for other operations.

    Raises:
        InvalidCall: the messages cannot be read, so that nobody could say what is in them (fail closed).

    """
    try:
        if call.operation is Operation.BATCHES_CREATE:
            return [Prompt(bytes(item.params)) for item in _batch.decode(call.body).requests]
        if call.operation in {Operation.MESSAGES_CREATE, Operation.COUNT_TOKENS}:
            return [Prompt(call.body)]
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"The messages of this request cannot be read, so the content filters cannot check them: {error}."
        raise InvalidCall(Refusal.INVALID_REQUEST, message) from error
    return []


def _first(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:1])


def _texts(content: msgspec.Raw) -> list[str]:
    first = _first(content)
    if first == b'"':
        return [msgspec.json.decode(content, type=str)]
    if first != b"[":
        return []
    blocks = [_block.decode(raw) for raw in _blocks.decode(content) if _first(raw) == b"{"]
    return [block.text for block in blocks if block.type == "text"]


def _replaced(content: msgspec.Raw, replace: Replace) -> bytes | None:
    """The content with its texts replaced, None when none changed."""
    first = _first(content)
    if first == b'"':
        text = msgspec.json.decode(content, type=str)
        return msgspec.json.encode(new) if (new := replace(text)) != text else None
    if first != b"[":
        return None
    blocks = _blocks.decode(content)
    changed = False
    for index, raw in enumerate(blocks):
        block = _block.decode(raw) if _first(raw) == b"{" else _Block()
        if block.type == "text" and (new := replace(block.text)) != block.text:
            fields = _fields.decode(raw)
            fields["text"] = msgspec.Raw(msgspec.json.encode(new))
            blocks[index] = msgspec.Raw(msgspec.json.encode(fields))
            changed = True
    return msgspec.json.encode(blocks) if changed else None
