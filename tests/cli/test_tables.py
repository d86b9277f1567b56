"""How tables of commands look where nobody's terminal limits them."""

import pytest

from ai_platform.cli.output import count_of, emit_table

ROWS = [{"id": "inc_" + "0123456789" * 3, "said": "word " * 12}]


def test_a_pipe_gets_each_cell_in_one_piece(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    emit_table("one", ("id", "said"), ROWS, empty="")
    shown = capsys.readouterr().out
    assert ROWS[0]["id"] in shown
    assert ROWS[0]["said"].strip() in shown


def test_an_id_stays_in_one_piece_while_there_is_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "100")
    emit_table("one", ("id", "said", "more"), [ROWS[0] | {"more": "x" * 200}], empty="")
    assert ROWS[0]["id"] in capsys.readouterr().out


def test_counts_read_as_a_person_would_say_them():
    assert (count_of(1, "call"), count_of(2, "call"), count_of(2000, "call")) == ("1 call", "2 calls", "2,000 calls")
    assert count_of(2, "person", "people") == "2 people"
