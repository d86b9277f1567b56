"""Signed notes and checkpoints in the open C2SP forms (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), Ed25519.

Any tool of that family reads them (Go's note and sumdb packages, witnesses). Above: keys, log, verify, bundle.
Below: cryptography.
"""

import base64
import binascii
from collections.abc import Iterable
from hashlib import sha256
from typing import Self

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = b"\x01"
_DASH = "\N{EM DASH}"


class NoteError(ValueError):
    """The text is no note, no checkpoint, or carries no good signature of a trusted key."""


def _key_id(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def _check_name(name: str) -> str:
    if not name or "+" in name or any(letter.isspace() for letter in name):
        raise NoteError(f"{name!r} is no key name: it must be non-empty, without spaces and without `+`")
    return name


class VerifierKey(msgspec.Struct, frozen=True):
    """A public key as `audit.pub` holds it, one a line: `NAME+hex key id+base64(0x01 || 32 bytes)`."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        return _key_id(self.name, self.public)

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, line: str) -> Self:
        # The base64 part may itself contain `+`.
        name, _, rest = line.strip().partition("+")
        identifier, _, encoded = rest.partition("+")
        try:
            data = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise NoteError(f"{line.strip()!r} is no verifier key (NAME+ID+KEY)") from error
        key = cls(_check_name(name), data[1:])
        if data[:1] != ED25519 or len(key.public) != 32 or key.key_id.hex() != identifier:
            raise NoteError(f"{line.strip()!r} is no Ed25519 verifier key, or its id does not match")
        return key


class Signer:
    """Signs notes under one name. seed: the 32 secret bytes of RFC 8032."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(_check_name(name), self._private.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        signature = self.verifier.key_id + self._private.sign(text.encode())
        return f"{text}\n{_DASH} {self.verifier.name} {base64.b64encode(signature).decode()}\n"


def open_note(note: str, trusted: Iterable[VerifierKey]) -> str:
    """The text of a note that at least one trusted key signed.

    Raises:
        NoteError: malformed, signed by no trusted key, or a trusted key's signature is wrong.

    """
    if any(letter < " " and letter != "\n" for letter in note):
        raise NoteError("the note contains control characters")
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise NoteError("the note has no signature lines")
    text += "\n"
    known = {(key.name, key.key_id): key for key in trusted}
    signed = False
    for line in lines[:-1].split("\n"):
        name, signature = _signature(line)
        if key := known.get((name, signature[:4])):
            try:
                Ed25519PublicKey.from_public_bytes(key.public).verify(signature[4:], text.encode())
            except InvalidSignature as error:
                raise NoteError(f"the signature of {name} does not fit the text") from error
            signed = True
    if not signed:
        raise NoteError("no trusted key signed the note")
    return text


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH:
        raise NoteError("a signature line is malformed")
    try:
        signature = base64.b64decode(parts[2], validate=True)
    except binascii.Error as error:
        raise NoteError("a signature is not base64") from error
    if len(signature) < 5 or base64.b64encode(signature).decode() != parts[2]:
        raise NoteError("a signature is too short, or not spelled in the one allowed way")
    return parts[1], signature


class Checkpoint(msgspec.Struct, frozen=True):
    """The head of a log: `size` leaves have the Merkle root `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        lines = text.split("\n")
        if len(lines) < 4 or "" in lines[:-1] or lines[-1] != "":
            raise NoteError("the note is no checkpoint (origin, size, root)")
        origin, size, root = lines[:3]
        if not size.isascii() or not size.isdigit() or str(int(size)) != size:
            raise NoteError(f"{size[:30]!r} is no tree size")
        try:
            hashed = base64.b64decode(root, validate=True)
        except binascii.Error as error:
            raise NoteError("the root is not base64") from error
        if len(hashed) != 32 or base64.b64encode(hashed).decode() != root:
            raise NoteError("the root is no SHA-256 hash")
        return cls(origin, int(size), hashed)


def open_checkpoint(note: str, trusted: Iterable[VerifierKey]) -> Checkpoint:
    """A verified note parsed as a checkpoint.

    Raises:
        NoteError: see `open_note`.

    """
    return Checkpoint.parse(open_note(note, trusted))
