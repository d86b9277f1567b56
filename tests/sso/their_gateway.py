"""The gateway that the pinned Claude Code binary brings along, to be asked what ours is asked."""

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from sso_site import Browser, free_port, provider

from claude_code import BINARY
from platform_process import until

CONFIGURATION = """
listen: {{host: 127.0.0.1, port: {port}, public_url: "{url}"}}
oidc: {{issuer: "{issuer}", client_id: platform, client_secret: "${{OIDC_SECRET}}"}}
session: {{jwt_secret: "${{JWT_SECRET}}"}}
store: {{postgres_url: "${{POSTGRES_URL}}"}}
upstreams:
  - {{provider: anthropic, base_url: "http://127.0.0.1:9", auth: {{api_key: "${{UPSTREAM_KEY}}"}}}}
"""


@contextmanager
def their_gateway(folder: Path, postgres_url: str) -> Generator[str]:
    """Its address, while it runs."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with provider(f"{url}/oauth/callback") as found:
        home = folder / "home"
        home.mkdir(parents=True)
        file = folder / "gateway.yaml"
        file.write_text(CONFIGURATION.format(port=port, url=url, issuer=found.issuer))
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "CLAUDE_GATEWAY_ALLOW_LOOPBACK": "1",
            "DISABLE_AUTOUPDATER": "1",
            "OIDC_SECRET": "a-secret-of-the-tests",
            "JWT_SECRET": "j" * 48,
            "POSTGRES_URL": postgres_url,
            "UPSTREAM_KEY": "sk-ant-none",
        }
        log = (folder / "log").open("w")
        process = subprocess.Popen(
            [BINARY, "gateway", "--config", str(file)],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: process.poll() is not None or _answers(url), within=60)
            assert process.poll() is None, (folder / "log").read_text()
            yield url
        finally:
            process.kill()
            process.wait()
            log.close()


def approve(url: str, user_code: str, person: str) -> None:
    """As a person does in a browser there."""
    with Browser(url) as browser:
        own = {"origin": url, "sec-fetch-site": "same-origin"}
        page = browser.post(f"{url}/device", data={"user_code": user_code}, headers=own)
        browser.go_on(page, person)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/protocol", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False
