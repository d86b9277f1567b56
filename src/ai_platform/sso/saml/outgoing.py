"""What we send: requests by the HTTP-Redirect binding (SAML 2.0 bindings, section 3.4), and our metadata.

Written as text from escaped values; nothing is parsed. Above: provider. Below: cryptography.
"""

import base64
import datetime as dt
import zlib
from collections.abc import Sequence
from urllib.parse import quote, urlsplit, urlunsplit
from xml.sax.saxutils import escape, quoteattr

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
FORMATS = {
    "persistent": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
    "emailAddress": "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
    "unspecified": "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
}


def request_url(
    sso_url: str, *, identifier: str, acs: str, entity_id: str, name_id_format: str, now: float, key: str | None
) -> str:
    """Where the browser goes to sign in. key: PEM that signs the request, None = it is not signed."""
    wanted = f" Format={quoteattr(FORMATS[name_id_format])}" if name_id_format else ""
    request = (
        f'<samlp:AuthnRequest xmlns:samlp="{SAMLP}" xmlns:saml="{SAML}" ID={quoteattr(identifier)} Version="2.0"'
        f" IssueInstant={quoteattr(_moment(now))} Destination={quoteattr(sso_url)}"
        f' AssertionConsumerServiceURL={quoteattr(acs)} ProtocolBinding="{POST}">'
        f"<saml:Issuer>{escape(entity_id)}</saml:Issuer>"
        f'<samlp:NameIDPolicy AllowCreate="true"{wanted}/></samlp:AuthnRequest>'
    )
    packed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = packed.compress(request.encode()) + packed.flush()
    query = f"SAMLRequest={quote(base64.b64encode(deflated), safe='')}"
    if key is not None:
        query += f"&SigAlg={quote(RSA_SHA256, safe='')}"
        query += f"&Signature={quote(base64.b64encode(_signature(key, query.encode())), safe='')}"
    parts = urlsplit(sso_url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{query}" if parts.query else query))


def metadata(*, entity_id: str, acs: str, certificates: Sequence[str], signs: bool) -> bytes:
    """Our metadata. certificates: PEM, the one that answers are to be encrypted for first. signs: all requests."""
    keys = "".join(_key("signing", certificate) for certificate in certificates)
    keys += "".join(_key("encryption", certificate) for certificate in certificates[:1])
    formats = "".join(f"<md:NameIDFormat>{value}</md:NameIDFormat>" for value in FORMATS.values())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID={quoteattr(entity_id)}>'
        f'<md:SPSSODescriptor AuthnRequestsSigned="{str(signs).lower()}" WantAssertionsSigned="true"'
        f' protocolSupportEnumeration="{SAMLP}">{keys}{formats}'
        f'<md:AssertionConsumerService Binding="{POST}" Location={quoteattr(acs)} index="0" isDefault="true"/>'
        "</md:SPSSODescriptor></md:EntityDescriptor>\n"
    ).encode()


def _key(use: str, certificate: str) -> str:
    bare = "".join(line for line in certificate.splitlines() if not line.startswith("-----"))
    return (
        f'<md:KeyDescriptor use="{use}"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>'
        f"<ds:X509Certificate>{bare}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
    )


def _signature(key: str, content: bytes) -> bytes:
    private = serialization.load_pem_private_key(key.encode(), password=None)
    assert isinstance(private, rsa.RSAPrivateKey)  # keys are made in `keys`, nowhere else
    return private.sign(content, padding.PKCS1v15(), hashes.SHA256())


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
