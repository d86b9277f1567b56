"""The real Claude Code CLI signs in by /login through a real SAML provider, with no key anywhere."""

from pathlib import Path

import pytest
from claude_terminal import ClaudeTerminal, requires_terminal
from saml_site import requires_samlp, saml_site

from claude_code import requires_claude
from platform_process import until

pytestmark = [requires_claude, requires_samlp, requires_terminal]


@pytest.mark.requirement("ID-1")
@pytest.mark.timeout(300)
def test_login_works_on_top_of_saml_and_ends_with_the_sign_in(tmp_path: Path):
    with saml_site(tmp_path / "site", sso="  tokens: {access_seconds: 15}") as there:

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
            with there.browser() as browser:
                page = browser.sign_in("ann")
                assert "You are signed out everywhere" in browser.submit(page, way="everywhere").text
            terminal.type("Are you still there? [[scenario:text]]")
            terminal.wait_for("/login", within=60)
        finally:
            terminal.stop()
        assert there.events("token_issued")[0]["user_email"] == "ann@example.com"
