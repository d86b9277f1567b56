"""Signing in at SimpleSAMLphp: requests it checks, answers signed and encrypted by it."""

import re
from pathlib import Path

import httpx2
import pytest
from saml_kit import Pair
from simplesamlphp_site import SspBrowser, requires_simplesamlphp, simplesamlphp
from sso_site import DEVICE_GRANT, free_port

from platform_process import PlatformProcess, running, until

pytestmark = requires_simplesamlphp

CONFIGURATION = """
sso:
  saml:
    - name: php
      issuer: {idp}/metadata
      metadata_url: {metadata}
      sign_requests: true
      sign_out: true
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
            results = [event.get("result") for event in platform.events("authentication")]
            assert results.count("signed in") == 5
            idp.know(entity, acs, **known | {"certData": Pair().bare})
            with SspBrowser(url) as browser:
                page = browser.get(f"{url}/auth/session")
                assert str(page.url).startswith(idp.url)
                assert 'name="username"' not in page.text, "a request that is not signed with our key was taken"
                assert "nhandled exception" in page.text


@pytest.mark.requirement("ID-1")
def test_signing_out_there_ends_it_here_and_signing_out_here_ends_it_there(tmp_path: Path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with simplesamlphp(tmp_path / "ssp") as idp:
        file = tmp_path / "platform.yaml"
        file.write_text(CONFIGURATION.format(idp=idp.url, metadata=idp.metadata_url))
        with running(tmp_path / "data", "--config", str(file), "--port", str(port)) as platform:
            ours = httpx2.get(f"{url}/saml/metadata", trust_env=False).text
            address = re.findall(r'SingleLogoutService Binding="[^"]*HTTP-Redirect" Location="([^"]+)"', ours)
            assert address == [f"{url}/saml/logout"]
            known = {
                "certData": re.findall(r"X509Certificate>([^<]+)<", ours)[0],
                "redirect.sign": True,
                "redirect.validate": True,
                "SingleLogoutService": address[0],
            }
            idp.know(f"{url}/saml/metadata", f"{url}/saml/acs", **known)
            with SspBrowser(url) as browser:
                browser.sign_in("ann")
                tokens = program(browser, url)
                assert works(platform, tokens)
                browser.follow_redirects = True
                page = browser.get(f"{idp.url}/saml2/idp/SingleLogoutService.php", params={"ReturnTo": f"{idp.url}/"})
                assert not str(page.url).startswith(f"{url}/saml/logout"), page.text
                until(lambda: not works(platform, tokens))
                page = browser.get(f"{url}/auth/session")
                assert 'name="username"' in page.text, "out here and there"
            with SspBrowser(url) as browser:
                page = browser.sign_in("ann")
                tokens = program(browser, url)
                page = browser.get(f"{url}/auth/session")
                assert "Sign out here and at php" in page.text
                left = browser.submit(page, way="provider")
                onward = left.text.partition("0;url=")[2].partition('"')[0].replace("&amp;", "&")
                assert onward.startswith(idp.url)
                page = browser.get(onward)
                assert str(page.url).startswith(f"{url}/saml/logout?SAMLResponse=")
                assert "You are signed out here and at your identity provider" in page.text
                assert 'name="username"' in browser.get(f"{url}/auth/session").text
            events = platform.events("authentication")
            ended = [event.get("ended") for event in events if event.get("what") == "sign_out"]
            assert ended.count(2) == 1, "a browser and a program, by the provider's word"


def program(browser: SspBrowser, url: str) -> str:
    """The access token of a program that this browser's person approved."""
    with httpx2.Client(trust_env=False) as client:
        started = client.post(f"{url}/oauth/device_authorization", data={"surface": "claude_code"}).json()
        browser.approve(started["user_code"])
        form = {"grant_type": DEVICE_GRANT, "device_code": started["device_code"]}
        return str(client.post(f"{url}/oauth/token", data=form).json()["access_token"])


def works(platform: PlatformProcess, token: str) -> bool:
    with platform.http(token) as client:
        return client.get("/v1/models").status_code == 200
