"""`general` content filters: the newest text is refused, older text is taken out, everything else stays as it came."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.domain.call import Call, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, InvalidCall
from ai_platform.policy import Policy

pytestmark = pytest.mark.requirement("PO-1", "PO-4")

Calls = Callable[..., Call]

BLUEBIRD = Policy.load("""
contact: Ask the owner of Bluebird.
content_filters:
  block_patterns:
    - {pattern: "bluebird", message: "Project Bluebird is not for Claude", name: bluebird}
    - {pattern: "réseau secret", scope: general}
""")


def _user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def _body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5-5", "messages": list(messages), **fields}


ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "bluebird is a bird"}]}


@pytest.mark.parametrize(
    "text",
    [
        "Tell me about Bluebird",
        "BLUEBIRD!",
        "the_bluebird_plan",
        "\uff42\uff4c\uff55\uff45\uff42\uff49\uff52\uff44",  # full-width letters
        "blue\u200bbird",
        "le RÉSEAU secret",
    ],
)
def test_the_newest_text_is_refused_with_the_filters_own_words(text: str, call: Calls):
    for content in (
        text,
        [{"type": "text", "text": text}],
        [{"type": "text", "text": "hello"}, {"type": "text", "text": text}],
    ):
        with pytest.raises(Denied) as refused:
            BLUEBIRD.check_input(call(body=_body({"role": "user", "content": content})))
        assert refused.value.reason is Refusal.CONTENT_FILTER
    assert text not in str(refused.value)


def test_the_refusal_names_the_filter_its_message_and_whom_to_ask(call: Calls):
    with pytest.raises(Denied) as refused:
        BLUEBIRD.check_input(call(body=_body(_user("bluebird"))))
    assert refused.value.rule == "bluebird"
    assert str(refused.value) == (
        "Your request was stopped by the content filter 'bluebird' (scope general): Project Bluebird is not for Claude."
        " Change the request so that it does not need this. Ask the owner of Bluebird."
    )


@pytest.mark.parametrize("text", ["bluebirds", "mybluebird", "blue bird", "b l u e b i r d"])
def test_a_longer_word_is_another_word(text: str, call: Calls):
    request = call(body=_body(_user(text)))
    assert BLUEBIRD.check_input(request) is request


def test_what_the_person_did_not_just_write_does_not_refuse_the_call(call: Calls):
    request = call(
        body=_body(
            _user("hello"),
            ANSWER,
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "bluebird"}]},
            system="bluebird",
        )
    )
    assert BLUEBIRD.check_input(request) is request


@pytest.mark.parametrize(
    "messages",
    [
        (_user("about bluebird", "something else"),),
        (_user("about bluebird"), _user("something else")),
        (_user("about bluebird"), ANSWER, _user("something else")),
        (_user("<system-reminder>bluebird</system-reminder>", "something else"),),
        (_user("something else", "<system-reminder>bluebird</system-reminder>"),),
    ],
)
def test_a_refused_text_in_the_history_is_taken_out_and_the_session_goes_on(messages: tuple, call: Calls):
    sent = BLUEBIRD.check_input(call(body=_body(*messages, metadata={"user_id": "x"})))
    replayed = BLUEBIRD.check_input(call(body=_body(*messages, metadata={"user_id": "x"})))
    assert sent.body == replayed.body  # byte-stable, so that prompt caching still hits
    decoded = msgspec.json.decode(sent.body)
    texts = [
        block["text"] for message in decoded["messages"] if message["role"] == "user" for block in message["content"]
    ]
    assert "something else" in texts
    assert not any("bluebird" in text.replace("policy: bluebird", "") for text in texts)
    assert any("[removed by policy: bluebird]" in text for text in texts)
    assert decoded["metadata"] == {"user_id": "x"}
    if ANSWER in messages:
        assert ANSWER in decoded["messages"]


def test_only_the_message_that_changed_changes_a_byte(call: Calls):
    first = b'{"role":"user","content":"about bluebird","x_new":  1.50}'
    rest = b'{"role" : "assistant", "content":"ok" },  {"content":"go\\u0020on","role":"user"}'
    body = b'{ "messages" : [' + first + b", " + rest + b'],"unknown":[1.0,2e3]}'
    sent = BLUEBIRD.check_input(call(body=body)).body
    changed = b'{"role":"user","content":"about [removed by policy: bluebird]","x_new":1.50}'
    assert sent == body.replace(first, changed)


def test_a_prompt_that_begins_like_a_reminder_is_still_a_prompt(call: Calls):
    with pytest.raises(Denied):
        BLUEBIRD.check_input(call(body=_body(_user("<system-reminder>bluebird"))))


def test_every_request_of_a_batch_is_checked(call: Calls):
    items = [{"custom_id": str(n), "params": _body(_user(text))} for n, text in enumerate(["hi", "bluebird", "ho"])]
    with pytest.raises(Denied):
        BLUEBIRD.check_input(call(operation=Operation.BATCHES_CREATE, body={"requests": items}))
    items[1]["params"] = _body(_user("bluebird"), ANSWER, _user("fine"))
    sent = BLUEBIRD.check_input(call(operation=Operation.BATCHES_CREATE, body={"requests": items}))
    assert b"about" not in sent.body
    assert sent.body.count(b"[removed by policy: bluebird]") == 1


def test_count_tokens_is_checked_like_the_message_it_counts(call: Calls):
    with pytest.raises(Denied):
        BLUEBIRD.check_input(call(operation=Operation.COUNT_TOKENS, body=_body(_user("bluebird"))))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"messages": 5}',
        b'{"messages": [5]}',
        b'{"messages":[{"role":"user","content":[{"type":"text","text":5}]}]}',
        b'{"messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"messages":' + b"[" * 100_000,
    ],
)
def test_messages_that_cannot_be_read_are_refused_not_passed(body: bytes, call: Calls):
    with pytest.raises(InvalidCall, match="cannot be read"):
        BLUEBIRD.check_input(call(body=body))


@pytest.mark.parametrize("content", [None, 5, {}, [], [None, 7, "x"], [[]], ""])
def test_content_of_an_odd_shape_has_no_text_to_check(content: object, call: Calls):
    request = call(body=_body({"role": "user", "content": content}, {"role": "user"}))
    assert BLUEBIRD.check_input(request) is request


def test_without_general_filters_no_body_is_read(call: Calls):
    policy = Policy.load("content_filters: {block_patterns: [{pattern: x, scope: sql}]}")
    request = call(body=b"not json")
    assert policy.check_input(request) is request
    assert not policy.filters_input
    assert BLUEBIRD.filters_input


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=12)), min_size=1, max_size=5))
def test_a_body_without_a_match_leaves_as_the_same_object(turns: list[tuple[str, str]]):
    body = msgspec.json.encode(_body(*({"role": role, "content": text} for role, text in turns)))
    if b"bluebird" not in body.lower():
        request = Call(
            id="c",
            door="messages",
            operation=Operation.MESSAGES_CREATE,
            method="POST",
            path="/",
            body=body,  # type: ignore[arg-type]
        )
        assert BLUEBIRD.check_input(request) is request
