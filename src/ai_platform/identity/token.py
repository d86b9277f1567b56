"""The format of a platform key: `aip_` + 12 characters of id + 30 of secret + 6 of checksum, all base 62.

    aip_[0-9A-Za-z]{48}

The id is public (lists and logs show it as `key_ID`). The secret has 178 bits. The checksum is the CRC-32 (ISO-HDLC,
zlib's) of everything before it, base 62, most significant digit first, padded with `0`: a secret scanner can tell a
real key from a look-alike without asking anybody. docs/identity.md documents it for scanners.
"""

import secrets
import string
import zlib

import msgspec

PREFIX = "aip_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH = 12
SECRET_LENGTH = 30
CHECKSUM_LENGTH = 6
LENGTH = len(PREFIX) + ID_LENGTH + SECRET_LENGTH + CHECKSUM_LENGTH

_ID_END = len(PREFIX) + ID_LENGTH


class Token(msgspec.Struct, frozen=True):
    """text: the whole key, as it is shown once. key_id: `key_...`."""

    text: str
    key_id: str

    def __repr__(self) -> str:
        return f"Token(key_id={self.key_id!r})"


def new_token() -> Token:
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH + SECRET_LENGTH))
    text = body + checksum(body)
    return Token(text, key_id_of(text))


def key_id_of(text: str) -> str:
    return f"key_{text[len(PREFIX) : _ID_END]}"


def has_shape(text: str) -> bool:
    """Length, prefix and alphabet fit; says nothing about the checksum. Cheap for any input."""
    return len(text) == LENGTH and text.startswith(PREFIX) and text.isascii() and text[len(PREFIX) :].isalnum()


def is_intact(text: str) -> bool:
    """It has the shape and its checksum fits, so it was once a key (or somebody took the trouble)."""
    return has_shape(text) and checksum(text[:-CHECKSUM_LENGTH]) == text[-CHECKSUM_LENGTH:]


def checksum(body: str) -> str:
    value = zlib.crc32(body.encode("ascii"))
    digits: list[str] = []
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
