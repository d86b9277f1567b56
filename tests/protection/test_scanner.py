"""Text in, findings out: offsets, actions by plan, names, allow lists, overlaps; nothing makes it fail."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspecting import AWS_KEY, CARD, DEFAULT, EMAIL, SECRET, SSN, scanner

from ai_platform.domain.finding import Action, DataClass, Direction, ProtectionPlan, RuleAction, Severity
from ai_platform.protection import Scanner
from ai_platform.protection.rules import ALL

TEXT = f"Ada <{EMAIL}> has {SSN} and pays with {CARD}; key {AWS_KEY}"
IN, OUT = Direction.INPUT, Direction.OUTPUT


def actions(plan: ProtectionPlan, *, direction: Direction = IN, team: str | None = None) -> dict[str, str]:
    return {found.type: found.action.value for found in scanner(plan).scan(TEXT, direction=direction, team=team)}


def plan(*entries: RuleAction, **fields: object) -> ProtectionPlan:
    return ProtectionPlan(actions=entries, **fields)  # type: ignore[arg-type]


@pytest.mark.requirement("DP-2")
def test_what_is_done_when_the_policy_says_nothing():
    serious = ("US_SSN", "CREDIT_CARD", "AWS_ACCESS_KEY")
    assert actions(DEFAULT) == {"EMAIL_ADDRESS": "log"} | dict.fromkeys(serious, "block")
    assert actions(DEFAULT, direction=OUT) == {"EMAIL_ADDRESS": "log"} | dict.fromkeys(serious, "redact")
    assert actions(plan(block_on_match=False))["US_SSN"] == "redact"


@pytest.mark.requirement("DP-2")
@pytest.mark.parametrize(
    ("entry", "changed"),
    [
        (RuleAction(action=Action.MASK, type="EMAIL_ADDRESS"), {"EMAIL_ADDRESS": "mask"}),
        (RuleAction(action=Action.MASK, type="US_*"), {"US_SSN": "mask"}),
        (RuleAction(action=Action.TOKENISE, rule="email-*"), {"EMAIL_ADDRESS": "tokenise"}),
        (RuleAction(action=Action.ALERT, data_class=DataClass.PCI), {"CREDIT_CARD": "alert"}),
        (RuleAction(action=Action.ALLOW, severity=Severity.WARNING), {"EMAIL_ADDRESS": "allow"}),
        (RuleAction(action=Action.LOG, team="red", data_class=DataClass.SECRET), {"AWS_ACCESS_KEY": "log"}),
        (RuleAction(action=Action.LOG, team="blue"), {}),
        (RuleAction(action=Action.LOG, direction=OUT), {}),
        (RuleAction(action=Action.LOG, direction=IN, type="CREDIT_CARD"), {"CREDIT_CARD": "log"}),
    ],
)
def test_an_entry_of_the_policy_decides(entry: RuleAction, changed: dict[str, str]):
    assert actions(plan(entry), team="red") == actions(DEFAULT) | changed


@pytest.mark.requirement("DP-2")
def test_the_first_entry_that_applies_wins():
    first, second = RuleAction(action=Action.MASK, type="US_SSN"), RuleAction(action=Action.LOG)
    others = dict.fromkeys(("EMAIL_ADDRESS", "CREDIT_CARD", "AWS_ACCESS_KEY"), "log")
    assert actions(plan(first, second)) == {"US_SSN": "mask"} | others


@pytest.mark.requirement("DP-1")
@pytest.mark.parametrize(
    ("names", "types"),
    [
        ({"ssn"}, {"US_SSN"}),
        ({"credit_card", "aws_key"}, {"CREDIT_CARD", "AWS_ACCESS_KEY"}),
        ({"email"}, {"EMAIL_ADDRESS"}),
        ({"EMAIL_ADDRESS", "us-ssn"}, {"EMAIL_ADDRESS", "US_SSN"}),
        (set(), set()),
    ],
)
def test_a_policy_may_name_what_to_look_for(names: set[str], types: set[str]):
    assert set(actions(ProtectionPlan(patterns=frozenset(names)))) == types


def test_every_short_name_of_the_policy_finds_its_type():
    text = TEXT + '\napi_key = "q8Rk2Lm5Nw7Pz4Xc6Vb9Jh1G"\n-----BEGIN PRIVATE KEY-----\n' + "MIIEvQIBADANBgkqhkiG\n" * 4
    found = {
        name: {each.type for each in scanner(ProtectionPlan(patterns=frozenset({name}))).scan(text)}
        for name in ("ssn", "credit_card", "email", "api_key", "aws_key", "private_key")
    }
    assert all(found.values()), found


@pytest.mark.requirement("DP-1")
@pytest.mark.parametrize("allowed", [(SSN,), ("536-*",), ("nothing", "5?6-22-8491")])
def test_allowed_values_are_never_findings(allowed: tuple[str, ...]):
    assert "US_SSN" not in actions(ProtectionPlan(allow=allowed))
    assert "US_SSN" in actions(ProtectionPlan(allow=("536-22",)))


def test_a_switched_off_plan_finds_nothing():
    assert scanner(ProtectionPlan(enabled=False)).scan(TEXT) == []


def test_offsets_are_code_points():
    text = "\N{GRINNING FACE} é\u0301 " + SSN
    (finding,) = scanner().scan(text)
    assert text[finding.start : finding.end] == SSN


def test_the_same_value_has_the_same_hash_however_it_is_written():
    written = ("4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "\uff14111 1111 1111 1111")
    assert len({found.value_hash for text in written for found in scanner().scan(text)}) == 1
    assert scanner().scan(CARD)[0].value_hash != Scanner(DEFAULT, secret=b"1" * 32).scan(CARD)[0].value_hash
    assert Scanner(DEFAULT).scan(CARD)[0].value_hash == ""


def test_what_changes_the_text_wins_over_what_is_only_recorded():
    text = "https://ada:kx7Qpl2vRt@acme.io/x"
    mask = plan(RuleAction(action=Action.MASK, type="EMAIL_ADDRESS"), RuleAction(action=Action.LOG))
    assert [found.type for found in scanner(mask).scan(text)] == ["EMAIL_ADDRESS"]


EXAMPLES = [text for rule in ALL for text in rule.examples if len(text) < 200]


@pytest.mark.requirement("DP-1")
@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(EXAMPLES), st.text(max_size=30)), max_size=8).map(" ".join))
def test_findings_are_in_order_and_do_not_overlap(text: str):
    findings = scanner().scan(text)
    assert all(0 <= found.start < found.end <= len(text) for found in findings)
    assert all(one.end <= two.start for one, two in pairwise(findings))
    assert findings == scanner().scan(text)


CHANGED = st.tuples(st.integers(0, 200), st.sampled_from("0159aAzZ-. \"'=:/_\u0663\uff11\u00b2\n\0"))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(EXAMPLES), st.lists(CHANGED, max_size=4))
def test_no_value_that_almost_has_the_shape_makes_it_fail(text: str, changes: list[tuple[int, str]]):
    for place, char in changes:
        text = text[: place % len(text)] + char + text[place % len(text) + 1 :]
    scanner().scan(text)


def test_a_token_whose_header_is_not_text_is_no_failure():
    scanner().scan("eyJhbGciOiJI8zI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI4MjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P")


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(), max_size=300))
def test_no_text_makes_it_fail(text: str):
    scanner().scan(text)


def test_a_long_text_is_found_to_its_end_and_across_the_engines_pieces():
    for size in (65_530, 65_536, 131_066, 200_000):
        text = "x " * (size // 2) + SSN + " y " * 10
        assert [text[found.start : found.end] for found in scanner().scan(text)] == [SSN]


def test_no_finding_shows_its_value():
    for found in Scanner(DEFAULT, secret=SECRET).scan(TEXT):
        shown = repr(found)
        assert all(value not in shown for value in (SSN, EMAIL, AWS_KEY, "4111"))
        assert re.fullmatch(r"[0-9a-f]{16}", found.value_hash)
