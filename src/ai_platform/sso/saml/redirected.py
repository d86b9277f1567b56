"""A message that came by the HTTP-Redirect binding, signed over the address as sent (SAML 2.0 bindings, 3.4.4.1).

The signature is checked over the very letters of the query, before anything in it is unpacked; unsigned is refused.
Nothing here reads XML. Above: logout. Below: cryptography.
"""

import base64
import binascii
import zlib
from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote_plus

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ai_platform.sso.idtoken import BadTokenError, refused

MOST_QUERY = 64 * 1024
MOST_MESSAGE = 128 * 1024
MOST_RELAY_STATE = 1024
DEFLATE = "urn:oasis:names:tc:SAML:2.0:bindings:URL-Encoding:DEFLATE"

_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
_ALGORITHMS: MappingProxyType[str, tuple[type[object], hashes.HashAlgorithm]] = MappingProxyType(
    {
        f"{_MORE}rsa-sha256": (rsa.RSAPublicKey, hashes.SHA256()),
        f"{_MORE}rsa-sha384": (rsa.RSAPublicKey, hashes.SHA384()),
        f"{_MORE}rsa-sha512": (rsa.RSAPublicKey, hashes.SHA512()),
        f"{_MORE}ecdsa-sha256": (ec.EllipticCurvePublicKey, hashes.SHA256()),
        f"{_MORE}ecdsa-sha384": (ec.EllipticCurvePublicKey, hashes.SHA384()),
        f"{_MORE}ecdsa-sha512": (ec.EllipticCurvePublicKey, hashes.SHA512()),
    }
)
_KNOWN = frozenset({"SAMLRequest", "SAMLResponse", "RelayState", "SigAlg", "Signature", "SAMLEncoding"})


class Redirected(NamedTuple):
    """A message of the provider, for its signature is good. is_request: else it is an answer."""

    document: bytes
    relay_state: str
    is_request: bool


def redirected(query: bytes, certificates: Sequence[str]) -> Redirected:
    """query: as it came. certificates: PEM, any of them may have signed. Raises Unauthenticated."""
    if len(query) > MOST_QUERY:
        raise refused("it is too long")
    raw = _fields(query)
    field = "SAMLRequest" if "SAMLRequest" in raw else "SAMLResponse"
    if field not in raw or {"SAMLRequest", "SAMLResponse"} <= raw.keys():
        raise refused("it is not one SAML message")
    if "Signature" not in raw or "SigAlg" not in raw:
        raise refused("it is not signed")
    if unquote_plus(raw.get("SAMLEncoding", DEFLATE)) != DEFLATE:
        raise refused("it is packed in a way that is not known")
    relay_state = unquote_plus(raw.get("RelayState", ""))
    if len(relay_state) > MOST_RELAY_STATE:
        raise refused("its RelayState is too long")
    signed = "&".join(f"{name}={raw[name]}" for name in (field, "RelayState", "SigAlg") if name in raw)
    _check_signature(signed.encode(), unquote_plus(raw["SigAlg"]), _bytes(raw["Signature"]), certificates)
    return Redirected(_inflated(_bytes(raw[field])), relay_state, is_request=field == "SAMLRequest")


def _fields(query: bytes) -> dict[str, str]:
    """As they were sent, not decoded. One of a kind: two readers must not see two messages."""
    try:
        pairs = [part.partition("=") for part in query.decode("ascii").split("&") if part]
    except UnicodeDecodeError as error:
        raise refused("it is not a SAML message") from error
    names = [name for name, _, _ in pairs]
    if len(set(names)) != len(names):
        raise refused("it says something twice")
    return {name: value for name, _, value in pairs if name in _KNOWN}


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode("".join(unquote_plus(value.replace("+", "%2B")).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise refused("it is not a SAML message") from error


def _inflated(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        document = unpacker.decompress(packed, MOST_MESSAGE)
    except zlib.error as error:
        raise refused("it is not a SAML message") from error
    if unpacker.unconsumed_tail or not unpacker.eof or unpacker.unused_data:
        raise refused("it is too long, or not whole")
    return document


def _check_signature(signed: bytes, algorithm: str, signature: bytes, certificates: Sequence[str]) -> None:
    """The kind of key must be the algorithm's; which of the certificates it is, the message does not say."""
    known = _ALGORITHMS.get(algorithm)
    if known is None:
        raise refused("it is signed with an algorithm that is not accepted")
    for pem in certificates:
        key = x509.load_pem_x509_certificate(pem.encode()).public_key()
        if isinstance(key, known[0]) and _fits(key, signature, signed, known[1]):
            return
    raise BadTokenError("its signature is wrong, or made with a key that is not the provider's")


def _fits(key: object, signature: bytes, signed: bytes, digest: hashes.HashAlgorithm) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            half = (key.curve.key_size + 7) // 8  # r and s one after the other (RFC 4050, section 3.3)
            if len(signature) != 2 * half:
                return False
            parts = (int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
            key.verify(encode_dss_signature(*parts), signed, ec.ECDSA(digest))
        else:
            return False
    except InvalidSignature:
        return False
    return True
