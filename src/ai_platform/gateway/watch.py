"""The answer is watched on its way to the caller: usage counted, outgoing text inspected, the outcome made durable
before the caller has the end.

Bytes that no control changed are the upstream's own. A stream is never buffered: what is held back is what
protection still needs, and the very end until the record is durable.
"""

from collections.abc import AsyncGenerator, Iterator

from ai_platform.domain.call import Answer, Call, Door, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import OverBudget, PlatformError, UpstreamBroken
from ai_platform.gateway.events import EventSplitter, Kind, data_of, kind_of
from ai_platform.gateway.models import model_in, only_usable
from ai_platform.gateway.record import Record
from ai_platform.gateway.results import watched_result
from ai_platform.gateway.toolwatch import ToolWatch
from ai_platform.policy import Policy
from ai_platform.protection import Guard, StreamGuard

MAX_ANSWER = 64 * 1024 * 1024
_JSON = (b"application/json", b"application/x-jsonl", b"application/jsonl", b"application/x-ndjson")
_MEDIA = (b"image/", b"audio/", b"video/", b"font/", b"application/pdf")
MISCONFIGURED = 300.0
"""Seconds that a client is told to stay away: somebody has to change a setting first."""
BUDGET_LOOK = 64
"""A stream is held against its budget each so many deltas (about 10 us a look)."""


def watch(answer: Answer, call: Call, record: Record, protection: Guard, policy: Policy) -> Answer:
    """The same answer with a watched body. Iterating it may raise Refused or UpstreamError.

    The fact `whole` says that the body comes as one chunk (or none), `resized` that its chunks may add up to another
    length than announced.
    """
    if call.door is Door.MCP:
        body = _recorded(watched_result(answer, call, record, protection), record)
        return Answer(answer.status, answer.headers, body, whole=True, **answer.facts)
    if 300 <= answer.status < 400 and answer.status != 304:
        raise UpstreamBroken(
            f"The upstream answered with a redirect ({answer.status}). It is not followed, and not passed on, because"
            " your key would travel with it. Whoever runs this gateway sets the upstream's `url` to where it leads.",
            target=record.target_name,
            retry_after=MISCONFIGURED,
        )
    kind = (answer.header(b"content-type") or b"").lower()
    if is_good(answer) and kind.startswith(b"text/event-stream"):
        exchange = record.inspection.exchange if record.inspection else None
        plan = record.known_decision.plan
        guard = protection.watch(record.known_caller, call, plan, record.target_name, exchange)
        record.stream_guard = guard
        body = _recorded(_stream(answer, record, guard, ToolWatch(policy, record, call)), record)
        return Answer(answer.status, answer.headers, body, resized=True, **answer.facts)
    if kind.startswith(_JSON) or _is_readable(answer, call, kind):
        body = _recorded(_document(answer, call, record, protection, policy), record)
        return Answer(answer.status, answer.headers, body, whole=True, **answer.facts)
    if is_good(answer) and call.operation is not Operation.FILES and answer.header(b"content-length") != b"0":
        return Answer(answer.status, answer.headers, _recorded(_nothing(answer, record), record), **answer.facts)
    return Answer(answer.status, answer.headers, _recorded(_opaque(answer, record), record), **answer.facts)


def _is_readable(answer: Answer, call: Call, kind: bytes) -> bool:
    """A file, or the text of an error; not one too large to be read as a whole, which is counted as unchecked.

    What a file is called says little about it: only pictures and sounds are taken for what they are called.
    """
    if is_good(answer):
        if call.operation is not Operation.FILES or kind.startswith(_MEDIA):
            return False
    elif not kind.startswith(b"text/"):
        return False
    length = answer.header(b"content-length") or b""
    return length.isdigit() and int(length) <= MAX_ANSWER


def is_good(answer: Answer) -> bool:
    return 200 <= answer.status < 300


async def _recorded(body: AsyncGenerator[bytes], record: Record) -> AsyncGenerator[bytes]:
    """An answer that fails in the middle is recorded before the caller hears of it; the caller's end is one."""
    try:
        async for chunk in body:
            record.check_caller()
            yield chunk
    except PlatformError as error:
        record.failed(error)
        await record.finished()
        raise
    finally:
        await body.aclose()


async def _stream(answer: Answer, record: Record, guard: StreamGuard, tools: ToolWatch) -> AsyncGenerator[bytes]:
    splitter = EventSplitter()
    ended = False
    told = 0
    async for chunk in answer.body:
        if ended:
            continue  # what follows the end is nobody's: it was not counted, and no client reads it
        released: list[bytes] = []
        try:
            ended = _pass_on(_events(splitter, chunk, record), released, record, guard, tools)
        except PlatformError:
            if before := b"".join(released):  # what was cleared goes out: a client that has seen an event
                yield before  # shows the refusal instead of asking again
            raise
        if len(guard.news) > told:
            record.noticed(guard.news[told:])
            told = len(guard.news)
        if ended:
            if before := b"".join(released[:-1]):
                yield before
            await record.finished()
            yield released[-1]
        elif joined := b"".join(released):
            yield joined
    if ended:
        return
    last: list[bytes] = []
    if kind_of(splitter.rest) is not Kind.OTHER:  # an event without its empty line; anything else no client reads
        _pass_on(iter((splitter.rest,)), last, record, guard, tools)
    last.append(guard.close())
    record.noticed(guard.news[told:])
    await record.finished()
    if rest := b"".join(last):
        yield rest


