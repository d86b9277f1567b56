"""Checks an audit export with nothing but the public key: one file, Python's standard library, no network.

    python verifier.py BUNDLE_FOLDER|leaves.jsonl|proof.json --key audit.pub [--checkpoint NOTE]... [--json]

Written apart from the platform's own verification, from the format in docs/audit.md, so that the two check each other.
Exit status: 0 intact, 1 tampered or damaged, 2 wrong use.
"""

import argparse
import base64
import binascii
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

# Ed25519 signatures (RFC 8032 section 5.1): verification only ---------------------------------------------------------
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]  # extended homogeneous coordinates: x = X/Z, y = Y/Z, xy = T/Z
NEUTRAL: Point = (0, 1, 1, 0)


def add(a: Point, b: Point) -> Point:
    left = (a[1] - a[0]) * (b[1] - b[0]) % P
    right = (a[1] + a[0]) * (b[1] + b[0]) % P
    cross = 2 * a[3] * b[3] * D % P
    scale = 2 * a[2] * b[2] % P
    e, f, g, h = right - left, scale - cross, scale + cross, right + left
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def double(a: Point) -> Point:
    xx, yy, zz = a[0] * a[0] % P, a[1] * a[1] % P, 2 * a[2] * a[2] % P
    h = xx + yy
    e = h - (a[0] + a[1]) * (a[0] + a[1]) % P
    g = xx - yy
    f = zz + g
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def decode(data: bytes) -> Point | None:
    """The point that 32 bytes stand for; None when they stand for none (also when y is not reduced)."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * SQRT_M1 % P
    if x * x % P != square or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little")) or NEUTRAL


@lru_cache(maxsize=65536)
def good_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether [s]B = R + [k]A, compared in encoded form as common libraries do."""
    key = decode(public)
    if key is None or len(signature) != 64:
        return False
    s = int.from_bytes(signature[32:], "little")
    if s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    minus = (P - key[0], key[1], key[2], P - key[3])
    both = add(BASE, minus)
    total = NEUTRAL
    for bit in range(max(s.bit_length(), k.bit_length()) - 1, -1, -1):
        total = double(total)
        pair = (s >> bit & 1) | (k >> bit & 1) << 1
        if pair:
            total = add(total, (BASE, minus, both)[pair - 1])
    inverse = pow(total[2], -1, P)
    x, y = total[0] * inverse % P, total[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


# Signed notes and checkpoints (c2sp.org/signed-note, c2sp.org/tlog-checkpoint) ----------------------------------------
Keys = dict[tuple[str, bytes], bytes]  # (name, key id) -> public key


class Tampered(Exception):
    """Something is not what was signed; the text says what."""


def exact_base64(text: str) -> bytes:
    """One spelling only: base64 has unused bits that would let a byte change without changing the value."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Tampered("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Tampered("not canonical base64")
    return data


def read_keys(text: str) -> Keys:
    """`audit.pub`: lines of NAME+hex id+base64(0x01 || key)."""
    keys: Keys = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition("+")
        data = exact_base64(rest.partition("+")[2])
        identifier = hashlib.sha256(name.encode() + b"\n" + data).digest()[:4]
        if data[:1] != b"\x01" or len(data) != 33 or identifier.hex() != rest.partition("+")[0]:
            raise Tampered(f"{line!r} is no Ed25519 key of the form NAME+ID+KEY")
        keys[name, identifier] = data[1:]
    return keys


def open_note(note: str, keys: Keys) -> str:
    """The text of a note that a known key signed."""
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise Tampered("a note has no signature")
    text += "\n"
    signed: set[bytes] = set()
    for line in lines[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        signature = exact_base64(encoded)
        if dash != "\N{EM DASH}" or len(signature) < 5:
            raise Tampered("a signature line is malformed")
        public = keys.get((name, signature[:4]))
        if public is None:
            continue  # a witness's signature, which says nothing to who does not know the witness
        if public in signed or not good_signature(public, text.encode(), signature[4:]):
            raise Tampered(f"a signature of {name} is forged, or repeated")
        signed.add(public)
    if not signed:
        raise Tampered("a note is not signed by the given key")
    return text


def open_checkpoint(note: str, keys: Keys) -> tuple[str, int, bytes]:
    """origin, size, root."""
    lines = open_note(note, keys).split("\n")
    if len(lines) < 4 or not lines[1].isdecimal() or not lines[1].isascii() or str(int(lines[1])) != lines[1]:
        raise Tampered("a signed note is no checkpoint")
    root = exact_base64(lines[2])
    if len(root) != 32:
        raise Tampered("a checkpoint's root is no SHA-256 hash")
    return lines[0], int(lines[1]), root


# Merkle trees (RFC 9162 section 2.1) ----------------------------------------------------------------------------------


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """size, and the hashes of the complete subtrees from left to right."""

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[bytes] = []

    def add(self, node: bytes) -> None:
        carry = self.size
        while carry & 1:
            node = node_hash(self.peaks.pop(), node)
            carry >>= 1
        self.peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return hashlib.sha256().digest()
        head = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            head = node_hash(peak, head)
        return head


def root_by_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.3.2."""
    if not 0 <= index < size:
        raise Tampered("the index is outside the tree")
    position, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise Tampered("the inclusion path is too long")
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise Tampered("the inclusion path is too short")
    return node


# A bundle: leaves.jsonl, checkpoints.jsonl, manifest.note -------------------------------------------------------------
INTENTS = {"claude_chat_request", "mcp_tool_call"}
OUTCOMES = {"claude_chat_response", "mcp_tool_result"}


class Bundle:
    """Feed checkpoints, then leaves; `problems` says what is wrong, `open_calls` which intents have no outcome."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.problems: list[str] = []
        self.trees: dict[str, Tree] = {}
        self.heads: dict[str, dict[int, bytes]] = {}
        self.expired: list[tuple[str, int]] = []
        self.allowed: list[tuple[str, int, int]] = []
        self.witnessed: list[tuple[str, int, str]] = []
        self.open_calls: set[str] = set()
        self._early: set[str] = set()
        self.first_at, self.last_at = "", ""

    def checkpoints(self, lines: Iterable[bytes], manifest: str) -> None:
        tree = Tree()
        for number, line in enumerate(lines, 1):
            data = line.removesuffix(b"\n")
            tree.add(leaf_hash(data))
            try:
                self.checkpoint(str(json.loads(data)["note"]))
            except (Tampered, ValueError, KeyError, TypeError) as error:
                self.problems.append(f"checkpoint line {number}: {error or 'malformed'}")
        try:
            origin, size, root = open_checkpoint(manifest, self.keys)
            if not origin.endswith("/audit/bundle") or (size, root) != (tree.size, tree.root()):
                raise Tampered("the list of checkpoints is not the one that was exported")
        except Tampered as error:
            self.problems.append(f"manifest: {error}")

    def checkpoint(self, note: str) -> None:
        origin, size, root = open_checkpoint(note, self.keys)
        if self.heads.setdefault(origin, {}).setdefault(size, root) != root:
            raise Tampered(f"{origin} has two signed roots at size {size}: a split view")

    def leaves(self, lines: Iterable[bytes]) -> None:
        for number, line in enumerate(lines, 1):
            try:
                if not line.endswith(b"\n"):
                    raise Tampered("cut off")
                self._leaf(line[:-1])
            except (Tampered, ValueError, KeyError, TypeError) as error:
                self.problems.append(f"leaf line {number}: {error or 'malformed'}")

    def _leaf(self, data: bytes) -> None:
        event = json.loads(data)
        kept = event.get("expired")
        log, index = (kept or event)["log"], (kept or event)["index"]
        tree = self.trees.setdefault(log, Tree())
        if index != tree.size:
            expected, tree.size = tree.size, -1  # nothing after a gap can fit: one message, not thousands
            if expected >= 0:
                raise Tampered(f"leaf {index} of {log} stands where leaf {expected} belongs")
            return
        if kept:
            tree.add(bytes.fromhex(kept["hash"]))
            self.expired.append((log, index))
        else:
            tree.add(leaf_hash(data))
            self._note(event)
        root = self.heads.get(log, {}).get(tree.size)
        if root is not None and root != tree.root():
            raise Tampered(f"leaves of {log} before {tree.size} are not those that were signed")

    def _note(self, event: dict[str, Any]) -> None:
        self.first_at = min(self.first_at or event["at"], event["at"])
        self.last_at = max(self.last_at, event["at"])
        kind, call, facts = event["event_type"], event["call_id"], event["facts"]
        if kind in INTENTS:
            (self._early.discard if call in self._early else self.open_calls.add)(call)
        elif kind in OUTCOMES:
            (self.open_calls.discard if call in self.open_calls else self._early.add)(call)
        elif kind == "platform" and facts.get("action") == "audit_leaves_expired":
            self.allowed.append((facts["log"], facts["first"], facts["last"]))
        elif kind == "platform" and facts.get("action") == "audit_log_opened":
            self.witnessed += [(head["log"], head["size"], head["root"]) for head in facts["logs"]]

    def finish(self) -> None:
        """Whatever was signed must be there, and nothing else may be."""
        for log in sorted(self.trees.keys() | self.heads.keys()):
            size = self.trees.get(log, Tree()).size
            newest = max(self.heads.get(log, {0: b""}))
            if 0 <= size < newest:
                self.problems.append(f"{log} ends at {size} leaves, but a checkpoint covers {newest}: cut short")
            elif size > newest:
                self.problems.append(f"{log}: {size - newest} leaves at the end are covered by no checkpoint")
        for log, size, root in self.witnessed:
            if size and self.heads.get(log, {}).get(size, b"").hex() != root:
                self.problems.append(f"another log witnessed {log} at {size} leaves with a head that is not here")
        for log, index in self.expired:
            if not any(log == name and first <= index <= last for name, first, last in self.allowed):
                self.problems.append(f"leaf {index} of {log} is withheld without a record of its expiry")

    def report(self) -> dict[str, Any]:
        return {
            "intact": not self.problems,
            "events": sum(max(tree.size, 0) for tree in self.trees.values()),
            "logs": len(self.trees),
            "checkpoints": sum(map(len, self.heads.values())),
            "first_at": self.first_at,
            "last_at": self.last_at,
            "expired": len(self.expired),
            "open_calls": len(self.open_calls),
            "problems": self.problems[:100],
            "problem_count": len(self.problems),
        }


def verify_bundle(folder: Path, keys: Keys, pinned: Iterable[str] = (), leaves: str = "leaves.jsonl") -> dict[str, Any]:
    """pinned: checkpoints kept elsewhere, which the bundle must contain as a prefix or whole."""
    bundle = Bundle(keys)
    try:
        manifest = (folder / "manifest.note").read_bytes().decode()
        with (folder / "checkpoints.jsonl").open("rb") as file:
            bundle.checkpoints(file, manifest)
        for note in pinned:
            bundle.checkpoint(note)
        with (folder / leaves).open("rb") as file:
            bundle.leaves(file)
    except (OSError, UnicodeDecodeError, Tampered) as error:
        bundle.problems.append(str(error))
    bundle.finish()
    return bundle.report()


def verify_proof(proof: dict[str, Any], keys: Keys) -> dict[str, Any]:
    """One event, its path, and the signed checkpoint it leads to."""
    problems: list[str] = []
    leaf: dict[str, Any] = {}
    try:
        data = str(proof["leaf"]).encode()
        leaf = json.loads(data)
        origin, size, root = open_checkpoint(str(proof["checkpoint"]), keys)
        stated = (proof["index"], proof["log"], proof["event_id"])
        if stated != (leaf["index"], leaf["log"], leaf["event_id"]) or leaf["log"] != origin:
            raise Tampered("index, log or event id are not those of the leaf and of the checkpoint")
        path = [exact_base64(step) for step in proof["path"]]
        if root_by_path(leaf_hash(data), leaf["index"], size, path) != root:
            raise Tampered("the leaf does not lead to the signed root")
    except (Tampered, ValueError, KeyError, TypeError) as error:
        problems.append(str(error) or "malformed")
    return {"intact": not problems, "events": 1, "event": leaf if not problems else None, "problems": problems}


def verify_path(path: Path, keys: Keys, pinned: Iterable[str] = ()) -> dict[str, Any]:
    """A bundle folder, the leaves file of one, or a proof file. Raises OSError and ValueError for anything else."""
    if path.is_dir():
        return verify_bundle(path, keys, pinned)
    with path.open("rb") as file:
        head = file.read(1 << 20)
    if b'"checkpoint"' in head and b'"path"' in head:
        return verify_proof(json.loads(path.read_bytes()), keys)
    return verify_bundle(path.parent, keys, pinned, path.name)


def told(report: dict[str, Any]) -> Iterator[str]:
    yield "INTACT" if report["intact"] else "TAMPERED"
    yield from (f"  {name}: {value}" for name, value in report.items() if name not in {"intact", "problems"} and value)
    yield from (f"  ! {problem}" for problem in report["problems"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify an audit export or a proof of one event.")
    parser.add_argument("path", type=Path, help="folder of a bundle, its leaves.jsonl, or a proof file")
    parser.add_argument("--key", type=Path, required=True, help="audit.pub, from a place you trust")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="a checkpoint kept elsewhere")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    try:
        keys = read_keys(chosen.key.read_text(encoding="utf-8"))
        pinned = [note.read_bytes().decode() for note in chosen.checkpoint]
        report = verify_path(chosen.path, keys, pinned)
    except (OSError, ValueError, Tampered) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    text = json.dumps(report, indent=2) if chosen.json else "\n".join(told(report))
    sys.stdout.write(text + "\n")
    return 0 if report["intact"] else 1


if __name__ == "__main__":
    sys.exit(main())
