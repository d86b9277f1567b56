"""The list of models, cut down to those the caller may use. What is left is left as it came, byte for byte.

Above: watch. Below: msgspec.
"""

from collections.abc import Callable

import msgspec


class _Row(msgspec.Struct):
    id: str = ""


_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_rows = msgspec.json.Decoder(list[msgspec.Raw])
_row = msgspec.json.Decoder(_Row)


def only_usable(body: bytes, may_use: Callable[[str], bool]) -> bytes:
    """The rows of `data` whose model may be used; cursors stay the upstream's, so that paging goes on.

    Fails closed: a row that names no model is left out; a body that is no list of models is returned as it is.
    """
    try:
        fields = _object.decode(body)
        rows = [bytes(row) for row in _rows.decode(fields["data"])]
    except (msgspec.DecodeError, KeyError):
        return body
    kept = [row for row in rows if _may(row, may_use)]
    if len(kept) == len(rows):
        return body
    parts = {name: bytes(value) for name, value in fields.items()} | {"data": b"[" + b",".join(kept) + b"]"}
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + value for name, value in parts.items()) + b"}"


def model_in(body: bytes) -> str:
    """The id of a single model; "" when it is none."""
    try:
        return _row.decode(body).id
    except msgspec.DecodeError:
        return ""


def _may(row: bytes, may_use: Callable[[str], bool]) -> bool:
    name = model_in(row)
    return bool(name) and may_use(name)
