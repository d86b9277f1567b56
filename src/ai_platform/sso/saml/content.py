"""What a response says, read by us and held against what it must say (SAML 2.0 profiles, section 4.1.4.3).

It believes the document: whether it is signed is checked elsewhere. Above: answer. Below: document.
"""

import datetime as dt
import re
from typing import Any

from ai_platform.sso.idtoken import OLDEST, apart, refused
from ai_platform.sso.saml.document import SAML, SAMLP, only, text_of
from ai_platform.sso.saml.messages import Demand, Facts
from ai_platform.sso.saml.shape import ASSERTION, is_signed

BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
MOST_ATTRIBUTES = 200
MOST_VALUES = 2000

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,12})?Z")
_CONDITIONS = frozenset(f"{SAML}{name}" for name in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction"))
_STATUS = re.compile(r"[A-Za-z]{1,40}")


def check_age(root: Any, *, now: float, skew: float) -> None:
    """Raises Unauthenticated: made too long ago or in the future, with how far the clocks are apart."""
    issued = moment_of(root, "IssueInstant")
    if issued is None:
        raise refused("it does not say when it was made")
    if issued - skew > now:
        raise refused(f"it is from the future: {apart(issued - now, 'ahead of')}")
    if issued + OLDEST + skew < now:
        raise refused(f"it is too old, or {apart(now - issued, 'behind')}")


def check_status(root: Any) -> None:
    """Raises Unauthenticated: the provider says that the sign-in did not succeed."""
    status = only(root, f"{SAMLP}Status")
    code = None if status is None else only(status, f"{SAMLP}StatusCode")
    if code is None:
        raise refused("it does not say whether the sign-in succeeded")
    if code.get("Value") != SUCCESS:
        inner = code.find(f"{SAMLP}StatusCode")
        names = [each.get("Value", "").rpartition(":")[2] for each in (code, inner) if each is not None]
        said = ", ".join(name for name in names if _STATUS.fullmatch(name)) or "no reason"
        raise refused(f"it says that the sign-in did not succeed ({said})")


def facts_of(root: Any, demand: Demand) -> Facts:
    """Raises Unauthenticated: for another application, another request, another time, or from another issuer."""
    assertion = root.find(ASSERTION)
    if assertion is None or not assertion.get("ID"):
        raise refused("it holds no assertion")
    _check_addresses(root, assertion, demand)
    check_age(assertion, now=demand.now, skew=demand.skew)
    expires = _check_conditions(assertion, demand)
    subject = only(assertion, f"{SAML}Subject")
    if subject is None:
        raise refused("it names nobody")
    _check_confirmations(subject, demand)
    name = only(subject, f"{SAML}NameID")
    session, until = _session(assertion, demand)
    return Facts(
        assertion=assertion.get("ID"),
        name_id=text_of(name),
        name_format="" if name is None else name.get("Format", "").rpartition(":")[2],
        attributes=_attributes(assertion),
        session=session,
        until=until,
        expires=expires,
        name_format_uri="" if name is None else name.get("Format", ""),
        qualifiers=("", "") if name is None else (name.get("NameQualifier", ""), name.get("SPNameQualifier", "")),
    )


def _check_addresses(root: Any, assertion: Any, demand: Demand) -> None:
    destination = root.get("Destination")
    if destination != demand.acs and (destination is not None or is_signed(root)):
        raise refused("it was sent to another address than it was made for")
    outer = only(root, f"{SAML}Issuer")
    if outer is not None and text_of(outer) != demand.issuer:
        raise refused("another issuer made it")
    if text_of(only(assertion, f"{SAML}Issuer")) != demand.issuer:
        raise refused("another issuer made it")
    if root.get("InResponseTo") != demand.request:
        raise refused("it answers another request")


def _check_conditions(assertion: Any, demand: Demand) -> float:
    """When the assertion expires."""
    conditions = only(assertion, f"{SAML}Conditions")
    if conditions is None or any(child.tag not in _CONDITIONS for child in conditions):
        raise refused("it has no conditions, or such as are not known here")
    restrictions = conditions.findall(f"{SAML}AudienceRestriction")
    audiences = [{text_of(each) for each in one.findall(f"{SAML}Audience")} for one in restrictions]
    if not audiences or not all(demand.entity_id in allowed for allowed in audiences):
        raise refused("it is meant for another application")
    starts, ends = moment_of(conditions, "NotBefore"), moment_of(conditions, "NotOnOrAfter")
    if ends is None:
        raise refused("it does not say when it expires")
    _check_window(starts, ends, demand)
    return ends


def _check_confirmations(subject: Any, demand: Demand) -> None:
    """One bearer confirmation must be for this address, this request and now."""
    late = False
    for confirmation in subject.findall(f"{SAML}SubjectConfirmation"):
        data = only(confirmation, f"{SAML}SubjectConfirmationData")
        if confirmation.get("Method") != BEARER or data is None or data.get("Recipient") != demand.acs:
            continue
        if data.get("InResponseTo") != demand.request:
            continue
        ends = moment_of(data, "NotOnOrAfter")
        if ends is None or data.get("NotBefore") is not None:  # profiles, 4.1.4.2: the one is demanded, the other not
            continue
        if ends + demand.skew <= demand.now:
            late = True
            continue
        return
    if late:
        raise refused("it has expired. Compare the clocks of this machine and of the provider")
    raise refused("nothing in it confirms that it was made for this sign-in at this address")


def _session(assertion: Any, demand: Demand) -> tuple[str | None, float | None]:
    statement = only(assertion, f"{SAML}AuthnStatement")
    if statement is None:
        raise refused("it does not say that somebody signed in")
    until = moment_of(statement, "SessionNotOnOrAfter")
    if until is not None and until + demand.skew <= demand.now:
        raise refused("the sign-in at the provider has ended")
    session = statement.get("SessionIndex")
    return (session[:255] if session else None), until


def _attributes(assertion: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for statement in assertion.findall(f"{SAML}AttributeStatement"):
        for attribute in statement.findall(f"{SAML}Attribute"):
            values = [each.text or "" for each in attribute.findall(f"{SAML}AttributeValue") if not len(each)]
            found.setdefault(attribute.get("Name", ""), []).extend(values[:MOST_VALUES])
    if len(found) > MOST_ATTRIBUTES:
        raise refused("it holds far too many attributes")
    return found


def _check_window(starts: float | None, ends: float, demand: Demand) -> None:
    if ends + demand.skew <= demand.now:
        raise refused("it has expired. Compare the clocks of this machine and of the provider")
    if starts is not None and starts - demand.skew > demand.now:
        raise refused(f"it is not valid yet: {apart(starts - demand.now, 'ahead of')}")


def moment_of(element: Any, name: str) -> float | None:
    """Epoch seconds; SAML moments are in UTC (core, 1.3.3)."""
    text = element.get(name)
    if text is None:
        return None
    if not _MOMENT.fullmatch(text):
        raise refused("it does not say when it is valid")
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise refused("it does not say when it is valid") from error
