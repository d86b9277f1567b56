"""POST /v1/messages and /v1/messages/count_tokens: checks, prompt cache, scenario, usage. Decides; writes nothing."""

import re
import secrets
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.simulator import layout, rules, wire
from ai_platform.simulator.answers import Answer, Payload, Stream, json_payload
from ai_platform.simulator.asgi import Request
from ai_platform.simulator.cache import Plan, PromptCache, Split
from ai_platform.simulator.ledger import Bill, Ledger, Outcome
from ai_platform.simulator.player import Tempo
from ai_platform.simulator.prompt import Json, Prompt, decode, parse
from ai_platform.simulator.render import Rendered, render
from ai_platform.simulator.scenarios import Conversation, answer
from ai_platform.simulator.settings import SimulatorSettings
from ai_platform.simulator.thinking import Signer
from ai_platform.simulator.tokens import tokens

_PACE_TAG = re.compile(r"\[\[pace:(\d{1,6}(?:\.\d{1,6})?)\]\]")
_CACHE_WORD = b'"cache_control"'


class Settled(msgspec.Struct, kw_only=True):
    """One answer on its way: commits its cache plan at the start, writes its bill at the end."""

    prompt: Prompt
    plan: Plan
    rendered: Rendered
    cache: PromptCache
    ledger: Ledger
    clock: Clock
    request_id: str
    message_id: str
    key: str
    tier: str

    def begin(self) -> None:
        self.cache.commit(self.plan, self.clock.now())

    def end(self, events: int | None, outcome: Outcome) -> None:
        weights = self.rendered.weights
        weight = self.rendered.weight
        # The first event is message_start, then one weight per frame, then message_delta and message_stop.
        if events is not None and events - 1 <= len(weights):
            weight = weights[events - 2] if events > 1 else 0
        self.ledger.record(
            Bill(
                request_id=self.request_id,
                message_id=self.message_id,
                key=self.key,
                model=self.prompt.model,
                tier=self.tier,
                speed=self.prompt.speed,
                geo=self.prompt.geo,
                split=self.plan.split,
                output_tokens=tokens(weight, self.prompt.card.tokenizer),
                outcome=outcome,
            )
        )


class MessagesApi:
    def __init__(
        self, settings: SimulatorSettings, *, cache: PromptCache, ledger: Ledger, signer: Signer, clock: Clock
    ) -> None:
        self._settings = settings
        self._cache = cache
        self._ledger = ledger
        self._signer = signer
        self._clock = clock

    def create(self, request: Request, version: str) -> Answer:
        """The answer to POST /v1/messages.

        Raises:
            ApiError: the request breaks a rule of the API.

        """
        prompt = parse(decode(request.body), version=version, marked=_CACHE_WORD in request.body)
        conversation = Conversation(prompt)
        settled, scenario = self._settle(prompt, conversation, request.id, request.key, "standard")
        tempo = self._tempo(conversation)
        wait = self._settings.first_token_ms / 1000
        facts: dict[str, object] = {"model": prompt.model, "scenario": scenario, "stream": prompt.stream}
        if prompt.stream:
            return Stream(frames=_frames(settled), tempo=tempo, settlement=settled, wait=wait, facts=facts)
        writes = len(settled.rendered.frames) // max(1, tempo.group)
        body = msgspec.json.encode(_message(settled))
        return Payload(body=body, settlement=settled, wait=wait + writes * tempo.interval, facts=facts)

    def run(self, body: Json, *, version: str, request_id: str, key: str) -> Json:
        """One request of a batch: the finished message, billed at once at the batch tier.

        Raises:
            ApiError: the request breaks a rule of the API.

        """
        prompt = parse(body, version=version)
        settled, _ = self._settle(prompt, Conversation(prompt), request_id, key, "batch")
        settled.begin()
        settled.end(None, Outcome.COMPLETE)
        return _message(settled)

    def count(self, request: Request, version: str) -> Answer:
        """The answer to POST /v1/messages/count_tokens.

        Raises:
            ApiError: the request breaks a rule of the API.

        """
        prompt = parse(decode(request.body), version=version, counting=True, marked=_CACHE_WORD in request.body)
        rules.check(prompt, self._signer)
        return json_payload({"input_tokens": tokens(layout.total_weight(prompt), prompt.card.tokenizer)})

    def _settle(
        self, prompt: Prompt, conversation: Conversation, request_id: str, key: str, tier: str
    ) -> tuple[Settled, str]:
        rules.check(prompt, self._signer)
        plan = self._plan(prompt, key)
        rules.check_length(prompt, plan.split.total)
        reply = answer(conversation)
        settled = Settled(
            prompt=prompt,
            plan=plan,
            rendered=render(reply, prompt, self._signer),
            cache=self._cache,
            ledger=self._ledger,
            clock=self._clock,
            request_id=request_id,
            message_id=f"msg_01{secrets.token_hex(11)}",
            key=key,
            tier=tier,
        )
        return settled, reply.scenario

    def _plan(self, prompt: Prompt, key: str) -> Plan:
        card = prompt.card
        scope = (key, card.id, prompt.speed)
        if not prompt.marked:
            return Plan(Split(tokens(layout.total_weight(prompt), card.tokenizer)), scope, [], [])
        return self._cache.plan(
            scope,
            layout.blocks(prompt),
            tokenizer=card.tokenizer,
            minimum=card.min_cache_tokens,
            now=self._clock.now(),
        )

    def _tempo(self, conversation: Conversation) -> Tempo:
        settings = self._settings
        found = _PACE_TAG.search(conversation.ask)
        pace = float(found.group(1)) if found else settings.events_per_second
        group = max(1, settings.events_per_write)
        return Tempo(group / pace if pace > 0 else 0.0, group, settings.chunk_bytes, settings.ping_seconds)


