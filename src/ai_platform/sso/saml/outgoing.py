"""What we send: messages by the HTTP-Redirect binding (SAML 2.0 bindings, section 3.4), and our metadata.

Written as text from escaped values; nothing is parsed. Above: provider. Below: cryptography.
"""

import base64
import datetime as dt
import zlib
from collections.abc import Sequence
from urllib.parse import quote, urlsplit, urlunsplit
from xml.sax.saxutils import escape, quoteattr

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
LOGOUT_SECONDS = 300.0
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
    return _redirect(sso_url, "SAMLRequest", request, key=key)


class LogoutName(msgspec.Struct, frozen=True):
    """Whom and which sign-in a logout is about, in the provider's own words: exactly those of its assertion."""

    value: str
    format: str = ""
    qualifier: str = ""
    sp_qualifier: str = ""
    session: str | None = None


def logout_url(address: str, *, identifier: str, entity_id: str, name: LogoutName, now: float, key: str) -> str:
    """Where the browser goes to sign out at the provider (SAML 2.0 profiles, section 4.4)."""
    named = "".join(
        f" {attribute}={quoteattr(value)}"
        for attribute, value in (
            ("NameQualifier", name.qualifier),
            ("SPNameQualifier", name.sp_qualifier),
            ("Format", name.format),
        )
        if value
    )
    session = f"<samlp:SessionIndex>{escape(name.session)}</samlp:SessionIndex>" if name.session else ""
    inner = f"<saml:NameID{named}>{escape(name.value)}</saml:NameID>{session}"
    ends = f" NotOnOrAfter={quoteattr(_moment(now + LOGOUT_SECONDS))}"
    head = _head("LogoutRequest", identifier, address, entity_id, now=now, more=ends)
    return _redirect(address, "SAMLRequest", f"{head}{inner}</samlp:LogoutRequest>", key=key)


def logout_answer_url(
    address: str, *, identifier: str, entity_id: str, request: str, relay_state: str, now: float, key: str
) -> str:
    """Where the browser goes on, after what the provider wanted ended has ended. relay_state: the provider's own."""
    answers = f" InResponseTo={quoteattr(request)}"
    head = _head("LogoutResponse", identifier, address, entity_id, now=now, more=answers)
    status = f'<samlp:Status><samlp:StatusCode Value="{SUCCESS}"/></samlp:Status>'
    answer = f"{head}{status}</samlp:LogoutResponse>"
    return _redirect(address, "SAMLResponse", answer, key=key, relay_state=relay_state)


def _head(kind: str, identifier: str, address: str, entity_id: str, *, now: float, more: str) -> str:
    return (
        f'<samlp:{kind} xmlns:samlp="{SAMLP}" xmlns:saml="{SAML}" ID={quoteattr(identifier)} Version="2.0"'
        f" IssueInstant={quoteattr(_moment(now))} Destination={quoteattr(address)}{more}>"
        f"<saml:Issuer>{escape(entity_id)}</saml:Issuer>"
    )


def _redirect(address: str, field: str, message: str, *, key: str | None, relay_state: str = "") -> str:
    packed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = packed.compress(message.encode()) + packed.flush()
    query = f"{field}={quote(base64.b64encode(deflated), safe='')}"
    if relay_state:
        query += f"&RelayState={quote(relay_state, safe='')}"
    if key is not None:
        query += f"&SigAlg={quote(RSA_SHA256, safe='')}"
        query += f"&Signature={quote(base64.b64encode(_signature(key, query.encode())), safe='')}"
    parts = urlsplit(address)
    return urlunsplit(parts._replace(query=f"{parts.query}&{query}" if parts.query else query))


def metadata(*, entity_id: str, acs: str, logout: str, certificates: Sequence[str], signs: bool) -> bytes:
    """Our metadata. certificates: PEM, the one that answers are to be encrypted for first. signs: all requests.

    logout: the address of single logout.
    """
    keys = "".join(_key("signing", certificate) for certificate in certificates)
    keys += "".join(_key("encryption", certificate) for certificate in certificates[:1])
    formats = "".join(f"<md:NameIDFormat>{value}</md:NameIDFormat>" for value in FORMATS.values())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID={quoteattr(entity_id)}>'
        f'<md:SPSSODescriptor AuthnRequestsSigned="{str(signs).lower()}" WantAssertionsSigned="true"'
        f' protocolSupportEnumeration="{SAMLP}">{keys}'
        f'<md:SingleLogoutService Binding="{REDIRECT}" Location={quoteattr(logout)}/>{formats}'
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
