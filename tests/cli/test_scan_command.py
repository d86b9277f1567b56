"""`ai-platform scan` as a person and as a program use it."""

import json
from pathlib import Path

import pytest

from platform_process import run_command


@pytest.mark.requirement("DP-1")
def test_each_line_in_gives_one_line_out_with_offsets_in_code_points() -> None:
    lines = [{"id": 7, "text": "\U0001f600 call 536-22-8491"}, {"id": "b", "text": "nothing"}]
    out = run_command("scan", "--jsonl", "-", text="\n".join(map(json.dumps, lines)), code=1)
    first, second = map(json.loads, out.splitlines())
    assert first["id"] == 7
    assert set(first["findings"][0]) == {"start", "end", "class", "type", "rule", "tier", "severity", "action"}
    assert (first["findings"][0]["start"], first["findings"][0]["end"]) == (7, 18)
    assert first["findings"][0]["type"] == "US_SSN"
    assert second == {"id": "b", "findings": []}


def test_a_line_that_is_no_record_is_named_and_the_others_are_still_scanned() -> None:
    odd = '{"id":1,"text":"a"}\nnot json\n[]\n{"id":2,"text":5}\n{"id":3,"text":"\\ud800 536-22-8491"}\n'
    out = [json.loads(line) for line in run_command("scan", "--jsonl", text=odd, code=2).splitlines()]
    assert [line.get("line") for line in out] == [None, 2, 3, 4, None]
    assert out[-1]["findings"][0]["type"] == "US_SSN"


@pytest.mark.requirement("DP-1")
def test_files_and_folders_are_scanned_and_no_value_is_shown(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "note.txt").write_text("first line\nssn 536-22-8491\n")
    shown = run_command("scan", str(tmp_path), code=1)
    assert "note.txt" in shown
    assert "536-22-8491" not in shown
    assert "536-22-8491" not in run_command("scan", str(tmp_path), "--json", code=1)
    (tmp_path / "deep" / "note.txt").write_text("nothing\n")
    run_command("scan", str(tmp_path), code=0)


def test_a_file_that_is_not_there_is_a_wrong_use() -> None:
    run_command("scan", "/nowhere/at/all", code=2)
