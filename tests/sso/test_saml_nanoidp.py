"""nanoidp, a provider whose signature stands where the schema of SAML has no place for it: refused, with a reason."""

import os
import subprocess
from pathlib import Path

import httpx2
import pytest
from saml_site import SamlBrowser
from sso_site import fields_of, free_port

from platform_process import running, until

FOLDER = Path(os.environ.get("AI_PLATFORM_NANOIDP") or "/nowhere")
PYTHON = FOLDER / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="AI_PLATFORM_NANOIDP does not name a Python environment with nanoidp"
)

SETTINGS = """
config_version: 1
server: {{host: 127.0.0.1, port: {port}}}
oauth: {{issuer: "{url}", audience: x}}
saml: {{default_acs_url: "{platform}/saml/acs"}}
"""
USERS = "users: {ann: {password: ann, email: ann@example.com, roles: [USER], tenant: default}}\n"
CONFIGURATION = """
sso:
  saml:
    - name: nano
      issuer: {url}/saml
      metadata_url: {url}/saml/metadata
      groups: [{{group: "*", roles: [member]}}]
"""


def test_an_answer_that_breaks_the_schema_is_refused(tmp_path: Path):
    ports = (free_port(), free_port())
    url, platform_url = (f"http://127.0.0.1:{port}" for port in ports)
    config = tmp_path / "nanoidp"
    subprocess.run(
        [PYTHON, "-m", "nanoidp", "init", str(config)], cwd=tmp_path, check=True, capture_output=True, timeout=60
    )
    (config / "settings.yaml").write_text(SETTINGS.format(port=ports[0], url=url, platform=platform_url))
    (config / "users.yaml").write_text(USERS)
    with (tmp_path / "nanoidp.log").open("w") as log:
        command = [PYTHON, "-m", "nanoidp", "--config", str(config), "--host", "127.0.0.1", "--port", str(ports[0])]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
        try:
            until(lambda: _answers(f"{url}/saml/metadata"))
            file = tmp_path / "platform.yaml"
            file.write_text(CONFIGURATION.format(url=url))
            options = ("--config", str(file), "--port", str(ports[1]))
            with running(tmp_path / "data", *options), SamlBrowser(platform_url) as browser:
                page = browser.get(f"{platform_url}/auth/session")
                page = browser.post(str(page.url), data=fields_of(page.text) | {"username": "ann", "password": "ann"})
                assert "SAMLResponse" in page.text, page.text
                answer = browser.submit(page)
                assert answer.status_code == 400
                assert "does not follow the schema" in answer.text
                assert browser.session_cookie() is None
        finally:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False
