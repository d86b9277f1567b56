"""What inspection found, and the plan (from policy) that says what to do about it. Never the value itself."""

from enum import StrEnum

import msgspec


class DataClass(StrEnum):
    PII = "PII"
    PCI = "PCI"
    PHI = "PHI"
    SECRET = "SECRET"


class Tier(StrEnum):
    """How sure a finding is: `verified` (check digit or decodable structure), `format` (unique shape),
    `context` (a keyword beside it), `generic` (looks random and is assigned to a secret-like name).
    """

    VERIFIED = "verified"
    FORMAT = "format"
    CONTEXT = "context"
    GENERIC = "generic"


class Severity(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    WARNING = "warning"
    INFO = "info"


class Action(StrEnum):
    """Strongest first. `log` = recorded only; `alert` = recorded and sent to the alert sinks."""

    BLOCK = "block"
    REDACT = "redact"
    MASK = "mask"
    TOKENISE = "tokenise"
    ALERT = "alert"
    LOG = "log"
    ALLOW = "allow"


class Direction(StrEnum):
    INPUT = "input"
    OUTPUT = "output"


class Finding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One sensitive value in a text. Offsets are code points into the decoded text, end exclusive.

    data_class + type name it (type = Presidio's entity name where it has one, else the rule's own).
    value_hash: keyed hash of the value (16 hex digits), so that repeats are known without the value.
    path: where in the body, e.g. `messages[2].content[0].text`; empty for a plain text.
    """

    start: int
    end: int
    data_class: DataClass
    type: str
    rule: str
    tier: Tier
    severity: Severity
    action: Action
    value_hash: str = ""
    path: str = ""


class CustomRule(msgspec.Struct, frozen=True, kw_only=True):
    """A detector an organisation wrote in its policy file. pattern: a regular expression without look-around.

    examples must match, counter_examples must not: both are checked when the policy loads.
    """

    name: str
    pattern: str
    data_class: DataClass = DataClass.PII
    severity: Severity = Severity.HIGH
    action: Action | None = None
    message: str = ""
    examples: tuple[str, ...] = ()
    counter_examples: tuple[str, ...] = ()


class RuleAction(msgspec.Struct, frozen=True, kw_only=True):
    """`action` for findings that match every given field; the first that matches in the list wins.

    rule/type: a glob over rule ids / types; upstream: a glob over the names of upstreams and of tool servers;
    data_class, severity, direction, team: equal or absent.
    """

    action: Action
    rule: str | None = None
    type: str | None = None
    data_class: DataClass | None = None
    severity: Severity | None = None
    direction: Direction | None = None
    team: str | None = None
    upstream: str | None = None


class ProtectionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy wants inspected and done. The default is the platform's default.

    enabled: False inspects nothing. scan_input / scan_output: per direction.
    block_on_match: a critical finding blocks (otherwise it is redacted). alert: critical findings go to alert sinks.
    patterns: None = every rule, else the types or rule ids (the mission's short names included) to look for.
    actions: a list for each upstream that may get the call, when they differ (`other_actions` holds those after the
    first): the strictest verdict counts, because one body goes to whichever answers.
    allow: exact values (or globs with `*`) that are never findings.
    restore_in_tools: globs over tools' names: tokens (action `tokenise`) are also restored in the arguments of calls
    to these, not only in the text of answers.
    version: the policy version this plan came from.
    """

    enabled: bool = True
    scan_input: bool = True
    scan_output: bool = True
    block_on_match: bool = True
    alert: bool = True
    patterns: frozenset[str] | None = None
    actions: tuple[RuleAction, ...] = ()
    other_actions: tuple[tuple[RuleAction, ...], ...] = ()
    custom: tuple[CustomRule, ...] = ()
    allow: tuple[str, ...] = ()
    version: str = "built-in"
    restore_in_tools: tuple[str, ...] = ()
