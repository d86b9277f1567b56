import pytest
from audit_kit import signer
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.audit.merkle import leaf_hash
from ai_platform.audit.note import Checkpoint, NoteError, VerifierKey, open_checkpoint, open_note

# The example of Go's golang.org/x/mod/sumdb/note, made by another implementation of the format.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\N{EM DASH} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6Ryy"
    "BwJnAM=\n"
)


@pytest.mark.requirement("AU-3")
def test_a_note_that_another_implementation_signed_is_accepted() -> None:
    key = VerifierKey.parse(GO_KEY)
    assert str(key) == GO_KEY
    assert open_note(GO_NOTE, [key]).startswith("If you think")


@given(st.integers(0, 10**12), st.binary(min_size=1, max_size=9))
def test_a_checkpoint_comes_back_as_it_was_signed(size: int, seed: bytes) -> None:
    by = signer()
    checkpoint = Checkpoint("test-platform/audit/0", size, leaf_hash(seed))
    assert open_checkpoint(by.sign(checkpoint.text()), [by.verifier]) == checkpoint


@pytest.mark.requirement("AU-3")
@given(st.data())
def test_no_byte_of_a_signed_checkpoint_can_change(data: st.DataObject) -> None:
    by = signer()
    note = by.sign(Checkpoint("test-platform/audit/0", 12, leaf_hash(b"x")).text()).encode()
    at = data.draw(st.integers(0, len(note) - 1))
    changed = note[:at] + bytes([data.draw(st.integers(0, 255).filter(lambda byte: byte != note[at]))]) + note[at + 1 :]
    with pytest.raises((NoteError, UnicodeDecodeError)):
        open_checkpoint(changed.decode(), [by.verifier])


def test_a_signature_of_an_unknown_witness_is_ignored_and_one_of_an_unknown_log_refused() -> None:
    by, witness = signer(), signer("witness", bytes(32))
    note = by.sign(Checkpoint("test-platform/audit/0", 1, leaf_hash(b"x")).text())
    cosigned = note + witness.sign(open_note(note, [by.verifier])).rpartition("\n\n")[2]
    assert open_checkpoint(cosigned, [by.verifier]).size == 1
    assert open_checkpoint(cosigned, [witness.verifier]).size == 1
    with pytest.raises(NoteError, match="no trusted key"):
        open_checkpoint(note, [witness.verifier])
    with pytest.raises(NoteError, match="no trusted key"):
        open_checkpoint(note, [])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_a_key_name_that_would_break_the_format_is_refused(name: str) -> None:
    with pytest.raises(NoteError, match="key name"):
        signer(name)


@pytest.mark.parametrize(
    "line",
    ["", "x", "name+00000000+", GO_KEY.replace("c74f", "c74e"), GO_KEY[:-4] + "AAAA", GO_KEY.replace("ARpc", "Aipc")],
)
def test_a_damaged_public_key_is_refused(line: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(line)


@pytest.mark.parametrize(
    "text",
    [
        "o\n1\n",
        "o\n01\nAAAA\n",
        "o\n-1\nAAAA\n",
        "o\n\u0661\nAAAA\n",
        "o\n1\nAAAA\n",
        "o\n1\n!!\n",
        "\n1\nAAAA\n",
        "o\n1\n\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    by = signer()
    with pytest.raises(NoteError):
        open_checkpoint(by.sign(text), [by.verifier])
