"""Attacks on how MCP clients get access: each one is a test, and nothing of it is taken."""

import re
from typing import Any

import httpx2
import pytest
from mcp_client import CALLBACK, CLAUDE_CODE, Asking, Person, Tools, answer_at, answer_in
from sso_site import Browser, fields_of, requires_provider

pytestmark = [requires_provider]


@pytest.fixture
def client_id(tools: Tools) -> str:
    return str(tools.register().json()["client_id"])


def told(tools: Tools, address: str) -> httpx2.Response:
    """What the authorisation endpoint answers at once."""
    return httpx2.get(address, trust_env=False, timeout=30)


class TestRedirects:
    @pytest.mark.parametrize(
        "uri",
        [
            "http://evil.example/callback",
            "https://evil.example/callback",
            "http://127.0.0.1.evil.example/callback",
            "http://localhost.evil.example/",
            "http://127.0.0.1@evil.example/",
            "http://127.0.0.1:80@evil.example/",
            "http://127.0.0.1\\@evil.example/",
            "http://evil.example#@127.0.0.1/",
            "http://127.0.0.1/callback#fragment",
            "http://0.0.0.0/callback",
            "http://127.1/callback",
            "http://2130706433/callback",
            "http://[::ffff:127.0.0.1]/callback",
            "HTTP://127.0.0.1/callback",
            "https://LOCALHOST.evil.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "myapp://callback",
            "//evil.example/",
            "/callback",
            "",
            "http://127.0.0.1/\r\nset-cookie: x",
            "http://127.0.0.1/ü",
            "http://127.0.0.1/callback?code=mine",
            "http://127.0.0.1/callback?state=mine",
            "http://127.0.0.1/" + "a" * 300,
        ],
    )
    def test_to_strangers_are_not_registered(self, tools: Tools, uri: str):
        answer = tools.register(redirect_uris=[uri])
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")

    def test_of_which_some_are_good_leave_the_good_ones(self, tools: Tools):
        answer = tools.register(redirect_uris=["https://evil.example/", CALLBACK])
        assert answer.json()["redirect_uris"] == [CALLBACK]

    @pytest.mark.parametrize(
        "asked",
        [
            "http://127.0.0.1:7777/other",
            "http://127.0.0.1:7777/callback/",
            "http://127.0.0.1:7777/callback/../evil",
            "http://127.0.0.1:7777/callback?x=1",
            "http://127.0.0.1:7777/callback#x",
            "http://localhost:7777/callback",
            "https://127.0.0.1:7777/callback",
            "http://evil.example/callback",
            "http://127.0.0.1:7777@evil.example/callback",
            "http://127.0.0.1:99999999/callback",
            "",
        ],
    )
    def test_that_were_not_registered_lead_nowhere(self, tools: Tools, client_id: str, asked: str):
        answer = told(tools, Asking(tools.url, client_id, redirect_uri=asked).address)
        assert answer.status_code == 400
        assert "location" not in answer.headers
        assert asked == "" or asked not in answer.text

    def test_may_differ_in_the_port_of_this_computer(self, tools: Tools, client_id: str, ann: Person):
        asking = Asking(tools.url, client_id, redirect_uri="http://127.0.0.1:60123/callback")
        assert ann.decide(asking)["to"] == "http://127.0.0.1:60123/callback"

    def test_are_the_same_at_the_token_endpoint(self, tools: Tools, client_id: str, ann: Person):
        asking = Asking(tools.url, client_id)
        code = ann.decide(asking)["code"]
        answer = tools.post("/oauth/token", **asking.form(code, redirect_uri="http://127.0.0.1:7778/callback"))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


