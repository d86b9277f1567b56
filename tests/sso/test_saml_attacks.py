"""SAML answers that must not be taken: the known attacks on XML signatures, encryption and parsers, each made here."""

import base64
import copy
import time
from collections.abc import Callable
from typing import Any

import lxml.etree as xml
import pytest
import xmlsec
from saml_kit import (
    ACS,
    EVIL,
    IDP,
    OURS,
    PREFIXES,
    REQUEST,
    THIEF,
    Pair,
    answer,
    demand,
    encrypt,
    every,
    find,
    moment,
    posted,
    refused,
    sign,
    signed,
    taken,
)

from ai_platform.domain.errors import Unauthenticated
from ai_platform.sso.saml import reading

DS, SAML, SAMLP = (f"{{{PREFIXES[name]}}}" for name in ("ds", "saml", "samlp"))


@pytest.mark.requirement("ID-1")
@pytest.mark.parametrize("what", ["assertion", "response", "both"])
def test_a_good_answer_is_taken(what: str):
    facts = taken(posted(signed(IDP, what=what)))
    assert facts.name_id == "ann-0001"
    assert facts.attributes["groups"] == ["engineering", "chess"]
    assert taken(posted(encrypt(signed(IDP), OURS.certificate))).name_id == "ann-0001"


# --- wrapping: Somorovsky and others, "On Breaking SAML: Be Whoever You Want to Be" (USENIX Security 2012) ---------


def _evil(element: Any) -> Any:
    """A copy without signatures that names somebody else."""
    copied = copy.deepcopy(element)
    for signature in every(copied, f"{DS}Signature"):
        signature.getparent().remove(signature)
    for assertion in [copied] if copied.tag == f"{SAML}Assertion" else every(copied, f"{SAML}Assertion"):
        find(assertion, "saml:Subject/saml:NameID").text = EVIL
        assertion.set("ID", "_evil_assertion")
    if copied.tag == f"{SAMLP}Response":
        copied.set("ID", "_evil_response")
    return copied


def _xsw1() -> Any:
    original = signed(IDP, what="response")
    evil = _evil(original)
    signature = find(original, "ds:Signature")
    original.remove(signature)
    signature.append(original)
    evil.insert(1, signature)
    return evil


def _xsw2() -> Any:
    original = signed(IDP, what="response")
    evil = _evil(original)
    signature = find(original, "ds:Signature")
    original.remove(signature)
    evil.insert(1, signature)
    evil.insert(1, original)
    return evil


def _xsw3() -> Any:
    root = signed(IDP)
    original = find(root, "saml:Assertion")
    original.addprevious(_evil(original))
    return root


def _xsw4() -> Any:
    root = signed(IDP)
    original = find(root, "saml:Assertion")
    evil = _evil(original)
    root.replace(original, evil)
    evil.append(original)
    return root


def _xsw5() -> Any:
    root = signed(IDP)
    evil = find(root, "saml:Assertion")
    original = copy.deepcopy(evil)
    original.remove(find(original, "ds:Signature"))
    find(evil, "saml:Subject/saml:NameID").text = EVIL
    evil.set("ID", "_evil_assertion")
    root.append(original)
    return root


def _xsw6() -> Any:
    root = signed(IDP)
    evil = find(root, "saml:Assertion")
    original = copy.deepcopy(evil)
    original.remove(find(original, "ds:Signature"))
    find(evil, "saml:Subject/saml:NameID").text = EVIL
    evil.set("ID", "_evil_assertion")
    find(evil, "ds:Signature").append(original)
    return root


def _xsw7() -> Any:
    root = signed(IDP)
    original = find(root, "saml:Assertion")
    extensions = xml.Element(f"{SAMLP}Extensions")
    extensions.append(_evil(original))
    find(root, "samlp:Status").addprevious(extensions)
    return root


def _xsw8() -> Any:
    root = signed(IDP)
    evil = find(root, "saml:Assertion")
    original = copy.deepcopy(evil)
    original.remove(find(original, "ds:Signature"))
    find(evil, "saml:Subject/saml:NameID").text = EVIL
    evil.set("ID", "_evil_assertion")
    xml.SubElement(find(evil, "ds:Signature"), f"{DS}Object").append(original)
    return root


@pytest.mark.requirement("ID-1")
@pytest.mark.parametrize("attack", [_xsw1, _xsw2, _xsw3, _xsw4, _xsw5, _xsw6, _xsw7, _xsw8])
def test_signature_wrapping_is_refused(attack: Callable[[], Any]):
    wrapped = attack()
    assert EVIL in xml.tostring(wrapped, encoding="unicode")
    refused(posted(wrapped), "assertions instead of one|twice|signature|belongs")


