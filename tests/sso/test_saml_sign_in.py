"""Signing in by SAML at a real provider, from the first page to a program's tokens, and the attacks on that way."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from saml_kit import Pair
from saml_site import SamlSite, requires_samlp, saml_site
from sso_site import fields_of

from platform_process import until

pytestmark = requires_samlp


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamlSite]:
    with saml_site(tmp_path_factory.mktemp("saml") / "site") as found:
        yield found


@pytest.fixture(autouse=True)
def _usual(there: SamlSite) -> None:
    there.idp.set(how="", key=there.idp.pair.key, cert=there.idp.pair.certificate)


@pytest.mark.requirement("ID-1")
@pytest.mark.parametrize("how", ["", "response", "both", "encrypted", "cbc"])
def test_a_person_signs_in_and_attributes_become_roles_team_and_region(there: SamlSite, how: str):
    shown = there.metadata()
    certificate = re.search(r"X509Certificate>([^<]+)<", shown)
    assert certificate
    assert f'entityID="{there.url}/saml/metadata"' in shown
    pem = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
    lines = "\n".join(certificate[1][at : at + 64] for at in range(0, len(certificate[1]), 64))
    there.idp.serve(encryptWith=pem.format(lines))
    there.idp.set(how=how)
    with there.browser() as browser:
        page = browser.sign_in("ann")
        assert str(page.url) == f"{there.url}/auth/session"
        for words in ("ann@example.com", "developer", "blue"):
            assert words in page.text
    assert there.events("sign_in")[-1]["provider"] == "corp"


@pytest.mark.requirement("ID-1")
def test_a_program_is_approved_behind_a_saml_sign_in(there: SamlSite):
    tokens = there.sign_in("ben")
    caller = there.get("/admin/whoami", tokens["access_token"]).json()
    assert (caller["email"], caller["team"], caller["region"], caller["groups"]) == (
        "ben@example.com",
        "blue",
        "eu",
        ["engineering"],
    )
    fresh = there.refresh(tokens["refresh_token"])
    assert fresh.status_code == 200


def test_a_link_with_a_code_is_reached_again_after_the_sign_in(there: SamlSite):
    started = there.begin()
    with there.browser() as browser:
        page = browser.sign_in("ann", f"/device?user_code={started['user_code']}")
        assert str(page.url).endswith(f"/device?user_code={started['user_code']}")


def test_who_is_in_no_group_reads_whom_to_ask(there: SamlSite):
    with there.browser() as browser:
        page = browser.sign_in("cy")
        assert page.status_code == 403
        assert "Ask the platform team (platform@example.com)." in page.text
        assert "visitors" in page.text
        assert browser.session_cookie() is None


@pytest.mark.requirement("ID-1")
def test_an_answer_is_taken_once(there: SamlSite):
    with there.browser() as browser, there.browser() as thief:
        address, form = there.answer("ann", browser)
        assert browser.post(address, data=form).status_code == 200
        assert browser.session_cookie()
        again = browser.post(address, data=form)
        assert again.status_code == 400
        assert "used already" in again.text
        assert thief.post(address, data=form).status_code == 400
        assert thief.session_cookie() is None


@pytest.mark.requirement("ID-1")
def test_somebody_elses_answer_does_not_sign_a_browser_in(there: SamlSite):
    """Login CSRF: a page posts the attacker's answer with the victim's browser."""
    with there.browser() as attacker, there.browser() as victim:
        address, form = there.answer("ben", attacker)
        page = victim.post(address, data=form)
        assert page.status_code == 400
        assert "did not ask for it" in page.text
        assert victim.session_cookie() is None


@pytest.mark.requirement("ID-1")
def test_who_began_a_sign_in_for_somebody_else_does_not_get_it(there: SamlSite):
    """The victim is led to the provider with the attacker's request; the attacker then comes with the cookie alone."""
    with there.browser() as attacker, there.browser() as victim:
        address, form = there.answer("ann", attacker)
        victim.follow_redirects = False
        arrived = victim.post(address, data=form)
        onward = httpx2.URL(arrived.headers["location"])
        mark = onward.params["login"]
        for stolen in ("", "x", "0" * 43):
            page = attacker.get(f"{there.url}/saml/finish", params={"login": mark, "ticket": stolen})
            assert page.status_code == 400
        assert attacker.session_cookie() is None
        assert victim.get(f"{there.url}{onward}").status_code == 400, "nor does the victim, who has no cookie"


