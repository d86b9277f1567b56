"""A platform with MCP servers, an MCP client that asks for access as clients do, and a person who decides about it."""

import base64
import hashlib
import html
import json
import re
import secrets
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx2
from sso_site import Browser, Site, site

CALLBACK = "http://127.0.0.1:7777/callback"
CLAUDE_CODE = "https://claude.ai/oauth/claude-code-client-metadata"
VERSION = "2026-07-28"
RIGHTS = '[read_code, write_code, "tools:*:call", "resources:*:read", "prompts:*:get"]'
ECHO = Path(__file__).with_name("echo_server.py")

POLICY = """
version: "1"
security:
  access_control:
    authorization: {model: rbac, roles_file: roles.yaml}
"""
OFTEN = """  exchange_failures: 10000
  oauth: {{registrations_per_minute: 10000, authorizations_per_minute: 10000, {oauth}}}
"""
SERVERS = """
mcp:
  servers:
    - {{name: echo, command: ["{python}", "{script}"], trusted: true, first_use: true}}
    - {{name: other, command: ["{python}", "{script}"], trusted: true, first_use: true}}
{more}
"""


class Tools:
    """url: of the platform."""

    def __init__(self, here: Site) -> None:
        self.here = here
        self.url = here.url

    def post(self, path: str, **form: str) -> httpx2.Response:
        return httpx2.post(self.url + path, data=form, trust_env=False, timeout=30)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(self.url + path, trust_env=False, timeout=30)

    def register(self, **document: Any) -> httpx2.Response:
        usual = {"client_name": "Tester", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
        return httpx2.post(f"{self.url}/oauth/register", json=usual | document, trust_env=False, timeout=30)

    def rpc(
        self,
        token: str | None,
        method: str,
        *,
        at: str = "/mcp",
        name: str = "",
        own: Mapping[str, str] | None = None,
        **params: Any,
    ) -> httpx2.Response:
        """One request of the stateless protocol. own: further fields."""
        request = self._request(token, method, at, params, own=own or {}, name=name)
        with httpx2.Client(trust_env=False, timeout=30) as client:
            return client.send(request)

    @contextmanager
    def streaming(self, token: str, method: str, *, at: str = "/mcp", **params: Any) -> Generator[httpx2.Response]:
        """The answer while it comes."""
        with httpx2.Client(trust_env=False, timeout=30) as client:
            response = client.send(self._request(token, method, at, params), stream=True)
            try:
                yield response
            finally:
                response.close()

    def _request(self, token: str | None, method: str, at: str, params: dict[str, Any], **more: Any) -> httpx2.Request:
        own: Mapping[str, str] = more.get("own", {})
        name: str = more.get("name", "")
        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientInfo": {"name": "tester", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": VERSION,
            "mcp-method": method,
            **own,
        }
        if name:
            headers["mcp-name"] = name
            body["params"]["name"] = name
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return httpx2.Request("POST", self.url + at, json=body, headers=headers)

    def call(
        self,
        token: str | None,
        tool: str = "echo__echo",
        *,
        at: str = "/mcp",
        own: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> Any:
        """The result of a tool call; its first text."""
        answer = self.rpc(token, "tools/call", at=at, name=tool, own=own, arguments=arguments or {"text": "hello"})
        assert answer.status_code == 200, answer.text
        result = json.loads(data_of(answer))
        return result["result"]["content"][0]["text"] if "result" in result else result["error"]["message"]


class Asking:
    """A client that asks once. state, verifier: its own."""

    def __init__(self, url: str, client_id: str, **changes: str | None) -> None:
        self.verifier = secrets.token_urlsafe(48)
        self.state = secrets.token_urlsafe(8)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        usual: dict[str, str | None] = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "state": self.state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "resource": f"{url}/mcp",
        }
        self.query = {name: value for name, value in (usual | changes).items() if value is not None}
        self._url = url

    @property
    def address(self) -> str:
        return str(httpx2.URL(f"{self._url}/oauth/authorize", params=self.query))

    def form(self, code: str, **changes: str | None) -> dict[str, str]:
        """What goes to the token endpoint with the code."""
        usual: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": self.query["client_id"],
            "redirect_uri": self.query["redirect_uri"],
            "code_verifier": self.verifier,
            "resource": self.query.get("resource"),
        }
        return {name: value for name, value in (usual | changes).items() if value is not None}


class Person:
    """Somebody at a browser."""

    def __init__(self, tools: Tools, name: str) -> None:
        self.tools = tools
        self.name = name
        self.browser = Browser(tools.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.browser.close()

    def open(self, address: str) -> httpx2.Response:
        """The page that an address leads to, after signing in if that is asked for."""
        return self.browser.go_on(self.browser.get(address), self.name)

    def decide(self, asking: Asking, action: str = "allow") -> dict[str, str]:
        """What the client is told."""
        page = self.open(asking.address)
        assert "Give this program access?" in page.text, page.text
        return answer_in(self.browser.submit(page, action=action))

    def give_access(self, client_id: str | None = None, **changes: str | None) -> dict[str, Any]:
        """Tokens of a client that this person said yes to."""
        client_id = client_id or str(self.tools.register().json()["client_id"])
        asking = Asking(self.tools.url, client_id, **changes)
        answer = self.tools.post("/oauth/token", **asking.form(self.decide(asking)["code"]))
        assert answer.status_code == 200, answer.text
        return answer.json() | {"client_id": client_id}


def answer_in(page: httpx2.Response) -> dict[str, str]:
    """The address that a page leads on to: where, and its parameters."""
    found = re.search(r'class="button main" href="(http[^"]+)"', page.text)
    assert found, page.text
    return answer_at(html.unescape(found[1]))


def answer_at(address: str) -> dict[str, str]:
    parts = urlsplit(address)
    return {"to": address.partition("?")[0]} | {name: values[0] for name, values in parse_qs(parts.query).items()}


def data_of(answer: httpx2.Response) -> str:
    """The message, whether it came as JSON or as the only event of a stream."""
    if answer.headers["content-type"].startswith("application/json"):
        return answer.text
    return next(
        line[5:] for line in reversed(answer.text.splitlines()) if line.startswith("data:") and line[5:].strip()
    )


@contextmanager
def tools_site(
    folder: Path,
    *,
    more: str = "",
    sso: str = "",
    oauth: str = "",
    servers: str = "",
    provider_lines: str = "",
    scopes: str = "[openid, email, profile, groups]",
    environ: Mapping[str, str] | None = None,
) -> Generator[Tools]:
    """sso, servers, provider_lines: further lines of these sections. oauth: further settings of the server."""
    (folder / "roles.yaml").write_text(f"roles:\n  developer: {{permissions: {RIGHTS}}}\n")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    section = SERVERS.format(python=sys.executable, script=ECHO, more=servers)
    with site(
        folder / "site",
        more=section + more,
        sso=OFTEN.format(oauth=oauth) + sso,
        provider_lines=provider_lines,
        scopes=scopes,
        options=("--policy", str(policy)),
        environ=environ,
    ) as here:
        yield Tools(here)