def test_wrapping_of_an_encrypted_assertion_is_refused():
    root = encrypt(signed(IDP), OURS.certificate)
    root.append(_evil(find(answer(), "saml:Assertion")))
    refused(posted(root), "2 assertions instead of one")
    inner = signed(IDP)
    original = find(inner, "saml:Assertion")
    evil = _evil(original)
    inner.replace(original, evil)
    evil.append(original)
    refused(posted(encrypt(inner, OURS.certificate)), "cannot be opened")


def test_two_assertions_are_refused_even_when_both_are_signed():
    root = signed(IDP)
    other = signed(IDP, assertion_id="_assertion2", name_id="ben-0002")
    root.append(find(other, "saml:Assertion"))
    refused(posted(root), "2 assertions instead of one")
    same = signed(IDP)
    same.append(copy.deepcopy(find(same, "saml:Assertion")))
    refused(posted(same), "one identifier twice|assertions instead of one")


def test_an_assertion_of_another_name_space_or_at_another_place_is_refused():
    root = signed(IDP, what="response")
    assertion = find(root, "saml:Assertion")
    assertion.tag = "{urn:oasis:names:tc:SAML:1.0:assertion}Assertion"
    refused(posted(root), "not where it belongs")
    root = signed(IDP)
    extensions = xml.SubElement(root, f"{SAMLP}Extensions")
    extensions.append(find(root, "saml:Assertion"))
    refused(posted(root), "not where it belongs")


# --- signatures ------------------------------------------------------------------------------------------------------


def test_an_unsigned_answer_is_refused():
    refused(posted(answer(name_id=EVIL)), "not signed")


@pytest.mark.parametrize(
    ("path", "attribute"),
    [("saml:Assertion/saml:Subject/saml:NameID", None), ("saml:Assertion/saml:Conditions", "NotOnOrAfter")],
)
@pytest.mark.parametrize("what", ["assertion", "response", "both"])
def test_a_changed_answer_is_refused(what: str, path: str, attribute: str | None):
    root = signed(IDP, what=what)
    if attribute:
        find(root, path).set(attribute, moment(time.time() + 9999))
    else:
        find(root, path).text = EVIL
    refused(posted(root), "signature is wrong")


@pytest.mark.parametrize("what", ["assertion", "response", "both"])
def test_the_certificate_that_an_answer_brings_along_counts_for_nothing(what: str):
    """Key confusion: signed by somebody else, with their certificate in KeyInfo, also with the provider's put there."""
    root = signed(THIEF, what=what, name_id=EVIL)
    assert THIEF.bare in "".join(xml.tostring(root, encoding="unicode").split())
    refused(posted(root), "not the provider's")
    for node in every(root, f"{DS}X509Certificate"):
        node.text = IDP.bare
    refused(posted(root), "signature is wrong|not the provider's")


def test_a_signature_with_the_providers_public_key_as_a_shared_secret_is_refused():
    """Algorithm confusion: HMAC with what everybody knows."""
    for secret in (IDP.certificate.encode(), base64.b64decode(IDP.bare)):
        key = xmlsec.Key.from_binary_data(xmlsec.KeyData.HMAC, secret)
        root = answer(name_id=EVIL)
        sign(find(root, "saml:Assertion"), IDP, method=xmlsec.Transform.HMAC_SHA256, key=key)
        refused(posted(root), "signed with 'hmac-sha256', which is not accepted")


@pytest.mark.parametrize(
    ("method", "digest", "why"),
    [
        (xmlsec.Transform.RSA_SHA1, xmlsec.Transform.SHA256, "signed with 'rsa-sha1'"),
        (xmlsec.Transform.RSA_SHA256, xmlsec.Transform.SHA1, "digest is 'sha1'"),
        (xmlsec.Transform.RSA_SHA256, xmlsec.Transform.MD5, "digest is"),
    ],
)
def test_weak_algorithms_are_refused(method: Any, digest: Any, why: str):
    root = answer()
    try:
        sign(find(root, "saml:Assertion"), IDP, method=method, digest=digest)
    except xmlsec.Error:  # this build of xmlsec makes none any more; the name alone must do
        root = signed(IDP)
        every(root, f"{DS}DigestMethod")[0].set("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#md5")
    refused(posted(root), why)


@pytest.mark.parametrize("algorithm", ["", "none", "http://www.w3.org/2000/09/xmldsig#none", None])
def test_no_algorithm_is_refused(algorithm: str | None):
    root = signed(IDP)
    method = every(root, f"{DS}SignatureMethod")[0]
    if algorithm is None:
        method.getparent().remove(method)
    else:
        method.set("Algorithm", algorithm)
    refused(posted(root), "not accepted")


