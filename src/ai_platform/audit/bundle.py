"""An export that proves itself: every covered leaf, every checkpoint, a signed manifest, the key, the verifier.

Travels as lines: a leaf is its own line, anything else is {"file": NAME, "text": TEXT}. Above: reader, cli.
"""

import importlib.resources
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.audit.keys import Keys
from ai_platform.audit.log import LEAVES_FROM
from ai_platform.audit.merkle import Frontier, leaf_hash
from ai_platform.audit.note import Checkpoint
from ai_platform.stores.postgres import SystemDatabase

LEAVES, CHECKPOINTS, MANIFEST, KEY, VERIFIER = (
    "leaves.jsonl",
    "checkpoints.jsonl",
    "manifest.note",
    "audit.pub",
    "verifier.py",
)
_CHUNK = 1000


async def bundle_lines(database: SystemDatabase, keys: Keys) -> AsyncIterator[bytes]:
    """Leaves after the newest checkpoint of their log are left out: nothing could vouch for them yet."""
    manifest = Frontier()
    yield _file(KEY, "".join(f"{key}\n" for key in keys.trusted))
    logs = await database.fetch("SELECT log, max(size) AS size FROM audit_checkpoint GROUP BY log ORDER BY log")
    for log in logs:
        after = -1
        while notes := await database.fetch(
            "SELECT size, note FROM audit_checkpoint WHERE log = $1 AND size > $2 AND size <= $3"
            " ORDER BY size LIMIT $4",
            log["log"],
            after,
            log["size"],
            _CHUNK,
        ):
            after = notes[-1]["size"]
            for row in notes:
                line = msgspec.json.encode({"note": row["note"]})
                manifest.append(leaf_hash(line))
                yield _file(CHECKPOINTS, line.decode() + "\n")
    yield _file(
        MANIFEST,
        keys.signer.sign(
            Checkpoint(f"{keys.signer.verifier.name}/audit/bundle", manifest.size, manifest.root()).text()
        ),
    )
    for log in logs:
        start = 0
        origin = await database.fetchval("SELECT origin FROM audit_log WHERE slot = $1", log["log"])
        while start < log["size"]:
            rows = await database.fetch(LEAVES_FROM, log["log"], start, min(_CHUNK, log["size"] - start))
            if not rows:
                break
            start = rows[-1][0] + 1
            yield b"".join(_leaf_line(row, origin or "") for row in rows if row[0] < log["size"])


def _leaf_line(row: Any, origin: str) -> bytes:
    index, leaf, hashed = row
    if leaf is not None:
        return leaf + b"\n"
    return msgspec.json.encode({"expired": {"hash": hashed.hex(), "index": index, "log": origin}}) + b"\n"


def _file(name: str, text: str) -> bytes:
    return msgspec.json.encode({"file": name, "text": text}) + b"\n"


class _Part(msgspec.Struct):
    file: str
    text: str


def unpack(lines: Iterable[str], folder: Path) -> int:
    """Write a bundle's folder, with the stand-alone verifier in it. Returns the number of leaves.

    Raises:
        FileExistsError: the folder holds a bundle already.
        OSError: it cannot be written.

    """
    folder.mkdir(parents=True, exist_ok=True)
    leaves = 0
    verifier = importlib.resources.files("ai_platform.audit").joinpath(VERIFIER).read_bytes()
    (folder / VERIFIER).write_bytes(verifier)
    with (folder / LEAVES).open("xb") as leaf_file, (folder / CHECKPOINTS).open("xb") as checkpoint_file:
        for line in lines:
            if not line.startswith('{"file":'):
                leaf_file.write(line.encode() + b"\n")
                leaves += 1
                continue
            part = msgspec.json.decode(line, type=_Part)
            if part.file == CHECKPOINTS:
                checkpoint_file.write(part.text.encode())
            elif part.file in {MANIFEST, KEY}:
                (folder / part.file).write_bytes(part.text.encode())
    return leaves
