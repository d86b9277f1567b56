"""Names of people in files, and a platform that is told to look for them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from platform_process import BOUND, clean_environ, run_command, running

spacy: Any = pytest.importorskip("spacy", reason="needs the extra `names`")

TOLD = "Please write to Grace Hopper that the release is done."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Grace Hopper"}])
    place = tmp_path_factory.mktemp("models") / "names"
    pipeline.to_disk(place)
    return place


def refused(tmp_path: Path, settings: str) -> str:
    """What a platform with these settings says, which must not start."""
    (tmp_path / "settings.yaml").write_text(settings)
    options = ["--data", tmp_path / "data", "--port", "0", "--config", tmp_path / "settings.yaml"]
    done = subprocess.run(
        [sys.executable, "-m", "ai_platform", "up", *map(str, options)],
        capture_output=True,
        text=True,
        timeout=BOUND,
        env=clean_environ(),
        check=False,
    )
    assert done.returncode == 1
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.requirement("DP-6")
def test_scan_finds_names_only_where_a_model_is_given(folder: Path, tmp_path: Path):
    note = tmp_path / "note.txt"
    note.write_text(f"ssn 536-22-8491\n{TOLD}\nclass GraceHopper(Person): pass\n")
    options = ("scan", str(note), "--json")
    assert [each["type"] for each in json.loads(run_command(*options, code=1))] == ["US_SSN"]
    found = json.loads(run_command(*options, "--names", str(folder), code=1))
    assert [(each["type"], each["line"], each["column"]) for each in found] == [("US_SSN", 1, 5), ("PERSON", 2, 17)]
    lines = run_command("scan", "--jsonl", "--names", str(folder), text=json.dumps({"id": 1, "text": TOLD}), code=1)
    assert json.loads(lines)["findings"][0]["rule"] == "person_name"
    explained = run_command("scan", str(note), "--explain", "--names", str(folder), code=1)
    assert "a person's name" in explained
    assert "Hopper" not in explained
    run_command("scan", str(note), "--sarif", "--names", str(folder), code=1)
    run_command("scan", str(note), "--names", str(tmp_path), code=2)


@pytest.mark.requirement("DP-1")
def test_a_platform_with_a_model_records_names_and_redacts_them_by_policy(folder: Path, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: '1'\nprotection:\n  actions:\n    - {action: redact, type: PERSON}\n")
    (data / "ai-platform.yaml").write_text(f"policy: {{file: {policy}}}\nprotection: {{names: {{model: {folder}}}}}\n")
    with running(data) as platform, platform.http() as client:
        body = {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": TOLD}]}
        answer = client.post("/v1/messages", json=body)
        assert answer.status_code == 200, answer.text
        (request,) = platform.events("claude_chat_request")
        assert "PERSON" in json.dumps(request)
        assert "Hopper" not in json.dumps(request)


def test_a_policy_cannot_count_on_names_where_no_model_looks_for_them(tmp_path: Path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: '1'\nprotection:\n  actions:\n    - {action: redact, type: PERSON}\n")
    run_command("policy", "check", str(policy))
    assert refused(tmp_path, f"policy: {{file: {policy}}}\n").count("No detector has a type like 'PERSON'") == 1


def test_a_platform_does_not_start_with_a_folder_that_is_no_model(tmp_path: Path):
    said = refused(tmp_path, f"protection: {{names: {{model: {tmp_path}}}}}\n")
    assert "protection.names.model" in said
    assert "is no spaCy model" in said
