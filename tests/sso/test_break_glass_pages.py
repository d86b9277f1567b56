"""Emergency access on a running platform whose only provider is down: pages, commands, alerts, the audit log."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyotp.totp import TOTP
from security_key import SoftKey
from sso_site import Browser, fields_of, free_port
from test_sso_commands import receiver

from platform_process import PlatformProcess, clean_environ, running, until

PASSWORD = "correct horse battery staple"
CONFIGURATION = """
server: {{public_url: "{url}"}}
alerts: {{webhooks: [{{name: hook, url: "{hook}"}}]}}
sso:
  break_glass: {{enabled: true, failures_per_address: 1000, failures_per_name: 3}}
  providers: [{{name: away, title: Work account, issuer: "http://127.0.0.1:9", client_id: x}}]
"""


class Here:
    def __init__(self, platform: PlatformProcess, alerts: list[dict[str, Any]], folder: Path) -> None:
        self.platform = platform
        self.alerts = alerts
        self.password = folder / "password"
        self.password.write_text(PASSWORD + "\n")

    @property
    def url(self) -> str:
        return self.platform.url

    def enrol(self, name: str) -> str:
        """The secret of an administrator who can sign in."""
        with self.platform.http() as client:
            made = client.post("/admin/break-glass", json={"name": name, "password": PASSWORD}).json()
            code = {"code": TOTP(made["secret"]).now()}
            assert client.post(f"/admin/break-glass/{name}/confirm", json=code).status_code == 200
        return str(made["secret"])

    def code(self, secret: str) -> str:
        """A code after the one of the enrolment: the next one counts already."""
        return TOTP(secret).at(int(time.time()) + 30)

    def events(self, what: str) -> list[dict[str, Any]]:
        return [event for event in self.platform.events("security_incident") if event.get("what") == what]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    folder = tmp_path_factory.mktemp("glass")
    with receiver() as (hook, got):
        config = folder / "platform.yaml"
        port = free_port()
        url = f"http://localhost:{port}"
        config.write_text(CONFIGURATION.format(hook=hook, url=url))
        with running(folder / "data", "--config", str(config), "--port", str(port)) as platform:
            platform.url = url
            yield Here(platform, got, folder)


@pytest.mark.requirement("ID-1")
def test_a_local_administrator_signs_in_approves_a_program_and_is_told_of(here: Here):
    secret = here.enrol("night")
    with Browser(here.url) as browser:
        down = browser.get(f"{here.url}/auth/session")
        assert (down.status_code, "Work account does not work" in down.text) == (502, True)
        link = re.search(r'href="(/auth/break-glass[^"]*)"', down.text)
        assert link
        page = browser.get(f"{here.url}{link[1].replace('&amp;', '&')}")
        assert "script" not in page.text
        page = browser.submit(page, name="night", password=PASSWORD, code=here.code(secret), action="code")
        assert str(page.url) == f"{here.url}/auth/session"
        assert "night (break-glass)" in page.text
        assert "Ends at" in page.text
        with here.platform.http() as client:
            started = client.post("/oauth/device_authorization", data={"surface": "ai_platform"}).json()
            browser.approve(started["user_code"])
            grant = "urn:ietf:params:oauth:grant-type:device_code"
            form = {"grant_type": grant, "device_code": started["device_code"]}
            tokens = client.post("/oauth/token", data=form).json()
        with here.platform.http(tokens["access_token"]) as client:
            assert client.get("/admin/whoami").json()["permissions"] == ["*"]
            assert client.get("/admin/keys").status_code == 200
        assert tokens["expires_in"] <= 900
    told = ("break_glass", "critical", {"name": "night", "factor": "code"})
    until(lambda: told in [(alert["kind"], alert["severity"], alert["facts"]) for alert in here.alerts])
    event = here.events("break_glass_sign_in")[-1]
    assert (event["result"], event["factor"]) == ("signed in", "code")
    written = str(here.platform.events()) + (here.platform.data.parent / "data.log").read_text()
    for secret_text in (PASSWORD, secret):
        assert secret_text not in written


def test_wrong_sign_ins_are_answered_alike_recorded_and_bounded(here: Here):
    here.enrol("evening")
    with Browser(here.url) as browser:
        page = browser.get(f"{here.url}/auth/break-glass")
        said = set[str]()
        for name, password in (("evening", "wrong"), ("nobody", PASSWORD), ("evening", PASSWORD), ("x" * 3, "")):
            answer = browser.submit(page, name=name, password=password, code="000000", action="code")
            assert answer.status_code == 403
            said.add(re.sub(r"\d\d:\d\d:\d\d", "", answer.text))
        assert len(said) == 1
        elsewhere = {"sec-fetch-site": "cross-site"}
        form = fields_of(page.text) | {"name": "evening", "password": PASSWORD, "code": "000000"}
        forged = browser.post(f"{here.url}/auth/break-glass", data=form, headers=elsewhere)
        assert "Nothing was done" in forged.text
        assert browser.session_cookie() is None
    assert [event["result"] for event in here.events("break_glass_sign_in")].count("refused") >= 4


def test_a_link_from_the_machine_opens_the_page_past_the_bounds(here: Here):
    secret = here.enrol("morning")
    link = here.platform.run("break-glass", "open", "morning").strip()
    assert link.startswith(f"{here.url}/auth/break-glass?")
    with Browser(here.url) as browser:
        page = browser.get(link)
        page = browser.submit(page, name="morning", password=PASSWORD, code=here.code(secret), action="code")
        assert "morning (break-glass)" in page.text
    assert here.platform.run("break-glass", "open", "nobody", code=1) == ""


def test_a_security_key_is_registered_from_a_link_and_signs_in(here: Here):
    """Where browsers let a security key be used: under a name, not an address."""
    enrol = ("break-glass", "enrol", "keyed", "--security-key", "--password-file", str(here.password))
    made = here.platform.json(*enrol)
    key = SoftKey(here.url)
    with Browser(here.url) as browser:
        page = browser.get(made["link"])
        assert "Touch your security key" in page.text
        policy = page.headers["content-security-policy"]
        assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}'", policy)
        assert "unsafe-inline" not in policy.partition("script-src")[2]
        page = browser.submit(page, answer=key.create(_options(page.text)))
        assert "Registered" in page.text
        page = browser.get(f"{here.url}/auth/break-glass")
        page = browser.submit(page, name="keyed", password=PASSWORD, action="key")
        page = browser.submit(page, answer=key.get(_options(page.text)))
        assert str(page.url) == f"{here.url}/auth/session"
        assert "keyed (break-glass)" in page.text
    (listed,) = [one for one in here.platform.json("break-glass", "list") if one["name"] == "keyed"]
    assert (listed["keys"], listed["codes"], listed["active"]) == (1, False, True)
    assert "1 security key" in here.platform.run("break-glass", "list")
    assert here.platform.json(*enrol)["link"] != made["link"], "a second key for the same name"
    here.platform.run("break-glass", "remove", "keyed")


def test_a_name_is_closed_after_a_few_tries_and_the_page_says_what_opens_it(here: Here):
    with Browser(here.url) as browser:
        page = browser.get(f"{here.url}/auth/break-glass")
        for _ in range(3):
            assert browser.submit(page, name="guessed", password=PASSWORD, action="key").status_code == 403
        closed = browser.submit(page, name="guessed", password=PASSWORD, action="key")
        assert closed.status_code == 429
        assert int(closed.headers["retry-after"]) > 0
        assert "break-glass open NAME" in closed.text
    with here.platform.http() as client:
        assert 'aip_break_glass_total{result="turned_away"} 1' in client.get("/metrics").text


def _options(page: str) -> str:
    found = re.search(r'id="options" value="([^"]*)"', page)
    assert found
    return found[1].replace("&quot;", '"').replace("&#x27;", "'").replace("&amp;", "&")


def test_the_command_enrols_in_two_steps_and_takes_a_password_that_is_piped_in(here: Here):
    made = here.platform.json("break-glass", "enrol", "piped", "--password-file", str(here.password))
    here.platform.run("break-glass", "confirm", "piped", "000000", code=1)
    assert "can sign in" in here.platform.run("break-glass", "confirm", "piped", TOTP(made["secret"]).now())
    process = subprocess.Popen(
        [sys.executable, "-m", "ai_platform", "break-glass", "enrol", "asked", "--password-file", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environ() | {"AI_PLATFORM_DATA": str(here.platform.data)},
    )
    out, err = process.communicate("short\n", timeout=60)
    assert process.returncode == 1
    assert "16 to 256 characters" in out + err


def test_only_who_may_do_everything_makes_one(here: Here):
    helper = here.platform.key("helper", "--role", "admin", "--scope", "identity:break_glass:write")
    with here.platform.http(helper) as client:
        body = {"name": "sneaky", "password": PASSWORD}
        refused = client.post("/admin/break-glass", json=body)
        assert (refused.status_code, "do everything" in refused.text) == (403, True)
        assert client.get("/admin/break-glass").status_code == 403
    with here.platform.http() as client:
        assert client.post("/admin/break-glass", json={"name": "x"}).status_code == 400
        assert client.post("/admin/break-glass/nobody/confirm", json={"code": "1"}).status_code == 404
