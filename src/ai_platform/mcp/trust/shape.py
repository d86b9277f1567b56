"""The form of a definition: too large, padded, badly named, or annotations that its name contradicts. Above: poison."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from ai_platform.domain.finding import Severity
from ai_platform.mcp.trust.flag import Flag, Rule

LONG, VERY_LONG = 4_096, 16_384
LARGEST = 65_536
_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}")
_PADDING = re.compile(r"[ \t\u00a0\u2000-\u200a\u3000]{80,}|(?:\r?\n[ \t]*){15,}")
_CHANGES = re.compile(
    r"(?:^|[_./-])(?:delete|remove|drop|destroy|purge|deploy|rollback|send|write|create|update|insert|execute|exec|run"
    r"|kill|move|rename|pay|transfer|publish|merge|push)(?:$|[_./-])"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

LONG_RULE = Rule("oversized", Severity.WARNING, "A text this long is not a description; nobody will read it.")
PADDED_RULE = Rule("padded", Severity.HIGH, "So much white space that what follows is out of sight.")
NAME_RULE = Rule("odd-name", Severity.HIGH, "A name that is more than a name.")
ANNOTATION_RULE = Rule("contradicts", Severity.WARNING, "It says that it changes nothing, and its name says it does.")
FOREIGN_RULE = Rule("names-foreign-tool", Severity.HIGH, "It speaks of a tool of another server.")
RULES = (LONG_RULE, PADDED_RULE, NAME_RULE, ANNOTATION_RULE, FOREIGN_RULE)


def text_shape(text: str, path: str) -> Iterator[Flag]:
    if len(text) > LONG:
        yield LONG_RULE.flag(text, 0, path, Severity.HIGH if len(text) > VERY_LONG else None)
    if (found := _PADDING.search(text)) is not None:
        yield PADDED_RULE.flag(text, found.end(), path)


def item_shape(name: str, item: Mapping[str, Any], size: int, *, named: bool) -> Iterator[Flag]:
    """size: bytes of the whole definition. named: its name is one that clients call it by."""
    if named and not _NAME.fullmatch(name):
        yield NAME_RULE.flag(name, 0, "name")
    if size > LARGEST:
        yield LONG_RULE.flag(f"{size} bytes in all", 0, "", Severity.HIGH)
    annotations = item.get("annotations")
    if isinstance(annotations, dict):
        says = cast("dict[str, Any]", annotations)
        harmless = says.get("readOnlyHint") is True or says.get("destructiveHint") is False
        if says.get("readOnlyHint") is True and harmless and _CHANGES.search(_CAMEL.sub("_", name).lower()):
            yield ANNOTATION_RULE.flag(name, 0, "annotations")


def names_foreign(text: str, path: str, foreign: frozenset[str], own: frozenset[str]) -> Iterator[Flag]:
    """foreign: names of other servers' tools. Plain words are left out: `search` says nothing."""
    for word in re.findall(r"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)+", text):
        if word in foreign and word not in own:
            yield FOREIGN_RULE.flag(text, text.index(word), path)
            return