class TestRequests:
    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
            ({"code_challenge_method": "plain"}, "invalid_request"),
            ({"code_challenge_method": None}, "invalid_request"),
            ({"code_challenge": "short"}, "invalid_request"),
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"response_type": "code token"}, "unsupported_response_type"),
            ({"response_mode": "fragment"}, "unsupported_response_type"),
            ({"request": "eyJ"}, "request_not_supported"),
            ({"request_uri": "http://169.254.169.254/"}, "request_not_supported"),
            ({"prompt": "none"}, "interaction_required"),
            ({"resource": "https://elsewhere.example/mcp"}, "invalid_target"),
            ({"resource": "{url}"}, "invalid_target"),
            ({"resource": "{url}/v1"}, "invalid_target"),
            ({"resource": "{url}.evil.example/mcp"}, "invalid_target"),
            ({"resource": "{url}/mcp/../v1"}, "invalid_target"),
            ({"resource": "{url}/mcp?x"}, "invalid_target"),
        ],
    )
    def test_that_are_weaker_or_for_something_else_are_told_to_the_client(
        self, tools: Tools, client_id: str, changes: dict[str, str | None], error: str
    ):
        made = {name: value and value.format(url=tools.url) for name, value in changes.items()}
        asking = Asking(tools.url, client_id, **made)
        answer = told(tools, asking.address)
        assert answer.status_code == 303
        said = answer_at(answer.headers["location"])
        assert (said["to"], said["error"], said["state"], said["iss"]) == (CALLBACK, error, asking.state, tools.url)
        assert "code" not in said

    @pytest.mark.parametrize("name", ["redirect_uri", "client_id", "resource", "state", "code_challenge"])
    def test_with_a_parameter_twice_lead_nowhere(self, tools: Tools, client_id: str, name: str):
        address = Asking(tools.url, client_id).address + f"&{name}=http://evil.example/"
        answer = told(tools, address)
        assert answer.status_code == 400
        assert "location" not in answer.headers

    def test_with_a_state_that_is_too_long_are_refused_and_the_state_is_not_sent_back(
        self, tools: Tools, client_id: str
    ):
        answer = told(tools, Asking(tools.url, client_id, state="s" * 601).address)
        said = answer_at(answer.headers["location"])
        assert said["error"] == "invalid_request"
        assert "state" not in said

    def test_of_nobody_lead_nowhere(self, tools: Tools):
        for client_id in ("", "made-up", "aipc_x.y", "https://claude.ai/oauth/other", "http://127.0.0.1:9/x"):
            answer = told(tools, Asking(tools.url, client_id).address)
            assert answer.status_code == 400
            assert "location" not in answer.headers

    def test_only_s256_in_the_code_exchange_too(self, tools: Tools, client_id: str, ann: Person):
        asking = Asking(tools.url, client_id)
        code = ann.decide(asking)["code"]
        downgraded = asking.form(code, code_verifier=asking.query["code_challenge"])
        assert tools.post("/oauth/token", **downgraded).json()["error"] == "invalid_grant"


class TestCodes:
    def test_that_come_again_end_what_was_given_for_them(self, tools: Tools, client_id: str, ann: Person):
        asking = Asking(tools.url, client_id)
        code = ann.decide(asking)["code"]
        given = tools.post("/oauth/token", **asking.form(code)).json()
        again = tools.post("/oauth/token", **asking.form(code))
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        assert tools.rpc(given["access_token"], "tools/list").status_code == 401
        form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"], "client_id": client_id}
        assert tools.post("/oauth/token", **form).status_code == 400
        assert tools.here.events("code_reused")

    @pytest.mark.parametrize(
        "changes",
        [
            {"code_verifier": "v" * 43},
            {"code_verifier": None},
            {"code_verifier": "short"},
            {"client_id": CLAUDE_CODE},
            {"client_id": None},
            {"redirect_uri": "http://127.0.0.1:7777/other"},
            {"redirect_uri": None},
            {"resource": "{url}/mcp/echo"},
            {"resource": "https://elsewhere.example/mcp"},
        ],
    )
    def test_injected_into_another_exchange_give_nothing(
        self, tools: Tools, client_id: str, ann: Person, changes: dict[str, str | None]
    ):
        asking = Asking(tools.url, client_id)
        code = ann.decide(asking)["code"]
        made = {name: value and value.format(url=tools.url) for name, value in changes.items()}
        answer = tools.post("/oauth/token", **asking.form(code, **made))
        assert answer.status_code == 400
        assert "access_token" not in answer.json()

    def test_stolen_and_tried_without_the_verifier_are_used_up(self, tools: Tools, client_id: str, ann: Person):
        asking = Asking(tools.url, client_id)
        code = ann.decide(asking)["code"]
        assert tools.post("/oauth/token", **asking.form(code, code_verifier="v" * 43)).status_code == 400
        assert tools.post("/oauth/token", **asking.form(code)).status_code == 400

    def test_guessed_are_refused(self, tools: Tools, client_id: str):
        asking = Asking(tools.url, client_id)
        for code in ("x", "A" * 43, "\0", "a" * 4000):
            assert tools.post("/oauth/token", **asking.form(code)).json()["error"] == "invalid_grant"