def test_a_ticket_is_good_once_and_only_with_its_own_cookie(there: SamlSite):
    with there.browser() as browser, there.browser() as other:
        address, form = there.answer("ann", browser)
        _, foreign = there.answer("ben", other)
        browser.follow_redirects = other.follow_redirects = False
        mine = browser.post(address, data=form).headers["location"]
        theirs = other.post(address, data=foreign).headers["location"]
        mixed = re.sub(r"ticket=[^&]+", re.search(r"ticket=[^&]+", theirs)[0], mine)  # type: ignore[index]
        assert browser.get(f"{there.url}{mixed}").status_code == 400
        assert other.get(f"{there.url}{theirs}").status_code == 303
        assert other.get(f"{there.url}{theirs}").status_code == 400


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example/x", "/device"])
def test_relay_state_leads_nowhere(there: SamlSite, target: str):
    with there.browser() as browser:
        address, form = there.answer("ann", browser)
        page = browser.post(address, data=form | {"RelayState": target})
        assert str(page.url) == f"{there.url}/auth/session"


def test_an_answer_signed_by_somebody_else_is_refused_and_recorded_without_its_content(there: SamlSite):
    thief = Pair()
    there.idp.set(key=thief.key, cert=thief.certificate)
    before = len(there.events("sign_in"))
    with there.browser() as browser:
        page = browser.sign_in("root")
        assert page.status_code == 400
        assert "not the provider&#x27;s" in page.text
        assert browser.session_cookie() is None
    event = there.events("sign_in")[before]
    assert (event["result"], event["provider"]) == ("refused", "corp")
    assert "root" not in str(event)


def test_garbage_and_huge_answers_get_a_page_and_no_event(there: SamlSite):
    before = len(there.events("sign_in"))
    with there.browser() as browser:
        for value in ("", "%%%", "PGEvPg==", "A" * 380_000):
            answer = browser.post(f"{there.url}/saml/acs", data={"SAMLResponse": value})
            assert answer.status_code == 400
            assert "Sign-in failed" in answer.text
        assert browser.post(f"{there.url}/saml/acs", data={"SAMLResponse": "A" * 600_000}).status_code in {403, 413}
        assert browser.get(f"{there.url}/saml/acs").status_code == 405
    assert len(there.events("sign_in")) == before


def test_an_answer_nobody_asked_for_is_refused_by_default(there: SamlSite):
    with there.browser() as browser:
        page = browser.get(f"{there.idp.url}/unasked?as=ann")
        answer = browser.submit(page)
        assert answer.status_code == 400
        assert "nobody here asked for it" in answer.text


def test_the_request_says_where_the_answer_goes_and_is_in_the_address(there: SamlSite):
    with httpx2.Client(trust_env=False) as client:
        away = client.get(f"{there.url}/saml/login")
    assert away.status_code == 303
    query = parse_qs(urlsplit(away.headers["location"]).query)
    assert set(query) == {"SAMLRequest"}
    assert away.headers["location"].startswith(f"{there.idp.url}/sso?")
    cookie = away.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


@pytest.mark.requirement("ID-1")
def test_idp_initiated_sign_in_asks_the_person_first(tmp_path: Path):
    with saml_site(tmp_path / "site", saml="      idp_initiated: true\n      sign_requests: true") as there:
        with there.browser() as browser:
            page = browser.submit(browser.get(f"{there.idp.url}/unasked?as=ann"))
            assert page.status_code == 200
            assert "Is this you?" in page.text
            assert "ann@example.com" in page.text
            assert browser.session_cookie() is None
            onward = re.search(r'href="(/saml/finish[^"]+)"', page.text)
            assert onward
            link = onward[1].replace("&amp;", "&")
            with there.browser() as other:
                assert other.get(f"{there.url}{link}").status_code == 400
            assert "developer" in browser.get(f"{there.url}{link}").text
        with there.browser() as browser:
            form = fields_of(browser.get(f"{there.idp.url}/unasked?as=ann").text)
            first = browser.post(f"{there.url}/saml/acs", data=form)
            assert first.status_code == 200
            again = browser.post(f"{there.url}/saml/acs", data=form)
            assert again.status_code == 400
            assert "used already" in again.text
        assert there.events("saml_assertion_replayed")
        with httpx2.Client(trust_env=False) as client:
            query = parse_qs(urlsplit(client.get(f"{there.url}/saml/corp/login").headers["location"]).query)
            assert {"SigAlg", "Signature"} <= set(query)


def test_metrics_tell_of_the_provider_and_of_certificates(there: SamlSite):
    def page() -> str:
        return httpx2.get(f"{there.url}/metrics", trust_env=False).text

    until(lambda: 'aip_sign_in_provider_up{provider="corp"} 1' in page())
    for provider in ("corp", ""):
        name = f'aip_certificate_expiry_timestamp_seconds{{provider="{provider}",sha256='
        assert re.search(re.escape(name) + r'"[0-9a-f]{16}"\} 1\.\d+e\+09', page())
