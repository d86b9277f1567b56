"""Attacks on signing in, against the running platform and a real provider."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from sso_site import Browser, Site, fields_of, requires_provider

pytestmark = requires_provider


@pytest.fixture
def browsers(here: Site) -> Iterator[Callable[[], Browser]]:
    """New browsers, closed at the end."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(here.browser())


def _codes(here: Site, browser: Browser, person: str) -> tuple[Browser, str]:
    """A browser stopped just before its way back, and the address it would go to."""
    browser.follow_redirects = False
    page = browser.get(f"{here.url}/auth/login")
    for _ in range(12):
        if page.is_redirect:
            target = page.headers["location"]
            target = target if target.startswith("http") else str(page.url.join(target))
            if target.startswith(f"{here.url}/auth/callback"):
                return browser, target
            page = browser.get(target)
            continue
        form = fields_of(page.text)
        if form.get("prompt") == "login":
            form |= {"login": person, "password": "x"}
        page = browser.submit(page, **form)
    raise AssertionError("the provider did not send the browser back")


def test_a_code_cannot_be_used_twice(here: Site, browsers: Callable[[], Browser]):
    browser, target = _codes(here, browsers(), "ann")
    cookies = {cookie.name: str(cookie.value) for cookie in browser.cookies.jar if cookie.name.startswith("aip-")}
    assert browser.get(target).status_code == 303
    thief = browsers()
    for name, value in cookies.items():
        thief.cookies.set(name, value, domain="127.0.0.1")
    answer = thief.get(target)
    assert answer.status_code == 400
    assert "was used" in answer.text
    assert thief.session_cookie() is None


def test_another_browsers_answer_is_not_taken(here: Site, browsers: Callable[[], Browser]):
    _, target = _codes(here, browsers(), "ann")
    victim = browsers()
    assert "this browser did not ask for it" in victim.get(target).text
    with_own, own = _codes(here, browsers(), "ben")
    state = parse_qs(urlsplit(own).query)["state"][0]
    mixed = re.sub(r"state=[^&]+", f"state={state}", target)
    answer = with_own.get(mixed)
    assert answer.status_code == 400, "a code of Ann's sign-in with the state of Ben's"
    assert with_own.session_cookie() is None


def test_a_changed_state_or_cookie_is_refused(here: Site, browsers: Callable[[], Browser]):
    browser, target = _codes(here, browsers(), "ann")
    assert browser.get(target.replace("state=", "state=x")).status_code == 400
    browser, target = _codes(here, browsers(), "ann")
    name = next(name for name in browser.cookies if name.startswith("aip-login"))
    browser.cookies.set(name, browser.cookies[name][:-4] + "AAAA", domain="127.0.0.1")
    assert browser.get(target).status_code == 400


def test_an_answer_of_another_issuer_is_refused(here: Site, browsers: Callable[[], Browser]):
    browser, target = _codes(here, browsers(), "ann")
    answer = browser.get(re.sub(r"iss=[^&]+", "iss=https%3A%2F%2Fevil.example", target))
    assert (answer.status_code, browser.session_cookie()) == (400, None)


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/\\evil.example", "/device?user_code=<script>", "javascript:alert(1)",
     "/device@evil.example", "/auth/session/../../x", "/device?user_code=A&next=//evil.example", "\thttps://evil.example"],
)  # fmt: skip
def test_a_link_cannot_lead_elsewhere_after_sign_in(here: Site, target: str):
    with here.browser() as browser:
        page = browser.sign_in(
            "ann", f"/auth/login?return_to={httpx2.QueryParams({'x': target})!s}".replace("x=", "", 1)
        )
        assert str(page.url) == f"{here.url}/auth/session"


@pytest.mark.requirement("ID-1")
def test_a_session_id_from_before_is_never_kept(here: Site):
    with here.browser() as browser:
        browser.cookies.set("aip-session", "planted-by-somebody", domain="127.0.0.1")
        browser.sign_in("ann")
        first = [cookie.value for cookie in browser.cookies.jar if cookie.name == "aip-session"]
        assert "planted-by-somebody" not in first
        assert len(first) == 1
        browser.get(f"{here.url}/auth/login")
        second = browser.session_cookie()
        assert second not in first
        with here.browser() as old:
            old.cookies.set("aip-session", str(first[0]), domain="127.0.0.1")
            old.follow_redirects = False
            assert old.get(f"{here.url}/auth/session").status_code == 303, "the one before has ended"


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(here: Site, browsers: Callable[[], Browser]):
    browser, target = _codes(here, browsers(), "ann")
    cookies = browser.get(target).headers.get_list("set-cookie")
    session = next(cookie for cookie in cookies if cookie.startswith("aip-session="))
    assert "HttpOnly" in session
    assert "SameSite=Lax" in session
    assert "Path=/" in session
    assert "Domain" not in session


@pytest.mark.requirement("ID-1")
@pytest.mark.parametrize("token", ["", "0" * 64, None])
def test_a_form_without_this_sessions_token_does_nothing(here: Site, token: str | None):
    started = here.begin()
    with here.browser() as browser:
        browser.sign_in("ann")
        fields = {"user_code": started["user_code"], "action": "approve"} | ({} if token is None else {"csrf": token})
        assert browser.post(f"{here.url}/device", data=fields).status_code == 403
        assert browser.post(f"{here.url}/auth/logout", data={"csrf": token or ""}).status_code == 403
    assert here.poll(started["device_code"]).json()["error"] == "authorization_pending"


