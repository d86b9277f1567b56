"""SAML answers made to measure: what a test wants to stand in them, signed and encrypted by xmlsec as it wants."""

import base64
import copy
import datetime as dt
import time
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

import lxml.etree as xml
import pytest
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ai_platform.domain.errors import Unauthenticated
from ai_platform.sso.saml import reading
from ai_platform.sso.saml.messages import Demand, Facts

PREFIXES = {
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
    "xenc": "http://www.w3.org/2001/04/xmlenc#",
}
ISSUER = "https://idp.example/metadata"
ENTITY = "https://ai.example/saml/metadata"
ACS = "https://ai.example/saml/acs"
REQUEST = "_request0123456789"

_RESPONSE = """<samlp:Response xmlns:samlp="{samlp}" xmlns:saml="{saml}" ID="{response_id}" Version="{version}"
 IssueInstant="{issued}"{destination}{in_response_to}><saml:Issuer>{response_issuer}</saml:Issuer>
<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:{status}"/></samlp:Status>{assertion}
</samlp:Response>"""
_ASSERTION = """<saml:Assertion xmlns:saml="{saml}" ID="{assertion_id}" Version="2.0" IssueInstant="{assertion_issued}">
<saml:Issuer>{assertion_issuer}</saml:Issuer><saml:Subject><saml:NameID Format="{format}">{name_id}</saml:NameID>
<saml:SubjectConfirmation Method="{method}"><saml:SubjectConfirmationData{recipient}{confirmed_for}{confirmed_until}/>
</saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="{not_before}"{not_on_or_after}>{audience}
</saml:Conditions>{authn}<saml:AttributeStatement>{attributes}</saml:AttributeStatement></saml:Assertion>"""


def moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def certificate(key: Any, *, days: float = 365, started: float = 1, name: str = "idp.example") -> str:
    """PEM, signed by itself. days: until it expires; negative: it has."""
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=started) + min(dt.timedelta(), dt.timedelta(days=days)))
        .not_valid_after(now + dt.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(Encoding.PEM).decode()


class Pair:
    """A key and its certificate, both PEM."""

    def __init__(self, *, days: float = 365, bits: int = 2048, elliptic: bool = False) -> None:
        made: Any = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa.generate_private_key(65537, bits)
        self.key = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        self.certificate = certificate(made, days=days)

    @property
    def bare(self) -> str:
        """The certificate without its frame, as it stands in XML."""
        return "".join(self.certificate.strip().splitlines()[1:-1])


def answer(**changes: Any) -> Any:
    """The root of a good answer, not signed. attributes: name -> values. None takes an XML attribute away."""
    now = changes.pop("now", None) or time.time()
    values: dict[str, Any] = {
        "response_id": "_response1",
        "assertion_id": "_assertion1",
        "version": "2.0",
        "issued": moment(now),
        "assertion_issued": moment(now),
        "destination": ACS,
        "in_response_to": REQUEST,
        "response_issuer": ISSUER,
        "assertion_issuer": ISSUER,
        "status": "Success",
        "format": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
        "name_id": "ann-0001",
        "method": "urn:oasis:names:tc:SAML:2.0:cm:bearer",
        "recipient": ACS,
        "confirmed_for": REQUEST,
        "confirmed_until": moment(now + 300),
        "not_before": moment(now - 5),
        "not_on_or_after": moment(now + 300),
        "audience": ENTITY,
        "authn": f'<saml:AuthnStatement AuthnInstant="{moment(now)}" SessionIndex="_s1"><saml:AuthnContext>'
        "<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>"
        "</saml:AuthnContext></saml:AuthnStatement>",
        "attributes": {"mail": ["ann@example.com"], "groups": ["engineering", "chess"], "displayName": ["Ann"]},
    } | changes
    values["attributes"] = _attributes(values["attributes"])
    if values["audience"] is not None:
        inner = f"<saml:Audience>{values['audience']}</saml:Audience>"
        values["audience"] = f"<saml:AudienceRestriction>{inner}</saml:AudienceRestriction>"
    for name, written in {
        "destination": "Destination",
        "in_response_to": "InResponseTo",
        "recipient": "Recipient",
        "confirmed_for": "InResponseTo",
        "confirmed_until": "NotOnOrAfter",
        "not_on_or_after": "NotOnOrAfter",
    }.items():
        values[name] = "" if values[name] is None else f' {written}="{values[name]}"'
    text = {name: "" if value is None else value for name, value in values.items()} | PREFIXES
    assertion = _ASSERTION.format(**text)
    return xml.fromstring(_RESPONSE.format(**text | {"assertion": assertion}).replace("\n", "").encode())


def _attributes(attributes: Mapping[str, list[str]]) -> str:
    return "".join(
        f'<saml:Attribute Name="{escape(name)}">'
        + "".join(f"<saml:AttributeValue>{escape(value)}</saml:AttributeValue>" for value in values)
        + "</saml:Attribute>"
        for name, values in attributes.items()
    )


def find(root: Any, path: str) -> Any:
    """The first of `samlp:Response`-like paths."""
    for step in path.split("/"):
        prefix, _, name = step.partition(":")
        root = next((child for child in root if child.tag == f"{{{PREFIXES[prefix]}}}{name}"), None)
        assert root is not None, path
    return root


def every(root: Any, tag: str) -> list[Any]:
    """All elements of that tag; lxml's own search passes over nodes that xmlsec made."""
    return [node for node in root.iter() if node.tag == tag]


def sign(
    element: Any,
    pair: Pair,
    *,
    method: Any = xmlsec.Transform.RSA_SHA256,
    digest: Any = xmlsec.Transform.SHA256,
    transforms: tuple[Any, ...] = (xmlsec.Transform.ENVELOPED, xmlsec.Transform.EXCL_C14N),
    canonical: Any = xmlsec.Transform.EXCL_C14N,
    reference: str | None = None,
    key: Any = None,
) -> Any:
    """The element, signed in place, the signature after its issuer. reference: another URI than its own ID's."""
    signature = xmlsec.template.create(element, canonical, method, ns="ds")
    element.insert(1, signature)
    uri = f"#{element.get('ID')}" if reference is None else reference
    made = xmlsec.template.add_reference(signature, digest, uri=uri or None)
    for transform in transforms:
        xmlsec.template.add_transform(made, transform)
    info = xmlsec.template.ensure_key_info(signature)
    xmlsec.template.add_x509_data(info)
    xmlsec.tree.add_ids(element.getroottree().getroot(), ["ID"])
    context = xmlsec.SignatureContext()
    context.key = key or xmlsec.Key.from_memory(pair.key, xmlsec.KeyFormat.PEM)
    if key is None:
        context.key.load_cert_from_memory(pair.certificate, xmlsec.KeyFormat.PEM)
    context.sign(signature)
    return element


def signed(pair: Pair, *, what: str = "assertion", **changes: Any) -> Any:
    """A good answer whose assertion, response or both are signed."""
    root = answer(**changes)
    if what in {"assertion", "both"}:
        sign(find(root, "saml:Assertion"), pair)
    if what in {"response", "both"}:
        sign(root, pair)
    return root


def encrypt(
    root: Any,
    certificate_pem: str,
    *,
    cipher: Any = xmlsec.Transform.AES256,
    transport: Any = xmlsec.Transform.RSA_OAEP,
    bits: int = 256,
) -> Any:
    """The answer with its assertion encrypted for the owner of the certificate."""
    assertion = find(root, "saml:Assertion")
    holder = xml.SubElement(root, f"{{{PREFIXES['saml']}}}EncryptedAssertion")
    root.replace(assertion, holder)
    data = xmlsec.template.encrypted_data_create(holder, cipher, type=xmlsec.EncryptionType.ELEMENT, ns="xenc")
    xmlsec.template.encrypted_data_ensure_cipher_value(data)
    info = xmlsec.template.encrypted_data_ensure_key_info(data, ns="ds")
    encrypted_key = xmlsec.template.add_encrypted_key(info, transport)
    xmlsec.template.encrypted_data_ensure_cipher_value(encrypted_key)
    manager = xmlsec.KeysManager()
    manager.add_key(xmlsec.Key.from_memory(certificate_pem, xmlsec.KeyFormat.CERT_PEM))
    context = xmlsec.EncryptionContext(manager)
    kind = xmlsec.KeyData.DES if "des" in cipher.name else xmlsec.KeyData.AES
    context.key = xmlsec.Key.generate(kind, bits, xmlsec.KeyDataType.SESSION)
    holder.append(context.encrypt_xml(data, copy.deepcopy(assertion)))
    return root


def posted(root: Any) -> str:
    """As it comes in the form field."""
    content = root if isinstance(root, bytes) else xml.tostring(root)
    return base64.b64encode(content).decode()


def demand(*certificates: str, keys: tuple[str, ...] = (), **changes: Any) -> Demand:
    """What a good answer must be."""
    usual: dict[str, Any] = {
        "acs": ACS,
        "entity_id": ENTITY,
        "issuer": ISSUER,
        "certificates": certificates,
        "keys": keys,
        "request": REQUEST,
        "signed": "either",
        "encrypted": False,
        "now": time.time(),
        "skew": 60.0,
    }
    return Demand(**usual | changes)


IDP, OURS, THIEF = Pair(), Pair(), Pair()
EVIL = "admin-0001"


def taken(form_value: str, **changes: Any) -> Facts:
    """What is read from it, when it is taken."""
    now = time.time()
    wanted = demand(IDP.certificate, keys=(OURS.key,), **changes)
    return reading.verified(reading.opened(form_value, now=now, skew=60.0), wanted)


def refused(form_value: str, why: str, **changes: Any) -> None:
    with pytest.raises(Unauthenticated, match=why) as refusal:
        taken(form_value, **changes)
    assert EVIL not in str(refusal.value)
