"""SAML answers as documents: parsers, encodings, encryption; what they hide must neither act nor be believed."""

import base64
import re
import time
from typing import Any

import lxml.etree as xml
import pytest
import xmlsec
from saml_kit import (
    IDP,
    OURS,
    PREFIXES,
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

DS, SAML = (f"{{{PREFIXES[name]}}}" for name in ("ds", "saml"))

# --- the parser ------------------------------------------------------------------------------------------------------

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.requirement("ID-1")
@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE x>",
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x [<!ENTITY e SYSTEM "http://127.0.0.1:9/">]>',
        '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/"> %p;]>',
        f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
        "<!doctype x>",
    ],
)
def test_document_types_and_entities_are_refused_before_they_are_read(doctype: str):
    body = xml.tostring(signed(IDP), encoding="unicode")
    refused(posted(f"{doctype}{body}".encode()), "document type")
    refused(posted(f'<?xml version="1.0"?>{doctype}{body.replace("ann-0001", "&l9;")}'.encode()), "document type")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7"])
def test_another_encoding_cannot_carry_them_past(encoding: str):
    body = xml.tostring(signed(IDP, name_id="ann-é"), encoding="unicode")
    document = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [<!ENTITY e "x">]>{body}'
    refused(posted(document.encode(encoding)), "UTF-8|well-formed|document type")
    refused(posted(f'<?xml version="1.0" encoding="{encoding}"?>{body}'.encode()), "UTF-8|well-formed")


def test_an_entity_in_what_was_encrypted_is_refused():
    root = signed(IDP)
    body = xml.tostring(find(root, "saml:Assertion"), encoding="unicode")
    for hidden in (f'<!DOCTYPE x [<!ENTITY e "x">]>{body}', body.replace("ann-0001", "&e;"), body[:-20], "x", ""):
        sealed = _sealed_text(hidden.encode())
        refused(posted(sealed), "cannot be opened")
    assert taken(posted(_sealed_text(body.encode()))).name_id == "ann-0001"


def _sealed_text(content: bytes) -> Any:
    """An answer whose encrypted assertion is this text, whether it is XML or not."""
    root = signed(IDP)
    assertion = find(root, "saml:Assertion")
    holder = xml.SubElement(root, f"{SAML}EncryptedAssertion")
    root.remove(assertion)
    data = xmlsec.template.encrypted_data_create(
        holder, xmlsec.Transform.AES128, type=xmlsec.EncryptionType.ELEMENT, ns="xenc"
    )
    xmlsec.template.encrypted_data_ensure_cipher_value(data)
    info = xmlsec.template.encrypted_data_ensure_key_info(data, ns="ds")
    key = xmlsec.template.add_encrypted_key(info, xmlsec.Transform.RSA_OAEP)
    xmlsec.template.encrypted_data_ensure_cipher_value(key)
    manager = xmlsec.KeysManager()
    manager.add_key(xmlsec.Key.from_memory(OURS.certificate, xmlsec.KeyFormat.CERT_PEM))
    context = xmlsec.EncryptionContext(manager)
    context.key = xmlsec.Key.generate(xmlsec.KeyData.AES, 128, xmlsec.KeyDataType.SESSION)
    holder.append(context.encrypt_binary(data, content))
    return root


@pytest.mark.parametrize("insert", ["<!---->", "<!-- x -->", "<?pi x?>", "<![CDATA[]]>"])
def test_a_comment_cannot_cut_a_name_short(insert: str):
    """ann-0001.evil is somebody's real name at the provider; a reader that stops at the comment sees ann-0001."""
    body = xml.tostring(signed(IDP, name_id="ann-0001.evil"), encoding="unicode")
    for place in ("ann-0001.evil", "ann@example.com"):
        attacked = body.replace(place, f"{place[:8]}{insert}{place[8:]}")
        try:
            facts = taken(posted(attacked.encode()))
        except Unauthenticated:
            continue
        assert facts.name_id == "ann-0001.evil"
        assert facts.attributes["mail"] == ["ann@example.com"]


def test_elements_in_a_name_are_refused():
    root = answer()
    name = find(root, "saml:Assertion/saml:Subject/saml:NameID")
    name.text = "ann-0001"
    xml.SubElement(name, f"{SAML}X").tail = ".evil"
    sign(find(root, "saml:Assertion"), IDP)
    refused(posted(root), "more than text|schema")


