"""The real Claude Code CLI signs in by /login through a real OpenID provider, with no key anywhere."""

import json
import re
import time
from pathlib import Path

import httpx2
import pytest
from claude_terminal import ClaudeTerminal, requires_terminal
from sso_site import Site, requires_provider, site

from claude_code import requires_claude
from platform_process import until

pytestmark = [requires_claude, requires_provider, requires_terminal]

MODEL = "claude-haiku-5-5"
ACCESS_SECONDS = 15


def count(of: Site, result: str) -> int:
    page = httpx2.get(f"{of.url}/metrics", trust_env=False).text
    found = re.search(rf'aip_sign_ins_total{{result="{result}"}} (\d+)', page)
    return int(found[1]) if found else 0


@pytest.mark.requirement("CC-2")
@pytest.mark.timeout(300)
def test_login_works_without_a_key_survives_a_refresh_and_ends_with_the_sign_in(tmp_path: Path):
    managed = tmp_path / "managed.json"
    managed.write_text(json.dumps({"model": MODEL}))
    lines = (
        f"  tokens: {{access_seconds: {ACCESS_SECONDS}}}\n  managed:\n    - {{groups: [engineering], file: {managed}}}"
    )
    with site(tmp_path / "site", sso=lines) as here:
        terminal = ClaudeTerminal(tmp_path, here.url)
        terminal.start()
        try:
            code = terminal.login()
            assert "Use your work account." in terminal.screen()
            with here.browser() as browser:
                browser.sign_in("ann")
                browser.approve(code)
            terminal.wait_for("Signed in to Cloud gateway as ann@example.com")
            terminal.choose("Yes, continue")
            until(lambda: count(here, "token_issued") == 1)

            terminal.wait_for("Connected to Cloud gateway")
            terminal.press("Enter")
            terminal.wait_for("Using Haiku 5.5 (from managed settings)")
            terminal.type("Say hello [[scenario:text]]")
            until(lambda: _calls(here) >= 1, within=60)
            issued = time.monotonic()
            until(lambda: time.monotonic() - issued > ACCESS_SECONDS, within=60)
            before = _calls(here)
            terminal.type("Say hello once more [[scenario:text]]")
            until(lambda: _calls(here) > before, within=60)
            assert count(here, "token_refreshed") >= 1
            assert count(here, "token_issued") == 1, "it refreshed; nobody had to sign in again"

            answered = terminal.run("-p", "Say hello [[scenario:text]]", "--output-format", "json")
            assert answered.returncode == 0, answered.stdout + answered.stderr
            assert list(json.loads(answered.stdout)["modelUsage"]) == [MODEL], "the settings of the group did not apply"

            with here.browser() as browser:
                page = browser.sign_in("ann")
                assert "You are signed out everywhere" in browser.submit(page, way="everywhere").text
            terminal.type("Are you still there? [[scenario:text]]")
            terminal.wait_for("/login", within=60)
            refused = terminal.run("-p", "Say hello [[scenario:text]]")
            assert refused.returncode != 0
        finally:
            terminal.stop()
        assert here.events("token_issued")[0]["user_email"] == "ann@example.com"
        assert "eyJ" not in here.log()
        assert "aipr_" not in here.log()


@pytest.mark.requirement("CC-2")
@pytest.mark.timeout(300)
def test_who_is_removed_at_the_provider_is_cut_off_within_a_minute_and_nothing_is_sent_any_more(tmp_path: Path):
    lines = f"  tokens: {{access_seconds: {ACCESS_SECONDS}}}"
    scopes = "[openid, email, profile, groups, offline_access]"
    with site(tmp_path / "site", sso=lines, scopes=scopes) as here:
        terminal = ClaudeTerminal(tmp_path, here.url)
        terminal.start()
        try:
            code = terminal.login()
            with here.browser() as browser:
                browser.sign_in("ann")
                browser.approve(code)
            terminal.wait_for("Signed in to Cloud gateway as ann@example.com")
            terminal.choose("Yes, continue")
            terminal.wait_for("Connected to Cloud gateway")
            terminal.press("Enter")
            terminal.type("Say hello [[scenario:text]]")
            until(lambda: _calls(here) >= 1, within=60)

            here.provider.forget("ann")
            removed = time.monotonic()
            until(lambda: time.monotonic() - removed > ACCESS_SECONDS, within=60)
            before = _calls(here)
            terminal.type("Are you still there? [[scenario:text]]")
            terminal.wait_for("/login", within=60 - (time.monotonic() - removed))
            assert _calls(here) == before
            assert terminal.run("-p", "Say hello [[scenario:text]]").returncode != 0
        finally:
            terminal.stop()
        assert here.events("token_refused")


@pytest.mark.requirement("CC-2", "ID-4")
@pytest.mark.timeout(300)
def test_whom_the_directory_deactivates_is_cut_off_within_a_minute(tmp_path: Path):
    """Access tokens of an hour: it is the end that counts, not that they run out."""
    lines = "  tokens: {access_seconds: 3600}"
    with site(tmp_path / "site", sso=lines, more="scim: {enabled: true}") as here:
        with here.platform.http() as admin:
            wanted = {"name": "directory", "kind": "service", "roles": ["admin"], "scopes": ["scim"]}
            key = admin.post("/admin/keys", json=wanted).json()["key"]
        with here.platform.http(key) as directory:
            user = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ann@example.com"}
            ann = directory.post("/scim/v2/Users", json=user).json()["id"]
        terminal = ClaudeTerminal(tmp_path, here.url)
        terminal.start()
        try:
            code = terminal.login()
            with here.browser() as browser:
                browser.sign_in("ann")
                browser.approve(code)
            terminal.wait_for("Signed in to Cloud gateway as ann@example.com")
            terminal.choose("Yes, continue")
            terminal.wait_for("Connected to Cloud gateway")
            terminal.press("Enter")
            terminal.type("Say hello [[scenario:text]]")
            until(lambda: _calls(here) >= 1, within=60)

            with here.platform.http(key) as directory:
                change = {"op": "replace", "path": "active", "value": False}
                schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
                answer = directory.patch(f"/scim/v2/Users/{ann}", json={"schemas": schemas, "Operations": [change]})
                assert answer.is_success, answer.text
            ended, before = time.monotonic(), _calls(here)
            terminal.type("Are you still there? [[scenario:text]]")
            terminal.wait_for("/login", within=60 - (time.monotonic() - ended))
            assert _calls(here) == before
            assert terminal.run("-p", "Say hello [[scenario:text]]").returncode != 0
            with here.browser() as browser:
                assert browser.sign_in("ann").status_code == 403
        finally:
            terminal.stop()


def _calls(here: Site) -> int:
    """Calls in the ledger."""
    return sum(row["requests"] for row in here.platform.json("usage", "--by", "person")["rows"])
