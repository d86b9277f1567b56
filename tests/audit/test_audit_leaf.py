import json
import stat
from pathlib import Path
from typing import Any

import pytest
from audit_kit import NOON, PERSONAL, event
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.audit.canonical import canonical
from ai_platform.audit.keys import load_keys
from ai_platform.audit.leaf import Draft, Retention, read_leaf, retention_by_type, timestamp
from ai_platform.audit.lines import line_of_event, line_of_leaf
from ai_platform.audit.settings import AuditSettings
from ai_platform.audit.subjects import SubjectKey
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.event import RETENTION_DAYS, EventType

YEAR = Retention(365, b"1y")
KEY = SubjectKey("ab" * 16, bytes(range(32)))
facts = st.dictionaries(
    st.text(max_size=6), st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9), max_size=6
)


@pytest.mark.requirement("AU-3")
@given(facts, st.integers(0, 2**40), st.sampled_from([{}, PERSONAL]))
def test_a_leaf_is_canonical_json_whatever_the_facts(
    told: dict[str, Any], index: int, personal: dict[str, Any]
) -> None:
    made = event(personal=personal, told=told)
    sealed = KEY.seal(made.id, personal) if personal else None
    data = Draft(made, YEAR, KEY.ref if personal else None, sealed).at_place(index, b"p/audit/0")
    assert canonical(json.loads(data, parse_int=float)) == data
    leaf = read_leaf(data)
    assert (leaf.index, leaf.log, leaf.event_id) == (index, "p/audit/0", made.id)


@pytest.mark.parametrize("kind", list(EventType))
def test_each_event_type_carries_its_retention_class_and_expiry(kind: EventType) -> None:
    keep = retention_by_type({})[kind]
    leaf = read_leaf(Draft(event(kind), keep, None, None).at_place(0, b"p/audit/0"))
    assert keep.days == RETENTION_DAYS[kind]
    assert leaf.expires == {"1y": "2027-11-22", "3y": "2029-11-21", "7y": "2033-11-20"}[leaf.retention]


def test_retention_can_be_set_for_one_type() -> None:
    kept = retention_by_type({"platform": 10})
    assert kept[EventType.PLATFORM] == Retention(10, b"10d")
    assert kept[EventType.AUTHENTICATION] == YEAR


def test_time_is_utc_with_six_digits() -> None:
    assert timestamp(NOON + 0.5) == "2026-11-22T12:00:00.500000Z"


def test_personal_fields_are_sealed_differently_each_time_and_open_only_for_their_event() -> None:
    first, second = KEY.seal("evt_1", PERSONAL), KEY.seal("evt_1", PERSONAL)
    assert first != second
    assert KEY.open("evt_1", first.decode()) == PERSONAL
    assert KEY.open("evt_2", first.decode()) is None
    assert SubjectKey(KEY.ref, bytes(32)).open("evt_1", first.decode()) is None
    assert KEY.open("evt_1", "not base64!") is None


def test_a_line_has_the_missions_keys_and_says_when_a_person_was_erased() -> None:
    made = event(
        EventType.CHAT_RESPONSE,
        personal=PERSONAL,
        model="m",
        tokens_used=3,
        cost_usd="0.1",
        latency_ms=4,
        timestamp="forged",
    )
    line = json.loads(line_of_event(made, with_personal=True))
    assert line["timestamp"] == "2026-11-22T12:00:00.000000Z"
    assert line["event_type"] == "claude_chat_response"
    assert {"user_email", "ip_address", "model", "tokens_used", "cost_usd", "latency_ms"} <= line.keys()
    assert not PERSONAL.keys() & json.loads(line_of_event(made, with_personal=False)).keys()
    leaf = read_leaf(Draft(made, YEAR, KEY.ref, KEY.seal(made.id, PERSONAL)).at_place(0, b"p/audit/0"))
    assert line_of_leaf(leaf, KEY)["user_email"] == PERSONAL["user_email"]
    erased = line_of_leaf(leaf, None)
    assert erased["personal"] == "erased"
    assert "user_email" not in erased


def test_keys_are_made_once_and_readable_by_nobody_else(tmp_path: Path) -> None:
    first, second = load_keys(AuditSettings(), tmp_path), load_keys(AuditSettings(), tmp_path)
    assert (first.kek, first.pepper, first.signer.verifier) == (second.kek, second.pepper, second.signer.verifier)
    assert len({first.kek, first.pepper}) == 2
    for name in ("signing.key", "kek.key", "pepper.key"):
        assert stat.S_IMODE((tmp_path / "audit" / "keys" / name).stat().st_mode) == 0o600
    assert (tmp_path / "audit" / "audit.pub").read_text() == f"{first.signer.verifier}\n"
    assert first.kek.hex() not in repr(first)


def test_a_new_signing_key_is_added_to_the_published_ones(tmp_path: Path) -> None:
    old = load_keys(AuditSettings(), tmp_path).signer.verifier
    (tmp_path / "audit" / "keys" / "signing.key").unlink()
    new = load_keys(AuditSettings(), tmp_path)
    assert new.trusted == (old, new.signer.verifier)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: path.chmod(0o644), "chmod 600"),
        (lambda path: path.write_text("rubbish"), "backup"),
        (lambda path: path.write_text("ai-platform-key-v1 AAAA"), "backup"),
    ],
)
def test_a_damaged_or_open_key_file_stops_the_start_and_says_what_to_do(tmp_path: Path, change: Any, says: str) -> None:
    load_keys(AuditSettings(), tmp_path)
    change(tmp_path / "audit" / "keys" / "kek.key")
    with pytest.raises(ConfigError, match=says):
        load_keys(AuditSettings(), tmp_path)


def test_a_name_that_cannot_sign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"audit\.name"):
        load_keys(AuditSettings(name="with space"), tmp_path)
