"""Signing in at SimpleSAMLphp: requests it checks, answers signed and encrypted by it."""

import json
import re
from pathlib import Path

import httpx2
import pytest
from saml_kit import Pair
from simplesamlphp_site import SspBrowser, requires_simplesamlphp, simplesamlphp
from sso_site import free_port

from platform_process import running

pytestmark = requires_simplesamlphp

CONFIGURATION = """
sso:
  saml:
    - name: php
      issuer: {idp}/metadata
      metadata_url: {metadata}
      sign_requests: true
      groups: [{{group: engineering, roles: [developer], team: blue}}]
"""


@pytest.mark.requirement("ID-1")
def test_another_implementations_answers_are_taken_signed_and_encrypted_and_it_takes_our_signed_requests(
    tmp_path: Path,
):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with simplesamlphp(tmp_path / "ssp") as idp:
        file = tmp_path / "platform.yaml"
        file.write_text(CONFIGURATION.format(idp=idp.url, metadata=idp.metadata_url))
        with running(tmp_path / "data", "--config", str(file), "--port", str(port)) as platform:
            entity, acs = f"{url}/saml/metadata", f"{url}/saml/acs"
            ours = httpx2.get(entity, trust_env=False).text
            certificate = re.findall(r"X509Certificate>([^<]+)<", ours)[0]
            known = {"certData": certificate, "redirect.validate": True, "validate.authnrequest": True}
            for how in (
                {"saml20.sign.assertion": True, "saml20.sign.response": True},
                {"saml20.sign.assertion": True, "saml20.sign.response": False},
                {"saml20.sign.assertion": False, "saml20.sign.response": True},
                {"assertion.encryption": True},
                {"assertion.encryption": True, "sharedkey_algorithm": "http://www.w3.org/2009/xmlenc11#aes128-gcm"},
            ):
                idp.know(entity, acs, **known, **how)
                with SspBrowser(url) as browser:
                    page = browser.sign_in("ann")
                    assert str(page.url) == f"{url}/auth/session", (how, page.text)
                    for words in ("ann@example.com", "developer", "blue"):
                        assert words in page.text
            with SspBrowser(url) as browser:
                assert browser.sign_in("cy").status_code == 403
            exported = platform.run("audit", "export", "--what", "authentication").splitlines()
            results = [json.loads(line).get("result") for line in exported]
            assert results.count("signed in") == 5
            idp.know(entity, acs, **known | {"certData": Pair().bare})
            with SspBrowser(url) as browser:
                page = browser.get(f"{url}/auth/session")
                assert str(page.url).startswith(idp.url)
                assert 'name="username"' not in page.text, "a request that is not signed with our key was taken"
                assert "nhandled exception" in page.text
