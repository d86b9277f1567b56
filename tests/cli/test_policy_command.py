"""`ai-platform policy check` on files, as a person and as a program see it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ai_platform.cli.policy import app

pytestmark = pytest.mark.requirement("PO-1")

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_the_examples_are_valid_and_each_rule_is_listed_with_what_becomes_of_it():
    result = CliRunner().invoke(app, ["check", str(EXAMPLES / "enterprise.yaml"), str(EXAMPLES / "roles.yaml")])
    assert result.exit_code == 0
    assert "enterprise.yaml: OK (policy, version 1.0+" in result.stdout
    assert "roles.yaml: OK (roles)" in result.stdout
    assert "100 requests in any hour" in result.stdout
    assert "loaded, not enforced by this version" in result.stdout


def test_a_mistake_is_shown_with_its_line_a_caret_and_a_suggestion(tmp_path: Path):
    file = tmp_path / "p.yaml"
    file.write_text("security:\n  pii_detection:\n    block_on_mach: true\nversio: 1\n")
    result = CliRunner().invoke(app, ["check", str(file)])
    assert result.exit_code == 1
    assert (
        f"{file}:3:5: Unknown key 'block_on_mach' in 'security.pii_detection'. Did you mean 'block_on_match'?"
        in result.stdout
    )
    assert "        block_on_mach: true\n        ^\n" in result.stdout
    assert f"{file}:4:1: Unknown key 'versio' in the file. Did you mean 'version'?" in result.stdout


def test_json_has_the_same_for_programs(tmp_path: Path):
    file = tmp_path / "p.yaml"
    file.write_text("versio: 1\n")
    result = CliRunner().invoke(app, ["check", "--json", str(file), str(EXAMPLES / "roles.yaml")])
    assert result.exit_code == 1
    bad, good = json.loads(result.stdout)
    assert (bad["ok"], bad["kind"], bad["problems"][0]["line"], bad["problems"][0]["suggestion"]) == (
        False,
        "policy",
        1,
        "version",
    )
    assert (good["ok"], good["kind"], good["problems"]) == (True, "roles", [])


def test_a_mistyped_detector_is_found():
    text = "security: {pii_detection: {patterns: [ssn, credt_card]}}"
    result = CliRunner().invoke(app, ["check", "-"], input=text)
    assert result.exit_code == 1
    assert "<stdin>:1:44: There is no detector 'credt_card'. Did you mean 'credit_card'?" in result.stdout


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("server: {port: 1}", "configuration"),
        ("upstreams: []\npolicy: {}", "configuration"),
        ("roles: {}", "roles"),
        ("version: x", "policy"),
        ("", "policy"),
    ],
)
def test_the_kind_of_a_file_is_known_by_its_keys(text: str, kind: str):
    result = CliRunner().invoke(app, ["check", "--json", "-"], input=text)
    assert result.exit_code == 0
    assert json.loads(result.stdout)[0]["kind"] == kind


def test_a_configuration_with_a_mistake_is_placed():
    result = CliRunner().invoke(app, ["check", "-"], input="server:\n  prot: 8080\n")
    assert result.exit_code == 1
    assert "<stdin>:2:3: Unknown key 'prot' in 'server'. Did you mean 'port'?" in result.stdout


def test_used_wrongly_is_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert CliRunner().invoke(app, ["check", str(tmp_path / "none.yaml")]).exit_code == 2
    assert CliRunner().invoke(app, ["check", str(tmp_path)]).exit_code == 2
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["check", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "The built-in policy is in force" in result.stderr


def test_without_a_file_the_one_that_up_would_take_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "policies"
    place.mkdir()
    (place / "enterprise.yaml").write_text("version: data")
    assert "version data+" in CliRunner().invoke(app, ["check", "--data", str(tmp_path)]).stdout
    near = tmp_path / ".claude" / "policies"
    near.mkdir(parents=True)
    (near / "enterprise.yaml").write_text("version: near")
    assert "version near+" in CliRunner().invoke(app, ["check", "--data", str(tmp_path)]).stdout
