"""What the model is asked must be what the client wrote: the body arrives upstream byte for byte.

A changed byte costs the prompt cache; a dropped field changes behaviour while its beta header still asks for it.
"""

import json

from ai_platform.conformance.case import Case, Check, Lab, Mismatch, expect_status, expect_whole, same_bytes
from ai_platform.conformance.traffic import COUNT, COUNTED, MESSAGE, answer, compact, post, replying, small, turn

_PROTOCOL = "code.claude.com/docs: LLM gateway protocol, 'inspect without modifying'"
_MEASURED = "measured with Claude Code 2.1.330"


async def arrives_unchanged(lab: Lab, name: str, body: bytes, *, path: str = "", chunked: bool = False) -> None:
    """`body` holds the marker of `name`; the upstream must record the same bytes."""
    request = post(body, lab.fields(), chunked=chunked)
    reply = answer(200, COUNTED if path == COUNT else MESSAGE % lab.model.encode())
    if path:
        request = post(body, lab.fields(), path=path, chunked=chunked)
    got, recorded = await lab.through(name, request, replying(reply))
    if recorded.body != body:
        _explain_fields(body, recorded.body)
        same_bytes("the request body", body, recorded.body)
    expect_status(got, 200)
    expect_whole(got)


def _explain_fields(sent: bytes, got: bytes) -> None:
    """A missing or added top-level field says more than an offset."""
    try:
        before, after = json.loads(sent), json.loads(got)
    except ValueError:
        return
    if not isinstance(before, dict) or not isinstance(after, dict):
        return
    missing = [key for key in before if key not in after]
    added = [key for key in after if key not in before]
    if missing or added:
        raise Mismatch(f"the request body changed: fields dropped {missing}, fields added {added}")


async def _small(lab: Lab) -> None:
    marker = lab.marker("small")
    await arrives_unchanged(lab, marker, compact(small(lab.model, marker)))


async def _claude_code_turn(lab: Lab) -> None:
    marker = lab.marker("turn")
    await arrives_unchanged(lab, marker, compact(turn(lab.model, marker, stream=False)))


async def _system_messages(lab: Lab) -> None:
    marker = lab.marker("system")
    body = small(lab.model, marker)
    body["messages"] += [
        {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
        {"role": "system", "content": [], "output_config": {"effort": "low"}},
        {"role": "system", "content": [{"type": "text", "text": "The date changed."}]},
        {"role": "user", "content": "Go on."},
    ]
    await arrives_unchanged(lab, marker, compact(body))


async def _deferred_tools(lab: Lab) -> None:
    marker = lab.marker("deferred")
    reference = {"type": "tool_reference", "tool_name": "Grep"}
    body = small(lab.model, marker, tools=[{"name": "Grep", "defer_loading": True, "input_schema": {"type": "object"}}])
    body["messages"] += [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_01", "name": "ToolSearch", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_01", "content": [reference]}]},
    ]
    await arrives_unchanged(lab, marker, compact(body))


async def _unknown_fields(lab: Lab) -> None:
    marker = lab.marker("unknown")
    more = {"field_of_next_year": {"a": [1, None, True]}, "safeguards": [{"type": "dangerous_tool_use"}]}
    await arrives_unchanged(lab, marker, compact(small(lab.model, marker, **more)))


async def _numbers(lab: Lab) -> None:
    marker = lab.marker("numbers")
    body = (
        b'{"model":"%s","max_tokens":64,"x_numbers":[1.0,0.10,1e2,1E-7,-0.0,12345678901234567890,0.1234567890123456789],'
        b'"messages":[{"role":"user","content":"%s"}]}' % (lab.model.encode(), marker.encode())
    )
    await arrives_unchanged(lab, marker, body)


async def _escapes(lab: Lab) -> None:
    marker = lab.marker("escapes")
    content = rb"\u00e9 \ud83d\ude42 \u2028 \/ \b\f \u0000" + " é 🙂 \u2029 漢字".encode()
    body = b'{"model":"%s","max_tokens":64,"messages":[{"role":"user","content":"%s %s"}]}' % (
        lab.model.encode(),
        content,
        marker.encode(),
    )
    await arrives_unchanged(lab, marker, body)


