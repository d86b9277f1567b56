"""Who may call: the ways Claude Code presents a key, and the answer when there is none."""

import json

from ai_platform.conformance.case import Case, Lab, Mismatch, expect, expect_status, text
from ai_platform.conformance.client import Answer, Request
from ai_platform.conformance.traffic import api_key, bearer, compact, post, small
from ai_platform.conformance.wire import Fields

_MEASURED = "measured with Claude Code 2.1.330"


def _hello(lab: Lab, name: str, credential: Fields) -> Request:
    return post(compact(small(lab.model, lab.marker(name))), lab.fields(credential))


async def _accepted(lab: Lab, name: str, credential: Fields) -> None:
    expect_status(await lab.call(_hello(lab, name, credential)), 200)


async def _bearer(lab: Lab) -> None:
    await _accepted(lab, "bearer", bearer(lab.target.key))


async def _api_key(lab: Lab) -> None:
    await _accepted(lab, "api-key", api_key(lab.target.key))


async def _both(lab: Lab) -> None:
    await _accepted(lab, "both", [*api_key(lab.target.key), *bearer(lab.target.key)])


async def _two_keys(lab: Lab) -> None:
    await _accepted(lab, "two-keys", [*api_key("sk-ant-another-key-of-the-developer"), *bearer(lab.target.key)])


async def _missing(lab: Lab) -> None:
    _refused(await lab.call(_hello(lab, "missing", [])))


async def _wrong(lab: Lab) -> None:
    _refused(await lab.call(_hello(lab, "wrong", bearer("not-a-key-of-this-gateway"))))


async def _nothing_sent(lab: Lab) -> None:
    before = lab.upstream.calls
    await lab.call(_hello(lab, "nothing", bearer("not-a-key-of-this-gateway")))
    expect(lab.upstream.calls == before, "a call without a valid key reached the upstream")


def _refused(answer: Answer) -> None:
    expect_status(answer, 401)
    error_message(answer)
    retry = answer.get(b"x-should-retry")
    expect(
        retry == b"false", f"x-should-retry is {text(retry or b'missing')}: the client tries 11 times over 3 minutes"
    )


def error_message(answer: Answer) -> str:
    """The message of the Anthropic error envelope.

    Raises:
        Mismatch: the body is something else.

    """
    try:
        body = json.loads(answer.content)
        message = body["error"]["message"]
        shaped = body["type"] == "error" and isinstance(body["error"]["type"], str) and isinstance(message, str)
    except (ValueError, KeyError, TypeError):
        shaped, message = False, ""
    if not shaped or not message:
        raise Mismatch(f"not the API's error envelope with a message: {text(answer.raw[:200])}")
    return str(message)


ACCESS: tuple[Case, ...] = (
    Case(
        id="access-bearer",
        title="A key in Authorization: Bearer is accepted",
        why="ANTHROPIC_AUTH_TOKEN and current SDKs send it so.",
        source=_MEASURED,
        check=_bearer,
        weight=3,
        needs=(),
    ),
    Case(
        id="access-api-key",
        title="A key in x-api-key is accepted",
        why="ANTHROPIC_API_KEY sends it so.",
        source=_MEASURED,
        check=_api_key,
        weight=3,
        needs=(),
    ),
    Case(
        id="access-both",
        title="The same key in both header fields is accepted",
        why="apiKeyHelper sends it in both.",
        source=_MEASURED,
        check=_both,
        weight=3,
        needs=(),
    ),
    Case(
        id="access-two-keys",
        title="The key in Authorization counts when x-api-key holds another one",
        why="With both variables set Claude Code sends both, and a developer's own key is often still there.",
        source=_MEASURED,
        check=_two_keys,
        needs=(),
    ),
    Case(
        id="access-missing",
        title="No key: 401, the API's envelope, x-should-retry: false",
        why="Without x-should-retry Claude Code tries 11 times over three minutes.",
        source=_MEASURED,
        check=_missing,
        needs=(),
    ),
    Case(
        id="access-wrong",
        title="A wrong key: the same",
        why="A revoked key must be reported at once.",
        source=_MEASURED,
        check=_wrong,
        needs=(),
    ),
    Case(
        id="access-nothing-sent",
        title="A call without a valid key does not reach the upstream",
        why="It would be served at the organisation's cost.",
        source="RFC 9110 15.5.2",
        check=_nothing_sent,
        weight=3,
    ),
)
