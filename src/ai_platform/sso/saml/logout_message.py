"""What a logout message says, held against what it must say (SAML 2.0 core, 3.7; profiles, 4.4).

It believes the document: its signature stands beside it and is checked elsewhere. Above: reading. Below: document.
"""

from typing import Any

from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from ai_platform.sso.idtoken import refused
from ai_platform.sso.saml.content import SUCCESS, check_age, moment_of
from ai_platform.sso.saml.document import DS, SAML, SAMLP, elements, only, parsed, text_of
from ai_platform.sso.saml.messages import LogoutAnswered, LogoutAsked, LogoutDemand
from ai_platform.sso.saml.shape import check_ids

MOST_SESSIONS = 50
_SCHEMA = "saml-schema-protocol-2.0.xsd"


def logout_asked(document: bytes, demand: LogoutDemand) -> LogoutAsked:
    """Raises Unauthenticated: it is no wish to sign out, or for another address, from another issuer, not of now."""
    root = _checked(document, "LogoutRequest", demand)
    ends = moment_of(root, "NotOnOrAfter")
    if ends is not None and ends + demand.skew <= demand.now:
        raise refused("it has expired. Compare the clocks of this machine and of the provider")
    sessions = tuple(text_of(each)[:255] for each in root.findall(f"{SAMLP}SessionIndex"))
    if len(sessions) > MOST_SESSIONS:
        raise refused("it names far too many sign-ins")
    name = text_of(only(root, f"{SAML}NameID"))
    if not name and not any(sessions):
        raise refused("it names nobody in a way that is known here")
    return LogoutAsked(id=root.get("ID"), name_id=name[:255], sessions=tuple(each for each in sessions if each))


def logout_answered(document: bytes, demand: LogoutDemand) -> LogoutAnswered:
    """Raises Unauthenticated, as `logout_asked` does."""
    root = _checked(document, "LogoutResponse", demand)
    status = only(root, f"{SAMLP}Status")
    code = None if status is None else only(status, f"{SAMLP}StatusCode")
    inner = None if code is None else only(code, f"{SAMLP}StatusCode")
    succeeded = code is not None and code.get("Value") == SUCCESS and inner is None
    return LogoutAnswered(request=root.get("InResponseTo", ""), succeeded=succeeded)


def _checked(document: bytes, kind: str, demand: LogoutDemand) -> Any:
    root = parsed(document)
    if root.tag != f"{SAMLP}{kind}" or root.get("Version") != "2.0" or not root.get("ID"):
        raise refused(f"it is no {kind}")
    check_ids(root)
    if any(node.tag == f"{DS}Signature" for node in elements(root)):
        raise refused("it holds a signature where none belongs")
    if isinstance(OneLogin_Saml2_XML.validate_xml(root, _SCHEMA, debug=False), str):
        raise refused("it does not follow the schema of SAML")
    check_age(root, now=demand.now, skew=demand.skew)
    if root.get("Destination") != demand.address:
        raise refused("it was sent to another address than it was made for")
    if text_of(only(root, f"{SAML}Issuer")) != demand.issuer:
        raise refused("another issuer made it")
    return root
