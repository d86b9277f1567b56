import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from audit_kit import MemoryLog, leaf, memory_log, signer, tamper_lines, write_bundle
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_platform.audit import verifier
from ai_platform.audit.bundle import CHECKPOINTS, LEAVES, MANIFEST
from ai_platform.audit.merkle import inclusion_ranges, leaf_hash, tree_hash
from ai_platform.domain.event import EventType

# RFC 8032 section 7.1: public key, message, signature.
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
            "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]
BY = signer()
KEYS = verifier.read_keys(f"{BY.verifier}\n")


@pytest.mark.requirement("AU-3")
@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_the_verifier_accepts_the_signatures_of_the_standard(public: str, message: str, signature: str) -> None:
    assert verifier.good_signature(*map(bytes.fromhex, (public, message, signature)))
    assert not verifier.good_signature(*map(bytes.fromhex, (public, message + "00", signature)))


@settings(max_examples=60)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=40), st.integers(0, 511), st.integers(0, 255))
def test_the_verifier_agrees_with_openssl_on_genuine_and_changed_signatures(
    seed: bytes, message: bytes, bit: int, key_bit: int
) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    signature = private.sign(message)
    assert verifier.good_signature(public, message, signature)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    other = bytearray(public)
    other[key_bit // 8] ^= 1 << key_bit % 8
    for key, signed in ((public, bytes(changed)), (bytes(other), signature)):
        assert verifier.good_signature(key, message, signed) == openssl_accepts(key, message, signed)


def openssl_accepts(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_a_signature_with_a_scalar_beyond_the_group_order_is_refused() -> None:
    public, message, signature = (bytes.fromhex(text) for text in RFC_8032[1])
    scalar = int.from_bytes(signature[32:], "little") + verifier.ORDER
    assert not verifier.good_signature(public, message, signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.requirement("AU-3")
@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=4), st.integers(1, 40))
def test_an_untouched_bundle_is_never_called_tampered(sizes: list[int], every: int) -> None:
    report = checked([memory_log(slot, count, every, BY) for slot, count in enumerate(sizes)])
    assert report["intact"], report["problems"]
    assert report["events"] == sum(sizes)
    assert report["logs"] == len(sizes)


def checked(logs: list[MemoryLog]) -> dict[str, Any]:
    """The verdict on logs without writing files: the manifest is not looked at."""
    bundle = verifier.Bundle(KEYS)
    for log in logs:
        for note in log.notes:
            bundle.checkpoint(note)
    bundle.leaves(data + b"\n" for log in logs for data in log.leaves)
    bundle.finish()
    return bundle.report()


@pytest.mark.requirement("AU-3")
@pytest.mark.parametrize("name", [LEAVES, CHECKPOINTS, MANIFEST])
def test_no_tampering_with_a_bundle_goes_unnoticed(name: str, tmp_path: Path) -> None:
    """Thousands of random edits, deletions, reorderings, repetitions and truncations; none may pass."""
    dice = random.Random(20261122)
    write_bundle(tmp_path, [memory_log(0, 90, 20, BY), memory_log(1, 40, 16, BY)], BY)
    lines = (tmp_path / name).read_bytes().splitlines(keepends=True)
    assert verifier.verify_path(tmp_path, KEYS)["intact"]
    missed: list[str] = []
    for _ in range(1000):
        kind, changed = tamper_lines(lines, dice)
        (tmp_path / name).write_bytes(b"".join(changed))
        if verifier.verify_path(tmp_path, KEYS)["intact"]:
            missed.append(kind)
    assert missed == []


@pytest.mark.requirement("AU-3")
def test_no_tampering_with_the_proof_of_one_event_goes_unnoticed() -> None:
    dice = random.Random(7)
    log = memory_log(0, 300, 300, BY)
    proof = proof_of(log, 123)
    assert verifier.verify_proof(proof, KEYS)["intact"]
    assert len(json.dumps(proof)) <= 2048
    for _ in range(1500):
        changed = tampered_proof(proof, dice)
        if changed != proof:
            assert not verifier.verify_proof(changed, KEYS)["intact"], changed


def proof_of(log: MemoryLog, index: int) -> dict[str, Any]:
    nodes = [leaf_hash(data) for data in log.leaves]
    path = [tree_hash(nodes[low:high]) for low, high in inclusion_ranges(index, len(nodes))]
    data = log.leaves[index].decode()
    return {
        "event_id": json.loads(data)["event_id"],
        "log": log.origin,
        "index": index,
        "leaf": data,
        "path": [verifier.base64.b64encode(node).decode() for node in path],
        "checkpoint": log.notes[-1],
    }


def tampered_proof(proof: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    name = dice.choice(list(proof))
    value = proof[name]
    if isinstance(value, int):
        return proof | {name: value + dice.choice((-1, 1, 128))}
    if isinstance(value, list):
        at = dice.randrange(len(value))
        options = (
            [*value[:at], *value[at + 1 :]],
            [*value, value[at]],
            [*value[:at], flipped(value[at], dice), *value[at + 1 :]],
        )
        return proof | {name: dice.choice(options)}
    return proof | {name: flipped(value, dice)}


def flipped(text: str, dice: random.Random) -> str:
    at = dice.randrange(len(text))
    return text[:at] + chr(ord(text[at]) ^ 1 << dice.randrange(7)) + text[at + 1 :]


@pytest.mark.requirement("AU-3")
def test_a_log_that_was_rewritten_and_signed_by_someone_else_is_refused(tmp_path: Path) -> None:
    forger = signer(seed=bytes(32))
    write_bundle(tmp_path, [memory_log(0, 20, 10, forger)], forger)
    assert verifier.verify_path(tmp_path, verifier.read_keys(str(forger.verifier)))["intact"]
    assert not verifier.verify_path(tmp_path, KEYS)["intact"]


@pytest.mark.requirement("AU-3")
def test_two_signed_roots_for_one_size_are_a_split_view(tmp_path: Path) -> None:
    other = memory_log(0, 20, 20, BY, lambda index, origin: leaf(index, origin, told="otherwise"))
    log = memory_log(0, 20, 20, BY)
    write_bundle(tmp_path, [MemoryLog(log.origin, log.leaves, [20], BY), MemoryLog(log.origin, [], [], BY)], BY)
    pinned = other.notes
    report = verifier.verify_path(tmp_path, KEYS, pinned)
    assert any("split view" in problem for problem in report["problems"])


@pytest.mark.requirement("AU-3")
def test_an_older_export_is_seen_through_when_a_newer_checkpoint_was_kept(tmp_path: Path) -> None:
    write_bundle(tmp_path, [memory_log(0, 20, 10, BY)], BY)
    newer = memory_log(0, 30, 10, BY).notes[-1]
    report = verifier.verify_path(tmp_path, KEYS, [newer])
    assert any("cut short" in problem for problem in report["problems"])


def test_a_log_that_another_one_witnessed_cannot_disappear() -> None:
    first = memory_log(0, 20, 10, BY)
    root = tree_hash(leaf_hash(data) for data in first.leaves).hex()
    seen = [{"log": first.origin, "size": 20, "root": root}]
    origin = "test-platform/audit/1"
    leaves = [leaf(0, origin, EventType.PLATFORM, action="audit_log_opened", logs=seen)]
    second = MemoryLog(origin, leaves, [1], BY)
    assert checked([first, second])["intact"]
    assert any("witnessed" in problem for problem in checked([second])["problems"])


def test_a_leaf_may_be_gone_only_where_the_log_says_that_it_expired() -> None:
    origin = "test-platform/audit/0"
    leaves = [leaf(index, origin) for index in range(4)]
    permit = leaf(4, origin, EventType.PLATFORM, action="audit_leaves_expired", log=origin, first=0, last=1)
    for last, intact in ((1, True), (2, False)):
        log = MemoryLog(origin, [*leaves, permit], [5], BY)
        for index in range(last + 1):
            gone = {"expired": {"hash": leaf_hash(leaves[index]).hex(), "index": index, "log": origin}}
            log.leaves[index] = json.dumps(gone).encode()
        report = checked([log])
        assert report["intact"] is intact
        assert report["expired"] == last + 1


def test_intents_without_outcome_are_counted_and_are_no_failure() -> None:
    origin = "test-platform/audit/0"
    kinds = [EventType.CHAT_REQUEST, EventType.CHAT_REQUEST, EventType.PLATFORM]
    report = checked([MemoryLog(origin, [leaf(index, origin, kind) for index, kind in enumerate(kinds)], [3], BY)])
    assert report["intact"]
    assert report["open_calls"] == 2


@pytest.mark.requirement("AU-3")
def test_the_verifier_runs_alone_with_nothing_but_python(tmp_path: Path) -> None:
    log = memory_log(0, 300, 100, BY)
    write_bundle(tmp_path / "bundle", [log], BY)
    (tmp_path / "proof.json").write_text(json.dumps(proof_of(log, 42)), encoding="utf-8")
    alone = tmp_path / "verifier.py"
    alone.write_bytes(Path(str(verifier.__file__)).read_bytes())

    def run(path: Path) -> tuple[int, str]:
        command = [sys.executable, "-I", "-S", str(alone), str(path), "--key", str(tmp_path / "bundle" / "audit.pub")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    assert run(tmp_path / "bundle")[0] == 0
    assert run(tmp_path / "bundle" / LEAVES) == run(tmp_path / "bundle")
    assert run(tmp_path / "proof.json")[0] == 0
    leaves = tmp_path / "bundle" / LEAVES
    leaves.write_bytes(leaves.read_bytes().replace(b'"number":17', b'"number":18'))
    status, said = run(tmp_path / "bundle")
    assert status == 1
    assert "TAMPERED" in said
    assert run(tmp_path / "nothing")[0] == 2
