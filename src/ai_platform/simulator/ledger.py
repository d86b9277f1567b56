"""What was billed: the truth that a meter on the other side must agree with.

Totals per key, model, tier, speed and region, and a bounded list of single calls. Keys appear as labels (`key_label`).
"""

import hashlib
from collections import deque
from enum import StrEnum
from typing import Any

import msgspec

from ai_platform.simulator.cache import Split


def key_label(key: str) -> str:
    """The first 16 hex digits of the key's SHA-256: names a key without showing it."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


class Outcome(StrEnum):
    """How a billed answer ended. cut_by_client: the usage up to the last event written; cut_by_fault: the same."""

    COMPLETE = "complete"
    CUT_BY_CLIENT = "cut_by_client"
    CUT_BY_FAULT = "cut_by_fault"


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. prompt_tokens decides the price tier of models that have one."""

    request_id: str
    message_id: str
    key: str
    model: str
    tier: str
    speed: str
    geo: str
    split: Split
    output_tokens: int
    outcome: Outcome

    def line(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "message_id": self.message_id,
            "key": self.key,
            "model": self.model,
            "service_tier": self.tier,
            "speed": self.speed,
            "inference_geo": self.geo,
            "outcome": self.outcome.value,
            **_counts(self),
        }


def _counts(bill: Bill) -> dict[str, int]:
    split = bill.split
    return {
        "input_tokens": split.fresh,
        "cache_read_input_tokens": split.read,
        "cache_creation_5m_input_tokens": split.write_5m,
        "cache_creation_1h_input_tokens": split.write_1h,
        "output_tokens": bill.output_tokens,
    }


class Ledger:
    """capacity: single bills kept; the totals are never dropped."""

    def __init__(self, capacity: int) -> None:
        self._bills: deque[Bill] = deque(maxlen=capacity)
        self._totals: dict[tuple[str, ...], dict[str, int]] = {}

    def record(self, bill: Bill) -> None:
        self._bills.append(bill)
        total = self._totals.setdefault((bill.key, bill.model, bill.tier, bill.speed, bill.geo), {})
        for name, count in _counts(bill).items():
            total[name] = total.get(name, 0) + count
        for name in ("requests", bill.outcome.value):
            total[name] = total.get(name, 0) + 1

    def totals(self) -> list[dict[str, Any]]:
        names = ("key", "model", "service_tier", "speed", "inference_geo")
        return [{**dict(zip(names, key, strict=True)), **total} for key, total in sorted(self._totals.items())]

    def bills(self) -> list[dict[str, Any]]:
        return [bill.line() for bill in self._bills]

    def clear(self) -> None:
        self._bills.clear()
        self._totals.clear()
