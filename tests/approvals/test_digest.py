"""Consent is bound to exactly what was asked: what could be read differently is something else."""

import json

import msgspec
import pytest
from approvals_kit import ANN, BOB, DEMAND, SESSION, VERSION, model_call, tool_call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_platform.approvals.digest import canonical, digest_of
from ai_platform.domain.approval import ApprovalDemand, Covers
from ai_platform.domain.errors import InvalidCall

pytestmark = pytest.mark.requirement("PO-7")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1,"b":2}', b'{ "b" : 2 ,\n\t"a" : 1 }'),
        (b'{"a":"x"}', rb'{"\u0061":"\u0078"}'),
        (b'{"a":{"c":1,"b":[1,2]}}', b'{"a":{"b":[1,2],"c":1}}'),
        (b'{"a":"\xc3\xa9"}', rb'{"a":"\u00e9"}'),
        (rb'{"a":"\ud83d\ude00"}', '{"a":"😀"}'.encode()),
        (rb'{"a":"\/"}', b'{"a":"/"}'),
    ],
)
def test_white_space_order_and_escapes_change_nothing(one: bytes, other: bytes):
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1}', b'{"a":1.0}'),
        (b'{"a":1}', b'{"a":"1"}'),
        (b'{"a":1}', b'{"a":1e0}'),
        (b'{"a":0}', b'{"a":-0}'),
        (b'{"a":10000000000000000000000}', b'{"a":10000000000000000000001}'),
        (b'{"a":0.1}', b'{"a":0.10}'),
        (b'{"a":true}', b'{"a":"true"}'),
        (b'{"a":true}', b'{"a":1}'),
        (b'{"a":null}', b"{}"),
        (b'{"a":[]}', b'{"a":{}}'),
        (b'{"a":[1,2]}', b'{"a":[2,1]}'),
        (b'{"a":[1,[2]]}', b'{"a":[[1],2]}'),
        (b'{"a":"x"}', b'{"a":"x "}'),
        (b'{"a":"x"}', b'{"A":"x"}'),
        ('{"a":"é"}'.encode(), '{"a":"e\u0301"}'.encode()),
        (b'{"a":"K"}', '{"a":"\u212a"}'.encode()),
        (b'{"a":"x"}', '{"a":"x\u200b"}'.encode()),
        (b'{"a":"admin"}', '{"a":"\u0430dmin"}'.encode()),
        (b'{"a":"n1"}', b'{"a":1}'),
        (b'{"a":"s1"}', b'{"a":"1"}'),
    ],
)
def test_everything_else_is_another_call(one: bytes, other: bytes):
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        rb'{"a":1,"\u0061":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1',
        b"\xff",
        b"",
        b'{"a":' + b"[" * 300 + b"]" * 300 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_has_no_single_meaning_cannot_be_agreed_to(text: bytes):
    with pytest.raises(InvalidCall, match="no single meaning"):
        canonical(text)


def digest(call: object = None, **changes: object) -> bytes:
    values = {"caller": ANN, "call": call or tool_call(), "demand": DEMAND, "version": VERSION} | changes
    return digest_of(values["caller"], values["call"], values["demand"], values["version"])  # type: ignore[arg-type]


def test_every_part_of_what_was_asked_counts():
    base = digest()
    assert len(base) == 32
    other = [
        digest(tool_call(server="prod-api")),
        digest(tool_call(tool="execute")),
        digest(tool_call({"sql": "select 2"})),
        digest(msgspec.structs.replace(tool_call(), head=msgspec.structs.replace(tool_call().head, request_state="s"))),
        digest(caller=BOB),
        digest(caller=msgspec.structs.replace(ANN, tenant="other")),
        digest(version="2+def"),
        digest(demand=ApprovalDemand(rule="Other", approvers=DEMAND.approvers)),
        digest(model_call()),
    ]
    assert len({base, *other}) == len(other) + 1
    assert digest(tool_call(id="call_2")) == base, "another attempt at the same call"


def test_names_cannot_be_shifted_into_each_other():
    assert digest(tool_call(server="a", tool="b/c")) != digest(tool_call(server="a/b", tool="c"))


def test_a_model_call_is_bound_to_its_very_body():
    base = digest(model_call())
    assert digest(model_call()) == base
    call = model_call()
    assert digest(call.with_body(call.body + b" ")) != base
    assert digest(model_call(session="s1")) == base


def test_consent_for_a_session_is_bound_to_caller_model_and_session():
    base = digest(model_call("s1", "one"), demand=SESSION)
    assert digest(model_call("s1", "two"), demand=SESSION) == base
    assert digest(model_call("s2", "one"), demand=SESSION) != base
    assert digest(model_call("s1", model="claude-opus-4-7"), demand=SESSION) != base
    assert digest(model_call("s1"), demand=SESSION, caller=BOB) != base
    one, two = digest(model_call(None, "one"), demand=SESSION), digest(model_call(None, "two"), demand=SESSION)
    assert one != two, "without a session each call is its own"
    assert SESSION.covers is Covers.SESSION


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(JSON, JSON)
def test_two_values_have_one_spelling_only_when_they_are_the_same(one: object, other: object):
    texts = [json.dumps(value).encode() for value in (one, other)]
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (canonical(texts[0]) == canonical(texts[1])) == same


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(JSON)
def test_how_it_is_laid_out_does_not_matter(value: object):
    spread, dense = json.dumps(value, indent=3), json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert canonical(spread.encode()) == canonical(dense.encode())
