"""The real Claude Code CLI signs in by /login through a real SAML provider, with no key anywhere."""

import time
from pathlib import Path

import pytest
from claude_terminal import ClaudeTerminal, requires_terminal
from saml_site import requires_samlp, saml_site
from test_sign_in_claude_code import ACCESS_SECONDS, count

from claude_code import requires_claude
from platform_process import until

pytestmark = [requires_claude, requires_samlp, requires_terminal]


@pytest.mark.requirement("ID-1")
@pytest.mark.timeout(300)
def test_login_works_on_top_of_saml_survives_a_refresh_and_ends_with_the_person(tmp_path: Path):
    with saml_site(tmp_path / "site", sso=f"  tokens: {{access_seconds: {ACCESS_SECONDS}}}") as there:

        def calls() -> int:
            return sum(row["requests"] for row in there.platform.json("usage", "--by", "person")["rows"])

        terminal = ClaudeTerminal(tmp_path, there.url)
        terminal.start()
        try:
            code = terminal.login()
            with there.browser() as browser:
                assert "engineering" not in browser.sign_in("ann").text
                assert "Approved" in browser.approve(code).text
            terminal.wait_for("Signed in to Cloud gateway as ann@example.com")
            terminal.choose("Yes, continue")
            terminal.wait_for("Connected to Cloud gateway")
            terminal.press("Enter")
            terminal.type("Say hello [[scenario:text]]")
            until(lambda: calls() >= 1, within=60)
            issued = time.monotonic()
            until(lambda: time.monotonic() - issued > ACCESS_SECONDS, within=60)
            before = calls()
            terminal.type("Say hello once more [[scenario:text]]")
            until(lambda: calls() > before, within=60)
            assert count(there, "token_refreshed") >= 1
            assert count(there, "token_issued") == 1, "nobody had to sign in again"

            there.platform.run("people", "remove", "ann@example.com")
            removed, before = time.monotonic(), calls()
            terminal.type("Are you still there? [[scenario:text]]")
            terminal.wait_for("/login", within=60 - (time.monotonic() - removed))
            assert calls() == before, "nothing is sent any more"
            assert terminal.run("-p", "Say hello [[scenario:text]]").returncode != 0
            with there.browser() as browser:
                assert browser.sign_in("ann").status_code == 403, "nor does the provider's word bring them back"
        finally:
            terminal.stop()
        assert there.events("token_issued")[0]["user_email"] == "ann@example.com"
