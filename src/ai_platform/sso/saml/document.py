"""XML from outside -> a tree that is safe to look at, or a refusal.

What no honest provider sends is refused before a parser acts on it: document types (and so entities), other encodings
than UTF-8, comments, processing instructions, depth, size. Above: shape, answer, idp_metadata. Below: lxml.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

import lxml.etree as xml

from ai_platform.sso.idtoken import refused

SAMLP = "{urn:oasis:names:tc:SAML:2.0:protocol}"
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
MD = "{urn:oasis:names:tc:SAML:2.0:metadata}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"
XENC = "{http://www.w3.org/2001/04/xmlenc#}"

MOST_ELEMENTS = 20_000
_ENCODING = re.compile(rb"""^<\?xml[^>]*\bencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")


def decoded(text: str, *, most: int) -> bytes:
    """The document in a form field. most: bytes. Raises Unauthenticated."""
    if len(text) > most * 4 // 3 + 1024:
        raise refused(f"it is larger than {most // 1024} KiB")
    if not text or not _BASE64.fullmatch(text):
        raise refused("it is not a SAML answer")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise refused("it is not a SAML answer") from error


def parsed(document: bytes) -> Any:
    """The root element. Raises Unauthenticated."""
    encoding = _ENCODING.match(document)
    if encoding and encoding[1].lower() not in {b"utf-8", b"us-ascii"}:
        raise refused("it is not in UTF-8")
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused("it is not in UTF-8") from error
    # Before any parser sees it: what is not read cannot expand, fetch or include anything.
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise refused("it declares a document type, which a SAML message never does")
    parser = xml.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False
    )
    try:
        root = xml.fromstring(document, parser)
    except xml.XMLSyntaxError as error:
        raise refused("it is not well-formed XML") from error
    _check_nodes(root)
    return root


def _check_nodes(root: Any) -> None:
    """Raises Unauthenticated: it holds something else than elements and text, or far too many."""
    tree = root.getroottree()
    beside = list(root.itersiblings(preceding=True)) + list(root.itersiblings())
    if tree.docinfo.doctype or tree.docinfo.internalDTD is not None or beside:
        raise refused("it holds more than one element at its top")
    for count, node in enumerate(root.iter(), 1):
        if not isinstance(node.tag, str):
            raise refused("it holds a comment or a processing instruction, which a SAML message never needs")
        if count > MOST_ELEMENTS:
            raise refused("it holds far too many elements")


def elements(root: Any) -> Iterator[Any]:
    """Every element, the root too."""
    return (node for node in root.iter() if isinstance(node.tag, str))


def only(parent: Any, tag: str) -> Any | None:
    """The child of that tag. Raises Unauthenticated: there are several."""
    found = parent.findall(tag)
    if len(found) > 1:
        raise refused(f"it holds {len(found)} times {tag.rpartition('}')[2]}")
    return found[0] if found else None


def text_of(element: Any | None) -> str:
    """Its text without surrounding white space. Raises Unauthenticated: it holds elements too."""
    if element is None:
        return ""
    if len(element):
        raise refused(f"{element.tag.rpartition('}')[2]} holds more than text")
    return (element.text or "").strip()
