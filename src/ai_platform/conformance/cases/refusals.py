"""The gateway's own refusals: one request, a clear text, nothing sent on."""

import asyncio

from ai_platform.conformance.case import Case, Lab, expect, text
from ai_platform.conformance.cases.access import error_message
from ai_platform.conformance.client import Answer
from ai_platform.conformance.traffic import compact, post, small, turn

_MEASURED = "measured with Claude Code 2.1.330"

_LATE = 0.25
"""Seconds in which a gateway that refuses and sends at the same time is found out."""

_ASKED_ONCE = frozenset({402, 403, 406, 410, 412, 418, 424, 451})
"""Statuses after which Claude Code asks once and shows the text."""


def _reads_well(answer: Answer) -> str:
    final = answer.status == 429 and answer.get(b"x-should-retry") == b"false"
    expect(
        answer.status in _ASKED_ONCE or final,
        f"a refusal with status {answer.status} is repeated by the client or its text is lost (use 451)",
    )
    kind = answer.get(b"content-type") or b""
    expect(kind.startswith(b"application/json"), f"the refusal's content type is {text(kind) or 'missing'}")
    return error_message(answer)


async def _text(lab: Lab) -> None:
    for stream in (False, True):
        marker = lab.marker("refused")
        refused = lab.refused_text()
        body = small(lab.model, f"{refused} {marker}", stream=stream)
        message = _reads_well(await lab.call(post(compact(body), lab.fields())))
        expect(refused not in message, "the refusal repeats the refused text")


async def _model(lab: Lab) -> None:
    body = small(lab.target.refused_model, lab.marker("refused-model"))
    _reads_well(await lab.call(post(compact(body), lab.fields())))


async def _not_sent(lab: Lab) -> None:
    marker = lab.marker("refused-turn")
    body = turn(lab.model, marker)
    body["messages"][-1]["content"].append({"type": "text", "text": lab.refused_text()})
    _reads_well(await lab.call(post(compact(body), lab.fields())))
    await asyncio.sleep(_LATE)
    expect(not lab.upstream.requests(marker), "the refused call reached the upstream")


REFUSALS: tuple[Case, ...] = (
    Case(
        id="refusal-text",
        title="A refused text: a status that is asked once, the API's envelope, a message without the text",
        why="400 and 422 are repeated six times, 404 and 413 lose the message.",
        source=_MEASURED,
        check=_text,
        weight=3,
        needs=("refused_text",),
    ),
    Case(
        id="refusal-not-sent",
        title="A refused text deep in a turn never reaches the upstream",
        why="A control that answers but sends anyway is none.",
        source="the gateway's own promise",
        check=_not_sent,
        weight=3,
        needs=("upstream", "refused_text"),
    ),
    Case(
        id="refusal-model",
        title="A refused model: the same shape",
        why="400 storms, and with 404 the developer reads that the model does not exist.",
        source=_MEASURED,
        check=_model,
        needs=("refused_model",),
    ),
)
