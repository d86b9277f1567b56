"""Audits and assessments of a repository that is on GitHub only, and globs that mean what they mean to git."""

import base64
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_kit import over_stdio
from prompts_kit import FakeGitHub, filled, github, offered

from ai_platform.mcp_servers.prompts.github import GitHub
from ai_platform.mcp_servers.prompts.github_files import GitHubFiles
from ai_platform.mcp_servers.prompts.globs import matching
from ai_platform.mcp_servers.prompts.material import Unfilled

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("MC-5")]
ROOT = "/api/v3/repos/acme/shop"
SHA = "a" * 40
PATHS = ["a.py", "src/a.py", "src/b/c.py", "src/b/d/e.txt", "docs/x.md", "src/b.py", "**x/y.py", "src/[a].py"]
GLOBS = [
    *("*.py", "**/*.py", "src", "src/", "src/**", "src/*", "**", "src/**/e.txt", "**/b/**", "s*c/?.py", "src/[ab].py"),
    *("docs/x.md/", "*", "**/b", "src/**/c.py", "./src", "a**.py", "src/*/**", "**/**/a.py", "src/b", "src/b/d/", "x"),
]


def entry(number: int, path: str, size: int, mode: str = "100644") -> dict[str, Any]:
    return {"path": path, "mode": mode, "type": "blob", "sha": f"{number:040x}", "size": size}


def furnish(fake: FakeGitHub, *entries: dict[str, Any], truncated: bool = False) -> None:
    commit = {"sha": "c0ffee" + "0" * 34, "commit": {"tree": {"sha": SHA}, "message": "x"}}
    fake.answers[f"{ROOT}/commits?per_page=1"] = 200, [commit]
    fake.answers[f"{ROOT}/git/trees/{SHA}?recursive=1"] = 200, {"tree": list(entries), "truncated": truncated}


def hold(fake: FakeGitHub, number: int, text: bytes) -> None:
    blob = {"content": base64.encodebytes(text).decode(), "encoding": "base64"}
    fake.answers[f"{ROOT}/git/blobs/{number:040x}"] = 200, blob


async def test_an_audit_and_an_assessment_are_filled_from_github():
    async with github() as (fake, arguments), over_stdio("prompts", *arguments, env={"GH": "t"}) as client:
        furnish(
            fake,
            entry(1, "src/db.py", 20),
            entry(2, "src/huge.py", 900_000),
            entry(3, "logo.py", 3),
            entry(4, "link.py", 11, "120000"),
        )
        hold(fake, 1, b"QUERY = 'SELECT 1'\n")
        hold(fake, 3, b"\x89P\0")
        audit = await filled(client, "security_audit", files="**/*.py")
        assert "(3 files, commit c0ffee0000)" in audit
        assert "QUERY = 'SELECT 1'" in audit
        assert "src/huge.py" in audit.partition("read them yourself")[2]
        assert "link.py" not in audit
        measured = await filled(client, "refactor_assessment", directory="src")
        assert measured.index("src/huge.py\t-\t900000\t-") < measured.index("src/db.py\t-\t20\t-")
        assert await offered(client, "security_audit", "files", "src/d") == ["src/db.py"]
    asked = [path for path, _ in fake.asked]
    assert f"{ROOT}/git/blobs/{2:040x}" not in asked, "what does not fit is not fetched"
    assert asked.count(f"{ROOT}/git/trees/{SHA}?recursive=1") == 1


BROKEN: list[tuple[str, Any, str]] = [
    ("commits?per_page=1", [], "no commit"),
    ("commits?per_page=1", [{"sha": "x", "commit": {"tree": {"sha": "../../../user"}}}], "no commit"),
    (f"git/trees/{SHA}?recursive=1", {"tree": [], "truncated": True}, "more files than GitHub lists"),
    (f"git/trees/{SHA}?recursive=1", {"tree": [entry(1, "x.md", 1)]}, "No tracked file"),
    (f"git/trees/{SHA}?recursive=1", {"tree": [entry(1, "x.py", 1) | {"sha": "../../user"}]}, "No tracked file"),
    (f"git/blobs/{1:040x}", {"content": "no base64 at all"}, "cannot be understood"),
]


@pytest.mark.parametrize(("place", "answer", "said"), BROKEN)
async def test_a_github_that_lies_leads_nowhere_else(place: str, answer: Any, said: str):
    async with github() as (fake, arguments):
        furnish(fake, entry(1, "x.py", 1))
        hold(fake, 1, b"x")
        fake.answers[f"{ROOT}/{place}"] = 200, answer
        files = GitHubFiles(GitHub("acme/shop", api=arguments[3], token=""))
        with pytest.raises(Unfilled, match=said):
            await files.matching(["*.py"])
    assert all(path.startswith(f"{ROOT}/") and ".." not in path for path, _ in fake.asked)


async def test_github_that_cannot_be_reached_is_told():
    async with github() as (_, arguments):
        files = GitHubFiles(GitHub("acme/shop", api=arguments[3], token=""))
    with pytest.raises(Unfilled, match="cannot be reached"):
        await files.paths()


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("globs")
    subprocess.run(["git", "init", "-q", str(place)], check=True)
    for path in PATHS:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text("x")
    subprocess.run(["git", "-C", str(place), "add", "-A"], check=True)
    return place


@pytest.mark.parametrize("pattern", GLOBS)
def test_a_glob_means_what_it_means_to_git(tracked: Path, pattern: str):
    command = ["git", "-C", str(tracked), "ls-files", "-z", "--", f":(glob){pattern}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert sorted(matching(PATHS, [pattern])) == sorted(filter(None, said.split("\0")))


@pytest.mark.parametrize("patterns", [["*a" * 1000 + "b"], ["**/a/" * 15 + "b"], ["[" * 1000], ["?" * 3000]])
def test_a_glob_that_is_made_to_take_long_does_not(patterns: Sequence[str]):
    assert matching(["a" * 3000, "/".join("a" * 60)], patterns) in ([], ["a" * 3000])


def test_more_globs_than_are_looked_at_are_refused():
    with pytest.raises(Unfilled, match="choose less"):
        matching(["a"], ["a/" * 40])


@given(st.text("ab*?[]!-/.", max_size=20), st.text("ab/.", min_size=1, max_size=20))
def test_no_glob_is_an_error(pattern: str, path: str):
    assert matching([path], [pattern]) in ([], [path])
