"""The outer shape of a SAML message, checked before and after decryption: where things may stand, and which algorithms.

Signature wrapping lives from a second element that somebody else looks at. So: one assertion in the whole document,
each identifier once, every signature a child of what it signs and of nothing else, and only transforms that hide
nothing. Above: answer, idp_metadata. Below: document.
"""

from collections import Counter
from typing import Any

from ai_platform.sso.idtoken import refused
from ai_platform.sso.saml.document import DS, SAML, SAMLP, XENC, elements, only

_XMLDSIG_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
_XMLENC = "http://www.w3.org/2001/04/xmlenc#"
_XMLENC11 = "http://www.w3.org/2009/xmlenc11#"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"

SIGNATURES = frozenset(
    _XMLDSIG_MORE + name
    for name in ("rsa-sha256", "rsa-sha384", "rsa-sha512", "ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512")
)
DIGESTS = frozenset({f"{_XMLENC}sha256", f"{_XMLDSIG_MORE}sha384", f"{_XMLENC}sha512"})
CIPHERS = frozenset(
    {f"{_XMLENC}aes{bits}-cbc" for bits in (128, 192, 256)} | {f"{_XMLENC11}aes{bits}-gcm" for bits in (128, 192, 256)}
)
KEY_TRANSPORTS = frozenset({f"{_XMLENC}rsa-oaep-mgf1p", f"{_XMLENC11}rsa-oaep"})
"""RSA with PKCS #1 v1.5 padding can be opened by asking often enough (Bleichenbacher), so it is not among them."""

RESPONSE = f"{SAMLP}Response"
ASSERTION = f"{SAML}Assertion"
ENCRYPTED = f"{SAML}EncryptedAssertion"
_ASSERTIONS = frozenset({"Assertion", "EncryptedAssertion"})
_IDS = frozenset({"ID", "Id", "id", "{http://www.w3.org/XML/1998/namespace}id"})


def check_response(root: Any) -> None:
    """Raises Unauthenticated: this is not a response with one assertion and proper signatures."""
    if root.tag != RESPONSE:
        raise refused("it is not a SAML response")
    if root.get("Version") != "2.0":
        raise refused("it is not SAML 2.0")
    check_ids(root)
    assertions = [node for node in elements(root) if node.tag.rpartition("}")[2] in _ASSERTIONS]
    if len(assertions) > 1:
        raise refused(f"it holds {len(assertions)} assertions instead of one")
    if assertions and (assertions[0].tag not in {ASSERTION, ENCRYPTED} or assertions[0].getparent() is not root):
        raise refused("its assertion is not where it belongs")
    check_signatures(root, {RESPONSE, ASSERTION})
    for node in elements(root):
        _check_encryption(node)


def check_ids(root: Any) -> None:
    counts = Counter(value for node in elements(root) for name, value in node.attrib.items() if name in _IDS)
    if any(count > 1 for count in counts.values()):
        raise refused("it uses one identifier twice")


def check_signatures(root: Any, signed: set[str]) -> None:
    """signed: tags of elements that may carry a signature of themselves."""
    for signature in (node for node in elements(root) if node.tag == f"{DS}Signature"):
        parent = signature.getparent()
        if parent is None or parent.tag not in signed or only(parent, f"{DS}Signature") is not signature:
            raise refused("it holds a signature where none belongs")
        _check_signature(signature, parent.get("ID"))


def is_signed(element: Any | None) -> bool:
    return element is not None and element.find(f"{DS}Signature") is not None


def _check_signature(signature: Any, identifier: str | None) -> None:
    allowed = {f"{DS}SignedInfo", f"{DS}SignatureValue", f"{DS}KeyInfo"}
    info = only(signature, f"{DS}SignedInfo")
    if info is None or any(child.tag not in allowed for child in signature):
        raise refused("its signature is not of a form that is accepted")
    if _algorithm(info, "CanonicalizationMethod") != EXCLUSIVE:
        raise refused("its signature is made over another canonical form than the exclusive one")
    method = _algorithm(info, "SignatureMethod")
    if method not in SIGNATURES:
        raise refused(f"it is signed with {_short(method)}, which is not accepted")
    reference = only(info, f"{DS}Reference")
    if reference is None or not identifier or reference.get("URI") != f"#{identifier}":
        raise refused("its signature is of something else than the element it stands in")
    digest = _algorithm(reference, "DigestMethod")
    if digest not in DIGESTS:
        raise refused(f"its digest is {_short(digest)}, which is not accepted")
    transforms = [node.get("Algorithm") for node in elements(reference) if node.tag == f"{DS}Transform"]
    if transforms not in ([ENVELOPED, EXCLUSIVE], [ENVELOPED]):
        raise refused("its signature transforms what it signs in a way that is not accepted")
    if any(len(node) and not _is_prefix_list(node) for node in reference.iter(f"{DS}Transform")):
        raise refused("its signature transforms what it signs in a way that is not accepted")
    if next(signature.iter(f"{DS}RetrievalMethod"), None) is not None:
        raise refused("its signature points to a key elsewhere")


def _is_prefix_list(transform: Any) -> bool:
    return [child.tag for child in transform] == [f"{{{EXCLUSIVE}}}InclusiveNamespaces"]


def _check_encryption(node: Any) -> None:
    if node.tag == f"{XENC}CipherReference":
        raise refused("it points to encrypted data elsewhere")
    if node.tag == f"{DS}RetrievalMethod" and (not node.get("URI", "").startswith("#") or len(node)):
        raise refused("it points to a key elsewhere")
    if node.tag in {f"{XENC}EncryptedData", f"{XENC}EncryptedKey"}:
        method = _algorithm(node, "EncryptionMethod", XENC)
        accepted = CIPHERS if node.tag.endswith("Data") else KEY_TRANSPORTS
        if method not in accepted:
            raise refused(f"it is encrypted with {_short(method)}, which is not accepted")


def _algorithm(parent: Any, name: str, space: str = DS) -> str:
    found = only(parent, f"{space}{name}")
    return "" if found is None else found.get("Algorithm", "")


def _short(algorithm: str) -> str:
    name = algorithm.rpartition("#")[2][:40]
    return f"'{name}'" if name.isprintable() and name else "an unnamed algorithm"