def test_a_form_of_another_session_or_sent_by_another_site_does_nothing(here: Site):
    started = here.begin()
    with here.browser() as ann, here.browser() as ben:
        ann.sign_in("ann")
        ben.sign_in("ben")
        foreign = fields_of(ben.get(f"{here.url}/device").text)["csrf"]
        own = fields_of(ann.get(f"{here.url}/device").text)["csrf"]
        fields = {"user_code": started["user_code"], "action": "approve"}
        assert ann.post(f"{here.url}/device", data=fields | {"csrf": foreign}).status_code == 403
        site = {"sec-fetch-site": "cross-site"}
        assert ann.post(f"{here.url}/device", data=fields | {"csrf": own}, headers=site).status_code == 403
    assert here.poll(started["device_code"]).json()["error"] == "authorization_pending"


def test_opening_the_link_approves_nothing_and_the_page_warns_before_it_does(here: Site):
    started = here.begin()
    with here.browser() as browser:
        page = browser.sign_in("ann", f"/device?user_code={started['user_code']}")
        assert str(page.url).endswith(f"/device?user_code={started['user_code']}"), "back where the link led"
        assert fields_of(page.text)["user_code"] == started["user_code"]
        assert "script" not in page.text
        assert here.poll(started["device_code"]).json()["error"] == "authorization_pending"
        asked = browser.submit(page, action="look")
        for words in (
            "Claude Code",
            "claude-code/2.1.330",
            "127.0.0.1",
            "ann@example.com",
            "Did you start this yourself",
        ):
            assert words in asked.text
        assert started["user_code"] in asked.text
        policy = asked.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert here.poll(started["device_code"]).json()["error"] == "slow_down", "still nothing but waiting"


def test_what_a_program_says_of_itself_cannot_change_the_page(here: Site):
    with httpx2.Client(trust_env=False) as client:
        agent = "<b>Your bank</b>"
        form = {"surface": "<img src=x>"}
        started = client.post(f"{here.url}/oauth/device_authorization", data=form, headers={"user-agent": agent}).json()
    with here.browser() as browser:
        browser.sign_in("ann")
        page = browser.submit(browser.get(f"{here.url}/device"), user_code=started["user_code"], action="look")
        assert "<b>Your bank" not in page.text
        assert "<img" not in page.text
        assert "A program that did not say what it is" in page.text


def test_a_person_who_may_not_be_here_reads_whom_to_ask(here: Site):
    with here.browser() as browser:
        page = browser.sign_in("cy")
        assert page.status_code == 403
        assert "Ask the platform team (platform@example.com)." in page.text
        assert "visitors" in page.text
        assert browser.session_cookie() is None


def test_a_refresh_token_that_comes_again_ends_the_family(here: Site):
    tokens = here.sign_in("ben")
    second = here.refresh(tokens["refresh_token"]).json()
    third = here.refresh(second["refresh_token"]).json()
    stolen = here.refresh(tokens["refresh_token"])
    assert (stolen.status_code, stolen.json()["error"]) == (401, "invalid_grant")
    assert here.refresh(third["refresh_token"]).status_code == 401
    assert here.get("/v1/models", third["access_token"]).status_code == 401
    assert here.events("refresh_token_reused")


def test_the_newest_but_one_gets_the_same_answer_again_for_a_client_that_lost_it(here: Site):
    tokens = here.sign_in("ben")
    first, again = (here.refresh(tokens["refresh_token"]).json() for _ in range(2))
    assert first["refresh_token"] == again["refresh_token"]
    assert here.refresh(again["refresh_token"]).status_code == 200


def test_a_made_up_refresh_token_does_not_end_a_family(here: Site):
    tokens = here.sign_in("ben")
    head, _, mac = tokens["refresh_token"].rpartition(".")
    assert here.refresh(f"{head}.{mac[:-1]}{'0' if mac[-1] != '0' else '1'}").status_code == 401
    assert here.refresh(tokens["refresh_token"]).status_code == 200


def test_a_changed_access_token_is_refused(here: Site):
    head, body, signature = here.sign_in("ben")["access_token"].split(".")
    for forged in (
        f"{head}.{body}.{signature[:-2]}AA",
        f"{head}.{body[:-2]}AA.{signature}",
        f"eyJhbGciOiJub25lIn0.{body}.",
        f"{head}.{body}",
        "eyJ",
        "eyJ..",
    ):
        answer = here.get("/v1/models", forged)
        assert answer.status_code == 401
        assert answer.headers["x-should-retry"] == "false"


def test_nothing_secret_is_logged(here: Site):
    tokens = here.sign_in("ann")
    assert here.get("/v1/models", tokens["access_token"]).status_code == 200
    fresh = here.refresh(tokens["refresh_token"]).json()
    written = here.log() + here.platform.run("audit", "export")
    for secret in (*tokens.values(), *fresh.values()):
        if isinstance(secret, str) and len(secret) > 40:
            assert secret not in written
            assert secret.rpartition(".")[2] not in written
    assert "a-secret-of-the-tests" not in written


def test_a_person_is_the_same_one_with_a_key_and_signed_in(here: Site):
    key = here.platform.json("keys", "create", "bens-key", "--email", "ben@example.com")
    tokens = here.sign_in("ben")
    assert here.get("/admin/whoami", tokens["access_token"]).json()["id"] == key["principal_id"]


def test_emergency_access_is_not_there_unless_it_is_switched_on(here: Site):
    here.platform.run("break-glass", "list", code=1)
    with here.platform.http() as client:
        for path in ("/auth/break-glass", "/auth/break-glass/key"):
            assert client.get(path).status_code == 404
            assert client.post(path, data={"name": "night"}).status_code == 404
