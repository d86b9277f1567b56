"""Proves one event: its leaf, the hashes beside its way to the root, and the signed checkpoint of that root.

Above: reader. Below: merkle, note, stores.
"""

import base64
from typing import Any

from ai_platform.audit.keys import Keys
from ai_platform.audit.merkle import BLOCK, Range, inclusion_ranges, inclusion_root, leaf_hash, tree_hash
from ai_platform.audit.note import NoteError, open_checkpoint
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import AuditUnavailable, InvalidCall, NotFound
from ai_platform.stores.postgres import SystemDatabase

FORMAT = "ai-platform audit proof v1"


async def prove(database: SystemDatabase, keys: Keys, event_id: str, checkpoint_seconds: float) -> dict[str, Any]:
    """See `AuditReader.proof`. Reads at most 512 leaves and one hash for each further 256."""
    row = await database.fetchrow("SELECT log, index, leaf FROM audit_leaf WHERE event_id = $1 LIMIT 1", event_id)
    if row is None or row["leaf"] is None:
        raise NotFound(f"There is no audit event {event_id}. Find its id with audit search.")
    note = await database.fetchval(
        "SELECT note FROM audit_checkpoint WHERE log = $1 AND size > $2 ORDER BY size DESC LIMIT 1",
        row["log"],
        row["index"],
    )
    if note is None:
        raise InvalidCall(
            Refusal.INVALID_REQUEST,
            f"No checkpoint covers {event_id} yet: one is signed within {checkpoint_seconds:g} s. Ask again then.",
        )
    try:
        checkpoint = open_checkpoint(note, keys.trusted)
    except NoteError as error:
        raise _broken(event_id, str(error)) from error
    tree = await _Hashes.read(database, row["log"], row["index"], checkpoint.size)
    path = [tree.of(part) for part in inclusion_ranges(row["index"], checkpoint.size)]
    if inclusion_root(leaf_hash(row["leaf"]), row["index"], checkpoint.size, path) != checkpoint.root:
        raise _broken(event_id, "the stored leaves do not lead to the signed root")
    return {
        "format": FORMAT,
        "event_id": event_id,
        "log": checkpoint.origin,
        "index": row["index"],
        "leaf": row["leaf"].decode(),
        "path": [base64.b64encode(node).decode() for node in path],
        "checkpoint": note,
    }


class _Hashes:
    """What a proof needs: the leaf hashes of the event's own block and of the last, partial one, and block hashes."""

    def __init__(self, leaves: dict[int, bytes], blocks: list[bytes], size: int) -> None:
        self._leaves = leaves
        self._blocks = blocks
        self._size = size

    @classmethod
    async def read(cls, database: SystemDatabase, log: int, index: int, size: int) -> "_Hashes":
        own, last = index // BLOCK * BLOCK, size // BLOCK * BLOCK
        rows = await database.fetch(
            "SELECT index, leaf, leaf_hash FROM audit_leaf WHERE log = $1 AND index < $4"
            " AND (index >= $2 AND index < $2 + $5 OR index >= $3)",
            log,
            own,
            last,
            size,
            BLOCK,
        )
        leaves = {row[0]: row[2] if row[1] is None else leaf_hash(row[1]) for row in rows}
        blocks = await database.fetch(
            "SELECT hash FROM audit_block WHERE log = $1 AND block < $2 ORDER BY block", log, size // BLOCK
        )
        return cls(leaves, [row[0] for row in blocks], size)

    def of(self, part: Range) -> bytes:
        """The hash over a range; one of 256 leaves or more starts at a block and ends at one or at the tree's end."""
        low, high = part
        if high - low < BLOCK:
            return tree_hash(self._leaves.get(index, b"") for index in range(low, high))
        nodes = self._blocks[low // BLOCK : high // BLOCK]
        if high % BLOCK:
            nodes = [*nodes, self.of((high // BLOCK * BLOCK, high))]
        return tree_hash(nodes)


def _broken(event_id: str, why: str) -> AuditUnavailable:
    return AuditUnavailable(f"{event_id} cannot be proven: {why}. Run `ai-platform audit verify`.")