def _usage(settled: Settled, output_tokens: int) -> Json:
    """The full usage of a message: with the 5m/1h split, tier, region and speed."""
    split = settled.plan.split
    usage: Json = {
        **_counts(split, output_tokens),
        "cache_creation": {
            "ephemeral_5m_input_tokens": split.write_5m,
            "ephemeral_1h_input_tokens": split.write_1h,
        },
        "service_tier": settled.tier,
        "inference_geo": settled.prompt.geo,
    }
    if "speed" in settled.prompt.body:
        usage["speed"] = settled.prompt.speed
    return usage


def _counts(split: Split, output_tokens: int) -> Json:
    return {
        "input_tokens": split.fresh,
        "cache_creation_input_tokens": split.write_5m + split.write_1h,
        "cache_read_input_tokens": split.read,
        "output_tokens": output_tokens,
    }


def _output(settled: Settled) -> tuple[int, Json]:
    """(output tokens, output_tokens_details or nothing)."""
    tokenizer = settled.prompt.card.tokenizer
    details: Json = {}
    if settled.prompt.thinking:
        thinking = tokens(settled.rendered.thinking_weight, tokenizer)
        details = {"output_tokens_details": {"thinking_tokens": thinking}}
    return tokens(settled.rendered.weight, tokenizer), details


def _skeleton(settled: Settled, content: list[dict[str, Any]]) -> Json:
    message: Json = {
        "model": settled.prompt.model,
        "id": settled.message_id,
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
    }
    if "diagnostics" in settled.prompt.body:
        message["diagnostics"] = None
    return message


def _ending(settled: Settled) -> Json:
    """stop_reason and the classifier verdicts on this answer's tool calls, when the request asked for them."""
    rendered = settled.rendered
    ending: Json = {"stop_reason": rendered.stop_reason, "stop_sequence": rendered.stop_sequence}
    if settled.prompt.body.get("safeguards"):
        verdicts = {name: {"type": "evaluated", "outcome": "not_flagged"} for name in rendered.tool_ids}
        status = {"type": "available", "tool_uses": verdicts}
        ending["safeguard_results"] = [{"type": "dangerous_tool_use", "status": status}]
    return ending


def _extra(settled: Settled) -> Json:
    if "context_management" in settled.prompt.body:
        return {"context_management": {"applied_edits": []}}
    return {}


def _message(settled: Settled) -> Json:
    output_tokens, details = _output(settled)
    return {
        **_skeleton(settled, settled.rendered.content),
        **_ending(settled),
        "usage": {**_usage(settled, output_tokens), **details},
        **_extra(settled),
    }


def _frames(settled: Settled) -> list[bytes]:
    output_tokens, details = _output(settled)
    first = {**_skeleton(settled, []), "usage": _usage(settled, min(1, output_tokens))}
    final = {**_counts(settled.plan.split, output_tokens), **details}
    return [
        wire.message_start(first),
        *settled.rendered.frames,
        wire.message_delta(_ending(settled), final, _extra(settled)),
        wire.MESSAGE_STOP,
    ]
