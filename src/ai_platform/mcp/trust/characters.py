"""Characters that people do not see and models read, or that look like others; and text as a reader would see it.

Sources: Unicode Standard Annexes 9 (bidirectional text) and 31, Technical Standard 39 (confusables), and its blocks
Tags and Variation Selectors. Above: poison.
"""

import re
import unicodedata
from collections.abc import Iterator

from ai_platform.domain.finding import Severity
from ai_platform.mcp.trust.flag import Flag, Rule

TAGS = range(0xE0000, 0xE0080)
_FLAG = "\U0001f3f4"
_CANCEL = "\U000e007f"
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKS = frozenset("\u200e\u200f\u061c")
INVISIBLE = frozenset(
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060\u2061\u2062\u2063\u2064\u206a\u206b\u206c\u206d\u206e\u206f"
    "\u3164\ufeff\uffa0"
)
_JOINERS = frozenset("\u200c\u200d")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_MANY_INVISIBLE = 8
_ESCAPE = re.compile("\x1b[\\[\\]P^_]|\x9b")
_PLAIN = frozenset("\t\n\r")
_WORD = re.compile(r"[^\W\d_]+")

LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһӏвкмнтгьАВЕКМНОРСТХУІЈЅԌԛԝαεοιρνυκτχγωΑΒΕΖΗΙΚΜΝΟΡΤΥΧօսոհցɡɩʟ",
    "aeopcyxijsdhlbkmhtrbABEKMHOPCTXYIJSGqwaeoipvuktxywABEZHIKMNOPTYXounhggil",
)
"""Letters of other scripts that are read as Latin ones."""

TAGS_RULE = Rule("hidden-tags", Severity.CRITICAL, "Letters of the Unicode block Tags are invisible to people.")
BIDI_RULE = Rule("hidden-direction", Severity.CRITICAL, "Characters that change the order in which text is shown.")
INVISIBLE_RULE = Rule("hidden-invisible", Severity.HIGH, "Invisible characters within text.")
SELECTORS_RULE = Rule("hidden-selectors", Severity.CRITICAL, "Variation selectors in a row can carry a hidden text.")
CONTROL_RULE = Rule("hidden-control", Severity.HIGH, "Control characters, such as those that drive a terminal.")
LOOKALIKE_RULE = Rule("lookalike", Severity.HIGH, "A word mixes letters of two scripts that look the same.")
RULES = (TAGS_RULE, BIDI_RULE, INVISIBLE_RULE, SELECTORS_RULE, CONTROL_RULE, LOOKALIKE_RULE)


def hidden(text: str, path: str) -> Iterator[Flag]:
    """Flags of characters in one text."""
    if text.isascii() and text.isprintable():
        return
    if (found := _tags(text)) is not None:
        yield TAGS_RULE.flag(text, found, path)
    if (found := _first(text, BIDI)) is not None or (found := _stray_mark(text)) is not None:
        yield BIDI_RULE.flag(text, found, path)
    invisible = [at for at, sign in enumerate(text) if sign in INVISIBLE or (sign in _JOINERS and _stray(text, at))]
    if invisible:
        severity = Severity.CRITICAL if len(invisible) >= _MANY_INVISIBLE else INVISIBLE_RULE.severity
        yield INVISIBLE_RULE.flag(text, invisible[0], path, severity)
    if (found := _selectors(text)) is not None:
        yield SELECTORS_RULE.flag(text, found, path)
    controls = [at for at, sign in enumerate(text) if unicodedata.category(sign) == "Cc" and sign not in _PLAIN]
    if controls:
        severity = Severity.CRITICAL if _ESCAPE.search(text) else CONTROL_RULE.severity
        yield CONTROL_RULE.flag(text, controls[0], path, severity)
    for word in _WORD.finditer(text):
        if _mixes(word[0]):
            yield LOOKALIKE_RULE.flag(text, word.start(), path)
            break


def folded(text: str) -> str:
    """As it is read: compatibility forms and look-alikes are Latin, nothing is hidden, one space between words."""
    seen = "".join(
        sign
        for sign in unicodedata.normalize("NFKC", text)
        if sign not in INVISIBLE
        and sign not in _JOINERS
        and sign not in BIDI
        and sign not in _MARKS
        and ord(sign) not in TAGS
        and not _SELECTORS.match(sign)
    )
    lines = (" ".join(line.split()) for line in seen.translate(LOOKALIKES).casefold().splitlines())
    return "\n".join(line for line in lines if line)


def spelled_in_tags(text: str) -> str:
    """What a text says in the block Tags, "" when nothing."""
    return "".join(chr(ord(sign) - 0xE0000) for sign in text if 0xE0020 <= ord(sign) <= 0xE007E)


def visible(text: str) -> str:
    """The same text for a terminal or a page: what cannot be seen is spelled `<U+200B>`."""
    return "".join(sign if _is_seen(sign) else f"<U+{ord(sign):04X}>" for sign in text)


def _is_seen(sign: str) -> bool:
    return sign in "\n\t" or (sign.isprintable() and sign not in INVISIBLE and not _SELECTORS.match(sign))


def _first(text: str, signs: frozenset[str]) -> int | None:
    return next((at for at, sign in enumerate(text) if sign in signs), None)


def _tags(text: str) -> int | None:
    """Where tags stand that are no flag of a region (U+1F3F4, tags, U+E007F)."""
    within = False
    for at, sign in enumerate(text):
        if ord(sign) in TAGS:
            if not within:
                return at
            within = sign != _CANCEL
        else:
            within = sign == _FLAG
    return None


def _stray_mark(text: str) -> int | None:
    """Direction marks belong to text of a right-to-left script."""
    if any(unicodedata.bidirectional(sign) in {"R", "AL"} for sign in text if sign not in _MARKS):
        return None
    return _first(text, _MARKS)


def _stray(text: str, at: int) -> bool:
    """Joiners belong between letters of scripts that join, and in emoji."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    return any(not sign or sign.isascii() for sign in (before, after))


def _selectors(text: str) -> int | None:
    """One selector after a sign is ordinary; two in a row, or one after a Latin letter, is not."""
    for match in _SELECTORS.finditer(text):
        before = text[match.start() - 1 : match.start()]
        keycap = before and before in "0123456789#*"
        if _SELECTORS.match(before) or not before or (before.isascii() and not keycap):
            return match.start()
    return None


def _mixes(word: str) -> bool:
    if word.isascii() or len(word) < 3:
        return False
    scripts = {_script(sign) for sign in word}
    if "LATIN" not in scripts:
        return False
    if "CYRILLIC" in scripts or "ARMENIAN" in scripts:
        return True
    return "GREEK" in scripts and len(word) >= 4 and any(ord(sign) in LOOKALIKES for sign in word if not sign.isascii())


def _script(sign: str) -> str:
    return unicodedata.name(sign, "").partition(" ")[0]
