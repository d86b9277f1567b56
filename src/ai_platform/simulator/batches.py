"""POST /v1/messages/batches and what follows from it, in memory. A batch ends `batch_seconds` after its creation.

Its requests run when somebody looks after that moment (a batch that nobody asks for costs nothing); cancelled ones
never run and are not billed.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.simulator.answers import Answer, Payload, json_payload
from ai_platform.simulator.asgi import Request
from ai_platform.simulator.errors import ApiError, invalid, not_found
from ai_platform.simulator.messages import MessagesApi
from ai_platform.simulator.models import page
from ai_platform.simulator.prompt import Json, decode

_DAY = 86_400
_MAX_REQUESTS = 100_000
_MAX_BATCHES = 1_000


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Batch:
    def __init__(self, request: Request, requests: list[Json], version: str, now: float) -> None:
        self.id = f"msgbatch_01{secrets.token_hex(11)}"
        self.key = request.key
        self.host = (request.header(b"host") or b"127.0.0.1").decode("latin-1")
        self.version = version
        self.requests = requests
        self.created = now
        self.cancelled: float | None = None
        self.ended: float | None = None
        self.results: list[Json] = []

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        if self.ended is None:
            counts["processing"] = len(self.requests)
        for line in self.results:
            counts[line["result"]["type"]] += 1
        return counts

    def info(self) -> Json:
        status = "ended" if self.ended is not None else "canceling" if self.cancelled is not None else "in_progress"
        results = f"http://{self.host}/v1/messages/batches/{self.id}/results"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": self.counts(),
            "created_at": rfc3339(self.created),
            "expires_at": rfc3339(self.created + _DAY),
            "ended_at": rfc3339(self.ended) if self.ended is not None else None,
            "cancel_initiated_at": rfc3339(self.cancelled) if self.cancelled is not None else None,
            "archived_at": None,
            "results_url": results if self.ended is not None else None,
        }


class BatchesApi:
    def __init__(self, messages: MessagesApi, *, seconds: float, clock: Clock) -> None:
        self._messages = messages
        self._seconds = seconds
        self._clock = clock
        self._batches: OrderedDict[str, _Batch] = OrderedDict()

    def create(self, request: Request, version: str) -> Answer:
        """Raises ApiError 400: no requests, too many, or a custom_id that is missing or repeated."""
        requests = decode(request.body).get("requests")
        if not isinstance(requests, list) or not requests:
            raise invalid("requests: Field required")
        if len(requests) > _MAX_REQUESTS:
            raise invalid(f"requests: List should have at most {_MAX_REQUESTS} items")
        seen: set[str] = set()
        for index, item in enumerate(requests):
            if not isinstance(item, dict) or not isinstance(item.get("params"), dict):
                raise invalid(f"requests.{index}.params: Field required")
            custom_id = item.get("custom_id")
            if not isinstance(custom_id, str) or not custom_id:
                raise invalid(f"requests.{index}.custom_id: Field required")
            if custom_id in seen:
                raise invalid(f"requests.{index}.custom_id: custom_id must be unique within a batch")
            seen.add(custom_id)
        batch = _Batch(request, requests, version, self._clock.now())
        self._batches[batch.id] = batch
        while len(self._batches) > _MAX_BATCHES:
            self._batches.popitem(last=False)
        return json_payload(batch.info())

    def listing(self, request: Request, query: Mapping[str, str]) -> Answer:
        self.settle()
        found = [batch.info() for batch in reversed(self._batches.values()) if batch.key == request.key]
        return json_payload(page(found, query))

    def one(self, request: Request, identifier: str) -> Answer:
        return json_payload(self._find(request, identifier).info())

    def cancel(self, request: Request, identifier: str) -> Answer:
        batch = self._find(request, identifier)
        if batch.ended is not None:
            raise invalid(f"Batch {batch.id} has already ended and cannot be canceled")
        batch.cancelled = self._clock.now()
        return json_payload(batch.info())

    def delete(self, request: Request, identifier: str) -> Answer:
        batch = self._find(request, identifier)
        if batch.ended is None:
            raise invalid(f"Batch {batch.id} cannot be deleted while it is being processed")
        del self._batches[batch.id]
        return json_payload({"id": batch.id, "type": "message_batch_deleted"})

    def results(self, request: Request, identifier: str) -> Answer:
        """The results as JSON lines."""
        batch = self._find(request, identifier)
        if batch.ended is None:
            raise not_found(f"Batch {batch.id} has no results yet")
        body = b"".join(msgspec.json.encode(line) + b"\n" for line in batch.results)
        return Payload(body=body, content_type=b"application/x-jsonl")

    def settle(self) -> None:
        """Run every batch whose time has come."""
        now = self._clock.now()
        for batch in self._batches.values():
            if batch.ended is None and now >= batch.created + self._seconds:
                self._run(batch, now)

    def clear(self) -> None:
        self._batches.clear()

    def _find(self, request: Request, identifier: str) -> _Batch:
        self.settle()
        batch = self._batches.get(identifier)
        if batch is None or batch.key != request.key:
            raise not_found(f"Message batch {identifier} not found")
        return batch

    def _run(self, batch: _Batch, now: float) -> None:
        run: Callable[[_Batch, Json], Json] = self._result
        if batch.cancelled is not None:
            run = _cancelled
        batch.results = [{"custom_id": item["custom_id"], "result": run(batch, item)} for item in batch.requests]
        batch.ended = now

    def _result(self, batch: _Batch, item: Json) -> dict[str, Any]:
        request_id = f"{batch.id}:{item['custom_id']}"
        try:
            message = self._messages.run(item["params"], version=batch.version, request_id=request_id, key=batch.key)
        except ApiError as error:
            described = {"type": error.kind, "message": error.message}
            return {"type": "errored", "error": {"type": "error", "error": described, "request_id": None}}
        return {"type": "succeeded", "message": message}


def _cancelled(batch: _Batch, item: Json) -> dict[str, Any]:
    del batch, item
    return {"type": "canceled"}
