"""Every detector: a complete record whose examples and counter-examples hold."""

import re
from collections import Counter
from itertools import pairwise

import pytest
from inspecting import DEFAULT, scanner

from ai_platform.domain.finding import Action, Direction, Severity, Tier
from ai_platform.protection.actions import resolve
from ai_platform.protection.rule import Rule
from ai_platform.protection.rules import ALIASES, ALL, FAMILIES
from ai_platform.protection.rules.evidence import EVIDENCE

PRESIDIO = {
    "CREDIT_CARD",
    "CRYPTO",
    "DATE_OF_BIRTH",
    "EMAIL_ADDRESS",
    "IBAN_CODE",
    "IP_ADDRESS",
    "PHONE_NUMBER",
    "US_BANK_NUMBER",
    "US_DRIVER_LICENSE",
    "US_ITIN",
    "US_MBI",
    "US_NPI",
    "US_PASSPORT",
    "US_SSN",
    "UK_NHS",
    "UK_NINO",
    "ES_NIF",
    "IT_FISCAL_CODE",
    "PL_PESEL",
    "SG_NRIC_FIN",
    "AU_TFN",
    "AU_MEDICARE",
    "IN_PAN",
    "IN_AADHAAR",
    "FI_PERSONAL_IDENTITY_CODE",
    "KR_RRN",
    "ABA_ROUTING_NUMBER",
}


def found(rule: Rule, text: str) -> bool:
    return any(hit.rule.id == rule.id for hit in scanner().hits(text))


@pytest.mark.requirement("DP-1")
@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.id)
def test_a_rule_finds_its_examples_and_leaves_its_counter_examples(rule: Rule):
    assert [text for text in rule.examples if not found(rule, text)] == []
    assert [text for text in rule.counter_examples if found(rule, text)] == []


@pytest.mark.requirement("DP-1")
def test_there_are_detectors_for_what_the_best_scanners_find():
    assert len(ALL) >= 130
    assert {"US_SSN", "CREDIT_CARD", "EMAIL_ADDRESS", "API_KEY", "AWS_ACCESS_KEY", "PRIVATE_KEY"} <= {
        rule.type for rule in ALL
    }
    assert Counter(rule.data_class for rule in ALL).keys() == {"PII", "PCI", "PHI", "SECRET"}


def test_types_have_the_names_that_presidio_gives_them():
    assert {rule.type for rule in ALL} >= PRESIDIO


def test_a_rule_is_a_complete_record():
    assert [name for name, count in Counter(rule.id for rule in ALL).items() if count > 1] == []
    for rule in ALL:
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", rule.id), rule.id
        assert re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", rule.type), rule.id
        assert len(rule.source) >= 8, f"{rule.id} does not say where its format is documented"
        assert rule.label.startswith(("a ", "an ", "the ")), f"{rule.id}: a sentence is built with {rule.label!r}"
        assert rule.examples, rule.id
        assert rule.check or rule.context or rule.finder or rule.counter_examples or rule.tier is Tier.FORMAT, rule.id


def test_every_family_is_in_the_catalogue():
    assert sum(len(family.RULES) for family in FAMILIES) == len(ALL)
    assert all(set(types) <= {rule.type for rule in ALL} for types in ALIASES.values())


def test_only_what_is_sure_blocks_by_default():
    blocking = [rule for rule in ALL if resolve(rule, DEFAULT, Direction.INPUT, None) is Action.BLOCK]
    assert {rule.severity for rule in blocking} == {Severity.CRITICAL}
    assert Tier.GENERIC not in {rule.tier for rule in blocking}


def test_detectors_that_overlap_settle_on_one_finding_for_each_place():
    for rule in ALL:
        for text in rule.examples:
            findings = scanner().scan(text)
            assert all(one.end <= two.start for one, two in pairwise(findings)), rule.id


def test_what_was_compared_with_a_page_is_a_detector_and_names_the_page() -> None:
    assert EVIDENCE.keys() <= {rule.id for rule in ALL}
    assert all(each.url.startswith("https://") and each.told and each.read for each in EVIDENCE.values())
