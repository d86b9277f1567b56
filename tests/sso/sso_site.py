"""A platform with a real OpenID provider in front of it, and a browser that does what a person would do."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest

from platform_process import PlatformProcess, running

PACKAGE = os.environ.get("AI_PLATFORM_OIDC_PROVIDER", "")
SECRET = "a-secret-of-the-tests"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PEOPLE = {
    "ann": ["engineering"],
    "ben": ["engineering"],
    "cy": ["visitors"],
    "root": ["owners"],
    "dee": ["engineering"],
}

requires_provider = pytest.mark.skipif(
    not (PACKAGE and shutil.which("node")),
    reason="AI_PLATFORM_OIDC_PROVIDER does not name a folder with the npm package oidc-provider, or node is missing",
)

CONFIGURATION = """
sso:
  contact: Ask the platform team (platform@example.com).
  login_notice: Use your work account.
  device_requests_per_minute: 1000
{sso}
  providers:
    - name: corp
      title: Work account
      issuer: {issuer}
      client_id: platform
      client_secret_env: CORP_SECRET
      scopes: {scopes}
      email_domains: [example.com]
      groups:
        - {{group: engineering, roles: [developer], team: blue, region: eu}}
        - {{group: owners, roles: [admin]}}
{provider_lines}
{more}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def provider(*redirects: str, people: Mapping[str, list[str]] = PEOPLE) -> Iterator["RealProvider"]:
    script = Path(__file__).with_name("oidc_provider.mjs")
    process = subprocess.Popen(
        ["node", str(script), PACKAGE, ",".join(redirects), json.dumps(people)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        issuer = process.stdout.readline().strip()
        assert issuer.startswith("http://127.0.0.1:"), "the provider did not start"
        yield RealProvider(issuer, process)
    finally:
        process.kill()
        process.communicate()


@dataclass
class RealProvider:
    issuer: str
    process: "subprocess.Popen[str]"

    def forget(self, person: str) -> None:
        """The account is gone: no new sign-in, no refresh."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{person}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == f"forgot {person}"


@dataclass
class Site:
    platform: PlatformProcess
    provider: RealProvider

    @property
    def url(self) -> str:
        return self.platform.url

    def browser(self) -> "Browser":
        return Browser(self.url)

    def log(self) -> str:
        return (self.platform.data.parent / f"{self.platform.data.name}.log").read_text()

    def begin(self, **form: str) -> dict[str, Any]:
        """What Claude Code sends to begin."""
        with httpx2.Client(trust_env=False) as client:
            answer = client.post(
                f"{self.url}/oauth/device_authorization",
                data={"surface": "claude_code", **form},
                headers={"user-agent": "claude-code/2.1.330"},
            )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def token(self, **form: str) -> httpx2.Response:
        with httpx2.Client(trust_env=False) as client:
            return client.post(f"{self.url}/oauth/token", data=form)

    def poll(self, device_code: str) -> httpx2.Response:
        return self.token(grant_type=DEVICE_GRANT, device_code=device_code)

    def refresh(self, refresh_token: str) -> httpx2.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token)

    def revoke(self, token: str, **form: str) -> httpx2.Response:
        with httpx2.Client(trust_env=False) as client:
            return client.post(f"{self.url}/oauth/revoke", data={"token": token, **form})

    def sign_in(self, person: str) -> dict[str, Any]:
        """Tokens of a program that this person approved."""
        started = self.begin()
        with self.browser() as browser:
            browser.sign_in(person)
            browser.approve(started["user_code"])
        answer = self.poll(started["device_code"])
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, path: str, token: str, **headers: str) -> httpx2.Response:
        with self.platform.http(token) as client:
            return client.get(path, headers=headers)

    def events(self, what: str) -> list[dict[str, Any]]:
        found = self.platform.events("authentication", "security_incident")
        return [event for event in found if event.get("what") == what]


class Browser(httpx2.Client):
    """Keeps cookies, follows redirects, fills in forms."""

    def __init__(self, url: str) -> None:
        super().__init__(follow_redirects=True, trust_env=False, timeout=30)
        self.url = url

    def sign_in(self, person: str, at: str = "/auth/session") -> httpx2.Response:
        return self.go_on(self.get(f"{self.url}{at}"), person)

    def go_on(self, page: httpx2.Response, person: str) -> httpx2.Response:
        """The provider's pages, until they lead back."""
        for _ in range(4):
            if str(page.url).startswith(self.url):
                return page
            form = fields_of(page.text)
            if form.get("prompt") == "login":
                form |= {"login": person, "password": "x"}
            page = self.post(urljoin(str(page.url), action_of(page.text)), data=form)
        return page

    def submit(self, page: httpx2.Response, **fields: str) -> httpx2.Response:
        """The page's form, as its buttons and inputs are set."""
        return self.post(urljoin(str(page.url), action_of(page.text)), data=fields_of(page.text) | fields)

    def approve(self, user_code: str, action: str = "approve") -> httpx2.Response:
        page = self.get(f"{self.url}/device")
        page = self.submit(page, user_code=user_code, action="look")
        assert "Approve this sign-in?" in page.text, page.text
        return self.submit(page, action=action)

    def session_cookie(self) -> str | None:
        return self.cookies.get("aip-session")


def action_of(page: str) -> str:
    found = re.search(r'<form[^>]*action="([^"]+)"', page)
    assert found, page
    return found[1].replace("&amp;", "&")


def fields_of(page: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in re.findall(r"<input[^>]*>", page):
        name, value = (re.search(rf'{key}="([^"]*)"', tag) for key in ("name", "value"))
        if name:
            found[name[1]] = value[1] if value else ""
    return found


@contextmanager
def site(
    folder: Path,
    *,
    more: str = "",
    sso: str = "",
    provider_lines: str = "",
    scopes: str = "[openid, email, profile, groups]",
    options: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """more: further sections of the configuration. sso, provider_lines: further lines of the section, the provider."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with provider(f"{url}/auth/callback/corp") as found:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "platform.yaml"
        text = CONFIGURATION.format(
            issuer=found.issuer, more=more, sso=sso, scopes=scopes, provider_lines=provider_lines
        )
        file.write_text(text)
        arguments = ("--config", str(file), "--port", str(port), *options)
        with running(folder / "data", *arguments, environ={"CORP_SECRET": SECRET, **(environ or {})}) as platform:
            assert urlsplit(platform.url).port == port
            yield Site(platform, found)
