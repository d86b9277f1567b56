"""`ai-platform scan` over git, SARIF, policies and explanations, as people and pipelines use it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from typer.testing import CliRunner, Result

from ai_platform.cli import app
from ai_platform.cli.scan_sources import PIECE

SSN, CARD, EMAIL = "536-22-8491", "4111 1111 1111 1111", "jane@acme.io"

POLICY = """\
protection:
  custom:
    - name: BADGE
      pattern: 'EMP-[0-9]{6}'
      severity: high
      message: an employee number
      examples: ["EMP-004711"]
      counter_examples: ["EMP-47"]
  allow: ["*@acme.io"]
  actions:
    - {action: mask, type: US_SSN, upstream: "own-*"}
    - {action: redact, type: US_SSN, team: support}
"""


def scan(*arguments: str, text: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["scan", *arguments], input=text, env={"COLUMNS": "160"})


def found(*arguments: str, text: str | bytes | None = None) -> list[dict[str, Any]]:
    return json.loads(scan(*arguments, "--json", text=text).stdout)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    git("init", "-q")
    (tmp_path / "old.txt").write_text(f"first\nold ssn {SSN}\nlast\n")
    git("add", ".")
    commit("one")
    return tmp_path


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True, timeout=30)


def commit(message: str) -> None:
    git("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "-qm", message)


# --- what is read ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DP-6")
def test_standard_input_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"card {CARD}\n")
    (tmp_path / "b.txt").write_text("nothing\n")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "c.txt").write_text(f"ssn {SSN}\n")
    table = scan(str(tmp_path))
    assert table.exit_code == 1
    assert "1 finding (1 critical) in 1 of 2 files" in table.stdout
    assert "a.txt:1:6" in table.stdout
    assert "4***" in table.stdout
    assert CARD not in table.output
    assert scan(str(tmp_path / "b.txt")).stdout == "Nothing found in 1 file.\n"
    for arguments in ((), ("-",)):
        assert found(*arguments, text=f"x {SSN}")[0] | {"start": 0, "end": 0} == {
            "file": "-",
            "line": 1,
            "column": 3,
            "start": 0,
            "end": 0,
            "class": "PII",
            "type": "US_SSN",
            "rule": "us-ssn",
            "tier": "format",
            "severity": "critical",
            "action": "block",
            "value": "5***",
        }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_files_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "note.txt").write_text(f"Größe {SSN}\n", encoding=encoding)
    assert [(each["line"], each["column"]) for each in found(str(tmp_path))] == [(1, 7)]


def test_a_file_of_many_pieces_has_each_value_once_and_in_its_place(tmp_path: Path) -> None:
    line = "some words that hold nothing at all, and a few more of them, and so on\n"
    before = PIECE - 6
    text = (line * (before // len(line) + 1))[:before] + f" ssn {SSN} " + "\n" + line * 10 + f"ssn {SSN}\n"
    (tmp_path / "large.log").write_text(text)
    places = [(each["line"], each["start"]) for each in found(str(tmp_path))]
    starts = [text.index(SSN), text.rindex(SSN)]
    assert places == [(text.count("\n", 0, start) + 1, start) for start in starts]


def test_a_line_of_many_pieces_has_its_columns_in_the_whole_line(tmp_path: Path) -> None:
    before = "word " * (PIECE // 4)
    (tmp_path / "line.txt").write_text(f"{before}ssn {SSN} end\n ssn {SSN}")
    places = [(each["line"], each["column"]) for each in found(str(tmp_path))]
    assert places == [(1, len(before) + 5), (2, 6)]


def test_a_folder_that_cannot_be_listed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "open.txt").write_text("hello")
    listing = os.scandir

    def refusing(path: str) -> Any:  # root, who runs tests in containers, may list every folder
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refusing)
    told = scan(str(tmp_path))
    assert told.exit_code == 2
    assert "closed cannot be read: Permission denied." in told.stderr


def test_what_holds_no_text_is_passed_over_and_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0" + SSN.encode())
    told = scan(str(tmp_path))
    assert told.exit_code == 0
    assert "1 file without text" in told.stderr
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    assert scan(str(tmp_path)).exit_code == 0
    assert scan(str(tmp_path / "gone.txt")).exit_code == 2


def test_a_folder_that_holds_everything_a_folder_may_hold(tmp_path: Path) -> None:
    """A loop of links, a pipe without a writer, an empty file, a name that is no text."""
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")
    try:
        Path(name).write_text(f"ssn {SSN}")
    except OSError:
        name = str(tmp_path / "plain.txt")  # macOS has no such names
        Path(name).write_text(f"ssn {SSN}")
    assert scan(str(tmp_path)).exit_code == 1
    assert len(found(str(tmp_path))) == 1
    (result,) = json.loads(scan(str(tmp_path), "--sarif").stdout)["runs"][0]["results"]
    assert unquote_to_bytes(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]) == os.fsencode(name)


def test_a_line_may_say_that_it_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(f'ONE = "{SSN}"  # ai-platform: allow\nTWO = "{SSN}"\n')
    assert [each["line"] for each in found(str(tmp_path))] == [2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "--sarif"],
        ["--jsonl", "--json"],
        ["--staged", "--diff"],
        ["/nowhere"],
        ["--policy", "/nowhere"],
        ["--bad"],
    ],
)
def test_wrong_uses_are_told_and_leave_with_2(arguments: list[str]) -> None:
    told = scan(*arguments, text="x")
    assert told.exit_code == 2
    assert told.output


@pytest.mark.parametrize(("least", "code"), [("critical", 0), ("high", 0), ("warning", 1), ("info", 1)])
def test_the_exit_code_counts_what_is_serious_enough(least: str, code: int) -> None:
    assert scan("--fail-on", least, text=f"mail {EMAIL}").exit_code == code


# --- git ------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DP-6")
def test_only_what_a_commit_adds_is_looked_at(repository: Path) -> None:
    assert scan("--staged").exit_code == 0
    (repository / "old.txt").write_text(f"first\nold ssn {SSN}\nnew card {CARD}\nlast\n")
    (repository / "new name.txt").write_text(f"ssn {SSN}\n")
    assert scan("--staged").exit_code == 0, "nothing is staged yet"
    git("add", ".")
    for arguments in (("--staged",), ("--diff",), ("--diff", "HEAD")):
        assert [(each["file"], each["line"], each["type"]) for each in found(*arguments)] == [
            ("new name.txt", 1, "US_SSN"),
            ("old.txt", 3, "CREDIT_CARD"),
        ]
    assert [each["file"] for each in found("--diff", "HEAD", "old.txt")] == ["old.txt"]
    commit("two")
    assert scan("--staged").exit_code == 0
    assert len(found("--diff", "HEAD~1")) == 2
    git("rm", "-q", "old.txt")
    assert scan("--staged").exit_code == 0, "what is taken away is no finding"


@pytest.mark.requirement("DP-6")
def test_what_git_calls_binary_is_looked_at_too(repository: Path) -> None:
    """UTF-16 as Windows writes it, and a text that .gitattributes hides."""
    (repository / ".gitattributes").write_text("*.secret binary\n")
    (repository / "sub").mkdir()
    (repository / "sub" / "windows.txt").write_text(f"ssn {SSN}\n", encoding="utf-16")
    (repository / "sub" / "a and b.secret").write_text(f"ssn {SSN}\n")
    (repository / "sub" / "image.png").write_bytes(b"\x89PNG\0\1\2" + SSN.encode() * 100_000)
    git("add", ".")
    names = ["sub/a and b.secret", "sub/windows.txt"]
    for arguments in (("--staged",), ("--diff",)):
        assert [each["file"] for each in found(*arguments)] == names
    for name in names:
        (repository / name).write_text("changed in the folder, not yet staged\n")
    assert [each["file"] for each in found("--staged")] == names
    assert found("--diff") == []
    (repository / "sub" / "a and b.secret").unlink()
    assert found("--diff") == []


def test_a_value_whose_context_was_there_before_is_found(repository: Path) -> None:
    (repository / "form.txt").write_text("social security number:\n\n")
    git("add", ".")
    commit("form")
    (repository / "form.txt").write_text("social security number:\n536228491\n")
    assert [each["line"] for each in found("--diff")] == [2]


@pytest.mark.parametrize("revision", ["nowhere", "--output=/tmp/x", "HEAD; ls"])
def test_a_revision_that_is_none_is_said(repository: Path, revision: str) -> None:
    assert scan(f"--diff={revision}").exit_code == 2


# --- reports --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DP-6")
def test_sarif_is_what_code_scanning_pages_read(repository: Path) -> None:
    (repository / "src").mkdir()
    (repository / "src" / "a b.py").write_text(f"# é {SSN}\n# {SSN} and {EMAIL}\n")
    told = scan("src", "--sarif")
    assert told.exit_code == 1
    document = json.loads(told.stdout)
    assert document["version"] == "2.1.0"
    assert document["$schema"].endswith("sarif-2.1.0.json")
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == {result["ruleId"] for result in run["results"]}
    assert len({result["partialFingerprints"]["placeOfRule/v1"] for result in run["results"]}) == 3
    first = run["results"][0]
    assert rules[first["ruleIndex"]]["id"] == first["ruleId"]
    assert first["level"] == "error"
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "src/a%20b.py"
    assert place["region"] == {"startLine": 1, "startColumn": 5, "endLine": 1, "endColumn": 16}
    assert SSN not in told.stdout
    assert json.loads(scan("old.txt", "--sarif").stdout)["runs"][0]["results"]
    assert json.loads(scan("--sarif", text="nothing").stdout)["runs"][0]["results"] == []


@pytest.mark.requirement("DP-6")
def test_an_explanation_names_rule_validator_context_and_action() -> None:
    told = scan("--explain", text=f"card {CARD}\nmy hetu is 131052-308T\n").stdout
    assert "CREDIT_CARD 4***" in told
    assert "the Luhn check digit" in told
    assert "the word 'hetu' stands before it" in told
    assert "block: the default for critical findings on the way to the model" in told
    assert CARD not in told
    assert "308T" not in told
    rows = found("--explain", text=f"ssn {SSN}")
    assert {"rule", "documented by", "certainty", "noticed by", "action"} <= set(rows[0]["explanation"])


# --- policies -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("DP-6")
def test_a_policys_detectors_allow_list_and_actions_hold(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    rows = found("--policy", str(path), text=f"EMP-123456 {EMAIL} {SSN}")
    assert [(each["type"], each["action"]) for each in rows] == [("BADGE", "alert"), ("US_SSN", "block")]
    teams = found("--policy", str(path), "--team", "support", text=SSN)
    assert [each["action"] for each in teams] == ["redact"]
    own = found("--policy", str(path), "--upstream", "own-1", text=SSN)
    assert [each["action"] for each in own] == ["mask"]
    assert (
        "entry 1 of the policy's actions"
        in scan("--policy", str(path), "--upstream", "own-1", "--explain", text=SSN).stdout
    )


def test_what_the_policy_allows_is_no_finding_and_explained_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("protection: {actions: [{action: allow, type: US_SSN}]}")
    assert found("--policy", str(path), text=SSN) == []
    assert json.loads(scan("--policy", str(path), "--sarif", text=SSN).stdout)["runs"][0]["results"] == []
    told = scan("--policy", str(path), "--explain", text=SSN)
    assert told.exit_code == 0
    assert "allow: entry 1 of the policy's actions" in told.stdout


def test_git_that_cannot_be_asked_is_said_in_words_that_help(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "update-ref", "-d", "HEAD"], cwd=repository, check=True)
    assert "no commit yet" in scan("--diff").stderr
    assert scan("--staged").exit_code == 1, "everything in the index is new"
    monkeypatch.chdir(tmp_path_factory.mktemp("plain"))
    for option in ("--staged", "--diff"):
        told = scan(option)
        assert told.exit_code == 2
        assert "This is no git repository" in told.stderr


@pytest.mark.requirement("DP-6")
@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('"*@acme.io"', '"**"', "lets every value through"),
        ('upstream: "own-*"', "", "This entry never decides: entry 1"),
        ('"EMP-004711"', '"EMQ-004711"', "does not match this example"),
        ('"EMP-47"', '"EMP-471234"', "matches this counter-example"),
        ("'EMP-[0-9]{6}'", "'EMP-([0-9]{6}'", "cannot be used"),
        ("'EMP-[0-9]{6}'", "'(?:EMP-[0-9]{6}x?){1,900}'", "too large"),
        ("'EMP-[0-9]{6}'", "'(?<number>EMP-[0-9]{6})'", "not a regular expression"),
        ("US_SSN", "US_SNN", "Did you mean 'US_SSN'?"),
    ],
)
def test_a_policy_that_cannot_be_carried_out_is_refused_by_check_and_scan_alike(
    tmp_path: Path, before: str, after: str, says: str
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace(before, after, 1))
    checked = CliRunner().invoke(app, ["policy", "check", str(path)], env={"COLUMNS": "300"})
    assert checked.exit_code == 1
    assert says in checked.output
    scanned = scan("--policy", str(path), text="x")
    assert scanned.exit_code == 2
    assert says in scanned.output
