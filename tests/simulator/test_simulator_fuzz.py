"""Whatever arrives is answered or refused with an API error; nothing else escapes."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_platform.simulator.asgi import Request
from ai_platform.simulator.cache import PromptCache
from ai_platform.simulator.errors import ApiError
from ai_platform.simulator.files import form_data
from ai_platform.simulator.ledger import Ledger, Outcome
from ai_platform.simulator.messages import MessagesApi
from ai_platform.simulator.settings import SimulatorSettings
from ai_platform.simulator.thinking import Signer
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.requirement("UP-4")

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def maybe(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(good, good, good, JUNK)


MARKS = st.one_of(
    st.none(), maybe(st.fixed_dictionaries({"type": st.just("ephemeral")}, optional={"ttl": maybe(st.just("1h"))}))
)
TEXTS = st.fixed_dictionaries(
    {"type": st.just("text"), "text": maybe(st.text(max_size=9))}, optional={"cache_control": MARKS}
)
IDS = st.sampled_from(["t1", "t2"])
BLOCKS = st.one_of(
    TEXTS,
    st.fixed_dictionaries(
        {"type": st.just("tool_use"), "id": maybe(IDS), "name": maybe(st.just("weather")), "input": JUNK}
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("tool_result"),
            "tool_use_id": maybe(IDS),
            "content": st.one_of(
                st.text(max_size=5),
                st.lists(
                    st.one_of(
                        TEXTS, st.fixed_dictionaries({"type": st.just("tool_reference"), "tool_name": JUNK}), JUNK
                    )
                ),
                JUNK,
            ),
        },
        optional={"is_error": JUNK, "cache_control": MARKS},
    ),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": JUNK, "signature": JUNK}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["image", "document", "fallback"]), "source": JUNK, "citations": JUNK}
    ),
    JUNK,
)
MESSAGES = st.fixed_dictionaries(
    {
        "role": maybe(st.sampled_from(["user", "assistant", "system"])),
        "content": st.one_of(st.text(max_size=9), maybe(st.lists(BLOCKS, max_size=3))),
    }
)
PROMPTS = st.fixed_dictionaries(
    {
        "role": st.just("user"),
        "content": st.sampled_from(
            [f"[[scenario:{name}]]" for name in ("fix", "read", "text", "big", "agent", "mcp", "secret", "no")]
            + [
                "echo:",
                "long:x",
                "tool:weather {",
                "tool:weather",
                "use weather",
                "fix the bug",
                "[[pace:1.2.3]]",
                "[[pace:.]]",
            ]
        ),
    }
)
SCHEMAS = st.one_of(
    JUNK,
    st.fixed_dictionaries(
        {"type": maybe(st.sampled_from(["object", "string", "array", "integer"]))},
        optional={
            "properties": maybe(
                st.dictionaries(
                    st.sampled_from(["a", "b"]),
                    st.fixed_dictionaries(
                        {"type": maybe(st.just("string"))},
                        optional={
                            "minLength": JUNK,
                            "minItems": JUNK,
                            "enum": JUNK,
                            "anyOf": JUNK,
                            "minimum": JUNK,
                            "exclusiveMinimum": JUNK,
                        },
                    ),
                )
            ),
            "required": maybe(st.lists(maybe(st.sampled_from(["a", "b"])), max_size=3)),
        },
    ),
)
TOOLS = st.fixed_dictionaries(
    {
        "name": maybe(st.sampled_from(["weather", "Bash", "Read", "Edit", "Agent", "ToolSearch", "mcp__a__b"])),
        "input_schema": SCHEMAS,
    },
    optional={"type": JUNK, "cache_control": MARKS, "defer_loading": JUNK},
)
REQUESTS = st.fixed_dictionaries(
    {
        "model": maybe(st.sampled_from(["claude-opus-5-5", "claude-sonnet-4-5"])),
        "max_tokens": maybe(st.integers(0, 2000)),
        "messages": maybe(st.lists(st.one_of(PROMPTS, MESSAGES), min_size=1, max_size=4)),
    },
    optional={
        "stream": maybe(st.booleans()),
        "system": st.one_of(st.text(max_size=5), maybe(st.lists(TEXTS, max_size=2))),
        "tools": maybe(st.lists(TOOLS, max_size=3)),
        "tool_choice": st.one_of(
            JUNK, st.fixed_dictionaries({"type": st.sampled_from(["any", "tool", "none"]), "name": JUNK})
        ),
        "thinking": st.one_of(
            JUNK,
            st.fixed_dictionaries(
                {"type": maybe(st.sampled_from(["enabled", "adaptive"])), "budget_tokens": JUNK, "display": JUNK}
            ),
        ),
        "output_config": st.one_of(
            JUNK,
            st.fixed_dictionaries(
                {"format": st.fixed_dictionaries({"type": st.just("json_schema"), "schema": SCHEMAS}), "effort": JUNK}
            ),
        ),
        "stop_sequences": JUNK,
        "cache_control": MARKS,
        "speed": JUNK,
        "inference_geo": JUNK,
        "safeguards": JUNK,
        "temperature": JUNK,
    },
)


def request(body: bytes) -> Request:
    return Request(
        id="req", method="POST", path="/v1/messages", query="", headers=[], client_ip="", received_at=0.0, body=body
    )


@settings(max_examples=300)
@given(body=REQUESTS, version=st.sampled_from(["2023-06-01", "2026-10-21"]))
def test_any_request_is_answered_or_refused(body: dict[str, Any], version: str) -> None:
    ledger = Ledger(10)
    api = MessagesApi(SimulatorSettings(), cache=PromptCache(10), ledger=ledger, signer=Signer(), clock=FakeClock())
    raw = msgspec.json.encode(body)
    with contextlib.suppress(ApiError):
        api.count(request(raw), version)
    with contextlib.suppress(ApiError):
        answer = api.create(request(raw), version)
        assert answer.settlement is not None
        answer.settlement.begin()
        answer.settlement.end(None, Outcome.COMPLETE)
        assert len(ledger.bills()) == 1


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    api = MessagesApi(SimulatorSettings(), cache=PromptCache(1), ledger=Ledger(1), signer=Signer(), clock=FakeClock())
    with pytest.raises(ApiError):
        api.create(request(raw), "2023-06-01")


@given(
    fields=st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        st.binary(max_size=40).filter(lambda data: b"--BB" not in data),
        min_size=1,
    ),
    cut=st.integers(1, 400),
)
def test_multipart_survives_any_content_and_any_cut(fields: dict[str, bytes], cut: int) -> None:
    whole = b"".join(
        b'--BB\r\ncontent-disposition: form-data; name="%s"; filename="f"\r\n\r\n%s\r\n' % (name.encode(), data)
        for name, data in fields.items()
    )
    whole += b"--BB--\r\n"
    found = form_data(whole, "multipart/form-data; boundary=BB")
    assert {name: data for name, (_, _, data) in found.items()} == fields
    if cut > len(b"--\r\n"):
        with pytest.raises(ApiError):
            form_data(whole[:-cut] if cut < len(whole) else b"", "multipart/form-data; boundary=BB")