def test_huge_and_deep_documents_are_refused_quickly():
    refused("A" * 500_000, "larger than 256 KiB")
    refused(posted(signed(IDP, attributes={"x": ["y" * 300_000]})), "larger than 256 KiB")
    refused(posted(f"{'<a>' * 2000}{'</a>' * 2000}".encode()), "well-formed")
    refused(posted(b'<a xmlns="x">' + b"<b/>" * 30_000 + b"</a>"), "too many elements")
    many = {f"a{n}": ["x"] for n in range(300)}
    refused(posted(signed(IDP, attributes=many)), "too many attributes")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "not a SAML answer"),
        ("%%%", "not a SAML answer"),
        ("QUJD", "well-formed"),
        ("QUJ", "not a SAML answer"),
        ("é", "not a SAML answer"),
        (posted(b"<a/>"), "not a SAML response"),
        (posted(b"<a/><b/>"), "well-formed"),
        (posted(b"<!-- x --><a/>"), "more than one element|comment"),
        (posted(b"\xff\xfe<a/>"), "UTF-8"),
        (posted(b"\0<a/>"), "well-formed"),
    ],
)
def test_garbage_is_refused(value: str, why: str):
    refused(value, why)


# --- encryption ------------------------------------------------------------------------------------------------------


def test_every_cipher_that_is_accepted_is_opened():
    for cipher, bits in (
        (xmlsec.Transform.AES128, 128),
        (xmlsec.Transform.AES256, 256),
        (xmlsec.Transform.AES128_GCM, 128),
        (xmlsec.Transform.AES256_GCM, 256),
    ):
        assert taken(posted(encrypt(signed(IDP), OURS.certificate, cipher=cipher, bits=bits)))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"transport": xmlsec.Transform.RSA_PKCS1}, "encrypted with 'rsa-1_5'"),
        ({"cipher": xmlsec.Transform.DES3, "bits": 192}, "encrypted with 'tripledes-cbc'"),
    ],
)
def test_ciphers_that_can_be_opened_by_asking_are_refused(options: dict[str, Any], why: str):
    refused(posted(encrypt(signed(IDP), OURS.certificate, **options)), why)


def test_what_goes_wrong_behind_the_encryption_is_told_in_one_sentence():
    """So that answers tell nothing about padding, structure or content (Jager and Somorovsky, CCS 2011)."""
    damaged = encrypt(signed(IDP), OURS.certificate)
    value = every(damaged, f"{{{PREFIXES['xenc']}}}CipherValue")[0]
    content = bytearray(base64.b64decode(value.text))
    content[-1] ^= 1
    value.text = base64.b64encode(bytes(content)).decode()
    wrongs = [
        encrypt(signed(IDP), THIEF.certificate),
        encrypt(answer(), OURS.certificate),
        encrypt(signed(THIEF), OURS.certificate),
        encrypt(signed(IDP, audience="https://other.example"), OURS.certificate),
        encrypt(signed(IDP, not_on_or_after=moment(time.time() - 100)), OURS.certificate),
        encrypt(signed(IDP, confirmed_for="_other"), OURS.certificate),
        damaged,
    ]
    said = set[str]()
    for wrong in wrongs:
        with pytest.raises(Unauthenticated) as refusal:
            taken(posted(wrong))
        said.add(str(refusal.value))
    assert len(said) == 1, said
    assert re.search("cannot be opened", said.pop())


def test_encrypted_data_that_lies_elsewhere_is_not_fetched():
    root = encrypt(signed(IDP), OURS.certificate)
    cipher = every(root, f"{{{PREFIXES['xenc']}}}CipherData")[0]
    for child in list(cipher):
        cipher.remove(child)
    xml.SubElement(cipher, f"{{{PREFIXES['xenc']}}}CipherReference").set("URI", "file:///etc/passwd")
    refused(posted(root), "encrypted data elsewhere")
    root = encrypt(signed(IDP), OURS.certificate)
    method = xml.SubElement(every(root, f"{DS}KeyInfo")[0], f"{DS}RetrievalMethod")
    method.set("URI", "http://127.0.0.1:9/key")
    refused(posted(root), "points to a key elsewhere")


def test_encryption_can_be_demanded():
    refused(posted(signed(IDP)), "not encrypted", encrypted=True)
    assert taken(posted(encrypt(signed(IDP), OURS.certificate)), encrypted=True)


def test_an_older_key_of_ours_still_opens_what_was_made_for_it():
    older, newer = Pair(), Pair()
    for pair in (older, newer):
        value = posted(encrypt(signed(IDP), pair.certificate))
        opened = reading.opened(value, now=time.time(), skew=60.0)
        assert reading.verified(opened, demand(IDP.certificate, keys=(older.key, newer.key)))


def test_a_comment_behind_the_encryption_cannot_cut_a_name_short_either():
    body = xml.tostring(find(signed(IDP, name_id="ann-0001.evil"), "saml:Assertion"), encoding="unicode")
    assert taken(posted(_sealed_text(body.encode()))).name_id == "ann-0001.evil"
    attacked = body.replace("ann-0001.evil", "ann-0001<!---->.evil")
    refused(posted(_sealed_text(attacked.encode())), "cannot be opened")