class TestConsent:
    def test_needs_the_form_of_this_session(self, tools: Tools, client_id: str, ann: Person):
        page = ann.open(Asking(tools.url, client_id).address)
        fields = fields_of(page.text) | {"action": "allow"}
        for changed in (fields | {"csrf": "0" * 64}, {"request": fields["request"], "action": "allow"}):
            assert ann.browser.post(f"{tools.url}/oauth/consent", data=changed).status_code == 403
        elsewhere = {"sec-fetch-site": "cross-site"}
        assert ann.browser.post(f"{tools.url}/oauth/consent", data=fields, headers=elsewhere).status_code == 403

    def test_cannot_be_given_in_another_browser_than_the_one_that_was_asked(
        self, tools: Tools, client_id: str, ann: Person
    ):
        with Person(tools, "ben") as ben:
            asked = str(ben.open(Asking(tools.url, client_id).address).url)
            ben_form = fields_of(ben.browser.get(asked).text)
        ann.open(f"{tools.url}/auth/session")
        assert "Nothing waits" in ann.browser.get(asked).text
        own = fields_of(ann.browser.get(f"{tools.url}/auth/session").text)["csrf"]
        sent = {**ben_form, "csrf": own, "action": "allow"}
        assert "Nothing waits" in ann.browser.post(f"{tools.url}/oauth/consent", data=sent).text

    def test_is_not_given_by_opening_the_page(self, tools: Tools, client_id: str, ann: Person):
        page = ann.open(Asking(tools.url, client_id).address)
        assert "script" not in page.text
        assert 'http-equiv="refresh"' not in page.text
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["referrer-policy"] == "no-referrer", "or the next page's server would read the code"

    def test_is_used_up_by_the_answer(self, tools: Tools, client_id: str, ann: Person):
        page = ann.open(Asking(tools.url, client_id).address)
        first = answer_in(ann.browser.submit(page, action="allow"))
        assert "code" in first
        assert "Nothing waits" in ann.browser.submit(page, action="allow").text

    def test_shows_a_programs_words_as_words(self, tools: Tools, ann: Person):
        name = '<img src=x onerror=alert(1)>"\u202e\n\x1bEvil'
        client = tools.register(client_name=name).json()
        page = ann.open(Asking(tools.url, client["client_id"]).address)
        assert "<img" not in page.text
        assert "\u202e" not in page.text
        assert "\x1b" not in page.text

    def test_says_that_nobody_vouches_for_a_famous_name(self, tools: Tools, ann: Person):
        client = tools.register(client_name="Claude Code").json()
        page = ann.open(Asking(tools.url, client["client_id"]).address)
        assert "nothing but its own word" in page.text
        page = ann.open(Asking(tools.url, CLAUDE_CODE, redirect_uri="http://localhost:5555/callback").address)
        assert "the settings of this platform" in page.text

    def test_of_a_person_who_may_not_be_here_is_none(self, tools: Tools, client_id: str):
        with Person(tools, "cy") as cy:
            page = cy.open(Asking(tools.url, client_id).address)
            assert "You cannot use this platform yet" in page.text

    @pytest.mark.parametrize(
        "target",
        [
            "/oauth/consent?request=../../evil",
            "/oauth/consent?request=aaaaaaaa//evil.example",
            "/oauth/consent?request=aaaaaaaa&next=https://evil.example",
            "//evil.example/oauth/consent?request=aaaaaaaa",
            "/oauth/authorize?client_id=x",
        ],
    )
    def test_a_sign_in_leads_to_no_other_page(self, tools: Tools, target: str):
        with Browser(tools.url) as browser:
            page = browser.get(f"{tools.url}/auth/login", params={"return_to": target})
            page = browser.go_on(page, "ann")
            assert str(page.url) == f"{tools.url}/auth/session"


class TestRegistration:
    @pytest.mark.parametrize(
        "document",
        [
            {"redirect_uris": []},
            {"redirect_uris": "http://127.0.0.1/"},
            {"redirect_uris": [1]},
            {"redirect_uris": [f"http://127.0.0.1/{n}" for n in range(50)]},
            {"redirect_uris": [f"http://127.0.0.1/{'a' * 250}{n}" for n in range(5)]},
            {"grant_types": ["client_credentials"]},
            {"grant_types": ["implicit"]},
            {"token_endpoint_auth_method": "private_key_jwt"},
        ],
    )
    def test_of_what_cannot_work_is_refused(self, tools: Tools, document: dict[str, Any]):
        answer = tools.register(**document)
        assert answer.status_code == 400
        assert answer.json()["error"] in {"invalid_redirect_uri", "invalid_client_metadata"}

    @pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'"x"', b"[" * 5000])
    def test_of_something_else_is_refused(self, tools: Tools, body: bytes):
        answer = httpx2.post(f"{tools.url}/oauth/register", content=body, trust_env=False)
        assert answer.status_code == 400

    def test_gives_no_secret_and_every_program_its_own_id(self, tools: Tools):
        first, second = [tools.register(token_endpoint_auth_method="client_secret_basic").json() for _ in range(2)]
        assert first["client_id"] != second["client_id"]
        assert first["token_endpoint_auth_method"] == "none"
        assert "client_secret" not in first
        assert len(first["client_id"]) < 1400

    def test_cannot_be_altered_by_its_holder(self, tools: Tools, client_id: str):
        body, mac = client_id.removeprefix("aipc_").split(".")
        other = str(tools.register(client_name="Other").json()["client_id"]).removeprefix("aipc_").split(".")
        for changed in (f"aipc_{other[0]}.{mac}", f"aipc_{body}.{other[1]}", f"aipc_{body}", f"aipc_{body}.{mac}A"):
            assert told(tools, Asking(tools.url, changed).address).status_code == 400


def test_where_a_token_is_asked_for_it_is_never_taken_from_the_address(tools: Tools, ann: Person):
    token = ann.give_access()["access_token"]
    answer = httpx2.post(f"{tools.url}/mcp?access_token={token}", content=b"{}", trust_env=False)
    assert answer.status_code == 401


def test_a_path_cannot_write_into_the_challenge(tools: Tools):
    for path in ('/mcp/x"y', "/mcp/a%0d%0ab", "/mcp/<b>"):
        answer = tools.rpc(None, "tools/list", at=path)
        header = answer.headers.get("www-authenticate", "")
        assert not re.search(r"x\"y|<b>|\n", header)
