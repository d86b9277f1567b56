"""A SAML response: opened without believing it, then verified twice, by python3-saml and by our own reading.

Everything here is blocking CPU work on one document and knows neither store nor network; the provider runs it in a
thread. SAML 2.0 core and profiles (OASIS, 2005), section 4.1.4 of the latter. Above: reading. Below: content, shape.
"""

import base64
from typing import Any

import lxml.etree as xml
import xmlsec
from onelogin.saml2.errors import OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings

from ai_platform.sso.idtoken import BadTokenError, refused
from ai_platform.sso.saml.content import check_age, check_status, facts_of
from ai_platform.sso.saml.document import SAML, decoded, only, parsed, text_of
from ai_platform.sso.saml.messages import Demand, Facts, Opened
from ai_platform.sso.saml.shape import ASSERTION, ENCRYPTED, check_response, is_signed

MOST_BYTES = 256 * 1024
CLOSED = (
    "it cannot be opened with our key, or what is inside is not signed by the provider, not for us, or not valid now"
)
"""One sentence for everything that goes wrong behind the encryption: different ones would help to guess the content."""

_BROKEN = (xmlsec.Error, xml.LxmlError, OneLogin_Saml2_Error, ValueError, TypeError, KeyError, IndexError)
_WRONG = OneLogin_Saml2_ValidationError
_SENTENCES: dict[int, str] = {
    _WRONG.INVALID_SIGNATURE: "its signature is wrong, or made with a key that is not the provider's",
    _WRONG.NO_SIGNATURE_FOUND: "it is not signed",
    _WRONG.INVALID_XML_FORMAT: "it does not follow the schema of SAML",
    _WRONG.DUPLICATED_ATTRIBUTE_NAME_FOUND: "it names one attribute twice",
    _WRONG.ENCRYPTED_ATTRIBUTES: "its attributes are encrypted one by one, which is not supported",
    _WRONG.SP_NAME_QUALIFIER_NAME_MISMATCH: "it names the person for another application",
}


def opened(form_value: str, *, now: float, skew: float) -> Opened:
    """What arrived, with nothing in it believed yet. Raises Unauthenticated."""
    document = decoded(form_value, most=MOST_BYTES)
    root = parsed(document)
    check_response(root)
    check_age(root, now=now, skew=skew)
    check_status(root)
    if root.find(ASSERTION) is None and root.find(ENCRYPTED) is None:
        raise refused("it holds no assertion")
    return Opened(
        document=document,
        request=root.get("InResponseTo"),
        issuer=text_of(only(root, f"{SAML}Issuer")),
        encrypted=root.find(ENCRYPTED) is not None,
    )


def verified(answer: Opened, demand: Demand) -> Facts:
    """Raises Unauthenticated: not signed by the provider, not for us, not now, not for this request."""
    if not answer.encrypted:
        if demand.encrypted:
            raise refused("it is not encrypted, which is demanded of this provider")
        root = parsed(answer.document)
        _check_signed(root, demand)
        facts = facts_of(root, demand)
        _check_library(_loaded(answer.document, demand, ""), demand)
        return facts
    try:
        response = _decrypted(answer.document, demand)
        # Read anew as text: a tree that xmlsec has put nodes into does not answer every question rightly.
        root = parsed(xml.tostring(response.decrypted_document))
        check_response(root)
        _check_signed(root, demand)
        _check_library(response, demand)
        return facts_of(root, demand)
    except BadTokenError as error:
        raise refused(CLOSED) from error


def _decrypted(document: bytes, demand: Demand) -> Any:
    """With the first of our keys that fits."""
    for key in demand.keys:
        try:
            return _loaded(document, demand, key)
        except BadTokenError:
            continue
    raise refused("none of our keys opens it")


def _loaded(document: bytes, demand: Demand, key: str) -> Any:
    """key: PEM of ours, "" when nothing has to be opened."""
    try:
        return OneLogin_Saml2_Response(_settings(demand, key), base64.b64encode(document))
    except (*_BROKEN, _WRONG) as error:
        raise refused("it cannot be read") from error


def _check_signed(root: Any, demand: Demand) -> None:
    response, assertion = is_signed(root), is_signed(root.find(ASSERTION))
    missing = {
        "response": not response,
        "assertion": not assertion,
        "both": not (response and assertion),
        "either": not (response or assertion),
    }
    if missing[demand.signed]:
        what = {"either": "it", "both": "response or assertion"}.get(demand.signed, f"the {demand.signed}")
        raise refused(f"{what} is not signed")


def _check_library(response: Any, demand: Demand) -> None:
    try:
        response.is_valid(_request(demand), demand.request, raise_exceptions=True)
        response.get_nameid_data()
        response.get_attributes()
    except _WRONG as error:
        raise refused(_SENTENCES.get(error.code, "it is not valid for us now")) from error
    except _BROKEN as error:
        raise refused("it cannot be read") from error


def _request(demand: Demand) -> dict[str, Any]:
    """The address it came to, as python3-saml wants to hear it."""
    scheme, _, rest = demand.acs.partition("://")
    host, _, path = rest.partition("/")
    return {"https": "on" if scheme == "https" else "off", "http_host": host, "script_name": f"/{path}"}


def _settings(demand: Demand, key: str) -> Any:
    binding = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "debug": False,
            "sp": {
                "entityId": demand.entity_id,
                "assertionConsumerService": {"url": demand.acs, "binding": binding},
                "privateKey": key,
            },
            "idp": {
                "entityId": demand.issuer,
                "singleSignOnService": {"url": demand.acs},
                "x509certMulti": {"signing": list(demand.certificates)},
            },
            "security": {
                "rejectDeprecatedAlgorithm": True,
                "wantAssertionsSigned": demand.signed in {"assertion", "both"},
                "wantMessagesSigned": demand.signed in {"response", "both"},
                "wantNameId": False,
                "wantAttributeStatement": False,
                "requestedAuthnContext": False,
                "allowSingleLabelDomains": True,
            },
        }
    )