async def _whitespace(lab: Lab) -> None:
    marker = lab.marker("whitespace")
    body = json.dumps(small(lab.model, marker), indent="\t").replace("\n", " \r\n").encode()
    await arrives_unchanged(lab, marker, b"\n  " + body + b"\n\n")


async def _order(lab: Lab) -> None:
    marker = lab.marker("order")
    fields = small(lab.model, marker, stream=False, a_first="x", z_last="y")
    await arrives_unchanged(lab, marker, compact(dict(sorted(fields.items(), reverse=True))))


async def _alike_keys(lab: Lab) -> None:
    marker = lab.marker("alike")
    schema = {"type": "object", "properties": {"id": {}, "ID": {}, "id ": {}, "\u0456d": {}, "": {}, "model": {}}}
    tool = {"name": "t", "input_schema": schema, "Name": "not the name"}
    await arrives_unchanged(lab, marker, compact(small(lab.model, marker, tools=[tool], Model="not the model")))


async def _large(lab: Lab) -> None:
    marker = lab.marker("large")
    await arrives_unchanged(lab, marker, compact(turn(lab.model, marker, size=1_500_000, stream=False)))


async def _in_chunks(lab: Lab) -> None:
    marker = lab.marker("chunks")
    await arrives_unchanged(lab, marker, compact(small(lab.model, marker)), chunked=True)


async def _count_tokens(lab: Lab) -> None:
    marker = lab.marker("count")
    body = compact({"model": lab.model, "messages": [{"role": "user", "content": f"A file. {marker}"}], "tools": []})
    await arrives_unchanged(lab, marker, body, path=COUNT)


def _case(name: str, title: str, why: str, check: Check, *, weight: int = 2, source: str = _PROTOCOL) -> Case:
    return Case(id=f"body-{name}", title=title, why=why, source=source, check=check, weight=weight)


BODIES: tuple[Case, ...] = (
    _case(
        "small", "A small body arrives byte for byte", "Nothing else can be trusted if this fails.", _small, weight=3
    ),
    _case(
        "claude-code-turn",
        "A 60 KB Claude Code turn arrives byte for byte",
        "Each turn repeats the conversation; one changed byte and the whole prompt is billed uncached.",
        _claude_code_turn,
        weight=3,
        source=_MEASURED,
    ),
    _case(
        "system-messages",
        'role "system" messages pass, also with empty content',
        "Claude Code sends them in every session; a closed schema answers 400.",
        _system_messages,
        weight=3,
        source=_MEASURED,
    ),
    _case(
        "deferred-tools",
        "tool_reference blocks and defer_loading tools pass",
        "MCP tools are loaded this way; without it no MCP tool can be used.",
        _deferred_tools,
        weight=3,
        source=_MEASURED,
    ),
    _case(
        "unknown-fields",
        "Unknown fields pass",
        "A field newer than the gateway is lost while its beta header still announces it: 400 or wrong behaviour.",
        _unknown_fields,
        weight=3,
    ),
    _case("numbers", "Numbers keep their spelling", "1.0 turned into 1 breaks the prompt cache.", _numbers),
    _case("escapes", "Escapes and raw Unicode keep their spelling", "They are part of the cached prefix.", _escapes),
    _case(
        "whitespace", "Whitespace is kept", "It is part of the body that was signed or cached.", _whitespace, weight=1
    ),
    _case("key-order", "The order of keys is kept", "Tools and schemas are cached in the order sent.", _order),
    _case("alike-keys", "Keys that only look alike stay apart", "Tool schemas contain them.", _alike_keys),
    _case(
        "large",
        "A body of 1.5 MB passes",
        "Long sessions reach it; after a 413 Claude Code hides the gateway's message.",
        _large,
        weight=3,
        source="platform.claude.com: request size limits (32 MB); measured bodies of 0.5 MB after 14 turns",
    ),
    _case(
        "chunked",
        "A chunked request body passes",
        "SDKs stream large bodies.",
        _in_chunks,
        weight=1,
        source="RFC 9112 7.1",
    ),
    _case(
        "count-tokens",
        "A count_tokens body arrives byte for byte",
        "Claude Code counts each large file it reads.",
        _count_tokens,
        weight=2,
        source=_MEASURED,
    ),
)