@pytest.mark.parametrize("elliptic", [False, True])
def test_good_algorithms_are_taken(*, elliptic: bool):
    pair = Pair(elliptic=elliptic)
    for method in (
        (xmlsec.Transform.ECDSA_SHA256, xmlsec.Transform.ECDSA_SHA384)
        if elliptic
        else (xmlsec.Transform.RSA_SHA256, xmlsec.Transform.RSA_SHA384, xmlsec.Transform.RSA_SHA512)
    ):
        root = answer()
        sign(find(root, "saml:Assertion"), pair, method=method, digest=xmlsec.Transform.SHA512)
        opened = reading.opened(posted(root), now=time.time(), skew=60.0)
        assert reading.verified(opened, demand(pair.certificate)).name_id == "ann-0001"


def test_a_signature_over_something_else_is_refused():
    for reference in ("", "#_response1", "file:///etc/passwd", "http://127.0.0.1:9/x", "#xpointer(/)"):
        root = signed(IDP)
        every(root, f"{DS}Reference")[0].set("URI", reference)
        refused(posted(root), "of something else")
    root = signed(IDP)
    info = every(root, f"{DS}SignedInfo")[0]
    info.append(copy.deepcopy(find(info, "ds:Reference")))
    refused(posted(root), "2 times Reference")


@pytest.mark.parametrize(
    "transform",
    [
        ("TR/1999/REC-xpath-19991116", "<ds:XPath>not(ancestor-or-self::*)</ds:XPath>"),
        ("TR/1999/REC-xslt-19991116", '<x:stylesheet xmlns:x="http://www.w3.org/1999/XSL/Transform" version="1.0"/>'),
        ("2002/06/xmldsig-filter2", ""),
        ("2000/09/xmldsig#base64", ""),
        ("2000/09/xmldsig#enveloped-signature", ""),
    ],
)
def test_transforms_that_hide_something_are_refused(transform: tuple[str, str]):
    root = signed(IDP)
    transforms = every(root, f"{DS}Transforms")[0]
    name, inner = transform
    head = f'<ds:Transform xmlns:ds="{PREFIXES["ds"]}" Algorithm="http://www.w3.org/{name}">'
    transforms.append(xml.fromstring(f"{head}{inner}</ds:Transform>"))
    refused(posted(root), "transforms what it signs")
    for each in list(transforms):
        transforms.remove(each)
    refused(posted(root), "transforms what it signs")


def test_something_hidden_in_an_accepted_transform_is_refused():
    root = signed(IDP)
    transform = every(root, f"{DS}Transform")[0]
    xml.SubElement(transform, f"{DS}XPath").text = "true()"
    refused(posted(root), "transforms what it signs")


def test_a_signature_in_a_place_where_none_belongs_is_refused():
    root = signed(IDP)
    find(root, "saml:Assertion/saml:Subject").append(copy.deepcopy(every(root, f"{DS}Signature")[0]))
    refused(posted(root), "where none belongs")
    root = signed(IDP)
    find(root, "saml:Assertion").append(copy.deepcopy(every(root, f"{DS}Signature")[0]))
    refused(posted(root), "2 times Signature|where none belongs")


def test_a_key_that_lies_elsewhere_is_not_fetched():
    root = signed(IDP)
    xml.SubElement(every(root, f"{DS}KeyInfo")[0], f"{DS}RetrievalMethod").set("URI", "http://127.0.0.1:9/key")
    refused(posted(root), "points to a key elsewhere")


@pytest.mark.parametrize(
    ("demanded", "what", "accepted"),
    [
        ("assertion", "response", False),
        ("assertion", "assertion", True),
        ("response", "assertion", False),
        ("response", "response", True),
        ("both", "assertion", False),
        ("both", "response", False),
        ("both", "both", True),
    ],
)
def test_what_must_be_signed_can_be_demanded(demanded: str, what: str, *, accepted: bool):
    value = posted(signed(IDP, what=what))
    if accepted:
        assert taken(value, signed=demanded)
    else:
        refused(value, "is not signed", signed=demanded)


# --- for whom, by whom, when, for which request ----------------------------------------------------------------------


