"""`ai-platform connect claude-code`: what it prints, and what it does to a settings file that is somebody's own."""

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ai_platform.cli.claude_settings import merged
from ai_platform.cli.connect import app

pytestmark = pytest.mark.requirement("CC-8")

URL = "https://claude.example.com"
KEY = "aip_" + "x" * 48


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.delenv("AI_PLATFORM_KEY", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["claude-code", *arguments])


def test_it_prints_the_two_lines_and_the_settings_and_changes_nothing(home: Path):
    result = _run("--url", f"{URL}/", "--key", KEY)
    assert result.exit_code == 0
    assert f"export ANTHROPIC_BASE_URL={URL}\n" in result.stdout
    assert f"export ANTHROPIC_AUTH_TOKEN={KEY}\n" in result.stdout
    settings = json.loads(result.stdout[result.stdout.index("{") :])
    assert settings["env"]["CLAUDE_CODE_PROPAGATE_TRACEPARENT"] == "1"
    assert settings["env"]["CLAUDE_CODE_GATEWAY_HINT_HEADERS"] == "1"
    assert list(home.iterdir()) == []


def test_without_a_key_it_says_how_to_get_one(home: Path):
    result = _run("--url", URL)
    assert "ai-platform keys create NAME" in result.stdout
    assert _run("--url", URL, "--write").exit_code == 2
    assert _run("--url", URL, "--key", KEY, "--create-key", "x").exit_code == 2


def test_writing_keeps_every_other_setting_and_a_copy_of_the_file(home: Path):
    file = home / ".claude" / "settings.json"
    file.parent.mkdir()
    before = {"model": "opus", "env": {"FOO": "1", "ANTHROPIC_API_KEY": "sk-ant-x"}, "apiKeyHelper": "old", "x": [1]}
    file.write_text(json.dumps(before))
    file.chmod(0o644)
    result = _run("--url", URL, "--key", KEY, "--write")
    assert result.exit_code == 0
    after = json.loads(file.read_text())
    assert after["model"] == "opus"
    assert after["x"] == [1]
    assert after["env"]["FOO"] == "1"
    assert after["env"]["ANTHROPIC_AUTH_TOKEN"] == KEY
    assert "ANTHROPIC_API_KEY" not in after["env"]
    assert "apiKeyHelper" not in after
    assert file.stat().st_mode & 0o777 == 0o600
    [backup] = file.parent.glob("settings.json.*.backup")
    assert json.loads(backup.read_text()) == before
    assert backup.stat().st_mode & 0o777 == 0o600
    again = json.loads(_run("--url", URL, "--key", KEY, "--write", "--json").stdout)
    assert again["backup"] is None
    assert len(list(file.parent.iterdir())) == 2


@pytest.mark.parametrize("content", ["{", "[1]", "\udcff", '{"env": '])
def test_a_settings_file_that_is_not_json_is_left_alone(home: Path, content: str):
    file = home / ".claude" / "settings.json"
    file.parent.mkdir()
    file.write_text(content, errors="surrogateescape")
    result = _run("--url", URL, "--key", KEY, "--write")
    assert result.exit_code == 1
    assert str(file) in result.stderr
    assert file.read_text(errors="surrogateescape") == content
    assert list(file.parent.iterdir()) == [file]


def test_a_linked_settings_file_stays_a_link(home: Path):
    real = home / "dotfiles" / "claude.json"
    real.parent.mkdir()
    real.write_text("{}")
    link = home / ".claude" / "settings.json"
    link.parent.mkdir()
    link.symlink_to(real)
    assert _run("--url", URL, "--key", KEY, "--write").exit_code == 0
    assert link.is_symlink()
    assert json.loads(real.read_text())["env"]["ANTHROPIC_BASE_URL"] == URL


def test_the_helper_form_keeps_the_key_in_a_file_of_its_own_and_prints_it_when_asked(home: Path):
    assert _run("--url", URL, "--key", KEY, "--write", "--helper").exit_code == 0
    settings = json.loads((home / ".claude" / "settings.json").read_text())
    assert KEY not in json.dumps(settings)
    assert "ANTHROPIC_AUTH_TOKEN" not in settings["env"]
    printed = subprocess.run(settings["apiKeyHelper"], shell=True, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == KEY
    assert (home / ".config" / "ai-platform" / "claude-code.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("url", ["claude.example.com", "ftp://x", "https://", "javascript:alert(1)"])
def test_an_address_that_is_none_is_refused(home: Path, url: str):
    assert _run("--url", url, "--key", KEY).exit_code == 2


def test_plain_http_to_another_machine_is_warned_about(home: Path):
    assert "Use https" in _run("--url", "http://claude.example.com", "--key", KEY).stderr
    assert "Use https" not in _run("--url", "http://127.0.0.1:8080", "--key", KEY).stderr
    assert "Use https" not in _run("--url", "http://[::1]:8080", "--key", KEY).stderr


def test_the_folder_of_claude_code_can_be_moved(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home / "elsewhere"))
    assert _run("--url", URL, "--key", KEY, "--write").exit_code == 0
    assert (home / "elsewhere" / "settings.json").exists()


def test_an_environment_of_a_wrong_type_is_replaced():
    assert merged({"env": "oops"}, {"env": {"A": "1"}}) == {"env": {"A": "1"}}
