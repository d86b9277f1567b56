"""One detector as a readable record: what it finds, where the format is documented, how it decides, what proves it.

A rule is data. `engine.py` finds its triggers, `probe.py` confirms them. Above: rules/*. Below: domain.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec

from ai_platform.domain.finding import Action, DataClass, Severity, Tier

Span = tuple[int, int]

Finder = Callable[[str, int, int], Span | None]
"""(text, trigger start, trigger end) -> the value's span, or None. Looks at most LOOK_BACK characters back."""

Extent = Callable[[str, int, int], bool]
"""(text, trigger start, trigger end) -> could more text still change what the finder says?"""

Check = Callable[[str], bool]
"""True when the value alone is plausible (check digit, entropy, not a placeholder)."""

CONTEXT_REACH = 80
"""How far before a value its context words may stand, in characters."""

LOOK_BACK = 256
"""No rule looks further back than this before its trigger; streams keep that much of what was released."""


class Anchor(StrEnum):
    """Where `confirm` is matched: at the START of the trigger (which then has a fixed width) or at its END."""

    START = "start"
    END = "end"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A detector.

    label: how a message names the value, with its article ("an AWS access key").
    source: the vendor's documentation or the standard that defines the format.
    starts + then: literal beginnings of the value and a fixed-width class that follows; they make the triggers.
    triggers: Hyperscan expressions instead, short, without look-around; fixed width unless anchored at the end.
    glued: the value may follow a letter or digit directly (else it starts at a word boundary).
    confirm: Python regular expression matched at the anchor; group `v` is the value, else the whole match.
    finder: instead of `confirm`, for shapes that a regular expression says badly.
    lead: how many characters before the anchor the value may begin; `confirm` is matched that much earlier (a
    finder gets the trigger as it is).
    check: what the value must satisfy.
    context / negative: whole words (a regular expression, case ignored) that must / must not stand up to
    CONTEXT_REACH characters before the value.
    extent: for streams, a superset of what `finder` may read from the anchor on (derived from `confirm` otherwise).
    unfinished: for streams, how a value may look before its trigger is complete, if it holds more than the words that
    stand there (a Hyperscan expression for the end of a text).
    action: default when the policy names none (None = by severity, see `actions.py`).
    """

    id: str
    type: str
    label: str
    data_class: DataClass
    tier: Tier
    severity: Severity
    source: str
    starts: tuple[str, ...] = ()
    then: str = ""
    glued: bool = False
    triggers: tuple[str, ...] = ()
    nocase: bool = False
    anchor: Anchor = Anchor.START
    confirm: str | None = None
    finder: Finder | None = None
    lead: int = 0
    check: Check | None = None
    context: str | None = None
    negative: str | None = None
    extent: str | Extent | None = None
    unfinished: str | None = None
    action: Action | None = None
    examples: tuple[str, ...]
    counter_examples: tuple[str, ...] = ()


class Hit(msgspec.Struct, gc=False):
    """A confirmed value before the plan decided what to do with it. Offsets in code points, end exclusive.

    encoded: it stands in an encoding (base64), which is only looked into on the way to the model.
    """

    start: int
    end: int
    rule: Rule
    encoded: bool = False
