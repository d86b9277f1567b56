"""What of a JSON body is looked at: every string content and every long number, each with the key it stands under.

A value is read as it would stand in a text, `key": "value"`, so that a secret-like key tells what the value is.
Above: body.py, watcher_json.py. Below: literals.py, view.py.
"""

import re

import msgspec

from ai_platform.protection.literals import Steps, decode, decode_pieces
from ai_platform.protection.view import without_symbols

LONG_NUMBER = re.compile(rb"(?<![\d.eE+-])\d{9,19}(?![\d.eE])")
MEDIA = re.compile(rb"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|JVBERi0)[A-Za-z0-9+/=]*\Z")
"""What the base64 of PNG, JPEG, GIF, WebP and PDF begins with: media are not text (and are counted as unchecked)."""

_LONGEST_KEY = 64
_MUCH = 256 * 1024
_TELLING = re.compile(
    r"(?i)pass|pwd|secret|token|key|auth|cred|cookie|session|pin|otp|seed|ssn|social|card|pan|cvv|cvc|iban|account|routing"
    r"|phone|mobile|fax|tel|licen[sc]e|passport|dob|birth|nhs|tax|sin\b|vin|mrn|medic|member|nino|aba|bsn|dni|nie|nif|cpf"
    r"|(?:^|[_-])(?:id|ids|seq|hash|ts|ref|sku|isbn|ean|upc|pid|uid)$|Id$|snowflake|time|order|tracking|shipment|serial"
    r"|invoice|ticket|offset|nonce|epoch|part|version|issue|number|no$|nr$"
)
"""Keys that say something about their value: for a rule, or against it."""


class Leaf(msgspec.Struct, gc=False):
    """index: the segment. start: byte offset of `raw` in the body. lead: what is put before the text while it is read.

    quoted: False for a number, whose replacement needs quotes of its own.
    """

    index: int
    start: int
    raw: bytes
    lead: str
    quoted: bool = True

    def read(self) -> str:
        """The text to scan: the lead, the decoded value and, behind a lead, the closing quote."""
        return self.around(decode(self.raw))

    def read_in_steps(self) -> Steps[str]:
        """As `read`, a bounded piece at a time."""
        return self._read_in_steps(self.raw)

    def shown_in_steps(self) -> Steps[str]:
        """As `read_in_steps`, with some symbols already as their view shows them: faster, and as many characters."""
        return self._read_in_steps(without_symbols(self.raw) if len(self.raw) < _MUCH else self.raw)

    def _read_in_steps(self, raw: bytes) -> Steps[str]:
        if len(raw) < _MUCH:
            return self.around(decode(raw))
        pieces: list[str] = []
        for piece in decode_pieces(raw):
            pieces.append(piece)
            yield None
        return self.around("".join(pieces))

    def around(self, text: str) -> str:
        """The decoded value as it is read."""
        return f'{self.lead}{text}"' if self.lead and self.quoted else self.lead + text


def lead_of(key: str, *, quoted: bool = True) -> str:
    """What stands before a value under `key`; empty when the key says nothing."""
    if not key or len(key) > _LONGEST_KEY or _TELLING.search(key) is None:
        return ""
    return f'{key}": "' if quoted else f'{key}": '
