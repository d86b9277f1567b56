"""The metadata of an identity provider (SAML 2.0 metadata, OASIS 2005): where people go, and whose signature counts.

Above: reading. Below: document, shape, cryptography.
"""

import base64
import binascii
import datetime as dt
from typing import Any
from urllib.parse import urlsplit

import lxml.etree as xml
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from xmlsec import constants

from ai_platform.domain.errors import ConfigError, Unauthenticated
from ai_platform.sso.saml.document import DS, MD, elements, parsed
from ai_platform.sso.saml.messages import Certificate, Described
from ai_platform.sso.saml.shape import check_ids, check_signatures

PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
SMALLEST_RSA = 2048
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def described(document: bytes, *, issuer: str, signer: str | None, now: float) -> Described:
    """issuer: the entity ID that is wanted. signer: PEM of the certificate that must have signed, None = nobody.

    Raises ConfigError: it is not metadata of this provider, not signed as wanted, expired, or lacks something.
    """
    try:
        root = parsed(document)
        check_ids(root)
        if signer is not None:
            check_signatures(root, {root.tag})
    except Unauthenticated as error:
        why = getattr(error, "why", str(error)).removeprefix("it ")
        raise ConfigError(f"The metadata of '{issuer}' cannot be used: it {why}.") from error
    if signer is not None:
        _check_signature(root, signer, issuer)
    entity = _entity(root, issuer)
    until = _until(root, entity)
    if until is not None and until <= now:
        ended = dt.datetime.fromtimestamp(until, dt.UTC)
        raise ConfigError(f"The metadata of '{issuer}' expired on {ended:%Y-%m-%d}. Get its current metadata.")
    roles = [
        role
        for role in entity.findall(f"{MD}IDPSSODescriptor")
        if PROTOCOL in role.get("protocolSupportEnumeration", "").split()
    ]
    if not roles:
        raise ConfigError(f"'{issuer}' is no SAML 2.0 identity provider, by its metadata.")
    certificates = _certificates(roles[0])
    if not certificates:
        raise ConfigError(f"The metadata of '{issuer}' shows no signing certificate that can be used (RSA 2048, EC).")
    logout = _by_redirect(roles[0], "SingleLogoutService")
    logout_url = _address(logout.get("Location", ""), issuer) if logout is not None else ""
    answers = logout.get("ResponseLocation", "") if logout is not None else ""
    return Described(
        sso_url=_sso_url(roles[0], issuer),
        certificates=certificates,
        wants_signed=roles[0].get("WantAuthnRequestsSigned") in {"true", "1"},
        until=until,
        logout_url=logout_url,
        logout_answer_url=_address(answers, issuer) if answers else logout_url,
    )


def certificate_of(pem: str) -> Certificate:
    """Raises ValueError: it is no certificate, or its key is too weak or of a kind that signs nothing here."""
    loaded = x509.load_pem_x509_certificate(pem.encode())
    key = loaded.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < SMALLEST_RSA:
            raise ValueError(f"its RSA key has {key.key_size} bits")
    elif not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("its key is neither RSA nor EC")  # noqa: TRY004 - the caller's data, not its types
    return Certificate(
        pem=loaded.public_bytes(Encoding.PEM).decode(),
        sha256=loaded.fingerprint(SHA256()).hex(),
        expires=loaded.not_valid_after_utc.timestamp(),
    )


def _entity(root: Any, issuer: str) -> Any:
    found = [each for each in elements(root) if each.tag == f"{MD}EntityDescriptor" and each.get("entityID") == issuer]
    if len(found) == 1:
        return found[0]
    listed = [str(each.get("entityID")) for each in elements(root) if each.tag == f"{MD}EntityDescriptor"]
    names = ", ".join(repr(name[:200]) for name in listed[:5]) or "no provider at all"
    raise ConfigError(f"The metadata does not describe {issuer!r}, but {names}. Write exactly that as `issuer`.")


def _until(root: Any, entity: Any) -> float | None:
    moments: list[float] = []
    for each in (root, entity):
        if text := each.get("validUntil"):
            try:
                moments.append(dt.datetime.fromisoformat(text).timestamp())
            except ValueError as error:
                raise ConfigError(f"The metadata says validUntil={text[:40]!r}, which is no moment.") from error
    return min(moments, default=None)


def _sso_url(role: Any, issuer: str) -> str:
    service = _by_redirect(role, "SingleSignOnService")
    if service is None:
        raise ConfigError(f"'{issuer}' offers no sign-in by the HTTP-Redirect binding, the one that is used here.")
    return _address(service.get("Location", ""), issuer)


def _by_redirect(role: Any, service: str) -> Any | None:
    return next((each for each in role.findall(f"{MD}{service}") if each.get("Binding") == REDIRECT), None)


def _address(location: str, issuer: str) -> str:
    parts = urlsplit(location)
    plain = parts.scheme == "http" and parts.hostname in LOOPBACK
    if not (plain or parts.scheme == "https") or not parts.hostname or parts.fragment or not location.isprintable():
        raise ConfigError(f"The metadata of '{issuer}' sends people to {location[:200]!r}, which is no https address.")
    return location


def _certificates(role: Any) -> tuple[Certificate, ...]:
    """Those for signing; what cannot be used is passed over."""
    found: dict[str, Certificate] = {}
    for descriptor in role.findall(f"{MD}KeyDescriptor"):
        if descriptor.get("use", "signing") != "signing":
            continue
        for node in descriptor.iter(f"{DS}X509Certificate"):
            try:
                der = base64.b64decode("".join((node.text or "").split()), validate=True)
                pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
                certificate = certificate_of(pem)
            except (ValueError, binascii.Error):
                continue
            found[certificate.sha256] = certificate
    return tuple(found.values())


def _check_signature(root: Any, signer: str, issuer: str) -> None:
    signature = root.find(f"{DS}Signature")
    if signature is None:
        raise ConfigError(f"The metadata of '{issuer}' is not signed, and metadata_certificate_file demands it.")
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    try:
        context.key = xmlsec.Key.from_memory(signer, constants.KeyDataFormatCertPem, None)
        context.set_enabled_key_data([constants.KeyDataX509])
        context.verify(signature)
    except (xmlsec.Error, xml.LxmlError) as error:
        raise ConfigError(f"The signature of the metadata of '{issuer}' is not of the certificate given.") from error