def _pass_on(
    events: Iterator[bytes], released: list[bytes], record: Record, guard: StreamGuard, tools: ToolWatch
) -> bool:
    """Watch each event and append what may go out; True when the last one appended ends the message."""
    ended = False
    for event in events:
        if ended:
            break
        kind = kind_of(event)
        if kind is Kind.DELTA:
            record.streamed_bytes += len(event)
            tools.delta(event)
            released.append(guard.feed(event))
            record.deltas += 1
            if record.deltas % BUDGET_LOOK == 0 and record.outgrew():
                raise OverBudget(
                    Refusal.BUDGET,
                    "The answer was stopped here: it became longer than its budget allowed for, and the budget is used"
                    " up. `ai-platform usage` shows what was spent; ask an administrator to raise the budget.",
                    rule="budget.stop_streams",
                )
        elif kind is Kind.MESSAGE_STOP:
            tools.ended()
            released.append(guard.feed(event) + guard.close())
            ended = True
        else:
            released.append(guard.feed(_noted(kind, event, record, tools)))
    return ended


def _events(splitter: EventSplitter, chunk: bytes, record: Record) -> Iterator[bytes]:
    try:
        yield from splitter.feed(chunk)
    except ValueError as error:
        raise UpstreamBroken(f"The upstream sent an unusable stream: {error}.", target=record.target_name) from error


def _noted(kind: Kind, event: bytes, record: Record, tools: ToolWatch) -> bytes:
    """The event to pass on: as it came, unless it has to carry a verdict of ours."""
    if kind is Kind.MESSAGE_START:
        record.usage_meter.feed_start(data_of(event))
    elif kind is Kind.MESSAGE_DELTA:
        record.usage_meter.feed_delta(data_of(event))
        return tools.verdicts(event)
    elif kind is Kind.BLOCK_START:
        tools.start(event)
    elif kind is Kind.BLOCK_STOP:
        tools.stop(event)
    elif kind is Kind.ERROR:
        record.upstream_error = data_of(event)[:2000]
    return event


async def _document(
    answer: Answer, call: Call, record: Record, protection: Guard, policy: Policy
) -> AsyncGenerator[bytes]:
    body = await _whole(answer, record)
    if is_good(answer):
        record.usage_meter.feed_message(body)
        body = ToolWatch(policy, record, call).message(body)
        if call.operation is Operation.MODELS:
            body = _models(body, record, policy)
    plan = record.known_decision.plan
    exchange = record.inspection.exchange if record.inspection else None
    inspection = await protection.inspect_answer(record.known_caller, call, plan, body, record.target_name, exchange)
    record.answer_inspection = inspection
    record.noticed(inspection.new_incidents + inspection.new_alerts)
    body = inspection.body
    await record.finished()
    if body:
        yield body


def _models(body: bytes, record: Record, policy: Policy) -> bytes:
    """What the caller may use of it. Raises Denied for a single model that they may not."""
    if single := model_in(body):
        policy.check_model(record.known_caller, single)
        return body
    return only_usable(body, lambda model: policy.may_use(record.known_caller, model))


async def _nothing(answer: Answer, record: Record) -> AsyncGenerator[bytes]:
    """A success that is neither JSON nor a stream of events cannot be inspected or counted: it is not passed on."""
    async for _ in answer.body:
        kind = (answer.header(b"content-type") or b"nothing at all").decode("latin-1")
        raise UpstreamBroken(
            f"The upstream answered {answer.status} with content of type {kind[:80]!r} instead of JSON or a stream of"
            " events, so that it could not be inspected. It is probably not the API that was asked: whoever runs this"
            " gateway checks the upstream's `url`.",
            target=record.target_name,
            retry_after=MISCONFIGURED,
        )
    await record.finished()
    return
    yield b""  # it is an iterator of chunks, of which there are none


async def _opaque(answer: Answer, record: Record) -> AsyncGenerator[bytes]:
    """Bytes that are neither a message nor a stream of one (file contents, an HTML error page): passed as they come,
    counted as unchecked in the record.
    """
    held = b""
    async for chunk in answer.body:
        if held:
            yield held
        held = chunk
        record.unchecked_bytes += len(chunk)
    await record.finished()
    if held:
        yield held


async def _whole(answer: Answer, record: Record) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.body:
        size += len(chunk)
        if size > MAX_ANSWER:
            raise UpstreamBroken(
                f"The upstream's answer exceeds {MAX_ANSWER >> 20} MiB and cannot be inspected.",
                target=record.target_name,
            )
        chunks.append(chunk)
    return b"".join(chunks)
