"""A platform with a real SAML identity provider (npm samlp) in front of it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from saml_kit import Pair
from sso_site import PEOPLE, Browser, Site, action_of, fields_of, free_port

from platform_process import running

PACKAGE = os.environ.get("AI_PLATFORM_SAMLP", "")

requires_samlp = pytest.mark.skipif(
    not (PACKAGE and shutil.which("node")),
    reason="AI_PLATFORM_SAMLP does not name a folder with the npm packages samlp and express, or node is missing",
)

CONFIGURATION = """
sso:
  contact: Ask the platform team (platform@example.com).
  login_notice: Use your work account.
  device_requests_per_minute: 1000
{sso}
  saml:
    - name: corp
      title: Work account
      issuer: {idp}/metadata
      metadata_url: {idp}/metadata
      email_domains: [example.com]
      groups:
        - {{group: engineering, roles: [developer], team: blue, region: eu}}
        - {{group: owners, roles: [admin]}}
{saml}
{more}
"""


@dataclass
class SamlIdp:
    url: str
    pair: Pair

    def set(self, **values: str) -> None:
        """how: response, both, encrypted, cbc. key, cert: of its signature."""
        assert httpx2.post(f"{self.url}/how", data=values, trust_env=False).status_code == 200

    def serve(self, **values: str) -> None:
        """What it knows of the platform: acs, entity, encryptWith."""
        assert httpx2.post(f"{self.url}/sp", data=values, trust_env=False).status_code == 200


@contextmanager
def samlp(*, people: Mapping[str, list[str]] = PEOPLE, pair: Pair | None = None) -> Iterator[SamlIdp]:
    pair = pair or Pair()
    given = {"key": pair.key, "cert": pair.certificate, "people": people, "sp": {}}
    script = Path(__file__).with_name("saml_idp.cjs")
    process = subprocess.Popen(
        ["node", str(script), PACKAGE, json.dumps(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), "the SAML provider did not start"
        yield SamlIdp(url, pair)
    finally:
        process.kill()
        process.communicate()


@dataclass
class SamlSite(Site):
    idp: SamlIdp

    def browser(self) -> "SamlBrowser":
        return SamlBrowser(self.url)

    def metadata(self) -> str:
        return httpx2.get(f"{self.url}/saml/metadata", trust_env=False).text

    def answer(self, person: str, browser: "SamlBrowser", start: str = "/auth/login") -> tuple[str, dict[str, str]]:
        """The provider's answer for this browser's sign-in, on its way: the address and the form."""
        page = browser.get(f"{self.url}{start}")
        page = browser.submit(page, person=person)
        return action_of(page.text), fields_of(page.text)


class SamlBrowser(Browser):
    def sign_in(self, person: str, at: str = "/auth/session") -> httpx2.Response:
        page = self.get(f"{self.url}{at}")
        for _ in range(4):
            if str(page.url).startswith(self.url):
                return page
            form = fields_of(page.text)
            page = self.submit(page, **({"person": person} if "person" in form else {}))
        return page


@contextmanager
def saml_site(
    folder: Path, *, sso: str = "", saml: str = "", more: str = "", people: Mapping[str, list[str]] = PEOPLE
) -> Iterator[SamlSite]:
    """sso, saml: further lines of the section and of its provider. more: further sections."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with samlp(people=people) as idp:
        idp.serve(acs=f"{url}/saml/acs", entity=f"{url}/saml/metadata")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "platform.yaml"
        file.write_text(CONFIGURATION.format(idp=idp.url, sso=sso, saml=saml, more=more))
        with running(folder / "data", "--config", str(file), "--port", str(port)) as platform:
            nobody: Any = None
            yield SamlSite(platform, nobody, idp)
