"""What the audit suites share: events, a signer, and logs and bundles made in memory."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.audit.bundle import CHECKPOINTS, KEY, LEAVES, MANIFEST
from ai_platform.audit.leaf import Draft, Retention
from ai_platform.audit.merkle import Frontier, leaf_hash
from ai_platform.audit.note import Checkpoint, Signer
from ai_platform.domain.event import Event, EventType
from ai_platform.domain.identifiers import new_id

NOON = 1_795_348_800.0
"""2026-11-22T12:00:00Z, where FakeClock starts."""

PERSONAL = {"user_email": "ann.archer@example.com", "user_name": "Ann Archer", "ip_address": "203.0.113.77"}


def event(
    kind: EventType = EventType.CHAT_REQUEST,
    *,
    call_id: str = "call_1",
    at: float = NOON,
    subject: str | None = "person_1",
    personal: dict[str, Any] | None = None,
    **facts: Any,
) -> Event:
    return Event(
        id=new_id("evt", at), type=kind, at=at, call_id=call_id, subject=subject, personal=personal or {}, facts=facts
    )


def signer(name: str = "test-platform", seed: bytes = bytes(range(32))) -> Signer:
    return Signer(name, seed)


def leaf(index: int, origin: str, kind: EventType = EventType.CHAT_RESPONSE, **facts: Any) -> bytes:
    made = event(kind, call_id=f"call_{index}", at=NOON + index, number=index, **facts)
    return Draft(made, Retention.of(365), "ab" * 16, None).at_place(index, origin.encode())


class MemoryLog:
    """A log with checkpoints at the given sizes."""

    def __init__(self, origin: str, leaves: Sequence[bytes], sizes: Sequence[int], by: Signer) -> None:
        self.origin = origin
        self.leaves = list(leaves)
        self.notes: list[str] = []
        frontier = Frontier()
        for data in self.leaves:
            frontier.append(leaf_hash(data))
            if frontier.size in sizes:
                self.notes.append(by.sign(Checkpoint(origin, frontier.size, frontier.root()).text()))


def memory_log(slot: int, count: int, every: int, by: Signer, make: Callable[..., bytes] = leaf) -> MemoryLog:
    origin = f"{by.verifier.name}/audit/{slot}"
    sizes = [*range(every, count, every), count]
    return MemoryLog(origin, [make(index, origin) for index in range(count)], sizes, by)


def write_bundle(folder: Path, logs: Sequence[MemoryLog], by: Signer) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    notes = [msgspec.json.encode({"note": note}) for log in logs for note in log.notes]
    manifest = Frontier()
    for line in notes:
        manifest.append(leaf_hash(line))
    head = Checkpoint(f"{by.verifier.name}/audit/bundle", manifest.size, manifest.root())
    (folder / LEAVES).write_bytes(b"".join(data + b"\n" for log in logs for data in log.leaves))
    (folder / CHECKPOINTS).write_bytes(b"".join(line + b"\n" for line in notes))
    (folder / MANIFEST).write_text(by.sign(head.text()), encoding="utf-8")
    (folder / KEY).write_text(f"{by.verifier}\n", encoding="utf-8")


def tamper_lines(lines: list[bytes], dice: random.Random) -> tuple[str, list[bytes]]:
    """One random change to a list of lines, and its name. The result always differs from the original."""
    at = dice.randrange(len(lines))
    kind = dice.choice(("flip", "delete", "swap", "repeat", "cut", "insert", "edit", "drop byte"))
    changed = list(lines)
    if kind == "flip":
        changed[at] = _flipped(lines[at], dice)
    elif kind == "delete":
        del changed[at]
    elif kind == "swap":
        other = (at + dice.randrange(1, len(lines))) % len(lines) if len(lines) > 1 else at
        changed[at], changed[other] = changed[other], changed[at]
    elif kind == "repeat":
        changed.insert(dice.randrange(len(lines) + 1), lines[at])
    elif kind == "cut":
        del changed[at:]
    elif kind == "insert":
        changed.insert(at, _flipped(lines[dice.randrange(len(lines))], dice))
    elif kind == "edit":
        changed[at] = lines[at].replace(b"2026", b"2025", 1).replace(b'"note"', b'"noTe"', 1)
    else:
        spot = dice.randrange(len(lines[at]))
        changed[at] = lines[at][:spot] + lines[at][spot + 1 :]
    if changed == lines:
        return tamper_lines(lines, dice)
    return kind, changed


def _flipped(line: bytes, dice: random.Random) -> bytes:
    spot = dice.randrange(len(line))
    return line[:spot] + bytes([line[spot] ^ 1 << dice.randrange(8)]) + line[spot + 1 :]