@pytest.mark.requirement("ID-1")
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"audience": "https://other.example"}, "another application"),
        ({"audience": None}, "another application"),
        ({"destination": "https://other.example/acs"}, "another address"),
        ({"destination": f"{ACS}/x"}, "another address"),
        ({"destination": ""}, "another address"),
        ({"recipient": "https://other.example/acs"}, "nothing in it confirms"),
        ({"recipient": f"{ACS}.evil.example"}, "nothing in it confirms"),
        ({"recipient": None}, "nothing in it confirms"),
        ({"method": "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"}, "nothing in it confirms"),
        ({"response_issuer": "https://evil.example"}, "another issuer"),
        ({"assertion_issuer": "https://evil.example"}, "another issuer"),
        ({"in_response_to": "_other"}, "another request"),
        ({"in_response_to": None}, "another request"),
        ({"confirmed_for": "_other"}, "nothing in it confirms"),
        ({"confirmed_for": None}, "nothing in it confirms"),
        ({"confirmed_until": None}, "nothing in it confirms"),
        ({"not_on_or_after": None}, "when it expires"),
        ({"not_on_or_after": "soon"}, "when it is valid"),
        ({"not_on_or_after": "2027-01-01T00:00:00+05:00"}, "when it is valid"),
        ({"status": "AuthnFailed"}, "did not succeed .AuthnFailed"),
        ({"version": "1.1"}, "not SAML 2.0"),
        ({"authn": ""}, "does not say that somebody signed in"),
        ({"issued": ""}, "when it is valid"),
    ],
)
def test_an_answer_that_is_not_for_us_is_refused(changes: dict[str, Any], why: str):
    refused(posted(signed(IDP, what="both", **changes)), why)


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"not_on_or_after": -30}, True),
        ({"not_on_or_after": -61}, False),
        ({"not_before": 55}, True),
        ({"not_before": 70}, False),
        ({"confirmed_until": -61}, False),
        ({"assertion_issued": 55}, True),
        ({"assertion_issued": 70}, False),
        ({"assertion_issued": -650}, True),
        ({"assertion_issued": -700}, False),
        ({"issued": 70}, False),
        ({"issued": -700}, False),
    ],
)
def test_clocks_may_differ_by_a_minute_and_the_message_says_so(changes: dict[str, int], *, accepted: bool):
    now = time.time()
    value = posted(signed(IDP, **{name: moment(now + seconds) for name, seconds in changes.items()}))
    if accepted:
        assert taken(value)
    else:
        refused(value, "clock")


@pytest.mark.parametrize("seconds", [300, -900])
def test_a_clock_that_is_minutes_off_is_told_with_how_many(seconds: int):
    value = posted(signed(IDP, now=time.time() + seconds))
    refused(value, f"{abs(seconds) // 60} minutes (ahead of|behind) the clock of this machine")
    hidden = posted(encrypt(signed(IDP, now=time.time() + seconds), OURS.certificate))
    refused(hidden, "clock of this machine")
    if seconds > 0:
        assert reading.opened(value, now=time.time(), skew=300.0)


def test_a_sign_in_that_ended_at_the_provider_is_refused_and_a_later_end_is_kept():
    authn = (
        '<saml:AuthnStatement AuthnInstant="{}" SessionNotOnOrAfter="{}"><saml:AuthnContext><saml:AuthnContextClassRef>'
        "urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext>"
        "</saml:AuthnStatement>"
    )
    now = int(time.time())
    assert taken(posted(signed(IDP, authn=authn.format(moment(now), moment(now + 600))))).until == now + 600
    refused(posted(signed(IDP, authn=authn.format(moment(now), moment(now - 600)))), "has ended")


def test_an_answer_nobody_asked_for_is_taken_only_as_such():
    unasked = posted(signed(IDP, in_response_to=None, confirmed_for=None))
    assert taken(unasked, request=None).name_id == "ann-0001"
    refused(unasked, "another request")
    asked = posted(signed(IDP))
    assert taken(asked, request=REQUEST)
    refused(asked, "another request", request=None)


def test_an_answer_to_nobody_is_not_dressed_up_as_the_answer_to_a_request():
    """Only the assertion is signed, so the response around it can be written anew."""
    root = signed(IDP, in_response_to=None, confirmed_for=None)
    root.set("InResponseTo", REQUEST)
    refused(posted(root), "nothing in it confirms")


def test_a_condition_that_is_not_known_is_not_passed_over():
    root = answer()
    conditions = find(root, "saml:Assertion/saml:Conditions")
    xml.SubElement(conditions, f"{SAML}Condition")
    sign(find(root, "saml:Assertion"), IDP)
    refused(posted(root), "not known here")


def test_every_audience_restriction_must_name_us():
    root = answer()
    conditions = find(root, "saml:Assertion/saml:Conditions")
    second = xml.SubElement(conditions, f"{SAML}AudienceRestriction")
    xml.SubElement(second, f"{SAML}Audience").text = "https://other.example"
    sign(find(root, "saml:Assertion"), IDP)
    refused(posted(root), "another application")


def test_old_and_new_certificate_of_the_provider_count_while_both_are_listed():
    fresh = Pair()
    for pair in (IDP, fresh):
        opened = reading.opened(posted(signed(pair)), now=time.time(), skew=60.0)
        assert reading.verified(opened, demand(IDP.certificate, fresh.certificate))
        other = THIEF if pair is IDP else IDP
        with pytest.raises(Unauthenticated):
            reading.verified(opened, demand(other.certificate))
