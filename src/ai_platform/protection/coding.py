"""How a file is written: judged by its beginning, as a name or a declared type may say anything.

Above: texts.py, the `scan` command. Below: nothing.
"""

import codecs

JUDGED = 8192
"""So many bytes of a file are enough to judge it by."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\v\f\r\b\x1b"))
_RARE = 50
"""A text that is not UTF-8 has no more than one control character in so many bytes."""


def coding_of(beginning: bytes) -> str | None:
    """The codec that reads it, with `errors_of(codec)`; None when it holds no text (an image, an archive, a PDF).

    What is in no Unicode encoding, such as Latin-1, is read as UTF-8 with some bytes that stay as they are.
    """
    marked = next((coding for mark, coding in _MARKS if beginning.startswith(mark)), None)
    if marked is not None:
        return marked
    head = beginning[:JUDGED]
    if b"\0" in head:
        return _wide(head)
    if head.startswith(b"%PDF-"):
        return None
    try:
        head.decode()
    except UnicodeDecodeError as error:
        is_cut = error.start > len(head) - 4 and len(beginning) >= JUDGED
        if not is_cut and (len(head) - len(head.translate(None, _CONTROLS))) * _RARE > len(head):
            return None
    return "utf-8"


def errors_of(coding: str) -> str:
    """The error handler with which bytes are read and written again as they were."""
    return "surrogateescape" if coding == "utf-8" else "surrogatepass"


def text_of(data: bytes, coding: str) -> str | None:
    """None when it is not written so. Less than a whole character at the end is left out."""
    width = 1 if coding == "utf-8" else int(coding[4:6]) // 8
    try:
        return data[: len(data) - len(data) % width].decode(coding, errors_of(coding))
    except UnicodeDecodeError:
        return None


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark, as Windows writes it: every other byte is zero."""
    rare, most = len(head) // 40, len(head) // 4
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd > most and even <= rare:
        return "utf-16-le"
    return "utf-16-be" if even > most and odd <= rare else None
